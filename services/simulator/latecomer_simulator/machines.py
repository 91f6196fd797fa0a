"""The machines of a simulated deployment: each runs one service, dies, freezes and starts again."""

import random
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any

from latecomer.clock import ManualClock
from latecomer.telemetry import AggregatorTelemetry
from latecomer_aggregator import app as aggregator_app
from latecomer_simulator import audit
from latecomer_simulator.crossings import Crossings
from latecomer_simulator.network import Line
from latecomer_simulator.timeline import Killed, Process, Timeline
from latecomer_worker import app as worker_app
from latecomer_worker.fetch import ChunkCache
from latecomer_worker.state import WorkerState

if TYPE_CHECKING:
    from latecomer_simulator.world import World

FEDERATION = "audit"

LEASE_S = 8.0

#: Each step of a service waits at most this long, as in production.
STEP_S = 1.0

#: How long the kernel of a dead machine keeps its connections alive in the broker's eyes, at most.
HALF_OPEN_S = 10.0


class SkewedClock(ManualClock):
    """The timeline's clock, seen by a machine whose own calendar may be wrong."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock
        self.skew_s = 0.0

    def now_s(self) -> float:
        """What this machine believes the date to be."""
        return self._clock.now_s() + self.skew_s

    def monotonic_s(self) -> float:
        """Time since an arbitrary start, which no calendar changes."""
        return self._clock.monotonic_s()


class VirtualStop:
    """Stands where a ``threading.Event`` stands: its pauses pass in virtual time."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.asked = False

    def is_set(self) -> bool:
        """Whether the service was asked to stop."""
        return self.asked

    def wait(self, timeout: float | None = None) -> bool:
        """Let others run for so long."""
        self._timeline.wait(timeout or 0.0, self.is_set)
        return self.asked


