"""What `latecomer bench fold` measures is the real thing: the figures are whatever they are."""

import json
from pathlib import Path

import numpy as np
import pytest

from latecomer_bench import fold
from latecomer_cli import app

COLUMNS = {
    "params",
    "k",
    "updates_per_s",
    "numpy_updates_per_s",
    "peer_updates_per_s",
    "ratio_numpy",
    "ratio_peer",
}


def test_what_is_measured_is_a_version_of_the_weighted_mean() -> None:
    scene = fold.scene(1000, 3, seed=1)
    model = fold.fold_versions(fold.Way(scene), 2)["net"]
    weights = [(1 + tau) ** -0.5 for tau in range(3)]
    mean = sum(weight * delta for weight, delta in zip(weights, scene.deltas, strict=True)) / 3
    np.testing.assert_allclose(model, 2 * mean, rtol=1e-5, atol=1e-6)


def test_what_is_too_large_for_a_message_comes_from_the_store() -> None:
    scene = fold.scene(1_100_000, 1, seed=1)
    assert len(scene.staged) == 1
    np.testing.assert_array_equal(fold.fold_versions(fold.Way(scene), 1)["net"], scene.deltas[0])


def test_duplicates_are_not_folded() -> None:
    scene = fold.scene(10, 3, seed=1)
    way = fold.Way(scene)
    way.ledger.add("w2:boot:1")
    for delivery in (*scene.deliveries, *scene.deliveries):
        way.consider(delivery)
    assert [each.update_id for each in way.buffer.folds] == ["w0:boot:1", "w1:boot:1"]


def test_ratios_are_ours_over_theirs_and_a_peer_that_is_not_there_has_none() -> None:
    row = fold.Row(10, 2, 500.0, 1000.0, 250.0).as_dict()
    assert row.keys() == COLUMNS
    assert (row["ratio_numpy"], row["ratio_peer"]) == (0.5, 2.0)
    alone = fold.Row(10, 2, 500.0, 1000.0, None).as_dict()
    assert (alone["peer_updates_per_s"], alone["ratio_peer"]) == (None, None)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small models, and no peer."""
    monkeypatch.setattr(fold, "SIZES", (100, 200))
    monkeypatch.setattr(fold, "WORK", 1000)
    monkeypatch.setattr(fold, "SWEEP", ((100, 1), (100, 20)))
    monkeypatch.setattr(fold, "PEERS", tmp_path)


def test_bench_fold_prints_json(small: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["bench", "fold", "--format", "json", "--seed", "7"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [row["params"] for row in body["rows"]] == [100, 200]
    assert all(row.keys() == COLUMNS and row["updates_per_s"] > 0 for row in body["rows"])
    assert body["seed"] == 7
    assert body["peer"] is None
    assert body["versions"].keys() >= {"latecomer", "numpy"}
    assert body["machine"]["processor"]


def test_a_peer_is_asked_in_its_own_environment_and_its_version_is_told(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    rates = {"updates_per_s": {"100": 0.5}, "arrays_per_s": {"100": 4.0}}
    answer = json.dumps({"nvflare": "9.9", **rates})
    python.write_text(f"#!/bin/sh\necho a word before\necho '{answer}'\n", encoding="utf-8")
    python.chmod(0o755)
    assert app.run(["bench", "fold", "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [row["peer_updates_per_s"] for row in body["rows"]] == [0.5, None]
    assert body["peer"].startswith("NVFlare 9.9, ")
    assert body["peer_arrays_per_s"] == {"100": 4.0}


def test_bench_fold_sweeps_and_says_how_to_get_the_peer(
    small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["bench", "fold", "--sweep"]) == 0
    printed = capsys.readouterr().out
    assert "100 parameters, K = 20" in printed
    assert "make peers" in printed
