"""A seed is a disaster that replays: the same one, event by event, wherever it is run."""

import os
import subprocess
import sys

import pytest

from latecomer.tensors import digest
from latecomer_simulator import faults
from latecomer_simulator.evidence import Evidence
from latecomer_simulator.history import Committed, Ended, Faulted, Healed
from latecomer_simulator.invariants import violations
from latecomer_simulator.machines import FEDERATION
from latecomer_simulator.timeline import Killed
from latecomer_simulator.world import World

#: A flushed store, kills, noise: whatever draws numbers is among them.
SEEDS = (1, 3, 7)

#: Prints a digest of each history; what differs between two processes differs here.
REPLAY = """
import sys
from latecomer.tensors import digest
from latecomer_simulator import faults
for seed in sys.argv[1:]:
    print(digest(repr(faults.run(int(seed)).history.events).encode()))
"""


def digest_of(seed: int) -> str:
    return digest(repr(faults.run(seed).history.events).encode())


def names(evidence: Evidence) -> set[str]:
    return {each.fault for each in evidence.history.all(Faulted)}


def test_the_same_seed_gives_the_same_history_event_by_event() -> None:
    first, second = faults.run(1), faults.run(1)
    assert first.history.events == second.history.events
    assert first.verdicts == second.verdicts
    assert len(first.history.events) > 100


def test_another_seed_gives_another_history() -> None:
    assert len({digest_of(seed) for seed in SEEDS}) == len(SEEDS)


def test_another_process_with_other_hashes_gives_the_same_histories() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, *map(str, SEEDS)],
        env=os.environ | {"PYTHONHASHSEED": "4242"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [digest_of(seed) for seed in SEEDS]


#: What each kind calls itself in the history.
CALLED = {
    "kill": "killed",
    "pause": "paused",
    "cut_broker": "no line to the broker",
    "cut_store": "no line to the store",
    "slow_disk": "slow disk",
    "stop_broker": "broker down",
    "drop_connections": "connections lost",
    "alarm": "alarm",
    "noise": "noise",
    "clock_jump": "clock jump",
    "hand_over": "told to stop",
    "delete_queue": "queue deleted",
    "flush": "store flushed",
}


@pytest.mark.parametrize("kind", faults.KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_no_fault_alone_breaks_a_promise(kind: str, seed: int) -> None:
    evidence = faults.run(seed, kind)
    assert names(evidence) == {CALLED[kind]}
    assert violations(evidence) == {}
    assert evidence.acknowledged


def test_every_fault_heals_by_itself() -> None:
    history = faults.run(3).history
    begun = [each.fault for each in history.all(Faulted)]
    assert sorted(begun) == sorted(each.fault for each in history.all(Healed))
    assert isinstance(history.events[-1], Ended)


def test_faults_begin_within_the_horizon_and_not_at_once() -> None:
    for seed in range(3):
        evidence = faults.run(seed, "alarm")
        began = [each.at_s for each in evidence.history.all(Faulted)]
        assert all(1.0 <= at_s <= faults.HORIZON_S for at_s in began)
        assert faults.FAULTS[0] <= len(began) <= faults.FAULTS[1]


# What the world is made of.


def test_a_world_without_faults_makes_versions_and_comes_to_rest() -> None:
    with World(1, workers=2, updates_per_version=2) as world:
        for machine in world.machines:
            machine.start()
        world.timeline.run(10.0)
        assert world.timeline.run(20.0, until=lambda: not world.at_rest())
        world.training = False
        assert world.timeline.run(30.0, until=world.at_rest)
        evidence = world.evidence()
    assert len(evidence.lineages[0].manifests) > 3
    assert evidence.verdicts.keys() == evidence.acknowledged


def test_the_other_aggregator_takes_over_when_the_leader_is_killed() -> None:
    with World(1, workers=2, updates_per_version=2) as world:
        for machine in world.machines:
            machine.start()
        world.timeline.run(5.0)
        leader = world.store().holder()
        assert leader is not None
        (machine,) = [each for each in world.aggregators if leader.owner.startswith(each.name)]
        machine.kill()
        assert not machine.alive
        world.timeline.run(20.0)
        heir = world.store().holder()
        assert heir is not None
        assert heir.owner.split("-")[1] != leader.owner.split("-")[1]
        assert heir.fence > leader.fence


def test_a_worker_that_is_killed_at_a_crossing_starts_again_with_its_outbox() -> None:
    with World(1, workers=1, updates_per_version=1) as world:
        (worker,) = world.workers

        def die(point: str) -> None:
            if point == "submit:before":
                raise Killed

        worker.doom = die
        for machine in world.machines:
            machine.start()
        world.timeline.run(10.0)
        assert not worker.alive
        assert worker.waiting() == 1
        assert world.store().totals().accepted == 0

        worker.doom = lambda _point: None
        worker.start()
        world.training = False
        assert world.timeline.run(30.0, until=world.at_rest)
        assert world.store().totals().accepted == 1


def test_a_calendar_that_jumps_moves_no_clock_that_measures() -> None:
    with World(1, workers=1) as world:
        clock = world.workers[0].clock
        clock.skew_s = 3600.0
        assert clock.now_s() == world.clock.now_s() + 3600.0
        assert clock.monotonic_s() == world.clock.monotonic_s()
        world.timeline.run(5.0)
        assert clock.now_s() == world.clock.now_s() + 3600.0


def test_a_flushed_store_is_founded_again_in_a_later_epoch_and_both_are_evidence() -> None:
    with World(1, workers=1) as world:
        world.timeline.run(5.0)
        world.flush()
        assert world.store().head() is None
        world.timeline.run(1.0)
        assert world.found()
        evidence = world.evidence()
    first, second = (each.first.version for each in evidence.lineages)
    assert (first.number, second.number) == (0, 0)
    assert second.epoch == first.epoch + 6
    assert evidence.recipe.federation == FEDERATION


def test_a_slow_disk_is_felt() -> None:
    """It takes up to four seconds over each commit, and hardly any on a good day."""
    commits = list(faults.run(2, "slow_disk").history.all(Committed))
    assert max(each.at_s - each.asked_s for each in commits) > faults.SLOW_COMMIT_S / 2
