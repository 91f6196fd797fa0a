"""The house stays the house: the import law, and files that a person can read in one go."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSE = ("shared", "services", "benchmarks")
SOURCES = sorted(
    path
    for folder in HOUSE
    for path in (ROOT / folder).rglob("*.py")
    if ".venv" not in path.parts  # what benchmarks compare with is not ours
)

#: A file is read in one sitting, a function in one glance.
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

#: What a new family or rule adds to the file that CONTRIBUTING names for its settings.
ROOM = 50
GROWING = (
    "shared/latecomer/recommenders/settings.py",
    "shared/latecomer/recommenders/descent_settings.py",
    "shared/latecomer/recommenders/network_settings.py",
    "shared/latecomer/aggregation.py",
)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            yield node.name, node.end_lineno - node.lineno + 1


def test_every_import_contract_is_kept() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [linter, "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_and_its_functions_stay_readable(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= MAX_FILE_LINES
    assert [name for name, lines in functions(path) if lines > MAX_FUNCTION_LINES] == []


@pytest.mark.parametrize("path", GROWING)
def test_there_is_room_for_the_settings_of_what_is_added(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert text.count("\n") + ROOM <= MAX_FILE_LINES, "split it by what families have in common"
    assert Path(path).name in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_wheel_ships_no_package_called_shared_or_services() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = wheel["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {Path(each).name for each in packages} == {
        "latecomer",
        "latecomer_aggregator",
        "latecomer_worker",
        "latecomer_simulator",
        "latecomer_cli",
        "latecomer_bench",
    }
