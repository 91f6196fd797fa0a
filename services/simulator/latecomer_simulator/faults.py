"""What goes wrong in a simulated run, drawn from its seed: when, to whom, and for how long.

Every fault begins at a drawn moment and ends by itself; then the deployment has to recover without
anybody's help, except that a flushed store is founded again, which an operator does.
"""

import random
from collections.abc import Callable, Mapping

from latecomer.broker.topology import rounds_queue
from latecomer_simulator.evidence import Evidence
from latecomer_simulator.machines import Machine
from latecomer_simulator.tally import RECOVERY_S
from latecomer_simulator.timeline import Killed
from latecomer_simulator.world import World

#: Faults begin within this time, in virtual seconds.
HORIZON_S = 24.0

#: So many faults per run.
FAULTS = (2, 6)

#: No fault lasts longer; more than a lease, and more than a heartbeat.
LONGEST_S = 14.0

#: A machine is killed or paused at one of its next crossings.
CROSSINGS = 40

#: Most deployments are asynchronous; a synchronous one refuses whoever is late at all.
MODES = ("fedbuff", "fedbuff", "sync")

#: Nobody is refused for being late, or many are.
LIMITS = (100, 2)

#: What a disk may take that others use as well, or that is about to fail.
SLOW_COMMIT_S = 4.0

#: An hour: what a bad time server, or a change of daylight saving, does to a calendar.
JUMP_S = 3600.0

#: Long enough for every backoff, lease and heartbeat; a run that is not at rest by then never is.
REST_S = 180.0

Fault = Callable[[World, random.Random, float], None]


def run(seed: int, *kinds: str) -> Evidence:
    """One deployment through the faults of ``seed``, until it has come to rest.

    The same seed gives the same history, event by event. Where ``kinds`` are named, only these go
    wrong.
    """
    rng = random.Random(seed)
    terms = {
        "updates_per_version": rng.choice((1, 2, 3, 5)),
        "max_wait_s": 3.0,
        "mode": rng.choice(MODES),
        "max_staleness": rng.choice(LIMITS),
    }
    with World(seed, workers=rng.choice((2, 3, 4)), **terms) as world:
        for machine in world.machines:
            machine.start()
        for _ in range(rng.randint(*FAULTS)):
            _schedule(world, rng, kinds or tuple(KINDS))
        world.timeline.run(HORIZON_S + LONGEST_S)
        _heal(world)
        world.timeline.run(RECOVERY_S, until=world.moved)
        world.training = False
        for _ in range(int(REST_S)):
            if world.at_rest():
                break
            world.timeline.run(1.0)
        return world.evidence()


def _schedule(world: World, rng: random.Random, kinds: tuple[str, ...]) -> None:
    name = rng.choice(sorted(kinds))
    lasts_s = rng.uniform(0.5, LONGEST_S)
    draws = random.Random(rng.random())
    world.timeline.after(rng.uniform(1.0, HORIZON_S), lambda: KINDS[name](world, draws, lasts_s))


def _lasting(
    world: World, name: str, lasts_s: float, begin: Callable[[], None], end: Callable[[], None]
) -> None:
    """A fault that begins now and ends after so long."""

    def over() -> None:
        end()
        world.healed(name)

    world.fault(name)
    begin()
    world.timeline.after(lasts_s, over)


def _heal(world: World) -> None:
    """Whatever is still wrong ends now."""
    for machine in world.machines:
        machine.doom = lambda _point: None
        machine.line.calm()
        machine.start()


def kill(world: World, rng: random.Random, lasts_s: float) -> None:
    """A process dies at one of its next crossings, and starts again later."""
    machine = rng.choice(world.machines)

    def die() -> None:
        world.fault("killed")
        world.timeline.after(lasts_s, revive)
        raise Killed

    def revive() -> None:
        machine.start()
        world.healed("killed")

    _at_crossing(machine, rng.randint(1, CROSSINGS), die)


def pause(world: World, rng: random.Random, lasts_s: float) -> None:
    """A process stands still at one of its next crossings, maybe for longer than its lease."""
    machine = rng.choice((*world.aggregators, rng.choice(world.machines)))

    def stand_still() -> None:
        _lasting(world, "paused", lasts_s, lambda: machine.freeze(lasts_s), lambda: None)
        world.timeline.sleep(0.0)

    _at_crossing(machine, rng.randint(1, CROSSINGS), stand_still)


