"""A tiny federation to hold to its promises: real coordinator and agent, embedded servers."""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fakeredis
import numpy as np

from latecomer import wire
from latecomer.broker import topology
from latecomer.broker.memory import MemoryBroker, MemoryServer
from latecomer.broker.memory.broker import MemorySubscription
from latecomer.broker.port import Delivery, Message, Publisher, Subscription
from latecomer.clock import ManualClock
from latecomer.evaluation.protocol import RankingProtocol
from latecomer.events import UpdateSubmitted, Version
from latecomer.interactions.schema import Catalogue, Interactions
from latecomer.interactions.splits import temporal_split
from latecomer.lifecycle import Backoff
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer.store.port import Commit, Head, Manifest
from latecomer.store.redis import RedisStore, embedded
from latecomer.telemetry import AggregatorTelemetry
from latecomer.tensors import Array, Kind, Layout, State, TensorDelta, TensorSpec, digest
from latecomer_aggregator import app, commit
from latecomer_aggregator.background import Background, Foreground
from latecomer_aggregator.coordinator import Coordinator
from latecomer_aggregator.leadership import Leadership
from latecomer_cli import federation
from latecomer_worker.agent import Agent, Step
from latecomer_worker.fetch import ChunkCache, Snapshot
from latecomer_worker.home import Home
from latecomer_worker.outbox import Limits, Outbox
from latecomer_worker.rounds import Rounds
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer

FEDERATION = "shop"
EPOCH = 7
LEASE_S = 30.0
DAY_S = 86_400.0
ROOMY = Limits(max_bytes=2**30, max_age_s=7 * DAY_S)
CATALOGUE = b'{"items":[],"descriptions":[]}'

ITEMS = 40
ITEM_CATALOGUE = Catalogue(tuple(f"sku-{row}" for row in range(ITEMS)), ("",) * ITEMS)

#: One tensor of each kind.
LAYOUT = Layout(
    (
        TensorSpec("net", Kind.DENSE, (2,)),
        TensorSpec("items", Kind.ROWS, (4, 2)),
        TensorSpec("seen", Kind.SUM, (2,)),
    )
)


def make_outcome_recipe(*, hidden: int, **training: Any) -> Recipe:
    """A network of one layer that predicts who falls ill; the data is the test's own."""
    return Recipe.model_validate(
        {
            "federation": "wards",
            "data": {
                "format": "examples",
                "source": "patients.csv",
                "outcome": {"column": "ill", "positive": ["yes"]},
                "fields": [{"name": "age", "low": 0, "high": 100}],
            },
            "model": {"family": "mlp", "hidden": [hidden]},
            "training": {"learning_rate": 0.02, "examples_per_batch": 16} | training,
        }
    )


def make_recipe(**aggregation: Any) -> Recipe:
    """Every update counts as it is (K = 2, plain SGD of rate 1) unless ``aggregation`` differs."""
    terms = {"updates_per_version": 2, "max_wait_s": 30.0, "live_s": 300.0}
    return Recipe.model_validate(
        {
            "federation": FEDERATION,
            "data": {
                "source": "",
                "catalogue": "",
                "columns": {"user": "u", "item": "i", "time": "t"},
            },
            "model": {"dimension": 8},
            "training": {"learning_rate": 0.05, "contexts_per_batch": 4, "passes": 4},
            "evaluation": {"k": 5},
            "aggregation": terms | aggregation,
        }
    )


def net(*values: float) -> dict[str, TensorDelta]:
    """A delta of the dense tensor alone."""
    return {"net": TensorDelta(np.array(values, np.float32))}


def rows(changes: Mapping[int, Sequence[float]]) -> dict[str, TensorDelta]:
    """A delta of some rows of the table."""
    touched = np.array(sorted(changes), np.uint32)
    values = np.array([changes[row] for row in sorted(changes)], np.float32)
    return {"items": TensorDelta(values, touched)}


def make_update(
    worker: str = "w1", seq: int = 1, *, base: Version | None = None, **changes: Any
) -> UpdateSubmitted:
    """An honest update of version 0 that adds (1, 1) to the dense tensor; ``changes`` win."""
    facts = {
        "federation": FEDERATION,
        "worker": worker,
        "update_id": f"{worker}:boot:{seq}",
        "base": base or Version(EPOCH, 0),
        "layout": LAYOUT.digest,
        "examples": 10,
        "steps": 3,
        "delta": net(1.0, 1.0),
    }
    return UpdateSubmitted.model_validate(facts | changes)


def message_of(update: UpdateSubmitted) -> Message:
    """As an honest worker publishes it."""
    return Message(
        exchange=topology.UPDATES,
        routing_key=topology.update_key(FEDERATION, update.worker),
        body=wire.encode_update(update).body,
        message_id=update.update_id,
        type="latecomer.update.v1",
    )


def delivery_of(update: UpdateSubmitted, **changes: Any) -> Delivery:
    """As the broker hands it on, with the honest login; ``changes`` win."""
    message = message_of(update)
    facts: dict[str, Any] = {
        "routing_key": message.routing_key,
        "body": message.body,
        "message_id": message.message_id,
        "type": message.type,
        "headers": {},
        "user_id": update.worker,
        "redelivered": False,
        "dead_lettered": False,
        "tag": 1,
        "generation": 1,
    }
    return Delivery(**(facts | changes))


