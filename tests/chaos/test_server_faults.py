"""Servers and services killed, frozen, short of memory, emptied: one ordeal each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest

from chronicle import Chronicle
from deployment import Pair
from latecomer.broker.topology import rounds_queue, updates_queue
from latecomer.store.port import Manifest
from latecomer_simulator.evidence import Evidence
from latecomer_simulator.history import Committed
from latecomer_simulator.invariants import violations
from ordeal import Ordeal
from server import Server, eventually

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def ordeal(pair: Pair, tmp_path: Path) -> Iterator[Ordeal]:
    """A leader, a standby and three workers, all well."""
    with Ordeal(pair.broker.url, pair.store.url, tmp_path / "ordeal") as ordeal:
        ordeal.everybody()
        # RabbitMQ may lose a quorum queue for good that is declared in the moment of its death.
        ordeal.await_versions(2)
        yield ordeal


def judged(ordeal: Ordeal, chronicle: Chronicle, *, versions: int = 3) -> Evidence:
    """The ordeal goes on, comes to rest, and every promise was kept."""
    ordeal.await_versions(versions)
    evidence = ordeal.come_to_rest()
    chronicle.tell("servers and services", evidence)
    assert violations(evidence) == {}
    assert ordeal.tracebacks() == []
    return evidence


def lasts(ordeal: Ordeal, seconds: float) -> None:
    """Let a fault last for so long."""
    began_s = ordeal.clock.monotonic_s()
    eventually(
        lambda: ordeal.clock.monotonic_s() - began_s > seconds,
        within_s=2 * seconds,
        what="the end of the fault",
    )


SERVERS: dict[str, Callable[[Pair], Server]] = {
    "the broker": lambda pair: pair.broker,
    "the store": lambda pair: pair.store,
}


@pytest.mark.parametrize("which", SERVERS)
def test_a_server_is_killed_and_returns(
    pair: Pair, ordeal: Ordeal, which: str, chronicle: Chronicle
) -> None:
    server = SERVERS[which](pair)
    ordeal.fault(f"{which} killed")
    server.kill()
    server.start()
    ordeal.healed(f"{which} killed")
    judged(ordeal, chronicle)


@pytest.mark.parametrize("which", SERVERS)
def test_a_server_freezes_for_longer_than_a_lease_and_goes_on(
    pair: Pair, ordeal: Ordeal, which: str, chronicle: Chronicle
) -> None:
    server = SERVERS[which](pair)
    ordeal.fault(f"{which} frozen")
    server.freeze()
    lasts(ordeal, 5.0)
    server.thaw()
    ordeal.healed(f"{which} frozen")
    judged(ordeal, chronicle)


@pytest.mark.parametrize("resource", ["memory", "disk"])
def test_an_alarm_blocks_publishers_who_spool_and_go_on(
    pair: Pair, ordeal: Ordeal, resource: str, chronicle: Chronicle
) -> None:
    ordeal.fault(f"{resource} alarm")
    pair.broker.raise_alarm(resource)  # type: ignore[arg-type]
    try:
        lasts(ordeal, 5.0)
    finally:
        pair.broker.clear_alarm(resource)  # type: ignore[arg-type]
    ordeal.healed(f"{resource} alarm")
    judged(ordeal, chronicle)


def test_a_store_that_is_full_by_turns_keeps_its_leader(
    pair: Pair, ordeal: Ordeal, chronicle: Chronicle
) -> None:
    """Full for longer than a lease, and with room for less than a version: again and again.

    Every change of leaders would cost each update one of twenty deliveries.
    """
    led = ordeal.store.holder()
    ordeal.fault("store full by turns")
    try:
        for _ in range(5):
            pair.store.limit_memory(1)
            lasts(ordeal, 2 * ordeal.lease_s)
            pair.store.limit_memory(0)
    finally:
        pair.store.limit_memory(0)
    ordeal.healed("store full by turns")
    assert ordeal.store.holder() == led
    judged(ordeal, chronicle)


def test_an_emptied_store_is_founded_again_in_another_epoch(
    pair: Pair, ordeal: Ordeal, chronicle: Chronicle
) -> None:
    """What workers still had of the former life is refused by name, and counts nowhere."""
    ordeal.fault("store flushed")
    for aggregator in ("aggregator-a", "aggregator-b"):
        # Nothing may be committed between the look at the last version and its loss.
        ordeal.signal(aggregator, SIGSTOP)
    ordeal.put_down()
    pair.store.flush()
    for aggregator in ("aggregator-a", "aggregator-b"):
        ordeal.signal(aggregator, SIGCONT)
    ordeal.found()
    ordeal.healed("store flushed")
    evidence = judged(ordeal, chronicle)
    former, latter = (lineage.first.version.epoch for lineage in evidence.lineages)
    assert former < latter


def test_a_leader_that_was_paused_past_its_lease_cannot_move_the_head(
    ordeal: Ordeal, chronicle: Chronicle
) -> None:
    zombie = ordeal.leader()
    ordeal.fault("leader paused")
    ordeal.signal(zombie, SIGSTOP)
    ordeal.await_versions(2)
    ordeal.signal(zombie, SIGCONT)
    ordeal.healed("leader paused")
    evidence = judged(ordeal, chronicle)
    # In the order of the store: a process that was frozen hears late of what it did before.
    committed = sorted(
        (Manifest.from_bytes(each.manifest).version, each.fence)
        for each in evidence.history.all(Committed)
    )
    fences = [fence for _, fence in committed]
    assert len(set(fences)) > 1
    assert fences == sorted(fences)


def test_a_leader_is_killed(ordeal: Ordeal, chronicle: Chronicle) -> None:
    ordeal.fault("leader killed")
    ordeal.signal(ordeal.leader(), SIGKILL)
    ordeal.healed("leader killed")
    judged(ordeal, chronicle)


def test_a_leader_that_is_told_to_stop_hands_over_without_waiting_for_its_lease(
    pair: Pair, tmp_path: Path, chronicle: Chronicle
) -> None:
    """The lease is longer than anything may take: whoever waited for its end would be too late."""
    with Ordeal(pair.broker.url, pair.store.url, tmp_path / "ordeal", lease_s=120.0) as ordeal:
        former = ordeal.everybody().leader()
        ordeal.fault("leader stopped")
        assert ordeal.stop([former]) == {former: 0}
        ordeal.healed("leader stopped")
        evidence = judged(ordeal, chronicle)
        assert former != ordeal.leader()
        assert len({each.fence for each in evidence.history.all(Committed)}) == 2


def test_all_workers_are_killed_and_come_back(ordeal: Ordeal, chronicle: Chronicle) -> None:
    ordeal.fault("workers killed")
    for row in range(ordeal.workers):
        ordeal.kill(ordeal.worker(row))
    for row in range(ordeal.workers):
        ordeal.work(row)
    ordeal.healed("workers killed")
    judged(ordeal, chronicle)


def test_a_deleted_queue_takes_along_what_was_in_it_and_nothing_else(
    pair: Pair, ordeal: Ordeal
) -> None:
    """Who deletes a queue deletes confirmed updates; everybody goes on all the same."""
    ordeal.fault("queues deleted")
    pair.broker.control("delete_queue", updates_queue(ordeal.federation))
    pair.broker.control("delete_queue", rounds_queue(ordeal.worker(0)))
    ordeal.healed("queues deleted")
    ordeal.await_versions(3)
    evidence = ordeal.come_to_rest(settled=False)
    found = violations(evidence)
    in_the_queue = found.pop("every_confirmed_update_counts_once", [])
    assert found == {}
    assert [each for each in in_the_queue if "has no verdict" not in each] == []
    assert len(in_the_queue) <= 2 * ordeal.workers
