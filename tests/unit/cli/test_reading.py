"""What of the data was not used is shown by every command that reads it and prints a result."""

import json
from pathlib import Path

import pytest

from deployment import write_scene
from latecomer.errors import ExitCode
from latecomer_cli import app

#: Of sixty customers with ten purchases each, and one of an item that nobody knows.
SAID = "purchases.csv: 600 of 601 rows kept, 1 unknown_item (line 602: 'item-x')"

COMMANDS = {
    "demo": (),
    "evaluate": ("--seeds", "2"),
    "simulate": ("--updates", "2", "--evaluate-every", "0"),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(tmp_path, "small", max_staleness=20)
    with (tmp_path / "recipe.toml").open("a") as recipe:
        recipe.write("\n[demo]\nversions = 2\nlimit_s = 20\nround_s = 0.01\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LATECOMER_LOG_LEVEL", raising=False)


@pytest.fixture
def _flawed(_here: None) -> None:
    with Path("purchases.csv").open("a") as rows:
        rows.write("c1,item-x,2024-01-11\n")


def run(command: str, *options: str) -> int:
    return app.run([command, "recipe.toml", *COMMANDS[command], *options])


@pytest.mark.usefixtures("_flawed")
@pytest.mark.parametrize("command", COMMANDS)
def test_dropped_rows_are_told_once_with_their_reason(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == ExitCode.OK
    told = capsys.readouterr()
    assert told.out.splitlines().count(SAID) == 1
    assert "data.read" not in told.err


@pytest.mark.usefixtures("_flawed")
@pytest.mark.parametrize("command", COMMANDS)
def test_machines_are_told_as_well(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--format", "json") == ExitCode.OK
    data = json.loads(capsys.readouterr().out)["data"]
    assert (data["read"], data["kept"], data["dropped"]) == (601, 600, {"unknown_item": 1})


@pytest.mark.parametrize("command", COMMANDS)
def test_where_every_row_is_used_nothing_is_said(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == ExitCode.OK
    assert "rows kept" not in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_log_level_that_is_set_is_kept(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATECOMER_LOG_LEVEL", "info")
    assert run(command) == ExitCode.OK
    assert "data.read" in capsys.readouterr().err
