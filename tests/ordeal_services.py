"""The services as processes that can be killed at any arrow: what runs inside of each."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latecomer import connect, logs
from latecomer.clock import SystemClock
from latecomer.config import load_settings
from latecomer.lifecycle import stop_signal
from latecomer.wire import messages
from latecomer_aggregator import app as aggregator_app
from latecomer_simulator.audit import AuditTrainer
from latecomer_simulator.crossings import Crossings
from latecomer_simulator.history import Journal
from latecomer_worker import agent
from latecomer_worker import app as worker_app
from latecomer_worker.fetch import ChunkCache
from latecomer_worker.state import WorkerState

#: A worker looks for verdicts this often here; in production there is more time.
VERDICTS_EVERY_S = 0.2


@dataclass(frozen=True)
class Doom:
    """Where a process dies: SIGKILL at the ``hit``-th time that it reaches ``point``."""

    point: str
    hit: int


@dataclass(frozen=True)
class Orders:
    """What a process is to be.

    Attributes:
        name: Of the worker or aggregator, and of its journal and log.
        folder: Where everything lies that the run leaves behind.
        settings: As environment variables would give them.
        doom: None to live.
        row: A worker's row of cells.
        train_s: How long a round of training takes.
        slots: A worker's row has so many cells.
        inline_bytes: Larger payloads go through the store.
    """

    name: str
    folder: Path
    settings: dict[str, Any]
    doom: Doom | None = None
    row: int = 0
    train_s: float = 0.05
    slots: int = 0
    inline_bytes: int = field(default=messages.MAX_INLINE_BYTES)

    @property
    def journal(self) -> Path:
        """Its history; the processes of one name share it, one after another."""
        return self.folder / f"{self.name}.jsonl"

    @property
    def quiet(self) -> Path:
        """While this file is there, workers learn nothing new."""
        return self.folder / "quiet"


def aggregate(orders: Orders) -> None:
    """An aggregator's process."""
    crossings = _begin(orders)
    with stop_signal() as stop:
        aggregator_app.run(
            load_settings(**orders.settings),
            stop,
            open_broker=_watched(connect.broker, crossings.broker),
            open_store=_watched(connect.store, crossings.store),
        )


def work(orders: Orders) -> None:
    """A worker's process."""
    messages.MAX_INLINE_BYTES = orders.inline_bytes
    agent.VERDICTS_EVERY_S = VERDICTS_EVERY_S
    crossings = _begin(orders)
    files = orders.folder / orders.name
    state = crossings.state(WorkerState(files / "state.sqlite"))
    with stop_signal() as stop:
        worker_app.run(
            load_settings(**orders.settings),
            worker=orders.name,
            state=state,
            cache=ChunkCache(files / "chunks"),
            open_site=lambda snapshot: AuditTrainer(
                snapshot.manifest.layout,
                orders.row,
                state,
                train_for=lambda: stop.wait(orders.train_s),
                more=lambda slot: slot < orders.slots and not orders.quiet.exists(),
            ),
            stop=stop,
            once=False,
            open_broker=_watched(connect.broker, crossings.broker),
            open_store=_watched(connect.store, crossings.store),
        )


def _begin(orders: Orders) -> Crossings:
    log = os.open(orders.folder / f"{orders.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    logs.configure(level="info", style="json")
    return Crossings(orders.name, SystemClock(), Journal(orders.journal), _killer(orders.doom))


def _killer(doom: Doom | None) -> Callable[[str], None]:
    reached = 0

    def at(point: str) -> None:
        nonlocal reached
        if doom is not None and point == doom.point:
            reached += 1
            if reached == doom.hit:
                os.kill(os.getpid(), signal.SIGKILL)

    return at


def _watched(build: Callable[..., Any], watch: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda *arguments, **options: watch(build(*arguments, **options))