class VirtualBackground:
    """A thread of a machine's process: another process of the timeline that lives and dies with it.

    Stands where a ``BackgroundThread`` stands.
    """

    def __init__(self, timeline: Timeline, spawn: Callable[[Callable[[], None]], None]) -> None:
        self._timeline = timeline
        self._spawn = spawn
        self._failure: Exception | None = None
        self._over = False
        self.busy = False

    def begin(self, task: Callable[[], None]) -> None:
        """See ``Background``."""
        self.busy, self._over, self._failure = True, False, None
        self._spawn(lambda: self._run(task))

    def ended(self, wait_s: float) -> bool:
        """See ``Background``; waits in virtual time."""
        if wait_s > 0 and not self._over:
            self._timeline.wait(wait_s, lambda: self._over)
        if not self._over:
            return False
        self.busy = False
        if self._failure is not None:
            raise self._failure
        return True

    def repeated(self, task: Callable[[], object], every_s: float) -> AbstractContextManager[None]:
        """See ``Background``; no step takes as long as a lease here."""
        del task, every_s
        return nullcontext()

    def close(self) -> None:
        """See ``Background``."""

    def _run(self, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception as error:  # noqa: BLE001 - raised again where its end is asked for
            self._failure = error
        self._over = True


class Machine:
    """One service's machine: it dies, freezes, loses its network, and starts again.

    Attributes:
        name: Of the service, unique in the world.
        line: To broker and store.
        clock: Its calendar may be wrong.
        doom: Called at every crossing; may raise ``Killed`` or let time pass.
    """

    def __init__(self, world: "World", name: str) -> None:
        self.name = name
        self.world = world
        self.line = Line(random.Random(world.rng.random()), world.timeline, jitter_s=0.05)
        self.clock = SkewedClock(world.clock)
        self.doom: Callable[[str], None] = lambda _point: None
        self.stop = VirtualStop(world.timeline)
        self._boots = count(1)
        self._process: Process | None = None
        self._threads: list[Process] = []
        self._dying = False
        self._broker: Any = None
        self.crossings = Crossings(name, world.clock, world.history, self._reached)

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and not self._process.ended

    def start(self) -> None:
        """Boot: nothing is left of the former process but its files."""
        if self.alive:
            if self.stop.asked:
                self.world.timeline.after(1.0, self.start)
            return
        self.stop = VirtualStop(self.world.timeline)
        self._broker = self.line.broker(self.world.server, self.name)
        self._process = self.world.timeline.spawn(self.name, lambda: self._run(next(self._boots)))

    def kill(self) -> None:
        """SIGKILL, or the power goes: the broker notices at once, or only by the heartbeat."""
        if self._dying:
            return
        self._dying = True
        here = threading.current_thread()
        for each in self._running():
            if not each.is_thread(here):
                self.world.timeline.kill(each)
        self._dying = False
        self._died()

    def freeze(self, seconds: float) -> None:
        """SIGSTOP; for as long as a heartbeat, and the broker gives up on it."""
        for each in self._running():
            self.world.timeline.freeze(each, seconds)
        if seconds > HALF_OPEN_S:
            self.world.timeline.after(HALF_OPEN_S, self.line.cut_broker)
            self.world.timeline.after(seconds, self.line.mend_broker)

    def thread(self, main: Callable[[], None]) -> None:
        """Another thread of its process: whichever dies, both do."""
        self._threads = [each for each in self._threads if not each.ended]
        self._threads.append(
            self.world.timeline.spawn(f"{self.name}+", lambda: self._guarded(main))
        )

    def _running(self) -> list[Process]:
        process = [] if self._process is None else [self._process]
        return [*process, *self._threads]

    def _reached(self, point: str) -> None:
        # Looked up at every crossing: who is to die is decided while it runs.
        self.doom(point)

    def _run(self, boot: int) -> None:
        self._guarded(lambda: self.main(boot))

    def _guarded(self, main: Callable[[], None]) -> None:
        """A crossing may kill whoever crosses it, and with him all threads of his process."""
        try:
            main()
        except Killed:
            self.kill()
            raise

    def main(self, boot: int) -> None:
        """What the service does until it is asked to stop."""
        raise NotImplementedError

    def _died(self) -> None:
        former, self._broker = self._broker, None
        self.line.hang_up()
        if former is not None:
            delay_s = self.world.rng.choice((0.0, self.world.rng.uniform(0.0, HALF_OPEN_S)))
            self.world.timeline.after(delay_s, former.close)


class AggregatorMachine(Machine):
    """Runs the coordinator; a standby does so, too."""

    def main(self, boot: int) -> None:
        """As ``latecomer_aggregator.app.run``."""
        coordinator = aggregator_app.build(
            federation=FEDERATION,
            broker=self.crossings.broker(self._broker),
            store=self.crossings.store(self.line.store(self.world.store())),
            clock=self.clock,
            stop=self.stop,
            telemetry=AggregatorTelemetry(),
            lease_s=LEASE_S,
            background=VirtualBackground(self.world.timeline, self.thread),
            owner=f"{self.name}-{boot}",
            seed=boot,
        )
        while not self.stop.is_set():
            coordinator.step(STEP_S)
        coordinator.close()
        self._broker.close()


class WorkerMachine(Machine):
    """Runs an agent over its own files; ``train_s`` is how long a round of training takes."""

    def __init__(self, world: "World", name: str, row: int, train_s: float) -> None:
        super().__init__(world, name)
        self._row = row
        self._train_s = train_s
        self._state: WorkerState | None = None

    def main(self, boot: int) -> None:
        """As ``latecomer_worker.app.run``."""
        if self._state is not None:
            self._state.close()
        self._state = WorkerState(self.world.folder / self.name / "state.sqlite")
        state = self.crossings.state(self._state)
        agent = worker_app.build(
            federation=FEDERATION,
            worker=self.name,
            broker=self.crossings.broker(self._broker),
            store=self.crossings.store(self.line.store(self.world.store())),
            state=state,
            cache=ChunkCache(self.world.folder / self.name / "chunks"),
            open_site=lambda snapshot: audit.AuditTrainer(
                snapshot.manifest.layout, self._row, state, self._train, self.world.more
            ),
            clock=self.clock,
            stop=self.stop,
            boot=f"boot{boot}",
            seed=self._row * 1000 + boot,
        )
        while not self.stop.is_set():
            agent.step(STEP_S)
        self._broker.close()

    def waiting(self) -> int:
        """Updates in its outbox."""
        return 0 if self._state is None else self._state.pending.unconfirmed()

    def close(self) -> None:
        """Its files."""
        if self._state is not None:
            self._state.close()

    def _train(self) -> None:
        self.world.timeline.sleep(self.world.rng.uniform(0.5, 1.5) * self._train_s)
