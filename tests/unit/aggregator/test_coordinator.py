import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from latecomer.broker import topology
from latecomer.broker.port import Message
from latecomer.broker.topology import Topology
from latecomer.errors import BrokerUnreachable, ChunkMissing, StoreUnreachable, Unroutable
from latecomer.events import UpdateSubmitted, Version
from latecomer.store.keys import Keys
from latecomer.store.port import Verdict
from latecomer.store.redis import SPENT_MS, RedisStore, embedded
from latecomer.tensors import TensorDelta
from latecomer.wire.header import pack_padded
from latecomer.wire.payload import pack_tensors
from latecomer_aggregator import optimizer
from latecomer_aggregator.buffer import Buffer
from latecomer_aggregator.coordinator import (
    ANNOUNCE_AGAIN_S,
    ANNOUNCE_EVERY_S,
    COMPLAIN_EVERY_S,
    DECLARE_AGAIN_S,
    Coordinator,
)
from latecomer_aggregator.rounds import prefetch
from latecomer_aggregator.term import GIVE_BACK_S, HOLD_S
from scenes import (
    EPOCH,
    FEDERATION,
    LAYOUT,
    LEASE_S,
    Federation,
    delivery_of,
    heard,
    make_update,
    message_of,
    net,
    rows,
    step,
)

KEYS = Keys(FEDERATION)


class Killed(Exception):
    """kill -9, at this line."""


def killed() -> None:
    raise Killed


def full() -> None:
    raise StoreUnreachable("the store is full")


def unreadable(digests: Iterable[str]) -> dict[str, bytes]:
    raise ChunkMissing(f"chunk {next(iter(digests))} is damaged")


def no_reply() -> None:
    raise StoreUnreachable("the reply was lost")


def crash(coordinator: Coordinator) -> None:
    """What the servers see of a process that died: its connections are gone, its lease lapses."""
    if coordinator._term is not None:
        coordinator._term.updates.close()


def folded(scene: Federation) -> list[str]:
    """Ids in all versions of the head's epoch, in order."""
    head = scene.store.head()
    assert head is not None
    return [
        fold.update_id
        for number in range(head.version.number + 1)
        for fold in scene.store.manifest(Version(head.version.epoch, number)).folds
    ]


@pytest.fixture
def scene() -> Federation:
    scene = Federation()
    scene.found()
    return scene


# From K updates to a version.


def test_k_updates_make_a_version_and_only_then_are_acked(scene: Federation) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1"), make_update("w2", delta=net(3.0, -1.0)))
    step(coordinator)
    assert scene.number() == 0
    assert scene.unacked() == 2

    step(coordinator)
    assert scene.number() == 1
    assert scene.unacked() == scene.waiting() == 0
    assert scene.model()["net"].tolist() == [2.0, 0.0]
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]


def test_a_part_of_the_model_that_the_server_lost_is_there_again_with_the_next_version(
    scene: Federation,
) -> None:
    coordinator = scene.coordinator()
    step(coordinator)
    redis = embedded(scene.redis)
    for name in {chunk for tensor in scene.manifest().model.values() for chunk in tensor}:
        redis.delete(KEYS.chunk(name))
    scene.send(make_update("w1"), make_update("w2"))
    with capture_logs() as logs:
        step(coordinator, 3)
    assert "version.staged_again" in [each["event"] for each in logs]
    assert scene.model()["net"].tolist() == [1.0, 1.0]
    assert scene.unacked() == scene.waiting() == 0


def test_a_half_full_buffer_goes_back_to_the_queue_with_the_connection(scene: Federation) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1"))
    step(coordinator, 5)
    crash(coordinator)
    assert scene.waiting() == 1
    assert scene.number() == 0


def test_deliveries_are_unacked_before_the_commit_and_until_its_reply(scene: Federation) -> None:
    before: list[tuple[int, int]] = []
    after: list[tuple[int, int]] = []
    store = scene.open_store()
    store.before_commit = lambda: before.append((scene.number(), scene.unacked()))
    store.after_commit = lambda: after.append((scene.number(), scene.unacked()))
    scene.send(make_update("w1"), make_update("w2"))
    step(scene.coordinator(store=store), 2)
    assert (before, after) == ([(0, 2)], [(1, 2)])
    assert scene.unacked() == 0


def test_a_buffer_is_flushed_t_seconds_after_its_first_update(scene: Federation) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1", 1), make_update("w2", 1))
    step(coordinator, 2)
    scene.clock.advance(100.0)
    scene.send(make_update("w1", 2, base=Version(EPOCH, 1)))
    step(coordinator, 2)
    scene.clock.advance(29.9)
    step(coordinator, 2)
    assert scene.number() == 1

    scene.clock.advance(0.1)
    step(coordinator)
    assert scene.number() == 2
    assert scene.manifest().divisor == 2
    assert scene.model()["net"].tolist() == [1.5, 1.5]
    assert scene.unacked() == 0


def test_an_empty_buffer_makes_no_version_however_long_it_waits(scene: Federation) -> None:
    coordinator = scene.coordinator()
    for _ in range(5):
        step(coordinator)
        scene.clock.advance(1000.0)
    assert scene.number() == 0


def test_k_in_force_is_the_number_of_live_workers_once_it_is_known() -> None:
    scene = Federation(updates_per_version=10)
    scene.found()
    coordinator = scene.coordinator()
    step(coordinator)
    scene.clock.advance(30.0)
    scene.send(make_update("w1", 1))
    step(coordinator)
    assert scene.number() == 1
    assert scene.manifest().divisor == 1
    scene.send(make_update("w2", 1), make_update("w1", 2))
    step(coordinator)
    assert scene.number() == 1
    step(coordinator)
    assert (scene.number(), scene.manifest().divisor) == (2, 2)


