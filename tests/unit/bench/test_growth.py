"""What `latecomer bench growth` measures is the real thing: the figures are whatever they are."""

import json

import numpy as np
import pytest

from latecomer_bench import growth
from latecomer_cli import app

CELLS = (
    growth.Cell("model", params=100),
    growth.Cell("k", params=100, k=3, workers=3),
    growth.Cell("workers", params=100, workers=25),
    growth.Cell("catalogue", items=500),
)


def test_a_version_is_the_weighted_mean_and_its_manifest_names_its_folds() -> None:
    versions = growth.Versions(growth.Cell("k", params=4, k=2, workers=2), seed=1)
    rng = np.random.default_rng(1)
    fresh, stale = rng.standard_normal(4, np.float32), rng.standard_normal(4, np.float32)
    versions.fold()
    versions.step()
    expected = (fresh + 2**-0.5 * stale) / 2
    np.testing.assert_allclose(versions.published.model["net"], expected, rtol=1e-6)
    folds = versions.published.manifest.folds
    assert [each.update_id for each in folds] == ["w0:boot:1", "w1:boot:1"]


def test_workers_take_turns() -> None:
    versions = growth.Versions(growth.Cell("workers", params=4, k=2, workers=4), seed=1)
    names = []
    for _ in range(3):
        versions.fold()
        versions.step()
        names.append([each.worker for each in versions.published.manifest.folds])
    assert names == [["w0", "w1"], ["w2", "w3"], ["w0", "w1"]]


def test_of_a_table_only_touched_rows_change() -> None:
    versions = growth.Versions(growth.Cell("catalogue", items=5_000, k=1, workers=1), seed=1)
    versions.fold()
    versions.step()
    assert versions.published.model["net"].any(axis=1).sum() == growth.TOUCHED


def test_an_axis_tells_where_its_cells_lie() -> None:
    assert [cell.at for cell in CELLS] == [100, 3, 25, 500]
    axes = {cell.axis for cell in growth.CELLS}
    assert axes == {"model", "k", "workers", "catalogue"}


def test_bench_growth_prints_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "CELLS", CELLS)
    monkeypatch.setattr(growth, "REPEAT_S", 1e-4)
    assert app.run(["bench", "growth", "--format", "json", "--seed", "7"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [row["axis"] for row in body["rows"]] == ["model", "k", "workers", "catalogue"]
    assert all(row["updates_per_s"] > 0 and 0 < row["version_share"] < 1 for row in body["rows"])
    assert body["seed"] == 7
