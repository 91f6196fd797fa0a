"""A process of an ordeal, which any thread may start, kill and ask how it ended."""

import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

#: Processes are forked from one that has imported everything: a start takes milliseconds.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["ordeal_services"])

#: multiprocessing asks after every child whenever it starts one, and reads an exit code from a
#: pipe, once: a thread that reads it at the same time finds the pipe empty and calls it 255.
_asking = threading.Lock()


class Child:
    """Started at once; ends with its parent."""

    def __init__(self, main: Callable[..., None], *arguments: Any) -> None:
        self._process = _context.Process(target=main, args=arguments, daemon=True)
        with _asking:
            self._process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    def exit_code(self, within_s: float = 0.0) -> int | None:
        """How it ended, waiting so long for it; minus the signal's number if one killed it."""
        wait([self._process.sentinel], within_s)
        with _asking:
            return self._process.exitcode

    def kill(self) -> None:
        """SIGKILL, and gone on return."""
        with _asking:
            self._process.kill()
        wait([self._process.sentinel])
