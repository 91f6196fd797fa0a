"""The commands of docs/experiments.md and of the README do what is written beside them."""

import re
import shlex
from pathlib import Path

import pytest

from latecomer.errors import ExitCode
from latecomer.experiments.assignment import arm
from latecomer_cli import app
from pages import commands, options

ROOT = Path(__file__).parents[3]
SITES = ("beijing", "shanghai", "guangzhou")


def of_the_page() -> list[str]:
    return list(commands((ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")))


def of_the_readme() -> list[str]:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    return list(commands(page.partition("\n## A/B tests\n")[2].partition("\n## ")[0]))


def run(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says, also into a file, after shells have read it."""
    line, _, file = command.partition(" > ")
    words = shlex.split(line, comments=True)[1:]
    arguments = [
        str(each) for word in words for each in (Path().glob(word) if "*" in word else [word])
    ]
    assert app.run(arguments) == ExitCode.OK, capsys.readouterr().err
    said = capsys.readouterr().out
    if file:
        Path(shlex.split(file, comments=True)[0]).write_text(said, encoding="utf-8")
    return said


def serve(site: str) -> None:
    """A log of a site, with all columns that commands ask for."""
    rows = []
    for number in range(200):
        his = arm("spring", str(number), site=site)
        rows.append(f"{number},{his},{number % 2},{number % 2 * 9.5},{number % 3 % 2}")
    head = "customer,arm,clicked,paid,bought"
    Path("served.csv").write_text("\n".join([head, *rows]), encoding="utf-8")


def test_the_page_says_whose_arm_is_which(capsys: pytest.CaptureFixture[str]) -> None:
    first = of_the_page()[0]
    assert run(first, capsys).rstrip() == first.partition("# ")[2]


def test_what_the_arm_is_served_is_asked_with_options_that_there_are() -> None:
    asked = next(each for each in of_the_page() if "recommend" in each)
    assert "LATECOMER_STATE_DIR=" in (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    found = options(asked)
    assert (found["name"], found["data"]) == ("beijing", Path("purchases.csv"))


@pytest.mark.parametrize("commands", [of_the_page(), of_the_readme()], ids=["page", "README"])
def test_what_every_site_counts_is_compared(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    commands: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    count = next(each for each in commands if " count " in each)
    for site in SITES:
        serve(site)
        run(count.replace("beijing", site), capsys)
    said = run(next(each for each in commands if " compare " in each), capsys)
    assert all(site in said for site in (*SITES, "all"))


def test_the_log_on_the_page_has_the_arms_that_are_assigned() -> None:
    page = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    rows = re.findall(r"^(\d+),(control|treatment),", page, re.MULTILINE)
    assert len(rows) == 2
    assert all(arm("spring", user, site="beijing") == his for user, his in rows)
