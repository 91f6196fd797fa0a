"""The production aggregator as a process of its own, and what can be seen of it from outside."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path

from latecomer import logs
from latecomer.clock import SystemClock
from latecomer.config import Settings
from latecomer.errors import BadConfiguration, LatecomerError
from latecomer.lifecycle import stop_signal
from latecomer.store.port import Head, ModelStore
from latecomer_aggregator import app

#: Nothing measured here takes this long for a version.
STALLED_S = 300.0

#: How often the head is looked at; it takes no part in any timing.
POLL_S = 0.1

STATUS = Path("/proc")


class Stalled(LatecomerError):
    """The aggregator made no more versions, or too slowly."""


@contextmanager
def running(settings: Settings, federation: str) -> Iterator[SpawnProcess]:
    """An aggregator of ``federation``, stopped by SIGTERM as an operator stops it."""
    chosen = settings.model_copy(update={"federation": federation})
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(chosen,))
    process.start()
    try:
        yield process
    finally:
        process.terminate()
        process.join()


def await_number(store: ModelStore, number: int, process: SpawnProcess) -> None:
    """Return once the head is at least that version.

    Raises:
        Stalled: It never will be.
    """
    pause, clock = threading.Event(), SystemClock()
    deadline_s = clock.monotonic_s() + STALLED_S
    while (at := head(store).version.number) < number:
        if not process.is_alive():
            raise Stalled(f"the aggregator ended at version {at} of {number}")
        if clock.monotonic_s() > deadline_s:
            raise Stalled(
                f"the aggregator is at version {at} of {number} after {STALLED_S:.0f} s",
                hint="each version waits for the store's disk: see appendfsync in its settings",
            )
        pause.wait(POLL_S)


def head(store: ModelStore) -> Head:
    """The newest version of a federation that was founded."""
    found = store.head()
    assert found is not None, "it was founded here"
    return found


def resident_mb(process: SpawnProcess) -> float:
    """Resident memory in MiB, as the kernel counts it.

    Raises:
        BadConfiguration: This system has no ``/proc``.
    """
    facts = STATUS / str(process.pid) / "status"
    if not facts.exists():
        raise BadConfiguration(f"{facts} is missing", hint="measure memory on Linux")
    lines = dict(line.split(":", 1) for line in facts.read_text(encoding="utf-8").splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024


def _run(settings: Settings) -> None:
    """In its own process: as the command runs it, with its log to nowhere."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stderr = nowhere
        logs.configure(level=settings.log_level, style="json")
        with stop_signal() as stop:
            app.run(settings, stop)
