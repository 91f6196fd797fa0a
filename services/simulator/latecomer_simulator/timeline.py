"""Virtual time for production code: one process runs at a time, and time passes only between steps.

Coordinator and agent are plain synchronous code. Each simulated process is a thread that holds the
baton until it sleeps or waits; the timeline then picks, from a seed, who goes on. Nothing runs in
parallel, so a seed replays exactly.
"""

import heapq
import random
import threading
from collections.abc import Callable
from itertools import count
from typing import Self

from latecomer.clock import ManualClock
from latecomer_simulator.crowd import Crowd, Waiter, never

#: Simulated processes need little stack; thousands of them fit.
STACK_BYTES = 512 * 1024


class Killed(BaseException):
    """SIGKILL: unwinds a process's stack; nothing in between may stop it."""


class Process(Waiter):
    """One simulated process: a thread that runs only while it holds the baton.

    Attributes:
        name: Of the process.
        failure: What ended it, if that was neither its own end nor ``Killed``.
    """

    def __init__(self, name: str, number: int, main: Callable[[], None], now_s: float) -> None:
        super().__init__(number, now_s)
        self.name = name
        self.failure: Exception | None = None
        self.ended = False
        self._doomed = False
        self._main = main
        self._go, self._done = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._done.acquire()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Let it run until it suspends or ends; called by the timeline."""
        self._go.release()
        self._done.acquire()

    def suspend(self, until_s: float, ready: Callable[[], bool]) -> None:
        """Give the baton back; called by the process itself.

        Raises:
            Killed: Somebody killed it meanwhile.
        """
        self.wakes_s, self.ready = until_s, ready
        self._done.release()
        self._go.acquire()
        if self._doomed:
            raise Killed

    def is_thread(self, thread: threading.Thread) -> bool:
        """Whether this is the process that runs on ``thread``."""
        return thread is self._thread

    def kill(self) -> None:
        """End it where it stands; called while it is suspended."""
        self._doomed = True
        self.resume()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._doomed:
                self._main()
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001 - kept for whoever runs the timeline
            self.failure = error
        finally:
            self.ended = True
            self._done.release()


class Timeline:
    """Processes and timers under one clock. ``with`` ends what still runs.

    Args:
        seed: Of who goes on where several could.
        stack_bytes: Of each process; more where they compute.
    """

    def __init__(self, seed: int, *, stack_bytes: int = STACK_BYTES) -> None:
        self.clock = ManualClock()
        self._stack_bytes = stack_bytes
        self._rng = random.Random(seed)
        self._crowd = Crowd[Process]()
        self._running: Process | None = None
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._crowd:
            self.kill(process)

    def spawn(self, name: str, main: Callable[[], None]) -> Process:
        """A process that begins as soon as it is its turn."""
        former = threading.stack_size(self._stack_bytes)
        try:
            process = Process(name, next(self._order), main, self._now_s())
        finally:
            threading.stack_size(former)
        self._crowd.add(process, self._now_s())
        return process

    def at(self, when_s: float, action: Callable[[], None]) -> None:
        """Do something between two steps, not before ``when_s``."""
        heapq.heappush(self._timers, (when_s, next(self._order), action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do something in ``delay_s``."""
        self.at(self._now_s() + delay_s, action)

    def sleep(self, seconds: float) -> None:
        """Let others run for so long; outside of any process nothing happens."""
        self.wait(seconds, never)

    def wait(self, seconds: float, ready: Callable[[], bool]) -> None:
        """Let others run until ``ready()``, or for so long."""
        if self._running is not None:
            self._running.suspend(self._now_s() + seconds, ready)

    def freeze(self, process: Process, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so long."""
        process.frozen_until_s = self._now_s() + seconds
        if process in self._crowd:
            self._crowd.add(process, self._now_s())

    def kill(self, process: Process) -> None:
        """SIGKILL, from outside of the process; what unwinds there takes no time."""
        if process in self._crowd:
            self._crowd.remove(process)
            running, self._running = self._running, None
            process.kill()
            self._running = running

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Let virtual time pass; True as soon as ``until()``, False if that never came.

        Raises:
            Exception: What a process failed with; the clock stands where it did.
        """
        end_s = self._now_s() + seconds
        while not until():
            now_s = self._now_s()
            runnable = self._crowd.runnable(now_s)
            if self._timers and self._timers[0][0] <= now_s:
                heapq.heappop(self._timers)[2]()
            elif runnable:
                self._resume(self._rng.choice(runnable))
            elif not self._advance(end_s):
                return False
        return True

    def _now_s(self) -> float:
        return self.clock.monotonic_s()

    def _resume(self, process: Process) -> None:
        self._crowd.remove(process)
        self._running = process
        try:
            process.resume()
        finally:
            self._running = None
        if not process.ended:
            self._crowd.add(process, self._now_s())
        elif process.failure is not None:
            raise process.failure

    def _advance(self, end_s: float) -> bool:
        """To the next moment at which anything can happen, if that is before ``end_s``."""
        timer_s = self._timers[0][0] if self._timers else float("inf")
        upcoming_s = min(timer_s, self._crowd.upcoming_s())
        now_s = self._now_s()
        if upcoming_s > end_s:
            self.clock.advance(max(0.0, end_s - now_s))
            return False
        self.clock.advance(upcoming_s - now_s)
        return True
