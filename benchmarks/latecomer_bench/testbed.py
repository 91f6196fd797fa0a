"""Federations of a benchmark's own on given servers: founded, fed with updates, and taken away.

Names are drawn for each run, so that nothing of anybody else's is touched; queues and keys are
deleted afterwards. The bodies are real updates, each with an id of its own.
"""

import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from latecomer import connect, wire
from latecomer.aggregation import Aggregation
from latecomer.broker import topology
from latecomer.broker.port import Broker, Message
from latecomer.clock import SystemClock
from latecomer.config import Settings
from latecomer.data import Data
from latecomer.events import UpdateSubmitted, Version
from latecomer.interactions.schema import Columns
from latecomer.recipe import Recipe
from latecomer.recommenders.descent_settings import TwoTowerModel, TwoTowerTraining
from latecomer.store import redis
from latecomer.store.port import Head, ModelStore
from latecomer.tensors import Delta, Layout
from latecomer_aggregator import commit

CLIENT = "latecomer-bench"

#: Publishes that wait for their confirm at the same time.
PUBLISHERS = 16

#: Messages that are made before their turn to be published.
AHEAD = 4 * PUBLISHERS

#: Deleting and consuming by bare pika end within this.
PEER_LIMIT_S = 300.0

PEER = Path(__file__).parents[1] / "peers" / "pika_consume.py"


@dataclass(frozen=True)
class Testbed:
    """Servers by their URLs.

    Attributes:
        broker: A login that may declare queues.
        facts: Who the servers are, and what a confirmed commit survives.
    """

    settings: Settings
    broker: Broker
    facts: dict[str, str]

    def store(self, federation: str) -> ModelStore:
        """A federation at the store; to be closed."""
        return connect.store(
            self.settings, federation=federation, client=CLIENT, clock=SystemClock()
        )

    @contextmanager
    def federation(self) -> Iterator[str]:
        """A name that nobody else has, with its queue; nothing of it is left."""
        name = f"bench-{uuid.uuid4().hex[:12]}"
        try:
            self.broker.declare(topology.federation_topology(name))
            yield name
        finally:
            self.peer("--delete", topology.updates_queue(name))
            self._forget(name)

    def publish(self, messages: Iterable[Message]) -> None:
        """All of them, confirmed: they are safe in their queue when this returns."""
        publisher = self.broker.publisher()
        try:
            with ThreadPoolExecutor(PUBLISHERS) as pool:
                for some in _portions(messages, AHEAD):
                    for _ in pool.map(publisher.publish, some):
                        pass  # raises what publishing raised
        finally:
            publisher.close()

    def peer(self, *arguments: object) -> str:
        """What bare pika prints; see ``benchmarks/peers/pika_consume.py``."""
        done = subprocess.run(  # noqa: S603 - our own script
            [sys.executable, "-I", str(PEER), *map(str, arguments)],
            input=self.settings.broker_login(),
            check=True,
            capture_output=True,
            text=True,
            timeout=PEER_LIMIT_S,
        )
        return done.stdout

    def _forget(self, federation: str) -> None:
        client = redis.connect(self.settings.store_login(), client_name=CLIENT)
        try:
            for key in client.scan_iter(match=f"lc:{{{federation}}}:*", count=1000):
                client.unlink(key)
        finally:
            client.close()


@contextmanager
def opened(settings: Settings) -> Iterator[Testbed]:
    """The servers that the settings name.

    Raises:
        BadConfiguration: One of them is no server, but ``memory://``.
        BrokerUnreachable, StoreUnreachable: One of them does not answer.
    """
    broker = connect.broker(settings, client=CLIENT)
    store = connect.store(settings, federation="bench", client=CLIENT, clock=SystemClock())
    try:
        facts = {"store": store.version(), "durability": store.durability()}
        yield Testbed(settings, broker, {"broker": broker.version(), **facts})
    finally:
        broker.close()
        store.close()


def recipe(federation: str, k: int) -> Recipe:
    """Nothing is refused: who publishes has one login for all, and the base grows old."""
    return Recipe(
        federation=federation,
        data=Data(source="-", catalogue="-", columns=Columns(user="u", item="i", time="t")),
        model=TwoTowerModel(),
        training=TwoTowerTraining(),
        aggregation=Aggregation(
            updates_per_version=k, max_staleness=1_000_000, identity="declared"
        ),
    )


def found(store: ModelStore, federation: str, layout: Layout, k: int) -> Head:
    """Version 0: zeros."""
    lease = store.acquire("bench", 10.0)
    assert lease is not None, "nobody else knows this federation"
    try:
        return commit.publish_initial(
            store,
            lease,
            recipe(federation, k),
            catalogue=b"{}",
            layout=layout,
            model=layout.zeros(),
            epoch=1,
            at_s=SystemClock().now_s(),
        )
    finally:
        store.release(lease)


def message(
    federation: str, layout: Layout, base: Version, number: int, *, worker: str, delta: Delta
) -> Message:
    """An update as a worker publishes it; ``number`` makes its id."""
    update = UpdateSubmitted(
        federation=federation,
        worker=worker,
        update_id=f"{worker}:boot:{number}",
        base=base,
        layout=layout.digest,
        examples=100,
        steps=10,
        sums={"everywhere": {"users": 10.0, "ndcg@10": 1.5}},
        delta=delta,
    )
    return Message(
        topology.UPDATES,
        topology.update_key(federation, worker),
        wire.encode_update(update).body,
        update.update_id,
        "latecomer.update.v1",
    )


def _portions(messages: Iterable[Message], size: int) -> Iterator[list[Message]]:
    some: list[Message] = []
    for each in messages:
        some.append(each)
        if len(some) == size:
            yield some
            some = []
    yield some
