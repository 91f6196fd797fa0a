"""Time as an argument: the only module that reads the machine's clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """What the rest of the house may know about time."""

    def now_s(self) -> float:
        """Seconds since the Unix epoch; may jump."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_s(self) -> float:
        """Seconds since the Unix epoch, as the operating system believes."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until told otherwise: for tests and simulation."""

    def __init__(self, start_s: float = 1_700_000_000.0) -> None:
        self._now_s = start_s
        self._running_s = 0.0

    def now_s(self) -> float:
        """The time it was set to."""
        return self._now_s

    def monotonic_s(self) -> float:
        """How long it has run: who takes one of the two times for the other is far off."""
        return self._running_s

    def advance(self, seconds: float) -> None:
        """Move forward by ``seconds`` >= 0."""
        if seconds < 0:
            raise ValueError("a clock does not go back")
        self._now_s += seconds
        self._running_s += seconds