def test_one_worker_has_one_place_and_its_newer_update_waits_for_the_next_version(
    scene: Federation,
) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1", 1), make_update("w1", 2), make_update("w2", 1))
    step(coordinator, 2)
    assert scene.number() == 0
    step(coordinator)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert scene.unacked() == 1

    scene.send(make_update("w3", 1))
    step(coordinator, 2)
    assert folded(scene)[2:] == ["w1:boot:2", "w3:boot:1"]
    assert [fold.staleness for fold in scene.manifest().folds] == [1, 1]
    assert scene.unacked() == scene.waiting() == 0


def test_fedasync_makes_a_version_of_each_update() -> None:
    scene = Federation(mode="fedasync", updates_per_version=10)
    scene.found()
    scene.send(*(make_update(f"w{number}") for number in range(4)))
    step(scene.coordinator(), 4)
    assert scene.number() == 4
    assert [scene.store.manifest(Version(EPOCH, n)).divisor for n in range(1, 5)] == [1] * 4
    weights = [scene.store.manifest(Version(EPOCH, n)).folds[0].weight for n in range(1, 5)]
    assert weights == pytest.approx([(1 + tau) ** -0.5 for tau in range(4)])


def test_a_synchronous_round_refuses_who_comes_late() -> None:
    scene = Federation(mode="sync")
    scene.found()
    coordinator = scene.coordinator()
    scene.send(make_update("w1"), make_update("w2"), make_update("w3"))
    step(coordinator, 3)
    assert scene.number() == 1
    assert scene.store.verdicts(["w3:boot:1"]) == {
        "w3:boot:1": Verdict(folded=False, reason="too_stale")
    }
    assert scene.unacked() == scene.dead() == 0


def test_a_synchronous_round_waits_for_all_its_workers_however_long_none_was_heard_from() -> None:
    scene = Federation(mode="sync")
    scene.found()
    coordinator = scene.coordinator()
    step(coordinator)
    scene.clock.advance(30.0)
    scene.send(make_update("w1"))
    step(coordinator)
    assert scene.number() == 0
    scene.send(make_update("slow"))
    step(coordinator)
    assert folded(scene) == ["w1:boot:1", "slow:boot:1"]


@pytest.mark.parametrize("limit", [100, 99])
def test_a_worker_that_comes_back_100_versions_later_is_welcome_or_told_the_limit(
    limit: int,
) -> None:
    scene = Federation(mode="fedasync", max_staleness=limit)
    scene.found()
    coordinator = scene.coordinator()
    for number in range(100):
        scene.send(make_update("w1", number, base=Version(EPOCH, number)))
        step(coordinator)
    assert scene.number() == 100
    scene.send(make_update("late"))
    step(coordinator)
    if limit == 100:
        (fold,) = scene.manifest().folds
        assert (fold.worker, fold.staleness) == ("late", 100)
        assert fold.weight == pytest.approx(101**-0.5)
        assert scene.model()["net"].tolist() == pytest.approx([100 + 101**-0.5] * 2)
    else:
        assert scene.number() == 100
        (late,) = [each for each in scene.store.fleet() if each.worker == "late"]
        assert "too_stale: staleness 100 exceeds the limit of 99 versions" in late.last_refusal
        assert scene.unacked() == scene.dead() == 0


def test_weight_is_staleness_times_examples() -> None:
    scene = Federation(
        mode="fedasync", example_weight={"rule": "sqrt", "reference": 40, "cap": 2.0}
    )
    scene.found()
    scene.send(make_update("w1", examples=10), make_update("w2", examples=160))
    step(scene.coordinator(), 2)
    assert scene.store.manifest(Version(EPOCH, 1)).folds[0].weight == 0.5
    assert scene.manifest().folds[0].weight == pytest.approx(2.0 * 2**-0.5)


def test_a_payload_that_waits_in_the_store_is_folded_like_any_other(scene: Federation) -> None:
    update = make_update("w1", delta=net(2.0, 2.0))
    table, payload = pack_tensors(update.delta, "raw")
    header = update.model_dump(by_alias=True) | {
        "type": "update",
        "tensors": table,
        "payload": {
            "at": "store",
            "bytes": len(payload),
            "digest": scene.store.stage_payload("w1", payload),
        },
    }
    message = Message(
        topology.UPDATES, "update.shop.w1", pack_padded(header), "w1:boot:1", "latecomer.update.v1"
    )
    scene.login("w1").publisher().publish(message)
    scene.send(make_update("w2"))
    step(scene.coordinator(), 2)
    assert scene.model()["net"].tolist() == [1.5, 1.5]


# Twice.


def test_an_update_that_is_published_twice_before_the_commit_counts_once(
    scene: Federation,
) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1"), make_update("w1"), make_update("w2"))
    step(coordinator, 3)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert scene.model()["net"].tolist() == [1.0, 1.0]
    assert scene.store.totals().accepted == 2
    assert scene.unacked() == scene.waiting() == 0


def test_an_update_that_is_published_twice_while_it_waits_for_the_next_version_counts_once(
    scene: Federation,
) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1", 1), make_update("w1", 2), make_update("w1", 2))
    scene.send(make_update("w2", 1), make_update("w2", 2))
    step(coordinator, 6)
    assert sorted(folded(scene)) == ["w1:boot:1", "w1:boot:2", "w2:boot:1", "w2:boot:2"]
    assert scene.unacked() == scene.waiting() == 0


