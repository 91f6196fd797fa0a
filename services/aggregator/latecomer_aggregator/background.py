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
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._repeater = _Repeater(name)
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
        self._repeater.begin(task, every_s)
        try:
            yield
        finally:
            self._repeater.end()

    def close(self) -> None:
        """See ``Background``."""
        self._executor.shutdown(wait=False)
        self._repeater.close()


class _Repeater:
    """A thread that stands by and now and then looks whether there is something to repeat.

    Most versions are computed sooner than a thread is started.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._running = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._task: Callable[[], object] | None = None
        self._every_s = 0.0
        self._left = 0

    def begin(self, task: Callable[[], object], every_s: float) -> None:
        """From now on; one that raised has ended its thread, and the next gets another."""
        self._task, self._every_s, self._left = task, every_s, int(LONGEST_S / every_s)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Not any more, and if it runs just now, when it has run."""
        with self._running:
            self._task = None

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            with self._running:
                if self._task is not None and self._left:
                    self._left -= 1
                    self._task()
