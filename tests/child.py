"""A process of an ordeal, which any thread may start, kill and ask how it ended."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from typing import Any
from unittest.mock import patch

#: What every process of an ordeal needs.
IMPORTED = "ordeal_services"

#: multiprocessing asks after every child whenever it starts one, and reads an exit code from a
#: pipe, once: a thread that reads it at the same time finds the pipe empty and calls it 255.
_asking = threading.Lock()


@cache
def _context() -> ForkServerContext:
    """Processes are forked from one that has imported everything: a start takes milliseconds.

    Python does not tell that one where modules are (it takes ``sys_path`` and drops it), and what
    it does not find it does without.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([IMPORTED])
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
        forkserver.ensure_running()
    return context


class Child:
    """Started at once; ends with its parent."""

    def __init__(self, main: Callable[..., None], *arguments: Any) -> None:
        with _asking:
            self._process = _context().Process(target=main, args=arguments, daemon=True)
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
