"""What alerts look at says what happened."""

import pytest

from latecomer.events import Version
from latecomer.telemetry import AggregatorTelemetry
from scenes import EPOCH, Federation, make_update, net, step
from unit.aggregator.test_leadership import Slow


@pytest.fixture
def scene() -> Federation:
    scene = Federation()
    scene.found()
    return scene


def measured(telemetry: AggregatorTelemetry, *names: str) -> list[float | None]:
    return [telemetry.registry.get_sample_value(f"latecomer_{name}") for name in names]


def test_a_version_is_counted_with_what_it_is_made_of_and_when(scene: Federation) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator, 2)
    scene.clock.advance(7.0)
    scene.send(make_update("w3"), make_update("w4", base=Version(EPOCH, 1)))
    step(coordinator, 2)
    names = ("version", "updates_folded_total", "last_commit_timestamp_seconds")
    assert measured(scene.telemetry, *names) == [2, 4, scene.clock.now_s()]
    names = ("staleness_versions_sum", "staleness_versions_count", "commit_seconds_count")
    assert measured(scene.telemetry, *names) == [1, 4, 2]


def test_how_long_a_commit_took_is_measured_from_its_beginning(scene: Federation) -> None:
    store = scene.open_store()
    store.before_commit = lambda: scene.clock.advance(3.0)
    scene.send(make_update("w1"), make_update("w2"))
    step(scene.coordinator(store=store), 2)
    assert measured(scene.telemetry, "commit_seconds_sum") == [3.0]


def test_what_is_folded_and_not_durable_is_told_and_nothing_where_nobody_leads(
    scene: Federation,
) -> None:
    coordinator = scene.coordinator()
    assert measured(scene.telemetry, "updates_buffered", "updates_in_force") == [0, 0]
    scene.send(make_update("w1"))
    step(coordinator)
    assert measured(scene.telemetry, "updates_buffered", "updates_in_force") == [1, 2]
    coordinator.close()
    assert measured(scene.telemetry, "updates_buffered") == [0]


def test_refusals_are_counted_by_reason_and_copies_apart(scene: Federation) -> None:
    late = make_update("w1", base=Version(EPOCH, 5))
    scene.send(late, late, make_update("w2", delta=net(float("inf"), 0.0)))
    step(scene.coordinator(), 3)
    reasons = scene.telemetry.registry.get_sample_value
    for reason in ("future_version", "not_finite"):
        assert reasons("latecomer_updates_refused_total", {"reason": reason}) == 1
    assert measured(scene.telemetry, "updates_duplicate_total") == [1]


def test_a_process_is_seen_to_be_alive_while_a_step_takes_long() -> None:
    """Else it would be replaced in the middle of each version, and the next one, too."""
    scene, beats = Federation(mode="fedasync"), list[float]()
    scene.found()
    coordinator = scene.built(
        background=Slow(scene.clock), beat=lambda: beats.append(scene.clock.monotonic_s())
    )
    step(coordinator)
    scene.send(make_update())
    step(coordinator)
    # Beside the head, the update, and the version.
    assert (scene.number(), len(beats)) == (1, 3)