class FaultyStore(RedisStore):
    """A store to which things happen around a commit; by default nothing does."""

    before_commit: Callable[[], None] = staticmethod(lambda: None)
    after_commit: Callable[[], None] = staticmethod(lambda: None)

    def commit(self, commit: Commit) -> None:
        self.before_commit()
        super().commit(commit)
        self.after_commit()


class Federation:
    """Embedded broker and store under a clock that stands still; nothing runs by itself.

    Attributes:
        clock: Advance it to let time pass.
        server: The broker; stop it, drop its connections, raise its alarm.
        redis: The store's server; set ``connected`` to False and it is away.
        slept: How long the coordinators wanted to pause, each time.
    """

    def __init__(self, recipe: Recipe | None = None, **aggregation: Any) -> None:
        self.recipe = recipe or make_recipe(**aggregation)
        self.clock = ManualClock()
        self.server = MemoryServer(self.clock)
        self.redis = fakeredis.FakeServer()
        self.store = self.open_store()
        self.telemetry = AggregatorTelemetry()
        self.slept: list[float] = []
        self.login("operator").declare(topology.federation_topology(FEDERATION))

    def open_store(self) -> FaultyStore:
        return FaultyStore(embedded(self.redis), federation=FEDERATION, clock=self.clock)

    def login(self, user: str) -> MemoryBroker:
        return MemoryBroker(self.server, user)

    def found(
        self,
        *,
        epoch: int = EPOCH,
        layout: Layout = LAYOUT,
        model: Mapping[str, Array] | None = None,
    ) -> Head:
        """Publish version 0: zeros, unless ``model`` says otherwise."""
        lease = self.store.acquire("founder", LEASE_S)
        assert lease is not None
        head = commit.publish_initial(
            self.store,
            lease,
            self.recipe,
            catalogue=CATALOGUE,
            layout=layout,
            model=model or layout.zeros(),
            epoch=epoch,
            at_s=self.clock.now_s(),
        )
        self.store.release(lease)
        return head

    def found_items(self, *, new_epoch: bool = False) -> Head:
        """Publish version 0 of the recipe's own model, over the catalogue of items."""
        return federation.found(
            self.store, self.recipe, ITEM_CATALOGUE, self.clock, new_epoch=new_epoch
        ).head

    def coordinator(
        self,
        owner: str = "a",
        *,
        store: RedisStore | None = None,
        background: Background | None = None,
    ) -> Coordinator:
        """An aggregator of this name, with connections of its own."""
        store = store or self.open_store()
        return Coordinator(
            federation=FEDERATION,
            broker=self.login("aggregator"),
            store=store,
            leadership=Leadership(store, self.clock, owner=owner, lease_s=LEASE_S),
            clock=self.clock,
            telemetry=self.telemetry,
            background=background or Foreground(),
            backoff=Backoff(first_s=0.2, ceiling_s=5.0, rng=random.Random(1)),
            idle=self.slept.append,
        )

    def built(self, **options: Any) -> Coordinator:
        """An aggregator as its composition root makes it."""
        return app.build(
            federation=FEDERATION,
            broker=self.login("aggregator"),
            store=self.open_store(),
            clock=self.clock,
            stop=threading.Event(),
            telemetry=self.telemetry,
            lease_s=LEASE_S,
            **options,
        )

    def send(self, *updates: UpdateSubmitted) -> None:
        """Each worker publishes under its own login."""
        for update in updates:
            self.login(update.worker).publisher().publish(message_of(update))

    def lapse_lease(self, *, unnoticed: bool = False) -> None:
        """What happens to a lease that nobody renews: fakeredis has the machine's clock.

        ``unnoticed``: its holder was paused and believes that no time has passed.
        """
        embedded(self.redis).delete(f"lc:{{{FEDERATION}}}:lease")
        self.clock.advance(0 if unnoticed else LEASE_S)

    def waiting(self) -> int:
        """Updates in the queue that no consumer holds."""
        depth = self.login("operator").depth(topology.updates_queue(FEDERATION))
        assert depth is not None
        return depth.ready

    def unacked(self) -> int:
        """Updates that the broker still remembers though nobody waits for them."""
        queue = self.server.find(topology.updates_queue(FEDERATION))
        assert queue is not None
        consumers: list[Any] = queue.consumers
        return sum(len(each._unsettled) for each in consumers)

    def listen(self, worker: str) -> MemorySubscription:
        """The queue in which a worker hears of rounds."""
        return self.login(worker).subscribe(
            topology.rounds_queue(worker),
            prefetch=1,
            topology=topology.worker_topology(FEDERATION, worker),
        )

    def dead(self) -> int:
        depth = self.login("operator").depth(topology.DEAD)
        assert depth is not None
        return depth.ready

    def number(self) -> int:
        """The head's number."""
        head = self.store.head()
        assert head is not None
        return head.version.number

    def manifest(self) -> Manifest:
        head = self.store.head()
        assert head is not None
        return self.store.manifest(head.version)

    def model(self) -> dict[str, Array]:
        """The head's model, as anybody reads it."""
        published, _ = commit.load(self.store, FEDERATION)
        return published.model


