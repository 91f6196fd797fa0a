"""A whole federation in one process.

The production aggregator and agents over the embedded broker and store. Not durable; nothing is
left behind but what the caller keeps.
"""

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import structlog

from latecomer.broker.memory import MemoryBroker, MemoryServer
from latecomer.broker.port import Broker
from latecomer.clock import SystemClock
from latecomer.fleet import FleetWorker
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer.recommenders.port import Agreed
from latecomer.store.port import ModelStore
from latecomer.store.redis import RedisStore, embedded
from latecomer.telemetry import AggregatorTelemetry
from latecomer_aggregator import app as aggregator_app
from latecomer_cli import federation, lists
from latecomer_cli.fleet import SLOWNESS, IntermittentBroker, Misbehaving, PacedTrainer
from latecomer_worker import app as worker_app
from latecomer_worker.agent import Agent
from latecomer_worker.fetch import ChunkCache
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer

log = structlog.get_logger()

#: A step waits at most this long, so that stopping takes no longer.
STEP_S = 0.2

LEASE_S = 10.0

#: The name of the aggregator's thread; the others are called like their workers.
AGGREGATOR = "aggregator"


@dataclass(frozen=True)
class Device:
    """One honest worker of the embedded fleet."""

    entry: FleetWorker
    site: Site
    state: WorkerState


class EmbeddedFederation(AbstractContextManager["EmbeddedFederation"]):
    """Threads of one aggregator and a recipe's workers; ``with`` starts and stops them.

    Honest workers take part if they have a site: a slot may have nobody.

    Attributes:
        clock: The machine's.
        store: The store that they all share.
        devices: Honest workers by name.
        failures: What ended a thread that should have gone on, by its name.
    """

    def __init__(
        self, recipe: Recipe, catalogue: Agreed, sites: Mapping[str, Site], *, seed: int
    ) -> None:
        self.failures: dict[str, BaseException] = {}
        self.devices: dict[str, Device] = {}
        self._recipe = recipe
        self._catalogue = catalogue
        self._sites = sites
        self._seed = seed
        self.clock = SystemClock()
        self._server = MemoryServer(self.clock)
        self._redis = embedded()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._stack = ExitStack()
        self.store = self._open_store()

    def __enter__(self) -> Self:
        folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="latecomer-")))
        federation.enrol(self._login("operator"), self._recipe)
        federation.found(self.store, self._recipe, self._catalogue, self.clock)
        self._start(AGGREGATOR, self._aggregate)
        for number, entry in enumerate(self._recipe.fleet.members()):
            if entry.pace == "misbehaving":
                self._start(entry.name, self._misbehave, entry)
            elif entry.name in self._sites:
                self._start_device(entry, folder, seed=self._seed * 1000 + number)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._stack.close()

    def stop(self) -> None:
        """Stop all threads and wait for them; the store and the devices' state stay readable."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def versions(self) -> int:
        """The head's number."""
        head = self.store.head()
        return 0 if head is None else head.version.number

    def trainer(self, name: str) -> Trainer:
        """The family over a device's site and private state, as it is now."""
        device = self.devices[name]
        items = len(self._catalogue)
        return lists.trainer(self._recipe, device.site, device.state, items=items)

    def _start_device(self, entry: FleetWorker, folder: Path, *, seed: int) -> None:
        state = WorkerState(folder / f"{entry.name}.sqlite")
        self._stack.callback(state.close)
        device = Device(entry, self._sites[entry.name], state)
        self.devices[entry.name] = device
        agent = self._agent(device, folder, seed)
        self._start(entry.name, self._work, agent)

    def _agent(self, device: Device, folder: Path, seed: int) -> Agent:
        login = self._login(device.entry.name)
        broker = IntermittentBroker(login) if device.entry.pace == "offline" else login
        return worker_app.build(
            federation=self._recipe.federation,
            worker=device.entry.name,
            broker=broker,
            store=self._open_store(),
            state=device.state,
            cache=ChunkCache(folder / f"{device.entry.name}.chunks"),
            open_site=lambda _snapshot: self._paced(device),
            clock=self.clock,
            stop=self._stop,
            seed=seed,
        )

    def _paced(self, device: Device) -> Trainer:
        slow = device.entry.pace == "slow"
        return PacedTrainer(
            family(self._recipe.model),
            device.site,
            self._recipe.protocol,
            device.state,
            social=self._recipe.social,
            seconds=self._recipe.demo.round_s * (SLOWNESS if slow else 1.0),
            wait=self._stop.wait,
        )

    def _start(self, name: str, run: object, *arguments: object) -> None:
        thread = threading.Thread(
            target=self._guarded, name=name, args=(name, run, *arguments), daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _guarded(self, name: str, run: object, *arguments: object) -> None:
        """A thread that dies says so: nobody waits for it in vain."""
        try:
            run(*arguments)  # type: ignore[operator]
        except Exception as error:  # noqa: BLE001 - re-raised in the caller's thread by whoever looks
            log.error("thread.died", thread=name, cause=repr(error))
            self.failures[name] = error

    def _aggregate(self) -> None:
        coordinator = aggregator_app.build(
            federation=self._recipe.federation,
            broker=self._login(AGGREGATOR),
            store=self._open_store(),
            clock=self.clock,
            stop=self._stop,
            telemetry=AggregatorTelemetry(),
            lease_s=LEASE_S,
            owner="embedded",
        )
        while not self._stop.is_set():
            coordinator.step(STEP_S)
        coordinator.close()

    def _work(self, agent: Agent) -> None:
        while not self._stop.is_set():
            agent.step(STEP_S)

    def _misbehave(self, entry: FleetWorker) -> None:
        vandal = Misbehaving(
            entry.name, self._recipe.federation, self._login(entry.name), self._open_store()
        )
        vandal.run(self._stop, pause_s=5 * self._recipe.demo.round_s)

    def _login(self, user: str) -> Broker:
        return MemoryBroker(self._server, user)

    def _open_store(self) -> ModelStore:
        return RedisStore(self._redis, federation=self._recipe.federation, clock=self.clock)
