"""Whoever waits at a terminal sees that something happens, and a file gets nothing of it."""

import json

import pytest

from latecomer_cli.output import Format, Output, watched


def test_whoever_waits_at_a_terminal_sees_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # to rich, a terminal
    with watched("trainings") as progress:
        progress(1, 4)
    printed = capsys.readouterr()
    assert "trainings" in printed.err
    assert "25%" in printed.err
    assert printed.out == ""


def test_elsewhere_nothing_of_it_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)  # some machines that run tests set it
    with watched("trainings") as progress:
        progress(1, 4)
    assert capsys.readouterr() == ("", "")


def test_what_is_no_number_is_none_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    Output(Format.JSON).result({"mean": float("nan"), "more": [float("inf"), 0.5], "über": 1})
    strict = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert strict == {"mean": None, "more": [None, 0.5], "über": 1}


@pytest.mark.parametrize("place", ["cell", "heading"])
def test_what_a_worker_calls_a_region_or_metric_commands_no_terminal(
    capsys: pytest.CaptureFixture[str], place: str
) -> None:
    name = "\x1b[2Jnorth [bold]\x9bA[/x]"
    columns, row = (("region",), (name,)) if place == "cell" else ((name,), (1,))
    Output(Format.TABLE).table("Quality [/x]", columns, [row])
    shown = capsys.readouterr().out
    assert "\N{REPLACEMENT CHARACTER}[2Jnorth [bold]\N{REPLACEMENT CHARACTER}A[/x]" in shown
    assert "Quality [/x]" in shown
    assert not {"\x1b", "\x9b"} & set(shown)
