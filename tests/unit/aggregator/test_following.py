"""The coordinator lets K follow the staleness: from its manifests alone, whoever leads."""

from typing import Any

from latecomer.events import Version
from latecomer.store.port import Cadence
from latecomer_aggregator import cadence
from scenes import EPOCH, Federation, make_update, step

WORKERS = 10

#: Versions of ten fresh updates until a window is full.
WINDOW = cadence.UPDATES // WORKERS


def scene_of(**terms: Any) -> Federation:
    scene = Federation(updates_per_version=WORKERS, **{"target_staleness": 2.0, **terms})
    scene.found()
    return scene


def send_fresh(scene: Federation, seq: int) -> None:
    base = Version(EPOCH, scene.number())
    scene.send(*(make_update(f"w{n}", seq, base=base) for n in range(WORKERS)))


def test_fresh_updates_halve_k_at_the_commit_that_fills_a_window() -> None:
    scene = scene_of()
    coordinator = scene.coordinator()
    for seq in range(WINDOW):
        assert scene.number() == seq
        send_fresh(scene, seq)
        step(coordinator, WORKERS + 2)
    assert scene.manifest().cadence == Cadence(WORKERS // 2)
    assert scene.manifest().divisor == WORKERS
    send_fresh(scene, WINDOW)
    step(coordinator, WORKERS + 4)
    assert scene.number() == WINDOW + 2
    assert scene.manifest().divisor == WORKERS // 2


def test_the_next_leader_goes_on_where_the_former_one_was() -> None:
    scene = scene_of()
    for seq in range(WINDOW):
        coordinator = scene.coordinator(f"leader-{seq}")
        send_fresh(scene, seq)
        step(coordinator, WORKERS + 2)
        coordinator.close()
    assert scene.manifest().cadence == Cadence(WORKERS // 2)
    successor = scene.coordinator("successor")
    step(successor)
    assert scene.telemetry.registry.get_sample_value("latecomer_updates_in_force") == WORKERS // 2


def test_without_a_target_manifests_say_nothing_of_k() -> None:
    scene = scene_of(target_staleness=None)
    send_fresh(scene, 0)
    step(scene.coordinator(), WORKERS + 2)
    assert scene.number() == 1
    assert scene.manifest().cadence is None
    assert scene.telemetry.registry.get_sample_value("latecomer_updates_in_force") == WORKERS