def test_repeats_do_not_use_up_what_the_broker_hands_out_at_a_time(scene: Federation) -> None:
    coordinator = scene.coordinator()
    held = prefetch(scene.recipe.aggregation)
    scene.send(*[make_update("w1")] * (held + 1), make_update("w2"))
    step(coordinator, held + 2)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert scene.unacked() == scene.waiting() == 0


def test_the_ledger_is_asked_once_for_all_that_wait(
    scene: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    ask = RedisStore.applied

    def noting(store: RedisStore, update_ids: Iterable[str]) -> frozenset[str]:
        asked.append(sorted(update_ids))
        return ask(store, asked[-1])

    monkeypatch.setattr(RedisStore, "applied", noting)
    coordinator = scene.coordinator()
    scene.send(*(make_update(f"w{number}") for number in range(4)))
    step(coordinator, 4)
    assert asked == [[f"w{number}:boot:1" for number in range(4)]]


def test_a_copy_that_waited_behind_its_own_commit_counts_once(scene: Federation) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1"), make_update("w2"), make_update("w1"), make_update("w3"))
    step(coordinator, 4)
    assert (scene.number(), folded(scene)) == (1, ["w1:boot:1", "w2:boot:1"])
    assert scene.store.totals().duplicates == 1
    assert scene.store.holder() is not None
    assert scene.unacked() == 1


def test_a_refused_update_whose_copy_waited_with_it_is_refused_once(scene: Federation) -> None:
    coordinator = scene.coordinator()
    nan = make_update("w1", delta=net(float("nan"), 0.0))
    scene.send(nan, nan)
    step(coordinator, 2)
    assert scene.store.totals().refused == {"not_finite": 1}
    assert scene.store.totals().duplicates == 1


def test_a_message_that_bears_another_id_than_its_update_is_found_in_the_ledger(
    scene: Federation,
) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator, 2)
    disguised = replace(message_of(make_update("w1")), message_id="w1:boot:2")
    publisher = scene.login("w1").publisher()
    publisher.publish(disguised)
    step(coordinator)
    assert scene.store.totals().duplicates == 1
    assert scene.unacked() == 0


def test_an_update_that_is_published_again_after_the_commit_counts_once(
    scene: Federation,
) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator, 2)
    scene.send(make_update("w1"))
    step(coordinator)
    scene.clock.advance(100.0)
    step(coordinator)
    assert scene.number() == 1
    assert (scene.store.totals().accepted, scene.store.totals().duplicates) == (2, 1)
    assert scene.unacked() == 0


def test_a_refused_update_that_comes_again_is_refused_once() -> None:
    scene = Federation(max_update_norm=1.0)
    scene.found()
    scene.send(make_update("w1", delta=net(9.0, 9.0)), make_update("w1", delta=net(9.0, 9.0)))
    step(scene.coordinator(), 2)
    totals = scene.store.totals()
    assert (totals.refused, totals.duplicates) == ({"too_large_norm": 1}, 1)
    assert scene.unacked() == 0


def test_an_id_that_was_folded_is_not_refused_when_it_comes_again_too_late() -> None:
    scene = Federation(mode="fedasync", max_staleness=1)
    scene.found()
    coordinator = scene.coordinator()
    for number in range(3):
        scene.send(make_update("w1", number, base=Version(EPOCH, number)))
        step(coordinator)
    scene.send(make_update("w1", 0))
    step(coordinator)
    assert scene.store.verdicts(["w1:boot:0"]) == {"w1:boot:0": Verdict(folded=True)}
    assert scene.store.totals().refused == {}
    assert scene.store.totals().duplicates == 1


# Connections and processes that end.


def test_updates_redelivered_to_a_half_full_buffer_are_not_folded_twice(
    scene: Federation,
) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1", delta=net(4.0, 0.0)))
    step(coordinator)
    scene.server.drop_connections()
    step(coordinator)
    assert scene.number() == 0
    assert scene.unacked() == 1

    scene.send(make_update("w2", delta=net(0.0, 4.0)))
    step(coordinator)
    assert scene.model()["net"].tolist() == [2.0, 2.0]
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert scene.unacked() == scene.waiting() == 0
    assert scene.store.totals().duplicates == 0


def test_a_connection_lost_with_the_last_update_of_a_version_costs_a_redelivery_only(
    scene: Federation,
) -> None:
    """The commit acks deliveries of a lost connection, which does nothing; the ledger knows."""
    store = scene.open_store()
    store.after_commit = scene.server.drop_connections
    coordinator = scene.coordinator(store=store)
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator, 2)
    assert scene.unacked() == 2
    step(coordinator, 2)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert scene.store.totals().duplicates == 2
    assert scene.unacked() == scene.waiting() == 0


def test_a_parked_update_survives_a_lost_connection(scene: Federation) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1", 1), make_update("w1", 2))
    step(coordinator, 2)
    scene.server.drop_connections()
    scene.send(make_update("w2", 1), make_update("w2", 2))
    step(coordinator, 8)
    assert sorted(folded(scene)) == ["w1:boot:1", "w1:boot:2", "w2:boot:1", "w2:boot:2"]
    assert scene.unacked() == scene.waiting() == 0


def test_who_comes_back_with_a_full_outbox_makes_no_versions_alone() -> None:
    """Of his updates one counts, eight wait, and the older ones make room for everybody else."""
    scene = Federation(updates_per_version=10, live_s=1e6)
    scene.found()
    coordinator = scene.coordinator()
    step(coordinator)
    scene.send(*(make_update("back", number) for number in range(1, 41)))
    scene.send(*(make_update(f"w{number}") for number in range(1, 10)))
    step(coordinator, 60)
    assert scene.number() == 1
    assert {each.partition(":")[0] for each in folded(scene)} == {
        "back",
        *(f"w{number}" for number in range(1, 10)),
    }
    assert scene.store.totals().refused == {"superseded": 31}
    verdicts = scene.store.verdicts(["back:boot:1", "back:boot:2", "back:boot:32", "back:boot:33"])
    assert [each for each, verdict in verdicts.items() if verdict.folded] == ["back:boot:1"]
    assert verdicts["back:boot:32"].reason == "superseded"
    assert "back:boot:33" not in verdicts