def noise(state: State, *, seed: int = 1) -> dict[str, Array]:
    """Random numbers in the shapes of a state: whatever is computed from them differs."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=each.shape).astype(np.float32) for name, each in state.items()}


def checkerboard(users: int, *, first: int = 0) -> Interactions:
    """Each user meets eight items of his own colour, one a day; the other colour never."""
    rng = np.random.default_rng(first)
    colours = [(first + user) % 2 for user in range(users)]
    chosen = [rng.permutation(ITEMS // 2)[:8] * 2 + colour for colour in colours]
    return Interactions(
        users=tuple(f"customer-{first + user}" for user in range(users)),
        regions=tuple(("white", "black")[colour] for colour in colours),
        user=np.repeat(np.arange(users), 8),
        item=np.concatenate(chosen).astype(np.int64),
        time_s=np.tile(1_600_000_000.0 + 86_400.0 * np.arange(8), users),
    )


def make_site(interactions: Interactions) -> Site:
    return Site(
        users=interactions.users,
        regions=interactions.regions,
        split=temporal_split(interactions),
        catalogue=digest(ITEM_CATALOGUE.to_bytes()),
    )


def make_outbox(
    scene: Federation,
    state: WorkerState,
    publisher: Publisher,
    *,
    worker: str = "w1",
    limits: Limits = ROOMY,
    clock: ManualClock | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outbox:
    return Outbox(
        state.pending,
        publisher,
        scene.store,
        federation=FEDERATION,
        worker=worker,
        clock=clock or scene.clock,
        backoff=Backoff(first_s=0.5, ceiling_s=10.0, rng=random.Random(1)),
        limits=limits,
        should_stop=should_stop,
    )


class Device:
    """A worker's process on a device; ``restart`` is what its files survive.

    Attributes:
        trainers: Every trainer that was made: one whenever the data was read.
        on_open: Called before the data is read.
        stopping: Looked at between batches.
        slept: How long it wanted to pause, each time.
    """

    def __init__(
        self, scene: "Federation", worker: str, folder: Path, *, site: Site | None = None
    ) -> None:
        self._scene = scene
        self._worker = worker
        self._folder = folder / worker
        self._site = site or make_site(checkerboard(12))
        self._boots = 0
        self.trainers: list[Trainer] = []
        self.slept: list[float] = []
        self.on_open: Callable[[], None] = lambda: None
        self.stopping: Callable[[], bool] = lambda: False
        self._start()

    def at_home(self, site: Site) -> None:
        """Its owner writes new data while it runs."""
        self._site = site

    def restart(self, *, site: Site | None = None) -> None:
        """With what is at home now, where that is another ``site``."""
        self.at_home(site or self._site)
        self._announcements.close()
        self.state.close()
        self._start()

    def _start(self) -> None:
        scene, worker = self._scene, self._worker
        self._boots += 1
        self._announcements = scene.listen(worker)
        self.state = WorkerState(self._folder / "state.sqlite")
        cache = ChunkCache(self._folder / "chunks")
        self.rounds = Rounds(
            federation=FEDERATION,
            announcements=self._announcements,
            store=scene.store,
            state=self.state,
            cache=cache,
            clock=scene.clock,
            alone_every_s=DAY_S,
        )
        login = scene.login(worker)
        self.agent = Agent(
            federation=FEDERATION,
            worker=worker,
            boot=f"boot{self._boots}",
            rounds=self.rounds,
            store=scene.store,
            outbox=make_outbox(scene, self.state, login.publisher(), worker=worker),
            state=self.state,
            cache=cache,
            open_site=self._open,
            home=Home(lambda: id(self._site), scene.clock),
            clock=scene.clock,
            rng=np.random.default_rng(self._boots),
            backoff=Backoff(first_s=0.5, ceiling_s=10.0, rng=random.Random(1)),
            should_stop=self._should_stop,
            idle=self.slept.append,
        )

    def step(self) -> bool:
        """Whether an update was made."""
        return self.agent.step(0) is Step.LEARNED

    def trainer(self) -> Trainer:
        """A trainer with the private state that is on disk."""
        recipe = self._scene.recipe
        protocol = RankingProtocol(k=recipe.evaluation.k)
        return Trainer(family(recipe.model), self._site, protocol, self.state)

    def _should_stop(self) -> bool:
        return self.stopping()

    def _open(self, _snapshot: Snapshot) -> Trainer:
        self.on_open()
        self.trainers.append(self.trainer())
        return self.trainers[-1]


def heard(rounds: Subscription) -> list[Version]:
    """The versions that were announced since, oldest first."""
    versions = []
    while (delivery := rounds.receive(0)) is not None:
        rounds.ack(delivery)
        versions.append(wire.decode_round(delivery.body).version)
    return versions


def step(coordinator: Coordinator, times: int = 1) -> None:
    """So many steps, none of which waits."""
    for _ in range(times):
        coordinator.step(0)
