"""What happens beside a version that is being written."""

from collections.abc import Callable
from typing import Any

import pytest

from latecomer.broker.port import Receipt
from latecomer.errors import StoreUnreachable
from latecomer.events import Version
from latecomer.store.port import Verdict
from latecomer_aggregator.background import Foreground
from latecomer_aggregator.commit import Attempt
from latecomer_aggregator.coordinator import ANNOUNCE_EVERY_S, Coordinator
from latecomer_aggregator.term import Term
from scenes import EPOCH, LEASE_S, Federation, delivery_of, heard, make_update, net, step


class SlowDisk(Foreground):
    """A version is written when the test says so.

    Attributes:
        turns: So many more are.
        asks: Of each, so many questions whether it is come before it is.
    """

    turns = 0
    asks = 0
    asked = 0

    def begin(self, task: Callable[[], None]) -> None:
        assert not self.busy, "one version is written at a time"
        self.asked = 0
        super().begin(task)

    def ended(self, wait_s: float) -> bool:
        self.asked += 1
        if not self.turns or self.asked <= self.asks:
            return False
        self.turns -= 1
        return super().ended(wait_s)


class Scene(Federation):
    """One aggregator on a slow disk; its first version is being written."""

    def __init__(self, **aggregation: Any) -> None:
        super().__init__(**aggregation)
        self.found()
        self.disk = SlowDisk()
        self.store_of_leader = self.open_store()
        self.leader = self.coordinator(store=self.store_of_leader, background=self.disk)
        self.send(make_update("w1", 1), make_update("w2", 1, delta=net(3.0, 1.0)))
        step(self.leader, 2)

    def written(self, versions: int = 1) -> None:
        self.disk.turns = versions
        step(self.leader, versions)

    def staleness(self) -> dict[str, int]:
        return {fold.update_id: fold.staleness for fold in self.manifest().folds}


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_version_that_is_being_written_is_not_the_head_and_nothing_of_it_is_acked(
    scene: Scene,
) -> None:
    assert (scene.number(), scene.unacked(), scene.disk.busy) == (0, 2, True)
    scene.written()
    assert (scene.number(), scene.unacked(), scene.disk.busy) == (1, 0, False)


def test_what_comes_meanwhile_is_folded_upon_it_and_as_stale_as_that_makes_it(
    scene: Scene,
) -> None:
    scene.send(make_update("w3"), make_update("w4", delta=net(0.0, 4.0)))
    step(scene.leader, 2)
    assert (scene.number(), scene.unacked()) == (0, 4)

    scene.written(2)
    assert scene.number() == 2
    assert scene.staleness() == {"w3:boot:1": 1, "w4:boot:1": 1}
    # (1, 1) and (3, 1) in the mean, then (1, 1) and (0, 4) in the mean at weight 2^-0.5.
    assert scene.model()["net"].tolist() == pytest.approx([2.0 + 0.5**1.5, 1.0 + 2.5 / 2**0.5])
    assert scene.unacked() == scene.waiting() == 0


def test_one_version_is_written_at_a_time_and_the_next_waits_for_it(scene: Scene) -> None:
    scene.send(make_update("w3"), make_update("w4"), make_update("w5"))
    step(scene.leader, 5)
    assert (scene.number(), scene.unacked()) == (0, 5)
    scene.written()
    assert scene.number() == 1
    scene.written()
    assert (scene.number(), list(scene.staleness())) == (2, ["w3:boot:1", "w4:boot:1"])


def test_who_waited_for_the_next_version_is_let_in_while_his_former_update_is_written(
    scene: Scene,
) -> None:
    scene.send(make_update("w1", 2), make_update("w2", 2))
    step(scene.leader, 2)
    scene.written(2)
    assert (scene.number(), list(scene.staleness())) == (2, ["w1:boot:2", "w2:boot:2"])


def test_an_update_that_is_published_again_while_it_is_written_counts_once(scene: Scene) -> None:
    scene.send(make_update("w1", 1))
    step(scene.leader)
    scene.written()
    assert (scene.number(), scene.unacked(), scene.waiting()) == (1, 0, 0)


def test_a_copy_of_what_is_being_written_is_not_refused_for_the_version_that_it_makes() -> None:
    scene = Scene(mode="sync")
    scene.server.drop_connections()
    step(scene.leader, 3)
    scene.written()
    assert (scene.number(), scene.unacked(), scene.waiting()) == (1, 0, 0)
    assert scene.store.totals().refused == {}


def test_who_comes_too_late_is_told_so_once_the_version_is_durable_that_he_is_late_for() -> None:
    scene = Scene(max_staleness=0)
    scene.send(make_update("w3"))
    step(scene.leader, 3)
    assert (scene.store.verdicts(["w3:boot:1"]), scene.unacked()) == ({}, 3)

    scene.written()
    assert scene.number() == 1
    assert scene.store.verdicts(["w3:boot:1"]) == {"w3:boot:1": Verdict(False, "too_stale")}
    assert (scene.unacked(), scene.waiting()) == (0, 0)

    scene.send(*(make_update(f"w{number}", base=Version(EPOCH, 1)) for number in (4, 5)))
    scene.written(4)
    assert (scene.number(), scene.store.totals().duplicates) == (2, 0)


def test_who_comes_too_late_for_a_version_that_never_was_is_welcome_to_the_next_leader() -> None:
    scene = Scene(max_staleness=0)
    scene.send(make_update("w3"))
    step(scene.leader, 3)
    scene.lapse_lease(unnoticed=True)
    assert scene.store.acquire("b", LEASE_S) is not None
    scene.written()
    assert (scene.number(), scene.waiting()) == (0, 3)
    assert scene.store.totals().refused == {}


