"""Which version is next, and how long nothing becomes of the last one."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from latecomer.broker import topology
from latecomer.errors import StoreUnreachable
from latecomer.events import Version
from latecomer.recipe import round_of
from latecomer.store.port import Head
from latecomer_aggregator.rounds import announcement
from latecomer_worker.rounds import GRACE_S, POLL_HEAD_S
from scenes import DAY_S, FEDERATION, Device, Federation
from unit.worker.test_agent import nudge


@pytest.fixture
def scene() -> Federation:
    scene = Federation(mode="fedasync")
    scene.found_items()
    return scene


@pytest.fixture
def device(scene: Federation, tmp_path: Path) -> Device:
    return Device(scene, "w1", tmp_path)


def head_of(scene: Federation) -> Head:
    head = scene.store.head()
    assert head is not None
    return head


def trained_on(device: Device) -> Version:
    return Version(*device.state.fact("last_round")["version"])


def test_a_round_is_not_traded_for_an_older_version_nor_for_one_of_another_epoch(
    scene: Federation, device: Device
) -> None:
    """Where the head is another lineage's, its own announcement says how to train on it."""
    found = head_of(scene)
    head = replace(found, version=Version(found.version.epoch, 3))
    scene.store.head = lambda: head  # type: ignore[method-assign]
    for version in (Version(head.version.epoch, 5), Version(head.version.epoch - 1, 0)):
        announced = round_of(scene.recipe, replace(head, version=version))
        assert device.rounds.caught_up(announced) == announced
    missed = round_of(scene.recipe, replace(head, version=Version(head.version.epoch, 2)))
    assert device.rounds.caught_up(missed).version == head.version


def test_patience_doubles_each_time_up_to_a_day(scene: Federation, device: Device) -> None:
    assert device.rounds.patience_s(1) == DAY_S
    assert device.step()
    first_s = scene.recipe.aggregation.max_wait_s + GRACE_S
    assert [device.rounds.patience_s(times) for times in (1, 2, 3)] == [
        first_s,
        2 * first_s,
        4 * first_s,
    ]
    assert device.rounds.patience_s(10_000) == DAY_S


def test_with_another_version_patience_is_short_again(scene: Federation, device: Device) -> None:
    assert device.step()
    scene.clock.advance(DAY_S)
    assert device.step()
    assert device.state.fact("last_round")["times"] == 2
    coordinator = scene.coordinator()
    nudge(scene, coordinator, 1)
    assert device.step()
    assert device.state.fact("last_round")["times"] == 1


def test_of_what_was_announced_meanwhile_the_newest_is_next(
    scene: Federation, device: Device
) -> None:
    assert device.step()
    head = head_of(scene)
    for number in (1, 2):
        version = Version(head.version.epoch, number)
        later = announcement(scene.recipe, replace(head, version=version))
        scene.login("aggregator").publisher().publish(later)
    found = device.rounds.next(0)
    assert found is not None
    assert found.version.number == 2


def test_of_what_still_waits_for_its_broker_nothing_can_have_become_yet(
    scene: Federation, device: Device
) -> None:
    scene.server.stop()
    assert device.step()
    for _ in range(5):
        scene.clock.advance(DAY_S / 10)
        assert not device.step()
    scene.clock.advance(DAY_S)
    assert device.step()


def test_what_is_announced_of_another_epoch_is_looked_for_at_the_head_at_once(
    scene: Federation, device: Device
) -> None:
    assert device.step()
    head = scene.found_items(new_epoch=True)
    scene.login("aggregator").publisher().publish(announcement(scene.recipe, head))
    assert device.step()
    assert trained_on(device) == head.version


def test_a_round_of_another_federation_is_none_and_is_said_once(
    scene: Federation, device: Device
) -> None:
    assert device.step()
    head = head_of(scene)
    later = replace(head, version=Version(head.version.epoch, 1))
    stray = announcement(scene.recipe.model_copy(update={"federation": "other"}), later)
    own_key = topology.round_key(FEDERATION)
    publisher = scene.login("aggregator").publisher()
    with capture_logs() as logs:
        for _ in range(2):
            publisher.publish(replace(stray, routing_key=own_key))
            assert device.rounds.next(0) is None
    said = [each for each in logs if each["event"] == "round.of_another_federation"]
    assert [each["federation"] for each in said] == ["other"]
    assert "virtual host" in said[0]["hint"]


def test_pauses_start_small_again_once_the_store_was_well(tmp_path: Path) -> None:
    scene = Federation(mode="fedasync", max_wait_s=10 * POLL_HEAD_S)
    scene.found_items()
    device = Device(scene, "w1", tmp_path)
    assert device.step()
    for _ in range(2):
        device.slept.clear()
        scene.redis.connected = False
        scene.clock.advance(POLL_HEAD_S)
        for _ in range(8):
            assert not device.step()
        assert device.slept[0] <= 0.5 < max(device.slept)
        scene.redis.connected = True
        assert not device.step()


def test_where_no_version_gets_through_the_one_that_is_here_is_trained_on_once_a_day(
    scene: Federation, device: Device
) -> None:
    """A line that lets what is small pass: who is asked for the head answers."""
    assert device.step()
    first = trained_on(device)
    nudge(scene, scene.coordinator(), 1)

    def dead(digests: Iterable[str]) -> dict[str, bytes]:
        raise StoreUnreachable(f"the line went dead before {sorted(digests)}")

    scene.store.read = dead  # type: ignore[method-assign]
    assert not device.step()
    scene.clock.advance(DAY_S)
    assert device.step()
    assert trained_on(device) == first
    assert not device.step()


def test_the_rests_of_what_never_came_make_room_for_what_comes(
    scene: Federation, device: Device, tmp_path: Path
) -> None:
    """Over a bad line they would pile up until the device is full."""
    assert device.step()
    chunks = tmp_path / "w1" / "chunks"
    held, rest = set(chunks.iterdir()), chunks / ("0" * 32)
    rest.write_bytes(b"of a version that was too long")
    nudge(scene, scene.coordinator(), 1)

    def dead(digests: Iterable[str]) -> dict[str, bytes]:
        raise StoreUnreachable(f"the line went dead before {sorted(digests)}")

    scene.store.read = dead  # type: ignore[method-assign]
    assert not device.step()
    assert not rest.exists()
    assert held <= set(chunks.iterdir())
