"""What a worker added, and when it may believe that it counts without having heard so."""

from pathlib import Path

import pytest

from latecomer.store.port import LEDGER_WINDOW_S
from latecomer_worker.agent import VERDICTS_EVERY_S
from scenes import Device, Federation, checkerboard, make_site, step
from unit.worker.test_additive import additive, assert_exact, look_for_verdicts


@pytest.fixture
def scene() -> Federation:
    scene = Federation(additive(updates_per_version=1, max_update_norm=1e4))
    scene.found_items()
    return scene


@pytest.fixture
def device(scene: Federation, tmp_path: Path) -> Device:
    """It added all that it has; the broker confirmed that, and nobody leads."""
    device = Device(scene, "w1", tmp_path, site=make_site(checkerboard(6)))
    assert device.step()
    assert device.state.private.is_tentative()
    return device


def test_a_verdict_that_the_ledger_may_still_know_is_not_guessed(
    scene: Federation, device: Device
) -> None:
    scene.clock.advance(LEDGER_WINDOW_S - 1.0)
    device.step()
    assert device.state.private.is_tentative()
    scene.clock.advance(VERDICTS_EVERY_S)
    device.step()
    assert not device.state.private.is_tentative()


def test_what_was_confirmed_before_the_date_was_known_is_not_taken_for_counted(
    scene: Federation, device: Device
) -> None:
    device.state._db.execute("UPDATE awaited SET sent_s = 5.0")
    scene.clock.advance(VERDICTS_EVERY_S)
    device.step()
    assert device.state.private.is_tentative()


def test_what_one_of_many_buys_rewrites_what_is_counted_of_nobody_else(
    scene: Federation, device: Device
) -> None:
    coordinator = scene.coordinator()
    step(coordinator, 5)
    look_for_verdicts(scene, device)
    more = checkerboard(6)
    more.item[2] = next(item for item in range(0, 40, 2) if item not in more.item[:8])
    site = make_site(more)
    device.restart(site=site)
    assert device.step()
    waiting = [*device.state._db.rows("SELECT user FROM tentative")]
    assert waiting == [("customer-0",)]
    step(coordinator, 3)
    look_for_verdicts(scene, device)
    assert_exact(scene, [site])
    assert not device.step(), "of nobody is anything left to add"
    assert device.state.private.users() == {*site.users}
