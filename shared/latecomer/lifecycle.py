"""Stopping by design: signals set an event, loops look at it, and nothing dies in between."""

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the former handlers return afterwards.

    A second SIGINT raises KeyboardInterrupt, for the person who cannot wait.
    """
    stop = threading.Event()

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


class Backoff:
    """Full-jitter exponential pauses: uniform(0, min(ceiling, first * 2^n)).

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. The draw keeps a fleet
    from coming back all at once; ``reset`` after a success starts again at ``first_s``.
    """

    def __init__(self, *, first_s: float, ceiling_s: float, rng: random.Random) -> None:
        self._first_s = first_s
        self._ceiling_s = ceiling_s
        self._rng = rng
        self._failures = 0

    def next_s(self) -> float:
        """The pause before the next attempt, in seconds."""
        # 2**30 * first is past any ceiling, and a float does not overflow on a very bad night.
        limit_s = min(self._ceiling_s, self._first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return self._rng.uniform(0.0, limit_s)

    def reset(self) -> None:
        """The attempt succeeded."""
        self._failures = 0
