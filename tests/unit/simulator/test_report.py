"""A run as pictures: written where asked, and everything inside one page."""

import sys
from pathlib import Path

import pytest

from latecomer.errors import BadConfiguration
from latecomer_simulator import fleet, report
from latecomer_simulator.outcome import Limits, Outcome
from scenes import ITEM_CATALOGUE, checkerboard, make_recipe, make_site


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return fleet.run(
        make_recipe(),
        {"w0": make_site(checkerboard(12))},
        ITEM_CATALOGUE,
        seed=1,
        limits=Limits(2, evaluate_every=1),
    )


def test_a_page_holds_every_picture_and_loads_nothing(outcome: Outcome, tmp_path: Path) -> None:
    written = report.write(outcome, {"mode": "<fedbuff>"}, tmp_path / "new")
    page = (tmp_path / "new" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page
    assert "&lt;fedbuff&gt;" in page
    assert all(path.read_bytes()[1:4] == b"PNG" for path in written if path.suffix == ".png")


def test_without_matplotlib_the_extra_is_named(
    outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BadConfiguration, match="matplotlib") as caught:
        report.write(outcome, {}, tmp_path)
    assert caught.value.hint == "pip install 'latecomer[report]'"


def test_spans_end_with_the_window_or_with_the_run() -> None:
    events = [
        {"t_s": 0.0, "event": "online", "worker": "a"},
        {"t_s": 2.0, "event": "offline", "worker": "a"},
        {"t_s": 3.0, "event": "online", "worker": "a"},
        {"t_s": 4.0, "event": "online", "worker": "b"},
    ]
    assert report.activity(events, 9.0) == {"a": [(0.0, 2.0), (3.0, 9.0)], "b": [(4.0, 9.0)]}
