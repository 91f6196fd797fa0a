"""What other threads hand to the thread that owns a connection."""

import threading
from collections import deque
from collections.abc import Callable


class Posts:
    """Functions that wait for a thread, in order; it is woken once for all that wait.

    To wake a thread takes longer than to ack a delivery, and of a backlog many are at once.

    Args:
        wake: Makes the thread call what it is given; callable from any thread.
    """

    def __init__(self, wake: Callable[[Callable[[], None]], object]) -> None:
        self._wake = wake
        self._gate = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self.closed = False

    def add(self, function: Callable[[], None], *, last: bool = False) -> bool:
        """Run it after all that were added before; False once the last one was added."""
        with self._gate:
            if self.closed:
                return False
            self.closed = last
            self._waiting.append(function)
            if len(self._waiting) == 1:
                self._wake(self._run)
            return True

    def _run(self) -> None:
        """On the thread: one that raises does not take those after it along."""
        with self._gate:
            due, self._waiting = self._waiting, deque()
        try:
            while due:
                due.popleft()()
        finally:
            if due:
                with self._gate:
                    self._waiting.extendleft(reversed(due))
                    self._wake(self._run)
