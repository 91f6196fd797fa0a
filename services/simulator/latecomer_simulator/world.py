"""A whole deployment in virtual time: two aggregators, some workers, a broker and a store.

The production coordinator and agents, built by their own composition roots, over the embedded
broker and store; between them lines that fail, and crossings that watch. Everything that is random
comes from one seed.
"""

import random
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import structlog

from latecomer.broker.memory import MemoryBroker, MemoryServer
from latecomer.broker.topology import federation_topology
from latecomer.recipe import Recipe
from latecomer.store.port import ModelStore, Verdict
from latecomer.store.redis import RedisStore, embedded, embedded_server
from latecomer.store.server import Client
from latecomer_aggregator import commit
from latecomer_aggregator.commit import Published
from latecomer_simulator import audit, evidence
from latecomer_simulator.evidence import Evidence, Lineage
from latecomer_simulator.history import (
    Acknowledged,
    Attempted,
    Committed,
    Ended,
    Faulted,
    Healed,
    History,
)
from latecomer_simulator.machines import FEDERATION, AggregatorMachine, Machine, WorkerMachine
from latecomer_simulator.timeline import Timeline

#: A worker's row has room for so many updates.
SLOTS = 200

#: Workers' files live no longer than a run: in memory, where the system offers that as a folder.
MEMORY = Path("/dev/shm")  # noqa: S108 - a fresh folder in it, never a fixed name


class World:
    """``with`` sets it up, founds the federation, and takes it down."""

    def __init__(self, seed: int, *, workers: int = 4, **terms: Any) -> None:
        self.rng = random.Random(seed)
        self.history = History()
        self.timeline = Timeline(seed)
        self.clock = self.timeline.clock
        self.server = MemoryServer(self.clock)
        self.recipe: Recipe = audit.recipe(FEDERATION, **terms)
        self.training = True
        self._workers = workers
        self._redis = embedded_server(self.clock)
        self._lineages: list[Lineage] = []
        self._verdicts: dict[str, Verdict] = {}
        self._first: Published | None = None
        self.flushed = False
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        self._exits.enter_context(_silence())
        memory = MEMORY if MEMORY.is_dir() else None
        self.folder = Path(self._exits.enter_context(TemporaryDirectory(dir=memory)))
        MemoryBroker(self.server, "operator").declare(federation_topology(FEDERATION))
        self.found()
        self.aggregators = [AggregatorMachine(self, f"aggregator-{each}") for each in "ab"]
        self.workers = [
            WorkerMachine(self, f"w{row}", row, self.rng.choice((1.0, 2.0, 8.0)))
            for row in range(self._workers)
        ]
        for worker in self.workers:
            self._exits.callback(worker.close)
        self._exits.enter_context(self.timeline)
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    @property
    def machines(self) -> list[Machine]:
        """All of them."""
        return [*self.aggregators, *self.workers]

    def client(self) -> Client:
        """A raw connection to the store's server."""
        return embedded(self._redis)

    def store(self) -> ModelStore:
        """A store of its own, over the one server."""
        return RedisStore(self.client(), federation=FEDERATION, clock=self.clock)

    def found(self) -> bool:
        """Publish version 0 of a new epoch; False while somebody leads."""
        shape = audit.layout(self._workers, SLOTS)
        now_s = self.clock.now_s()
        head = audit.found(self.store(), self.recipe, shape, epoch=int(now_s), at_s=now_s)
        if head is not None:
            self._first = self._published()
        return head is not None

    def flush(self) -> None:
        """The store's server loses everything; what was there is remembered as evidence only."""
        self._put_down()
        self.flushed = True
        self.client().flushall()

    def fault(self, name: str) -> None:
        """Write into the history that a fault begins."""
        self.history.append(Faulted(self.clock.monotonic_s(), "world", name))

    def healed(self, name: str) -> None:
        """Write into the history that it is over."""
        self.history.append(Healed(self.clock.monotonic_s(), "world", name))

    def more(self, slot: int) -> bool:
        """Whether a worker should go on training."""
        return self.training and slot < SLOTS

    def moved(self) -> bool:
        """Whether a version was committed after the last fault healed."""
        for event in reversed(self.history.events):
            match event:
                case Committed():
                    return True
                case Healed() | Faulted():
                    return False
        return True

    def at_rest(self) -> bool:
        """Whether every outbox is empty, and every confirmed update has its verdict."""
        if any(worker.waiting() for worker in self.workers):
            return False
        confirmed = {each.update_id for each in self.history.all(Acknowledged)}
        open_ = confirmed - self._verdicts.keys()
        return len(self.store().verdicts(open_)) == len(open_)

    def evidence(self) -> Evidence:
        """What the run is judged by."""
        self._put_down()
        self.history.append(Ended(self.clock.monotonic_s(), "world"))
        return Evidence(self.recipe, self.history, tuple(self._lineages), self._verdicts)

    def _put_down(self) -> None:
        """Take down the versions and verdicts of the epoch that is in the store."""
        store = self.store()
        head = store.head()
        if head is None or self._first is None:
            return
        lineage = Lineage(self._first, self._published(), evidence.versions(store, head))
        self._lineages.append(lineage)
        found = store.verdicts(each.update_id for each in self.history.all(Attempted))
        # What a former epoch folded was settled there, whatever is said of a late copy now.
        self._verdicts = found | self._verdicts
        self._first = None

    def _published(self) -> Published:
        return commit.load(self.store(), FEDERATION)[0]


def _silence() -> Any:
    """Thousands of expected warnings would bury the one line that matters."""
    return structlog.testing.capture_logs()
