"""The data at home, which its owner goes on writing while the worker runs."""

from collections.abc import Callable

import structlog

from latecomer.clock import Clock

log = structlog.get_logger()

#: A file that is being written is left alone until it has been the same for so long: of half a file
#: a worker would learn that the other half's people are gone.
SETTLED_S = 10.0

#: What could not be used is tried again this often: a disk that failed comes back, and the file
#: looks as it did.
AGAIN_S = 600.0

#: Who never leaves a file alone for that long is told that nothing of it is learned.
RESTLESS_S = 600.0


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
        self._restless_from_s: float | None = None
        self._failed_s: float | None = None

    def reading(self) -> None:
        """It is read now: what is written from here on is new."""
        self._read, self._failed_s = self._look(), None

    def failed(self) -> None:
        """What was read just now could not be used."""
        self._failed_s = self._clock.monotonic_s()

    def changed(self) -> bool:
        """Whether it is another than what was read, and nobody is writing it any more.

        What could not be used is as good as another after a while.
        """
        seen, now_s = self._look(), self._clock.monotonic_s()
        if seen != self._seen:
            self._seen, self._since_s = seen, now_s
        settled = now_s - self._since_s >= SETTLED_S
        if seen == self._read:
            self._restless_from_s = None
            return self._failed_s is not None and now_s - self._failed_s >= AGAIN_S
        self._warn(now_s, settled=settled)
        return settled

    def _warn(self, now_s: float, *, settled: bool) -> None:
        """Once for each time that it is being written for long."""
        if settled:
            self._restless_from_s = None
        elif self._restless_from_s is None:
            self._restless_from_s = now_s
        elif now_s - self._restless_from_s >= RESTLESS_S:
            self._restless_from_s = float("inf")
            log.warning(
                "data.restless",
                hint=f"nothing of it is learned before it was left alone for {SETTLED_S:.0f} s; "
                "write to another file and rename that",
            )