def test_a_crash_before_the_commit_loses_nothing(scene: Federation) -> None:
    store = scene.open_store()
    store.before_commit = killed
    first = scene.coordinator("a", store=store)
    scene.send(make_update("w1"), make_update("w2", delta=net(3.0, 3.0)))
    step(first)
    with pytest.raises(Killed):
        step(first)
    crash(first)
    assert scene.waiting() == 2

    scene.lapse_lease()
    step(scene.coordinator("b"), 2)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert scene.model()["net"].tolist() == [2.0, 2.0]
    assert scene.store.totals().duplicates == 0
    assert scene.unacked() == scene.waiting() == 0


def test_a_crash_between_commit_and_ack_is_found_in_the_ledger(scene: Federation) -> None:
    store = scene.open_store()
    store.after_commit = killed
    first = scene.coordinator("a", store=store)
    scene.send(make_update("w1"), make_update("w2"))
    step(first)
    with pytest.raises(Killed):
        step(first)
    crash(first)
    head = scene.store.head()
    assert scene.waiting() == 2

    scene.lapse_lease()
    successor = scene.coordinator("b")
    step(successor, 2)
    scene.clock.advance(100.0)
    step(successor, 2)
    assert scene.store.head() == head
    assert (scene.store.totals().accepted, scene.store.totals().duplicates) == (2, 2)
    assert scene.unacked() == scene.waiting() == 0


def test_who_stops_hands_its_buffer_and_its_lease_over_at_once(scene: Federation) -> None:
    first, second = scene.coordinator("a"), scene.coordinator("b")
    scene.send(make_update("w1"))
    step(first)
    first.close()
    assert scene.waiting() == 1
    scene.send(make_update("w2"))
    step(second, 2)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert scene.telemetry.leading._value.get() == 1


def test_an_aggregator_may_stop_while_the_store_is_away(scene: Federation) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1"))
    step(coordinator)
    scene.redis.connected = False
    coordinator.close()
    assert scene.waiting() == 1


# A store that is away.


def test_a_store_that_is_away_while_folding_costs_nothing_but_time(scene: Federation) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator)
    scene.redis.connected = False
    step(coordinator, 5)
    scene.clock.advance(20.0)
    step(coordinator, 5)
    assert len(scene.slept) == 10
    scene.redis.connected = True
    step(coordinator)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert scene.model()["net"].tolist() == [1.0, 1.0]
    assert scene.store.totals().duplicates == 0
    assert scene.unacked() == scene.waiting() == 0


def metric(scene: Federation, name: str) -> float | None:
    return scene.telemetry.registry.get_sample_value(name)


def test_each_time_that_the_store_refuses_is_counted_and_a_brokers_absence_is_not(
    scene: Federation,
) -> None:
    coordinator = scene.coordinator()
    step(coordinator)
    assert metric(scene, "latecomer_store_waits_total") == 0
    scene.redis.connected = False
    scene.clock.advance(LEASE_S)
    step(coordinator, 3)
    assert metric(scene, "latecomer_store_waits_total") == 3
    scene.telemetry.waits(BrokerUnreachable("away"))
    assert metric(scene, "latecomer_store_waits_total") == 3


def test_it_is_told_whether_the_model_stands_still_once_all_is_counted(scene: Federation) -> None:
    step(scene.coordinator())
    assert metric(scene, "latecomer_counts_only") == 0
    scene.telemetry.took_over(3, counts_only=True)
    assert metric(scene, "latecomer_counts_only") == 1


def test_who_does_not_hear_from_the_store_for_long_gives_back_what_it_holds(
    scene: Federation,
) -> None:
    """What is held for hours is taken away by the broker, again and again, and buried at last."""
    coordinator = scene.coordinator()
    scene.send(make_update("w1"))
    step(coordinator, 2)
    scene.redis.connected = False
    scene.clock.advance(LEASE_S)
    step(coordinator)
    assert (scene.unacked(), scene.waiting()) == (1, 0)
    scene.clock.advance(GIVE_BACK_S + 1.0)
    step(coordinator, 3)
    assert (scene.unacked(), scene.waiting()) == (0, 1)

    scene.redis.connected = True
    scene.send(make_update("w2"))
    step(coordinator, 4)
    assert sorted(folded(scene)) == ["w1:boot:1", "w2:boot:1"]
    assert scene.unacked() == scene.waiting() == 0


def test_who_leads_stays_where_the_store_takes_no_version_and_goes_on_once_it_does(
    scene: Federation,
) -> None:
    store = scene.open_store()
    store.before_commit = full
    leader, standby = scene.coordinator("a", store=store), scene.coordinator("b")
    scene.send(make_update("w1"), make_update("w2"))
    step(leader, 4)
    held = scene.store.holder()
    began_s = scene.clock.monotonic_s()
    while scene.clock.monotonic_s() - began_s < HOLD_S - LEASE_S:
        scene.clock.advance(LEASE_S / 2)
        step(leader)
        step(standby)
    assert scene.store.holder() == held
    assert scene.unacked() == 2
    store.before_commit = lambda: None
    step(leader, 3)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]


