"""What lies between a process and its servers, and how it fails.

Under an actor's ports: requests that never arrive, replies that are lost after they took effect,
messages that arrive twice or out of order, and whole lines that are cut.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from latecomer.broker.memory import MemoryBroker, MemoryServer
from latecomer.broker.memory.broker import MemorySubscription
from latecomer.broker.port import Broker, Delivery, Message, Publisher, Receipt, Subscription
from latecomer.broker.topology import Topology
from latecomer.errors import BrokerUnreachable, StoreUnreachable
from latecomer.store.port import ModelStore
from latecomer_simulator.timeline import Timeline


@dataclass
class Line:
    """One process's way to the broker and to the store.

    Attributes:
        lose_request: Probability that a call never arrives.
        lose_reply: Probability that a call takes effect and its answer is lost.
        duplicate: Probability that a published message arrives twice.
        reorder: Probability that a delivery overtakes another one.
        jitter_s: Each call takes up to this long; others run meanwhile.
        commit_s: A commit takes up to this long on top: the store's disk is slow.
        broker_cut, store_cut: Nothing passes.
    """

    rng: random.Random
    timeline: Timeline
    lose_request: float = 0.0
    lose_reply: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    jitter_s: float = 0.0
    commit_s: float = 0.0
    broker_cut: bool = False
    store_cut: bool = False
    _subscriptions: list["_LossySubscription"] = field(default_factory=list)

    def calm(self) -> None:
        """No more noise; cuts stay as they are."""
        self.lose_request = self.lose_reply = self.duplicate = self.reorder = 0.0

    def store(self, store: ModelStore) -> ModelStore:
        """The store, at the end of this line."""
        return cast("ModelStore", _LossyStore(self, store))

    def broker(self, server: MemoryServer, user: str) -> Broker:
        """The broker, at the end of this line."""
        return cast("Broker", _LossyBroker(self, server, user))

    def cut_broker(self) -> None:
        """The connections to the broker are gone, on both sides."""
        self.broker_cut = True
        for each in self._subscriptions:
            each.cut()

    def mend_broker(self) -> None:
        """Connections can be made again."""
        self.broker_cut = False
        for each in self._subscriptions:
            each.mend()

    def hang_up(self) -> None:
        """The process is gone: nobody will mend its connections."""
        self._subscriptions.clear()

    def wait_for_disk(self) -> None:
        """As long as a commit takes on the store's disk."""
        if self.commit_s:
            self.timeline.sleep(self.rng.uniform(0.0, self.commit_s))

    def call(self, unreachable: Callable[[], Exception], effect: Callable[[], Any]) -> Any:
        """Send a request and wait for its reply."""
        if self.jitter_s:
            self.timeline.sleep(self.rng.uniform(0.0, self.jitter_s))
        if self.rng.random() < self.lose_request:
            raise unreachable()
        result = effect()
        if self.rng.random() < self.lose_reply:
            raise unreachable()
        return result


class _LossyStore:
    def __init__(self, line: Line, store: ModelStore) -> None:
        self._line = line
        self._store = store

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        def over_the_line(*arguments: Any, **options: Any) -> Any:
            if self._line.store_cut:
                raise StoreUnreachable("the line to the store is cut")
            if name == "commit":
                self._line.wait_for_disk()
            return self._line.call(
                lambda: StoreUnreachable("the store did not answer"),
                lambda: call(*arguments, **options),
            )

        return over_the_line


class _LossyBroker:
    def __init__(self, line: Line, server: MemoryServer, user: str) -> None:
        self._line = line
        self._server = server
        self._broker = MemoryBroker(server, user)

    def publisher(self) -> Publisher:
        return _LossyPublisher(self._line, self._broker.publisher())

    def declare(self, topology: Topology) -> None:
        if self._line.broker_cut:
            raise BrokerUnreachable("the line to the broker is cut")
        self._broker.declare(topology)

    def subscribe(
        self, queue: str, *, prefetch: int, topology: Topology | None = None
    ) -> Subscription:
        memory = self._broker.subscribe(queue, prefetch=prefetch, topology=topology)
        subscription = _LossySubscription(self._line, self._server, memory)
        self._line._subscriptions.append(subscription)  # noqa: SLF001 - two halves of one line
        return subscription

    def close(self) -> None:
        self._broker.close()


class _LossyPublisher:
    def __init__(self, line: Line, publisher: Publisher) -> None:
        self._line = line
        self._publisher = publisher

    def publish(self, message: Message, *, mandatory: bool = True) -> None:
        line = self._line
        if line.broker_cut:
            raise BrokerUnreachable("the line to the broker is cut")
        if line.rng.random() < line.duplicate:
            self._publisher.publish(message, mandatory=mandatory)
        line.call(
            lambda: BrokerUnreachable("no confirm"),
            lambda: self._publisher.publish(message, mandatory=mandatory),
        )

    def close(self) -> None:
        self._publisher.close()


class _LossySubscription:
    """Waits in virtual time; ``reorder`` lets a later delivery overtake."""

    def __init__(self, line: Line, server: MemoryServer, memory: MemorySubscription) -> None:
        self._line = line
        self._server = server
        self._memory = memory
        self._here: list[Delivery] = []
        self._closed = False
        self._cut = False
        if line.broker_cut:
            self.cut()

    def receive(self, timeout_s: float) -> Delivery | None:
        if timeout_s > 0 and not self._here:
            self._line.timeline.wait(timeout_s, self._memory.has_news)
        while (delivery := self._memory.receive(0)) is not None:
            self._here.append(delivery)
        if not self._here:
            return None
        overtakes = self._line.rng.random() < self._line.reorder
        return self._here.pop(self._line.rng.randrange(len(self._here)) if overtakes else 0)

    def ack(self, *deliveries: Delivery | Receipt) -> None:
        self._memory.ack(*deliveries)

    def reject(self, delivery: Delivery | Receipt, *, requeue: bool) -> None:
        self._memory.reject(delivery, requeue=requeue)

    def connected(self) -> bool:
        return not self._line.broker_cut and self._memory.connected()

    def close(self) -> None:
        self._closed = True
        self._memory.close()

    def cut(self) -> None:
        """What was received stays here; the broker hands it to somebody else."""
        self._cut = True
        self._server.leave(self._memory)

    def mend(self) -> None:
        """Consume again, under a new generation."""
        if self._cut and not self._closed:
            self._memory.attach()
        self._cut = False