def test_of_two_copies_the_one_is_held_whose_connection_still_stands(scene: Scene) -> None:
    term = scene.leader._term
    assert term is not None
    now = delivery_of(make_update("w1", 1), generation=2)
    before = delivery_of(make_update("w1", 1), generation=1, tag=99)
    # Being written, and parked for the next version; an old copy may be considered last.
    assert term.redelivered("w1:boot:1", now) == Receipt(1, 1)
    assert term.redelivered("w1:boot:1", before) == before.receipt
    assert term.owed["w1:boot:1"] == now.receipt
    for copy in (before, now, before):
        term.park("w3:boot:1", copy)
        term.park("w3:boot:1", copy)
    assert term.parked["w3:boot:1"] is now


def test_of_versions_that_are_due_one_after_the_other_the_last_is_announced(scene: Scene) -> None:
    rounds = scene.listen("w9")
    scene.send(make_update("w3"), make_update("w4"))
    step(scene.leader, 2)
    scene.written()
    assert (scene.number(), heard(rounds)) == (1, [])
    scene.written()
    assert (scene.number(), heard(rounds)) == (2, [Version(EPOCH, 2)])


def test_a_version_whose_successor_is_half_full_is_announced_within_a_tenth_of_a_second(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = scene.listen("w9")
    scene.send(make_update("w3"))
    step(scene.leader)
    scene.written()
    assert (scene.number(), heard(rounds)) == (1, [])

    term, waited = scene.leader._term, list[float]()
    assert term is not None
    monkeypatch.setattr(term.updates, "receive", waited.append)
    scene.leader.step(1.0)
    scene.clock.advance(ANNOUNCE_EVERY_S)
    scene.leader.step(1.0)
    assert (waited, heard(rounds)) == ([ANNOUNCE_EVERY_S, 1.0], [Version(EPOCH, 1)])


def test_a_version_is_announced_before_the_next_one_is_computed(scene: Scene) -> None:
    rounds = scene.listen("w9")
    scene.send(make_update("w3"), make_update("w4"))
    step(scene.leader, 2)
    scene.clock.advance(ANNOUNCE_EVERY_S)
    scene.disk.turns, scene.disk.asks = 1, scene.disk.asked + 1
    computed = Coordinator._computed

    def seen(self: Coordinator, term: Term) -> Attempt:
        told.extend(heard(rounds))
        return computed(self, term)

    told: list[Version] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Coordinator, "_computed", seen)
        step(scene.leader)
    assert told == [Version(EPOCH, 1)]


def test_pauses_grow_while_a_version_cannot_be_written(scene: Scene) -> None:
    scene.redis.connected = False
    scene.disk.asks = 1
    scene.disk.turns = 40
    step(scene.leader, 40)
    assert max(scene.slept) > 2.0


def test_a_connection_that_is_lost_meanwhile_costs_a_redelivery_only(scene: Scene) -> None:
    scene.server.drop_connections()
    step(scene.leader, 3)
    assert scene.unacked() == 2
    scene.written()
    assert (scene.number(), scene.unacked(), scene.waiting()) == (1, 0, 0)


def test_a_version_that_could_not_be_written_is_written_again_and_nothing_folded_is_lost(
    scene: Scene,
) -> None:
    scene.send(make_update("w3"))
    step(scene.leader)
    scene.redis.connected = False
    scene.written()
    assert scene.slept != []
    scene.redis.connected = True
    scene.written()
    assert scene.number() == 1
    scene.send(make_update("w4"))
    scene.written()
    assert (scene.number(), scene.staleness()) == (2, {"w3:boot:1": 1, "w4:boot:1": 1})


def test_nothing_is_folded_upon_a_version_that_has_to_be_written_again(scene: Scene) -> None:
    """A store that is full answers all the same: the broker keeps what it has no place for yet."""

    def full() -> None:
        raise StoreUnreachable("full")

    scene.store_of_leader.before_commit = full
    scene.written()
    scene.send(make_update("w3"))
    scene.written(3)
    assert (scene.number(), scene.leader._waiting()) == (0, 2)
    scene.store_of_leader.before_commit = lambda: None
    scene.written()
    step(scene.leader)
    assert (scene.number(), scene.leader._waiting()) == (1, 1)


def test_a_fenced_version_goes_back_to_the_queue_with_what_was_folded_upon_it(
    scene: Scene,
) -> None:
    scene.send(make_update("w3"))
    step(scene.leader)
    scene.lapse_lease(unnoticed=True)
    assert scene.store.acquire("b", LEASE_S) is not None
    scene.written()
    assert (scene.number(), scene.waiting()) == (0, 3)


def test_who_stops_hears_of_the_version_that_is_being_written_and_hands_the_rest_over(
    scene: Scene,
) -> None:
    scene.send(make_update("w3"))
    step(scene.leader)
    scene.disk.turns = 1
    scene.leader.close()
    assert (scene.number(), scene.waiting(), scene.store.holder()) == (1, 1, None)


def test_who_stops_while_the_store_is_away_gives_everything_back(scene: Scene) -> None:
    scene.redis.connected = False
    scene.disk.turns = 1
    scene.leader.close()
    scene.redis.connected = True
    assert (scene.number(), scene.waiting()) == (0, 2)