def test_who_waits_in_vain_for_twenty_minutes_gives_back_what_it_holds(scene: Federation) -> None:
    """The broker would take it after half an hour, and again and again, and bury it at last."""
    store = scene.open_store()
    store.before_commit = full
    leader = scene.coordinator("a", store=store)
    scene.send(make_update("w1"), make_update("w2"))
    step(leader, 4)
    began_s = scene.clock.monotonic_s()
    with capture_logs() as logs:
        while scene.unacked():
            scene.clock.advance(LEASE_S / 2)
            step(leader)
    assert HOLD_S < scene.clock.monotonic_s() - began_s < HOLD_S + LEASE_S
    assert logs[-1]["event"] == "leadership.passed_on"
    assert scene.store.holder() is None

    successor = scene.coordinator("b")
    step(successor, 4)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]


def test_a_store_that_is_away_while_committing_gets_the_commit_once_it_is_back(
    scene: Federation,
) -> None:
    def away() -> None:
        scene.redis.connected = False

    store = scene.open_store()
    store.before_commit = away
    coordinator = scene.coordinator(store=store)
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator, 4)
    assert scene.unacked() == 2
    store.before_commit = lambda: None
    scene.redis.connected = True
    assert scene.number() == 0
    step(coordinator, 3)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert scene.unacked() == scene.waiting() == 0


def test_a_commit_whose_reply_was_lost_is_repeated_and_makes_one_version(
    scene: Federation,
) -> None:
    store = scene.open_store()
    store.after_commit = no_reply
    coordinator = scene.coordinator(store=store)
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator, 4)
    assert scene.number() == 1
    assert scene.unacked() == 2
    store.after_commit = lambda: None
    scene.send(make_update("w3"))
    scene.clock.advance(5.0)
    step(coordinator, 3)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert (scene.store.totals().accepted, scene.store.totals().duplicates) == (2, 0)
    assert scene.unacked() == 1
    scene.send(make_update("w4"))
    step(coordinator)
    assert folded(scene)[2:] == ["w3:boot:1", "w4:boot:1"]
    assert scene.unacked() == scene.waiting() == 0


def test_chunks_that_expired_before_the_commit_are_staged_again(scene: Federation) -> None:
    def lose_chunks() -> None:
        if not lost:
            client = embedded(scene.redis)
            kept = {KEYS.chunk(each) for each in scene.manifest().chunks()}
            names: Any = client.keys(KEYS.chunk("*"))
            keys = {bytes(key).decode() for key in names}
            client.delete(*(keys - kept))
            lost.append(len(keys - kept))

    lost: list[int] = []
    store = scene.open_store()
    store.before_commit = lose_chunks
    coordinator = scene.coordinator(store=store)
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator, 2)
    assert (scene.number(), lost) == (1, [1])
    assert scene.unacked() == 0


def test_of_a_version_that_is_over_only_what_workers_may_fetch_is_kept_for_long() -> None:
    scene = Federation(mode="fedasync", optimizer={"name": "adamw"})
    scene.found()
    coordinator = scene.coordinator()
    scene.send(make_update("w1", delta=net(1.0, 2.0)))
    step(coordinator)
    before = scene.manifest()
    scene.send(make_update("w2", delta=net(2.0, 1.0)))
    step(coordinator, 2)
    assert scene.number() == 2

    def left_s(names: frozenset[str]) -> set[int]:
        client = embedded(scene.redis)
        found: Any = [client.ttl(KEYS.chunk(name)) for name in names]
        return set(found)

    now = scene.manifest()
    assert left_s(now.chunks()) == {-1}
    assert max(left_s(before.chunks() - before.fetched())) <= SPENT_MS / 1000
    assert min(left_s(before.fetched() - now.chunks())) > SPENT_MS / 1000


def test_a_buffer_that_outlived_its_workers_is_not_applied_at_a_multiple_of_its_mean() -> None:
    """A store was away for longer than workers count as alive: K in force is then 1."""
    scene = Federation(updates_per_version=5, live_s=60.0)
    scene.found()
    coordinator = scene.coordinator()
    scene.send(*(make_update(f"w{number}") for number in range(4)))
    step(coordinator, 4)
    scene.redis.connected = False
    scene.clock.advance(3600.0)
    step(coordinator)
    scene.redis.connected = True
    step(coordinator)
    assert scene.number() == 1
    assert scene.model()["net"].tolist() == [1.0, 1.0]


def test_a_federation_without_a_model_is_waited_for() -> None:
    scene = Federation()
    coordinator = scene.coordinator()
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator, 3)
    assert scene.waiting() == 2
    assert scene.store.holder() is None
    scene.found()
    step(coordinator, 2)
    assert scene.number() == 1


def test_after_a_flush_updates_of_the_former_life_are_recognised(scene: Federation) -> None:
    coordinator = scene.coordinator()
    scene.send(make_update("w1"))
    step(coordinator)
    embedded(scene.redis).flushall()
    scene.send(make_update("w2"))
    step(coordinator, 3)
    assert scene.store.head() is None
    scene.lapse_lease()
    scene.found(epoch=EPOCH + 1)
    step(coordinator, 3)
    assert scene.number() == 0
    assert scene.store.totals().refused == {"wrong_epoch": 2}
    assert scene.unacked() == scene.waiting() == 0


# Two aggregators.


def test_a_standby_waits_and_takes_over_when_the_lease_is_over(scene: Federation) -> None:
    rounds = scene.listen("w1")
    leader, standby = scene.coordinator("a"), scene.coordinator("b")
    scene.send(make_update("w1"))
    step(leader)
    step(standby, 3)
    assert heard(rounds) == [Version(EPOCH, 0)]
    crash(leader)
    step(standby)
    assert scene.unacked() == 0

    scene.lapse_lease()
    step(standby)
    assert heard(rounds) == [Version(EPOCH, 0)]
    scene.send(make_update("w2"))
    step(standby)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]


