"""A fault that does nothing breaks no promise, and proves none."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from latecomer.broker.topology import rounds_queue
from latecomer_simulator import faults
from latecomer_simulator.world import World

LASTS_S = 3.0


def noisy(world: World) -> bool:
    """Somewhere everything that a line can do wrong is likely."""
    return any(
        line.lose_request and line.lose_reply and line.duplicate and line.reorder
        for line in (machine.line for machine in world.machines)
    )


def generations(world: World) -> dict[object, int]:
    """Of each subscription, how often it was connected."""
    attached: list[Any] = list(world.server._attached)
    return {each: each._generation for each in attached}


#: By the kind of a fault, how the world shows that it lasts.
FELT: dict[str, Callable[[World], bool]] = {
    "cut_broker": lambda world: any(each.line.broker_cut for each in world.machines),
    "cut_store": lambda world: any(each.line.store_cut for each in world.machines),
    "slow_disk": lambda world: all(each.line.commit_s for each in world.aggregators),
    "stop_broker": lambda world: world.server.down,
    "alarm": lambda world: world.server._alarm,
    "noise": noisy,
    "clock_jump": lambda world: any(abs(each.clock.skew_s) == 3600.0 for each in world.machines),
    "hand_over": lambda world: any(each.stop.asked for each in world.aggregators),
}


@pytest.mark.parametrize("kind", FELT)
def test_a_fault_is_felt_while_it_lasts_and_no_longer(kind: str) -> None:
    felt = FELT[kind]
    with World(1, workers=2) as world:
        for machine in world.machines:
            machine.start()
        world.timeline.run(5.0)
        assert not felt(world)
        faults.KINDS[kind](world, random.Random(1), LASTS_S)
        assert felt(world)
        world.timeline.run(LASTS_S - 0.1)
        assert felt(world)
        world.timeline.run(0.2)
        assert not felt(world)


def test_connections_that_are_lost_are_made_anew() -> None:
    with World(1, workers=2) as world:
        for machine in world.machines:
            machine.start()
        world.timeline.run(5.0)
        before = generations(world)
        faults.drop_connections(world, random.Random(1), LASTS_S)
        world.timeline.run(LASTS_S)
        after = generations(world)
        assert before.keys() <= after.keys()
        assert all(after[each] > generation for each, generation in before.items())


def test_a_queue_that_is_deleted_is_not_the_one_that_is_there_later() -> None:
    with World(1, workers=1) as world:
        for machine in world.machines:
            machine.start()
        world.timeline.run(5.0)
        queue = rounds_queue(world.workers[0].name)
        former = world.server.find(queue)
        assert former is not None
        faults.delete_queue(world, random.Random(1), LASTS_S)
        world.timeline.run(LASTS_S)
        assert world.server.find(queue) not in (None, former)


def test_at_the_end_whatever_is_wrong_ends() -> None:
    """Nobody is killed any more, nothing gets lost, and who is down starts."""
    with World(1, workers=2) as world:
        for machine in world.machines:
            machine.start()
        world.timeline.run(5.0)
        faults.noise(world, random.Random(1), faults.LONGEST_S)
        for machine in world.machines:
            machine.kill()
            faults.kill(world, random.Random(1), LASTS_S)
        faults._heal(world)
        assert not noisy(world)
        assert all(machine.alive for machine in world.machines)
        world.timeline.run(faults.REST_S)
        assert all(machine.alive for machine in world.machines)
