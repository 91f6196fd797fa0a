"""A family that adds up statistics: whatever happens on the way, every user's pairs count once."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from latecomer.broker import topology
from latecomer.recipe import Recipe
from latecomer.recommenders import gram
from latecomer.recommenders.settings import GramModel
from latecomer.store.port import LEDGER_WINDOW_S
from latecomer.tensors import Array, TensorDelta
from latecomer_aggregator import rounds
from latecomer_aggregator.coordinator import Coordinator
from latecomer_worker.agent import VERDICTS_EVERY_S
from latecomer_worker.home import SETTLED_S
from latecomer_worker.rounds import GRACE_S, last_manifest
from latecomer_worker.site import Site
from scenes import (
    DAY_S,
    FEDERATION,
    ITEM_CATALOGUE,
    Device,
    Federation,
    checkerboard,
    make_recipe,
    make_site,
    make_update,
    step,
)

SETTINGS = GramModel(l2=1.0, factors=2)

#: Of the scene's recipe: nothing came of an update by then.
PATIENCE_S = 30.0 + GRACE_S


def additive(**aggregation: float | str) -> Recipe:
    body = make_recipe(**aggregation).model_dump(mode="json")
    body |= {"model": SETTINGS.model_dump(), "training": {}}
    return Recipe.model_validate(body)


@pytest.fixture
def scene() -> Federation:
    scene = Federation(additive(updates_per_version=1, max_update_norm=1e4))
    scene.found_items()
    return scene


@pytest.fixture
def coordinator(scene: Federation) -> Coordinator:
    coordinator = scene.coordinator()
    step(coordinator, 2)
    return coordinator


def devices(scene: Federation, folder: Path, sites: list[Site]) -> list[Device]:
    return [Device(scene, f"w{n}", folder, site=site) for n, site in enumerate(sites, start=1)]


def sites(count: int = 3) -> list[Site]:
    return [make_site(checkerboard(6, first=6 * n)) for n in range(count)]


def pooled(parts: list[Site]) -> Array:
    """(C,) pairs of all users, counted in one place."""
    items = len(ITEM_CATALOGUE)
    layout = gram.Gram(SETTINGS).layout(items)
    cells = layout.zeros()[gram.PAIRS][:, 0]
    for site in parts:
        train = site.split.train
        for user in range(len(site.users)):
            his = set(train.items[train.indptr[user] : train.indptr[user + 1]].tolist())
            owned = np.array([item in his for item in range(items)], np.float32)
            cells += np.outer(owned, owned)[np.triu_indices(items)]
    return cells


def look_for_verdicts(scene: Federation, *asking: Device) -> None:
    scene.clock.advance(VERDICTS_EVERY_S + 1)
    for device in asking:
        device.step()


def assert_exact(scene: Federation, parts: list[Site]) -> None:
    model = scene.model()
    expected = pooled(parts)
    assert np.array_equal(model[gram.PAIRS][:, 0], expected)
    central = gram.solved(SETTINGS, {**model, gram.PAIRS: expected[:, None]})
    assert model[gram.SOURCES].tobytes() == central[gram.SOURCES].tobytes()
    for name in (gram.WEIGHTS, gram.ENTRANCES, gram.EXITS):
        assert np.abs(model[name] - central[name]).max() <= 1e-5


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_in_whatever_order_they_come_the_result_is_the_centralised_one(
    scene: Federation, coordinator: Coordinator, tmp_path: Path, order: list[int]
) -> None:
    parts = sites()
    fleet = devices(scene, tmp_path, parts)
    for row in order:
        assert fleet[row].step()
        step(coordinator, 3)
    assert scene.number() == 3
    assert_exact(scene, parts)


def test_staleness_does_not_matter_to_a_sum(
    scene: Federation, coordinator: Coordinator, tmp_path: Path
) -> None:
    body = scene.recipe.model_copy(
        update={"aggregation": scene.recipe.aggregation.model_copy(update={"max_staleness": 0})}
    )
    scene = Federation(body)
    scene.found_items()
    coordinator = scene.coordinator()
    parts = sites()
    for device in devices(scene, tmp_path, parts):
        assert device.step()  # all of them on version 0
    step(coordinator, 8)
    assert scene.number() == 3
    assert_exact(scene, parts)


def test_who_added_everything_sends_nothing_more_and_is_still_served(
    scene: Federation, coordinator: Coordinator, tmp_path: Path
) -> None:
    (site,) = parts = sites(1)
    (device,) = devices(scene, tmp_path, parts)
    assert device.step()
    step(coordinator, 3)
    for _ in range(4):
        look_for_verdicts(scene, device)
        step(coordinator, 2)
    assert scene.number() == 1
    assert_exact(scene, [site])
    assert device.state.fact("last_round")["version"][1] == 1


@pytest.mark.parametrize("lost", ["manifest", "everything"])
def test_whose_cache_was_lost_learns_from_new_customers_all_the_same(
    scene: Federation, coordinator: Coordinator, tmp_path: Path, lost: str
) -> None:
    """Where all is counted the head stands still, and is no news."""
    (device,) = devices(scene, tmp_path, sites(1))
    assert device.step()
    step(coordinator, 3)
    look_for_verdicts(scene, device)
    scene.clock.advance(DAY_S)
    device.step()  # on the version that counts it
    for path in (tmp_path / "w1" / "chunks").iterdir():
        if lost == "everything" or path.name == last_manifest(device.state):
            path.write_bytes(b"")
    more = [make_site(checkerboard(9))]
    device.restart(site=more[0])
    assert device.step()
    step(coordinator, 3)
    assert_exact(scene, more)


def test_a_restart_before_the_verdict_counts_nothing_twice(
    scene: Federation, coordinator: Coordinator, tmp_path: Path
) -> None:
    parts = sites(1)
    (device,) = devices(scene, tmp_path, parts)
    assert device.step()
    device.restart()
    scene.clock.advance(DAY_S)
    assert not device.step()  # what it would add depends on the verdict
    step(coordinator, 3)
    device.restart()
    for _ in range(3):
        look_for_verdicts(scene, device)
        step(coordinator, 2)
    assert_exact(scene, parts)


def test_what_was_refused_is_added_again(tmp_path: Path) -> None:
    scene = Federation(additive(updates_per_version=1, max_update_norm=1e-3))
    scene.found_items()
    coordinator = scene.coordinator()
    parts = sites(1)
    (device,) = devices(scene, tmp_path, parts)
    assert device.step()
    step(coordinator, 3)
    assert scene.number() == 0
    look_for_verdicts(scene, device)
    scene.clock.advance(DAY_S)
    assert device.step()
    assert not device.trainer()._private[gram.COUNTED].any()


def test_what_a_deleted_queue_took_along_is_sent_again_as_it_was(
    scene: Federation, coordinator: Coordinator, tmp_path: Path
) -> None:
    parts = sites(1)
    (device,) = devices(scene, tmp_path, parts)
    assert device.step()
    scene.server.delete(topology.updates_queue(FEDERATION))
    scene.login("operator").declare(topology.federation_topology(FEDERATION))
    look_for_verdicts(scene, device)
    step(coordinator, 3)
    assert scene.number() == 0
    device.restart()
    scene.clock.advance(PATIENCE_S)
    look_for_verdicts(scene, device)
    device.step()
    step(coordinator, 3)
    assert scene.number() == 1
    assert_exact(scene, parts)
    look_for_verdicts(scene, device)
    assert not device.state.private.is_tentative()


def test_what_is_sent_again_although_it_only_waited_counts_once(
    scene: Federation, tmp_path: Path
) -> None:
    """Nobody aggregates for a day: each copy comes after twice the pause of the former."""
    parts = sites(1)
    (device,) = devices(scene, tmp_path, parts)
    assert device.step()
    for _ in range(100):
        scene.clock.advance(PATIENCE_S)
        device.step()
    assert scene.waiting() == 1 + 6  # after 1, 2, 4, 8, 16 and 32 more of these, and one to send it
    coordinator = scene.coordinator()
    step(coordinator, 12)
    assert scene.number() == 1
    assert scene.waiting() == scene.unacked() == 0
    assert_exact(scene, parts)
    look_for_verdicts(scene, device)
    assert device.state.pending.unanswered() == []


def test_the_outbox_never_gives_up_what_adds_to_a_sum(
    scene: Federation, coordinator: Coordinator, tmp_path: Path
) -> None:
    """It may have arrived, unconfirmed: whoever added it again would count it twice."""
    parts = sites(1)
    (device,) = devices(scene, tmp_path, parts)
    scene.server.stop()
    device.step()
    dropped = device.state.pending.trim(created_before_s=scene.clock.now_s() + 1, keep_bytes=0)
    assert (dropped, device.state.pending.unconfirmed()) == ([], 1)
    scene.server.start()
    scene.clock.advance(30 * DAY_S)
    device.step()
    step(coordinator, 3)
    assert scene.number() == 1
    assert_exact(scene, parts)


def test_what_was_confirmed_counts_though_its_verdict_is_forgotten(
    scene: Federation, coordinator: Coordinator, tmp_path: Path
) -> None:
    """A device that was off for longer than the ledger remembers, or whose calendar was wrong."""
    parts = sites(1)
    (device,) = devices(scene, tmp_path, parts)
    assert device.step()
    for _ in range(3):
        scene.clock.advance(LEDGER_WINDOW_S)
        device.step()
    step(coordinator, 6)
    assert not device.state.private.is_tentative()
    assert scene.number() == 1
    assert_exact(scene, parts)


def test_a_late_announcement_of_a_former_epoch_counts_nothing_twice(
    scene: Federation, tmp_path: Path
) -> None:
    former = scene.store.head()
    assert former is not None
    parts = sites(1)
    scene.found_items(new_epoch=True)
    coordinator = scene.coordinator()
    step(coordinator, 2)
    (device,) = devices(scene, tmp_path, parts)
    assert device.step()
    step(coordinator, 4)
    look_for_verdicts(scene, device)
    late = rounds.announcement(scene.recipe, former)
    scene.login("aggregator").publisher().publish(late, mandatory=False)
    for _ in range(4):
        look_for_verdicts(scene, device)
        step(coordinator, 4)
    assert scene.store.totals().refused == {}
    assert_exact(scene, parts)


def test_a_new_epoch_starts_to_count_from_nothing(
    scene: Federation, coordinator: Coordinator, tmp_path: Path
) -> None:
    parts = sites(1)
    (device,) = devices(scene, tmp_path, parts)
    assert device.step()
    step(coordinator, 3)
    look_for_verdicts(scene, device)
    coordinator.close()
    scene.found_items(new_epoch=True)
    coordinator = scene.coordinator("b")
    step(coordinator, 2)
    scene.clock.advance(DAY_S)
    assert device.step()
    step(coordinator, 3)
    assert scene.number() == 1
    assert_exact(scene, parts)


def test_a_new_epoch_does_not_wait_for_a_verdict_of_the_former(
    scene: Federation, coordinator: Coordinator, tmp_path: Path
) -> None:
    parts = sites(1)
    (device,) = devices(scene, tmp_path, parts)
    assert device.step()
    assert device.state.private.is_tentative()
    coordinator.close()
    scene.found_items(new_epoch=True)
    scene.clock.advance(DAY_S)
    assert device.step()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_who_makes_the_sums_unsolvable_is_found_and_nobody_else_is_refused(
    tmp_path: Path, place: int
) -> None:
    scene = Federation(additive(updates_per_version=3, max_update_norm=1e4))
    head = scene.found_items()
    coordinator = scene.coordinator()
    step(coordinator, 2)
    spoilt = TensorDelta(np.full((1, 1), -100.0, np.float32), np.array([0], np.uint32))
    layout = scene.manifest().layout.digest
    update = make_update("evil", base=head.version, layout=layout, delta={gram.PAIRS: spoilt})
    parts = sites(2)
    honest = devices(scene, tmp_path, parts)
    senders: list[Callable[[], object]] = [device.step for device in honest]
    senders.insert(place, partial(scene.send, update))
    for send in senders:
        send()
    for _ in range(4):
        step(coordinator, 8)
        scene.clock.advance(30.0)
    assert scene.store.totals().refused == {"unsolvable": 1}
    assert scene.dead() == 1
    assert scene.unacked() == scene.waiting() == 0
    assert_exact(scene, parts)


@pytest.mark.parametrize("again", [True, False], ids=["started again", "while it runs"])
def test_what_is_new_at_home_is_added_at_once_and_not_a_day_later(
    scene: Federation, coordinator: Coordinator, tmp_path: Path, *, again: bool
) -> None:
    """All is counted, and no version brings another round about."""
    (device,) = devices(scene, tmp_path, [make_site(checkerboard(6))])
    assert device.step()
    step(coordinator, 3)
    for _ in range(3):
        look_for_verdicts(scene, device)
    more = make_site(checkerboard(7))
    if again:
        device.restart(site=more)
    else:
        device.at_home(more)
        assert not device.step(), "it may still be written"
        scene.clock.advance(SETTLED_S)
    assert device.step()
    step(coordinator, 3)
    assert_exact(scene, [more])
    device.restart()
    for _ in range(3):
        look_for_verdicts(scene, device)
        step(coordinator, 2)
    assert_exact(scene, [more])


def test_of_who_is_deleted_at_home_nothing_stays_anywhere(
    scene: Federation, coordinator: Coordinator, tmp_path: Path
) -> None:
    (device,) = devices(scene, tmp_path, [make_site(checkerboard(6))])
    assert device.step()
    step(coordinator, 3)
    look_for_verdicts(scene, device)
    left = make_site(checkerboard(5))
    device.restart(site=left)
    scene.clock.advance(DAY_S)
    assert device.step()
    step(coordinator, 3)
    assert_exact(scene, [left])
    look_for_verdicts(scene, device)
    assert device.state.private.users() == {*left.users}
