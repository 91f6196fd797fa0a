"""Who waits in a buffer, for how long, and beside whom."""

from latecomer.events import Version
from latecomer_aggregator.rounds import places, prefetch
from scenes import EPOCH, Federation, make_update, step

T_S = 30.0


def founded(updates_per_version: int, mode: str = "fedbuff") -> Federation:
    scene = Federation(updates_per_version=updates_per_version, max_wait_s=T_S, mode=mode)
    scene.found()
    return scene


def test_t_runs_from_the_first_update_of_a_buffer_and_not_from_the_last() -> None:
    scene = founded(3, mode="sync")
    coordinator = scene.coordinator()
    scene.send(make_update("w1"))
    step(coordinator)
    scene.clock.advance(T_S - 1.0)
    scene.send(make_update("w2"))
    step(coordinator)
    assert scene.number() == 0
    scene.clock.advance(1.0)
    step(coordinator, 2)
    assert [fold.worker for fold in scene.manifest().folds] == ["w1", "w2"]


def test_t_runs_anew_for_every_buffer() -> None:
    scene = founded(3)
    coordinator = scene.coordinator()
    scene.send(*(make_update(f"w{number}") for number in range(3)))
    step(coordinator, 3)
    scene.clock.advance(T_S)
    scene.send(make_update("w4", base=Version(EPOCH, 1)))
    step(coordinator, 2)
    assert scene.number() == 1


def test_where_nothing_more_can_come_in_a_version_is_made_at_once() -> None:
    """Of what few workers sent, all that the broker hands out is here, and the rest would wait."""
    scene = founded(10)
    coordinator = scene.coordinator()
    held = prefetch(scene.recipe.aggregation)
    each = places(scene.recipe.aggregation)
    workers = [f"w{number}" for number in range(held // each)]
    scene.send(*(make_update(worker, seq) for worker in workers for seq in range(each)))
    scene.send(make_update("late"))
    step(coordinator, held - 1)
    assert (scene.number(), scene.unacked(), scene.waiting()) == (0, held, 1)
    step(coordinator)
    assert scene.number() == 1
    assert [fold.worker for fold in scene.manifest().folds] == workers


def test_nobody_loses_a_place_to_what_others_sent() -> None:
    scene = founded(10)
    coordinator = scene.coordinator()
    waiting = places(scene.recipe.aggregation)
    sent = [make_update(worker, seq) for worker in ("w1", "w2") for seq in range(1 + waiting)]
    scene.send(*sent)
    step(coordinator, len(sent))
    assert scene.store.totals().refused == {}
    scene.send(make_update("w2", 99))
    step(coordinator)
    assert scene.store.totals().refused == {"superseded": 1}
    assert scene.store.verdicts(["w2:boot:1"])["w2:boot:1"].reason == "superseded"


def test_who_waited_for_a_place_takes_it_once() -> None:
    scene = founded(2)
    coordinator = scene.coordinator()
    scene.send(*(make_update(worker, seq) for worker in ("w1", "w2") for seq in range(2)))
    step(coordinator, 3)
    assert scene.number() == 1
    scene.send(*(make_update(worker, 3) for worker in ("w1", "w2")))
    step(coordinator, 9)
    assert scene.number() == 3
    assert (scene.store.totals().accepted, scene.store.totals().duplicates) == (6, 0)
    assert scene.unacked() == scene.waiting() == 0
