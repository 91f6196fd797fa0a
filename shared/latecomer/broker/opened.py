"""What a broker handed out and nobody closed yet: the same for every adapter."""

from typing import Protocol, TypeVar


class Closable(Protocol):
    """A publisher or a subscription."""

    def close(self) -> None:
        """Closing twice is harmless."""
        ...


C = TypeVar("C", bound=Closable)


class Opened:
    """Closed with its broker; whoever closes earlier tells, and is kept no longer.

    Each term of an aggregator makes new ones, and one process leads many terms.
    """

    def __init__(self) -> None:
        self._open: dict[Closable, None] = {}

    def add(self, each: C) -> C:
        """Keep what was made, and hand it on."""
        self._open[each] = None
        return each

    def forget(self, closed: Closable) -> None:
        """It is closed already."""
        self._open.pop(closed, None)

    def close(self) -> None:
        """Close all that is open, the newest first."""
        for each in reversed(list(self._open)):
            each.close()