def test_a_zombie_is_fenced_stands_down_and_nothing_is_lost(scene: Federation) -> None:
    zombie, successor = scene.coordinator("a"), scene.coordinator("b")
    scene.send(make_update("w1"))
    step(zombie)
    scene.lapse_lease(unnoticed=True)
    step(successor)
    scene.send(make_update("w2"))
    step(zombie)
    assert scene.number() == 0
    assert zombie._term is None
    step(successor, 2)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    step(zombie, 3)
    assert zombie._term is None
    assert scene.unacked() == scene.waiting() == 0
    assert scene.manifest().version == Version(EPOCH, 1)


def test_a_zombie_condemns_no_update_of_its_successors_version(scene: Federation) -> None:
    """To its old head the update is from the future; the successor is at that version."""
    zombie, successor = scene.coordinator("a"), scene.coordinator("b")
    step(zombie)
    scene.lapse_lease(unnoticed=True)
    step(successor)
    scene.send(make_update("w1", base=Version(EPOCH, 1)))
    step(zombie)
    assert zombie._term is None
    assert scene.store.verdicts(["w1:boot:1"]) == {}
    assert scene.waiting() + scene.unacked() == 1


def test_a_zombie_whose_commit_went_through_unheard_does_not_count_twice(
    scene: Federation,
) -> None:
    store = scene.open_store()
    store.after_commit = no_reply
    zombie, successor = scene.coordinator("a", store=store), scene.coordinator("b")
    scene.send(make_update("w1"), make_update("w2"))
    step(zombie, 2)
    store.after_commit = lambda: None
    scene.lapse_lease()
    step(successor)
    step(zombie)
    assert zombie._term is None
    step(successor, 3)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert scene.store.totals().duplicates == 2
    assert scene.unacked() == scene.waiting() == 0


def test_a_leader_whose_lease_lapsed_in_between_reads_the_head_again_before_it_judges(
    scene: Federation,
) -> None:
    """Cut off from everything; another one led, made a version and resigned; then it is back."""
    rounds = scene.listen("w9")
    first, interim = scene.coordinator("a"), scene.coordinator("b")
    step(first)
    assert first._term is not None
    scene.lapse_lease()
    step(interim)
    scene.server._detach([first._term.updates])  # type: ignore[list-item]
    scene.send(make_update("w1"), make_update("w2"))
    step(interim, 2)
    interim.close()
    heard(rounds)
    scene.server._attach_waiting()

    scene.send(make_update("w1", 2, base=Version(EPOCH, 1)))
    scene.send(make_update("w2", 2, base=Version(EPOCH, 1)))
    step(first, 4)
    assert scene.store.totals().refused == {}
    assert scene.number() == 2
    assert [fold.staleness for fold in scene.manifest().folds] == [0, 0]
    assert scene.unacked() == scene.waiting() == 0


# What workers and operators hear.


def test_a_round_is_announced_at_take_over_and_after_each_commit(scene: Federation) -> None:
    rounds = scene.listen("w1")
    coordinator = scene.coordinator()
    step(coordinator, 3)
    assert heard(rounds) == [Version(EPOCH, 0)]
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator, 2)
    assert heard(rounds) == [Version(EPOCH, 1)]
    step(coordinator, 3)
    assert heard(rounds) == []


def test_who_was_away_finds_only_the_newest_announcement() -> None:
    scene = Federation(mode="fedasync")
    scene.found()
    scene.login("w1").declare(topology.worker_topology(FEDERATION, "w1"))
    coordinator = scene.coordinator()
    scene.send(*(make_update("w2", number) for number in range(5)))
    step(coordinator, 5)
    assert heard(scene.listen("w1")) == [Version(EPOCH, 5)]


def test_of_the_versions_of_a_backlog_the_last_is_announced(scene: Federation) -> None:
    rounds = scene.listen("w9")
    coordinator = scene.coordinator()
    scene.send(*(make_update(f"w{number}") for number in range(6)))
    step(coordinator, 5)
    assert scene.number() == 2
    assert heard(rounds) == [Version(EPOCH, 0)]
    step(coordinator)
    assert heard(rounds) == [Version(EPOCH, 3)]


def test_a_long_backlog_is_announced_now_and_then(scene: Federation) -> None:
    rounds = scene.listen("w9")
    coordinator = scene.coordinator()
    scene.send(*(make_update(f"w{number}") for number in range(6)))
    step(coordinator, 2)
    assert heard(rounds) == [Version(EPOCH, 0)]
    scene.clock.advance(ANNOUNCE_EVERY_S)
    step(coordinator)
    assert heard(rounds) == [Version(EPOCH, 1)]


def test_while_publishers_are_blocked_updates_are_consumed_and_the_announcement_follows(
    scene: Federation,
) -> None:
    rounds = scene.listen("w1")
    coordinator = scene.coordinator()
    scene.send(make_update("w1"), make_update("w2"))
    scene.server.raise_alarm()
    step(coordinator, 2)
    assert scene.number() == 1
    assert scene.unacked() == 0
    assert heard(rounds) == []

    scene.server.clear_alarm()
    step(coordinator)
    assert heard(rounds) == []
    scene.clock.advance(ANNOUNCE_AGAIN_S)
    step(coordinator)
    assert heard(rounds) == [Version(EPOCH, 1)]


