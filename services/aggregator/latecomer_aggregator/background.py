"""One task beside its owner: a version is written while the next one's updates are folded.

A commit waits for the store's disk, and meanwhile a processor has nothing to do. The owner goes on,
and asks now and then whether the task has ended; it shares nothing with it that either changes.
Where it is the owner who takes long, a small task is repeated beside it.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

#: Nothing that an owner does takes longer; what hangs is not covered up for ever.
LONGEST_S = 600.0


class Background(Protocol):
    """Runs one task at a time; used by one thread."""

    @property
    def busy(self) -> bool:
        """Whether a task was begun whose end nobody has heard of yet."""
        ...

    def begin(self, task: Callable[[], None]) -> None:
        """Run ``task``; never while busy."""
        ...

    def ended(self, wait_s: float) -> bool:
        """Whether the task has ended, waiting for it so long at most; not busy any more if so.

        Raises:
            Exception: What the task raised.
        """
        ...

    def repeated(self, task: Callable[[], object], every_s: float) -> AbstractContextManager[None]:
        """Beside the body of a ``with``, run ``task`` every so often; what it raises is its own."""
        ...

    def close(self) -> None:
        """Take no more tasks; one that runs goes on to its end."""
        ...


class Foreground:
    """The task runs where its end is asked for: for stores without a disk, and tests."""

    def __init__(self) -> None:
        self._task: Callable[[], None] | None = None

    @property
    def busy(self) -> bool:
        """See ``Background``."""
        return self._task is not None

    def begin(self, task: Callable[[], None]) -> None:
        """See ``Background``."""
        self._task = task

    def ended(self, wait_s: float) -> bool:
        """See ``Background``; this is where it runs."""
        del wait_s
        task, self._task = self._task, None
        if task is not None:
            task()
        return True

    def repeated(self, task: Callable[[], object], every_s: float) -> AbstractContextManager[None]:
        """See ``Background``; there is nothing beside."""
        del task, every_s
        return nullcontext()

    def close(self) -> None:
        """See ``Background``."""


class BackgroundThread:
    """A thread of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._future: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """See ``Background``."""
        return self._future is not None

    def begin(self, task: Callable[[], None]) -> None:
        """See ``Background``."""
        self._future = self._executor.submit(task)

    def ended(self, wait_s: float) -> bool:
        """See ``Background``."""
        if self._future is None:
            return True
        if not (self._future.done() or (wait_s > 0 and wait([self._future], wait_s).done)):
            return False
        future, self._future = self._future, None
        future.result()
        return True

    @contextmanager
    def repeated(self, task: Callable[[], object], every_s: float) -> Iterator[None]:
        """See ``Background``; for ``LONGEST_S`` at most."""
        over = threading.Event()

        def repeat() -> None:
            for _ in range(int(LONGEST_S / every_s)):
                if over.wait(every_s):
                    return
                task()

        thread = threading.Thread(target=repeat, name=self._name, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def close(self) -> None:
        """See ``Background``."""
        self._executor.shutdown(wait=False)
