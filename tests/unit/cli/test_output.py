"""Whoever waits at a terminal sees that something happens, and a file gets nothing of it."""

import errno
import json
import sys
from io import BytesIO, StringIO, TextIOWrapper

import pytest

from latecomer.errors import LatecomerError
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


class Full(StringIO):
    """A disk without room for one more line."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_and_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    output = Output(Format.JSON)
    with pytest.raises(LatecomerError, match="cannot be written: No space left on device"):
        output.result({})
    with pytest.raises(LatecomerError, match="cannot be written: No space left on device"):
        output.each([({}, "")])


def test_json_is_utf_8_whatever_a_terminal_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    file = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(file, encoding="latin-1", errors="replace"))
    Output(Format.JSON).each([({"user": "王小明"}, "")])
    assert json.loads(file.getvalue()) == {"user": "王小明"}