def test_a_leader_without_a_broker_leaves_the_lead_to_who_may_have_one(scene: Federation) -> None:
    leader, standby = scene.coordinator("a"), scene.coordinator("b")
    step(leader)
    step(standby)
    scene.server.drop_connections()
    held = leader._term
    assert held is not None
    held.updates.connected = lambda: False  # type: ignore[method-assign]
    scene.clock.advance(GIVE_BACK_S)
    step(leader)
    assert leader._term is held
    scene.clock.advance(1.0)
    with capture_logs() as logs:
        step(leader)
    assert [each["event"] for each in logs] == ["leadership.passed_on"]
    step(leader, 3)
    assert leader._term is None
    scene.send(make_update("w1"), make_update("w2"))
    step(standby, 3)
    assert scene.number() == 1


def test_who_cannot_read_the_newest_version_leaves_the_lead_to_who_may(scene: Federation) -> None:
    """A former release, say, to which a chunk's name is not that of its content."""
    store = scene.open_store()
    store.read = unreadable  # type: ignore[method-assign]
    leader, standby = scene.coordinator("a", store=store), scene.coordinator("b")
    scene.send(make_update("w1"), make_update("w2"))
    began_s = scene.clock.monotonic_s()
    with capture_logs() as logs:
        while not folded(scene) and scene.clock.monotonic_s() - began_s < 2 * GIVE_BACK_S:
            step(leader)
            step(standby)
            scene.clock.advance(LEASE_S / 4)
    assert GIVE_BACK_S < scene.clock.monotonic_s() - began_s < GIVE_BACK_S + LEASE_S
    assert [each["event"] for each in logs].count("leadership.passed_on") == 1
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]


def test_where_nobody_else_is_there_to_lead_it_is_tried_again_and_again(scene: Federation) -> None:
    store = scene.open_store()
    store.read = unreadable  # type: ignore[method-assign]
    coordinator = scene.coordinator("a", store=store)
    began_s = scene.clock.monotonic_s()
    while scene.clock.monotonic_s() - began_s < 4 * GIVE_BACK_S:
        step(coordinator)
        scene.clock.advance(LEASE_S / 4)
    del store.read
    scene.send(make_update("w1"), make_update("w2"))
    while not folded(scene) and scene.clock.monotonic_s() - began_s < 6 * GIVE_BACK_S:
        step(coordinator)
        scene.clock.advance(LEASE_S / 4)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]


def test_a_binding_that_somebody_deleted_is_there_again_once_nothing_came_for_a_minute(
    scene: Federation,
) -> None:
    coordinator = scene.coordinator()
    step(coordinator, 2)
    for bound in scene.server._bindings.values():
        bound.clear()
    with pytest.raises(Unroutable):
        scene.send(make_update("w1"))
    scene.clock.advance(DECLARE_AGAIN_S + 1.0)
    step(coordinator)
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator, 2)
    assert scene.number() == 1


def test_a_round_is_announced_though_nothing_can_be_declared_over_so_long_a_line(
    scene: Federation,
) -> None:
    rounds = scene.listen("w1")
    coordinator = scene.coordinator()

    def too_long(topology: Topology) -> None:
        del topology
        raise BrokerUnreachable("did not answer in 2.0 s")

    coordinator._broker.declare = too_long  # type: ignore[method-assign]
    step(coordinator, 2)
    assert heard(rounds) == [Version(EPOCH, 0)]


def test_a_broker_that_is_away_costs_nothing_but_time(scene: Federation) -> None:
    rounds = scene.listen("w1")
    coordinator = scene.coordinator()
    scene.send(make_update("w1"))
    step(coordinator)
    scene.server.stop()
    step(coordinator, 5)
    scene.server.start()
    scene.send(make_update("w2"))
    step(coordinator, 2)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert heard(rounds)[-1] == Version(EPOCH, 1)
    assert scene.unacked() == scene.waiting() == 0


def test_garbage_goes_to_the_dead_letter_queue_and_the_aggregator_goes_on(
    scene: Federation,
) -> None:
    vandal = scene.login("w3").publisher()
    for body in (b"", b"\xff" * 100, b"\x00garbage" * 20):
        message = Message(topology.UPDATES, "update.shop.w3", body, "m", "latecomer.update.v1")
        vandal.publish(message)
    forged = message_of(make_update("w1", 9))
    vandal.publish(Message(forged.exchange, "update.shop.w3", forged.body, "m", forged.type))
    scene.send(make_update("w3", delta=net(float("nan"), 0.0)))
    scene.send(make_update("w1"), make_update("w2"))
    step(scene.coordinator(), 7)
    assert scene.dead() == 5
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert scene.store.totals().refused == {
        "forged_worker": 1,
        "not_finite": 1,
        "undecodable": 3,
    }
    assert scene.unacked() == scene.waiting() == 0
    fleet = {each.worker: (each.accepted, each.refused) for each in scene.store.fleet()}
    assert fleet == {"w1": (1, 0), "w2": (1, 0), "w3": (0, 5)}


def test_a_forged_id_does_not_take_the_place_of_the_honest_update(scene: Federation) -> None:
    forged = message_of(make_update("w1", 1, delta=net(9.0, 9.0)))
    scene.login("w3").publisher().publish(forged)
    scene.send(make_update("w1", 1), make_update("w2", 1))
    step(scene.coordinator(), 3)
    assert folded(scene) == ["w1:boot:1", "w2:boot:1"]
    assert scene.model()["net"].tolist() == [1.0, 1.0]