def cut_broker(world: World, rng: random.Random, lasts_s: float) -> None:
    """A machine loses its line to the broker."""
    line = rng.choice(world.machines).line
    _lasting(world, "no line to the broker", lasts_s, line.cut_broker, line.mend_broker)


def cut_store(world: World, rng: random.Random, lasts_s: float) -> None:
    """A machine, or all of them, lose the line to the store."""
    some = rng.choice((world.machines, [rng.choice(world.machines)]))

    def cut(*, away: bool) -> None:
        for machine in some:
            machine.line.store_cut = away

    _lasting(
        world, "no line to the store", lasts_s, lambda: cut(away=True), lambda: cut(away=False)
    )


def slow_disk(world: World, _rng: random.Random, lasts_s: float) -> None:
    """The store takes seconds over a commit."""

    def slow(commit_s: float) -> None:
        for machine in world.aggregators:
            machine.line.commit_s = commit_s

    _lasting(world, "slow disk", lasts_s, lambda: slow(SLOW_COMMIT_S), lambda: slow(0.0))


def stop_broker(world: World, _rng: random.Random, lasts_s: float) -> None:
    """The broker goes down, and comes back with its queues."""
    _lasting(world, "broker down", lasts_s, world.server.stop, world.server.start)


def drop_connections(world: World, _rng: random.Random, _lasts_s: float) -> None:
    """Every connection to the broker is lost, and made again at once."""
    _lasting(world, "connections lost", 0.0, world.server.drop_connections, lambda: None)


def alarm(world: World, _rng: random.Random, lasts_s: float) -> None:
    """The broker's memory or disk alarm blocks publishers."""
    _lasting(world, "alarm", lasts_s, world.server.raise_alarm, world.server.clear_alarm)


def noise(world: World, rng: random.Random, lasts_s: float) -> None:
    """Requests, replies and confirms get lost, messages arrive twice or out of order."""

    def begin() -> None:
        for machine in world.machines:
            line = machine.line
            line.lose_request, line.lose_reply = rng.uniform(0, 0.1), rng.uniform(0, 0.1)
            line.duplicate, line.reorder = rng.uniform(0, 0.5), rng.uniform(0, 0.5)

    def end() -> None:
        for machine in world.machines:
            machine.line.calm()

    _lasting(world, "noise", lasts_s, begin, end)


def clock_jump(world: World, rng: random.Random, lasts_s: float) -> None:
    """A machine's calendar jumps by an hour, and back."""
    clock = rng.choice(world.machines).clock
    jump_s = rng.choice((-JUMP_S, JUMP_S))

    def turn(by_s: float) -> None:
        clock.skew_s += by_s

    _lasting(world, "clock jump", lasts_s, lambda: turn(jump_s), lambda: turn(-jump_s))


def hand_over(world: World, rng: random.Random, lasts_s: float) -> None:
    """An aggregator is told to stop (SIGTERM), as for an upgrade, and starts again."""
    machine = rng.choice(world.aggregators)

    def ask() -> None:
        machine.stop.asked = True

    _lasting(world, "told to stop", lasts_s, ask, machine.start)


def delete_queue(world: World, rng: random.Random, _lasts_s: float) -> None:
    """Somebody deletes the queue in which a worker hears of rounds."""
    queue = rounds_queue(rng.choice(world.workers).name)
    _lasting(world, "queue deleted", 0.0, lambda: world.server.delete(queue), lambda: None)


def flush(world: World, _rng: random.Random, _lasts_s: float) -> None:
    """The store loses everything; an operator founds the federation again, in a new epoch."""
    if world.flushed:
        return

    def found() -> None:
        if world.found():
            world.healed("store flushed")
        else:
            world.timeline.after(1.0, found)

    world.fault("store flushed")
    world.flush()
    world.timeline.after(1.0, found)


KINDS: Mapping[str, Fault] = {
    each.__name__: each
    for each in (
        kill,
        pause,
        cut_broker,
        cut_store,
        slow_disk,
        stop_broker,
        drop_connections,
        alarm,
        noise,
        clock_jump,
        hand_over,
        delete_queue,
        flush,
    )
}


def _at_crossing(machine: Machine, number: int, action: Callable[[], None]) -> None:
    """Once, at the so many-th crossing from now on."""
    left = number

    def reached(_point: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            action()

    machine.doom = reached
