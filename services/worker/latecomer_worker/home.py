"""The data at home, which its owner goes on writing while the worker runs."""

from collections.abc import Callable

from latecomer.clock import Clock

#: A file that is being written is left alone until it has been the same for so long: of half a file
#: a worker would learn that the other half's people are gone.
SETTLED_S = 10.0


class Home:
    """Tells when the data at home is another than what was read.

    Args:
        look: What the data looks like from outside; another value once it is another.
        clock: Tells for how long it has been the same.
    """

    def __init__(self, look: Callable[[], object], clock: Clock) -> None:
        self._look = look
        self._clock = clock
        self._read: object = None
        self._seen: object = None
        self._since_s = float("-inf")

    def reading(self) -> None:
        """It is read now: what is written from here on is new."""
        self._read = self._look()

    def changed(self) -> bool:
        """Whether it is another than what was read, and nobody is writing it any more."""
        seen, now_s = self._look(), self._clock.monotonic_s()
        if seen != self._seen:
            self._seen, self._since_s = seen, now_s
        return seen != self._read and now_s - self._since_s >= SETTLED_S
