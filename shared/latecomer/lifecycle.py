"""Stopping by design: signals set an event, loops look at it, and nothing dies in between."""

import os
import random
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Stop(Protocol):
    """Whether to stop, and a pause that ends early if so: a ``threading.Event``, or virtual."""

    def is_set(self) -> bool:
        """Whether to stop."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or for so many seconds; whether it is set."""
        ...


class SignalledStop:
    """A ``Stop`` that a signal handler may set. Waited on by one thread at a time.

    Not a ``threading.Event``: its lock is held for an instant at either end of every wait, and a
    handler that runs in that instant, on the same thread, waits for the lock for ever. A flag and
    a pipe need no lock.
    """

    def __init__(self) -> None:
        self._set = False
        self._readable, self._writable = os.pipe()

    def is_set(self) -> bool:
        """Whether to stop."""
        return self._set

    def set(self) -> None:
        """Stop; whoever waits returns."""
        if not self._set:
            self._set = True
            os.write(self._writable, b"\0")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or for so many seconds; whether it is set."""
        if not self._set:
            select.select([self._readable], [], [], timeout)
        return self._set

    def close(self) -> None:
        """Give the pipe back; whether it was set stays known."""
        os.close(self._readable)
        os.close(self._writable)


@contextmanager
def stop_signal() -> Iterator[SignalledStop]:
    """A stop that SIGTERM and SIGINT set; the former handlers return afterwards.

    A second SIGINT raises KeyboardInterrupt, for the person who cannot wait.
    """
    stop = SignalledStop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    former = {each: signal.signal(each, on_signal) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        stop.close()


#: Doublings beyond this are past any ceiling; more would only overflow on a very bad night.
MAX_DOUBLINGS = 30


def full_jitter_s(failures: int, *, first_s: float, ceiling_s: float, rng: random.Random) -> float:
    """The pause after ``failures`` in a row: uniform(0, min(ceiling, first * 2^failures)).

    The draw keeps a fleet from coming back all at once. Source: "Exponential Backoff And Jitter",
    AWS Architecture Blog, 2015.
    """
    return rng.uniform(0.0, min(ceiling_s, first_s * 2.0 ** min(failures, MAX_DOUBLINGS)))


class Backoff:
    """Pauses that grow with every failure in a row, and start again after a success.

    Attributes:
        failures: How many there were in a row.
    """

    def __init__(self, *, first_s: float, ceiling_s: float, rng: random.Random) -> None:
        self._first_s = first_s
        self._ceiling_s = ceiling_s
        self._rng = rng
        self.failures = 0

    def next_s(self) -> float:
        """The pause before the next attempt, in seconds."""
        pause_s = full_jitter_s(
            self.failures, first_s=self._first_s, ceiling_s=self._ceiling_s, rng=self._rng
        )
        self.failures += 1
        return pause_s

    def reset(self) -> None:
        """The attempt succeeded."""
        self.failures = 0
