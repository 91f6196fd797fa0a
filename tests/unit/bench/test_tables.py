"""The README's table says what the reports say, and each report is there once."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("tables")


def test_the_readme_has_the_rows_of_the_reports_and_no_others(tables: Any) -> None:
    reports = [tables.report(path) for path in sorted(tables.REPORTS.glob("*.json"))]
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, rest = page.partition(tables.BEGIN)
    measured, _, _ = rest.partition(tables.END)
    written = [line for line in measured.splitlines() if line]
    expected = [line for line in tables.tables(reports) if line]
    assert written[:-1] == expected


def test_of_outcomes_examples_are_counted_and_not_people(tables: Any) -> None:
    """A rating is no person: ml-1m has 6,040 of those."""
    clicks = json.loads((tables.REPORTS / "ml-1m-clicks.json").read_text(encoding="utf-8"))
    assert tables.facts(clicks).startswith("`ml-1m-clicks`: 194318 examples, ")
    films = json.loads((tables.REPORTS / "ml-1m.json").read_text(encoding="utf-8"))
    assert tables.facts(films).startswith("`ml-1m`: 6040 users, ")


def test_a_second_copy_of_a_report_is_refused(tables: Any, tmp_path: Path) -> None:
    copied = tmp_path / "ev-ml-100k-full.json"
    body = {"recipe": "ml-100k", "full_ranking": True, "leaky": False}
    copied.write_text(json.dumps(body), encoding="utf-8")
    with pytest.raises(SystemExit, match="is of ml-100k-full: rename it, or remove it"):
        tables.report(copied)
    assert tables.report(copied.rename(tmp_path / "ml-100k-full.json")) == body
