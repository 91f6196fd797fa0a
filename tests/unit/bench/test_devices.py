"""`latecomer bench devices`: every user of the data set is a device, with the data or without."""

import json

import pytest

from latecomer_bench import devices
from latecomer_cli import app


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATECOMER_DATA", raising=False)
    monkeypatch.setattr(devices, "SIZES", {"ml-100k": (30, 120, 900)})
    monkeypatch.setattr(devices, "ALONE", 3)
    monkeypatch.setattr(devices, "PASSES", 1)


def test_what_stands_in_for_a_data_set_has_its_size() -> None:
    scene = devices.synthetic("ml-100k", seed=1)
    assert (scene.users, scene.items) == (30, 120)
    assert scene.history.lengths.min() >= 20
    assert 0.7 * 900 <= len(scene.history.items) <= 1.3 * 900
    assert len(set(scene.history.of_user(3).items)) == scene.history.lengths[3]


def test_bench_devices_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["bench", "devices", "ml-100k", "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["dataset"] == "synthetic, of ml-100k's size"
    assert body["users"] == 30
    assert body["seconds_per_pass"] > 0


def test_a_data_set_of_unknown_size_is_refused_by_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app.run(["bench", "devices", "mnist"]) != 0
    assert "mnist" in capsys.readouterr().err