def test_totals_staleness_and_fleet_say_what_the_manifests_say() -> None:
    scene = Federation(max_staleness=2)
    scene.found()
    coordinator = scene.coordinator()
    sums = {"north": {"users": 3.0, "recall@10": 1.5}}
    for seq in range(4):
        scene.send(make_update("w1", seq, base=Version(EPOCH, seq), examples=7, sums=sums))
        scene.send(make_update("w2", seq, base=Version(EPOCH, 0), examples=5))
        step(coordinator, 2)
    scene.clock.advance(100.0)
    step(coordinator, 2)
    totals = scene.store.totals()
    assert totals.accepted == len(folded(scene)) == 7
    assert totals.refused == {"too_stale": 1}
    assert totals.staleness == {0: 4, 1: 1, 2: 1} | {0: 5}
    first, second = scene.store.fleet()
    assert (first.worker, first.accepted, first.refused, first.last_staleness) == ("w1", 4, 0, 0)
    assert (second.worker, second.accepted, second.refused) == ("w2", 3, 1)
    assert second.last_staleness == 2
    report = json.loads(first.report)
    assert report["sums"]["north"] == {"recall@10": 1.5, "users": 3.0}
    assert report["base"] == [7, 3]
    assert second.last_refusal.startswith("too_stale: staleness 3 exceeds the limit of 2")


# Replay.


def test_a_store_flushed_and_founded_again_ends_the_term_although_its_fences_repeat() -> None:
    scene = Federation(mode="fedasync")
    scene.found()
    coordinator = scene.coordinator()
    step(coordinator)
    before = scene.store.holder()
    embedded(scene.redis).flushall()
    scene.found(epoch=EPOCH + 1)
    scene.clock.advance(LEASE_S)
    step(coordinator, 2)
    assert scene.store.holder() == before
    scene.send(make_update("w1", base=Version(EPOCH + 1, 0)))
    step(coordinator, 2)
    head = scene.store.head()
    assert head is not None
    assert head.version == Version(EPOCH + 1, 1)


@pytest.mark.parametrize(
    "rule",
    [
        {"name": "sgd", "learning_rate": 0.7, "momentum": 0.9},
        {"name": "adamw", "learning_rate": 0.1, "weight_decay": 0.01},
        {"name": "adagrad", "learning_rate": 0.1},
        {"name": "sgd", "damp_beyond": 1},
        {"name": "adamw", "decay_after": 3},
    ],
    ids=lambda rule: ",".join(map(str, rule)),
)
def test_replaying_the_manifests_from_version_0_gives_bit_identical_models(
    rule: dict[str, object],
) -> None:
    scene = Federation(
        updates_per_version=3,
        optimizer=rule,
        row_floor=2,
        example_weight={"rule": "sqrt", "reference": 50},
    )
    rng = np.random.default_rng(5)
    initial = {spec.name: rng.normal(size=spec.shape).astype(np.float32) for spec in LAYOUT}
    scene.found(model=initial)
    coordinator = scene.coordinator()
    sent: dict[str, UpdateSubmitted] = {}
    for seq in range(12):
        for worker in ("w1", "w2", "w3", "w4"):
            update = random_update(rng, worker, seq, newest=scene.number())
            sent[update.update_id] = update
            scene.send(update)
            step(coordinator, int(rng.integers(0, 3)))
        if seq % 4 == 3:
            scene.server.drop_connections()
    step(coordinator, 100)
    assert scene.number() >= 12

    rule_settings = scene.recipe.aggregation.optimizer
    server_rule = optimizer.build(rule_settings)
    model, state = initial, optimizer.state_layout(server_rule, LAYOUT).zeros()
    for number in range(1, scene.number() + 1):
        manifest = scene.store.manifest(Version(EPOCH, number))
        buffer = Buffer(LAYOUT)
        for fold in manifest.folds:
            assert fold.staleness == number - 1 - fold.base.number
            delta = sent[fold.update_id].delta
            buffer.fold(fold, delta, delivery_of(sent[fold.update_id]))
        mean = buffer.mean(manifest.divisor, row_floor=2)
        part = optimizer.part_taken(rule_settings, number - 1, manifest.folds)
        model, state = optimizer.step(server_rule, LAYOUT, model, state, mean, part=part)
    final = scene.model()
    assert {name: array.tobytes() for name, array in model.items()} == {
        name: array.tobytes() for name, array in final.items()
    }
    ids = folded(scene)
    assert len(ids) == len(set(ids))
    assert all(fold.staleness >= 0 for fold in scene.manifest().folds)


def random_update(
    rng: np.random.Generator, worker: str, seq: int, *, newest: int
) -> UpdateSubmitted:
    delta = net(*rng.normal(size=2)) | rows({int(rng.integers(4)): rng.normal(size=2).tolist()})
    delta["seen"] = TensorDelta(rng.normal(size=2).astype(np.float32))
    base = Version(EPOCH, int(rng.integers(0, newest + 1)))
    return make_update(worker, seq, base=base, delta=delta, examples=int(rng.integers(1, 300)))


def test_the_lease_outlives_a_pause_between_renewals(scene: Federation) -> None:
    coordinator = scene.coordinator()
    step(coordinator)
    scene.clock.advance(LEASE_S / 3)
    step(coordinator)
    holder = scene.store.holder()
    assert holder is not None
    assert holder.owner == "a"


def test_who_waits_for_a_model_that_nobody_founded_says_so_once_a_minute() -> None:
    scene = Federation()
    coordinator = scene.coordinator()
    with capture_logs() as logs:
        step(coordinator, 3)
        scene.clock.advance(COMPLAIN_EVERY_S)
        step(coordinator, 3)
    waits = [each for each in logs if each["event"] == "aggregator.waits"]
    assert [each["cause"] for each in waits] == ["Federation 'shop' has no model yet"] * 2
