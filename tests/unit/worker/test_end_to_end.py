from collections import Counter
from pathlib import Path

import pytest

from latecomer.events import Version
from latecomer.store.port import Fold
from latecomer_worker.site import Site
from scenes import Device, Federation, checkerboard, make_site, step

VERSIONS = 5


def sites() -> dict[str, Site]:
    """Two shops with different customers, both of the two colours."""
    return {
        "beijing": make_site(checkerboard(20, first=0)),
        "shanghai": make_site(checkerboard(20, first=100)),
    }


@pytest.mark.parametrize("mode", ["fedbuff", "sync", "fedasync"])
def test_one_coordinator_and_two_agents_learn_what_belongs_together(
    mode: str, tmp_path: Path
) -> None:
    scene = Federation(mode=mode)
    first = scene.found_items().version
    coordinator = scene.coordinator()
    devices = {name: Device(scene, name, tmp_path, site=site) for name, site in sites().items()}
    before = {name: each.trainer().evaluate(scene.model()) for name, each in devices.items()}
    for _ in range(10 * VERSIONS):
        for device in devices.values():
            device.step()
        step(coordinator)
        if scene.number() >= VERSIONS:
            break
    step(coordinator, 10)

    assert scene.number() >= VERSIONS
    for name, device in devices.items():
        after = device.trainer().evaluate(scene.model(), target="test").means()["ndcg@5"]
        assert after > 2 * before[name].means()["ndcg@5"]
        assert after > 0.15

    folds: list[Fold] = []
    for number in range(1, scene.number() + 1):
        manifest = scene.store.manifest(Version(first.epoch, number))
        assert manifest.previous == Version(first.epoch, number - 1)
        for fold in manifest.folds:
            assert fold.staleness == number - 1 - fold.base.number
            assert fold.weight == pytest.approx((1 + fold.staleness) ** -0.5)
        folds += manifest.folds
    times = Counter(fold.update_id for fold in folds)
    assert set(times.values()) == {1}
    totals = scene.store.totals()
    assert totals.accepted == len(folds)
    assert totals.duplicates == 0
    assert {each.worker for each in scene.store.fleet()} == set(devices)
    sent = sum(device.agent._sequence for device in devices.values())
    buffered = 0 if coordinator._term is None else len(coordinator._term.buffer)
    assert sent == len(folds) + sum(totals.refused.values()) + buffered + scene.waiting()
