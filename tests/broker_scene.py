"""A broker to hold to the contract, and everything that may happen to it."""

import itertools
import uuid
from collections.abc import Callable
from functools import partial
from typing import Protocol

import pika
import pytest

from latecomer.broker.memory import MemoryBroker, MemoryServer
from latecomer.broker.port import Broker, Delivery, Message, Publisher, Subscription
from latecomer.broker.rabbit import RabbitBroker
from latecomer.broker.topology import Binding, Exchange, Queue, Topology
from latecomer.clock import ManualClock
from latecomer.errors import Transient
from server import Resource, Server, eventually

#: What any answer of a healthy broker may take on a busy machine.
PATIENCE_S = 20.0

LOGIN = "guest"

_numbers = itertools.count()


class Scene(Protocol):
    """A broker's kind, and what operators and accidents do to it."""

    real: bool

    def broker(self, *, heartbeat_s: int = 30, confirm_timeout_s: float = PATIENCE_S) -> Broker:
        """A new login, closed at the end of the test."""
        ...

    def lose_connections(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def start(self) -> None: ...

    def raise_alarm(self) -> None: ...

    def clear_alarm(self) -> None: ...

    def delete_queue(self, name: str) -> None: ...

    def let_pass(self, seconds: float) -> None:
        """Advance a manual clock; real time passes by itself."""
        ...

    def clean(self) -> None: ...


class MemoryScene:
    """The embedded broker."""

    real = False

    def __init__(self) -> None:
        self._clock = ManualClock()
        self._server = MemoryServer(self._clock)
        self._brokers: list[Broker] = []
        self.lose_connections = self._server.drop_connections
        self.stop = self.kill = self._server.stop
        self.start = self._server.start
        self.raise_alarm = self._server.raise_alarm
        self.clear_alarm = self._server.clear_alarm
        self.delete_queue = self._server.delete
        self.let_pass = self._clock.advance

    def broker(self, *, heartbeat_s: int = 30, confirm_timeout_s: float = PATIENCE_S) -> Broker:
        self._brokers.append(MemoryBroker(self._server, LOGIN))
        return self._brokers[-1]

    def clean(self) -> None:
        for broker in self._brokers:
            broker.close()


class RabbitScene:
    """A RabbitMQ server, ours or given."""

    real = True

    def __init__(self, server: Server) -> None:
        self.server = server
        self._brokers: list[Broker] = []
        self._undo: list[Callable[[], None]] = []

    def broker(self, *, heartbeat_s: int = 30, confirm_timeout_s: float = PATIENCE_S) -> Broker:
        return self.login(
            self.server.url, heartbeat_s=heartbeat_s, confirm_timeout_s=confirm_timeout_s
        )

    def login(
        self, url: str, *, heartbeat_s: int = 30, confirm_timeout_s: float = PATIENCE_S
    ) -> Broker:
        """A broker under the login in ``url``."""
        broker = RabbitBroker(
            url,
            client_name="contract",
            heartbeat_s=heartbeat_s,
            confirm_timeout_s=confirm_timeout_s,
            # Connections are broken on purpose: no test wants to wait for the next attempt.
            first_pause_s=0.05,
            ceiling_s=0.5,
        )
        self._brokers.append(broker)
        return broker

    def new_login(self, *, configure: str = "", write: str = ".*", read: str = ".*") -> str:
        """The URL of a fresh login with these rights."""
        name = unique("user")
        return self._ours().add_user(name, "secret", configure=configure, write=write, read=read)

    def lose_connections(self) -> None:
        self._ours().control("close_all_connections", "test")

    def stop(self) -> None:
        self._undo.append(self._ours().start)
        self._ours().stop()

    def kill(self) -> None:
        self._undo.append(self._ours().start)
        self._ours().kill()

    def start(self) -> None:
        self._undo.pop()
        self._ours().start()

    def freeze(self) -> None:
        self._undo.append(self._ours().thaw)
        self._ours().freeze()

    def thaw(self) -> None:
        self._undo.pop()
        self._ours().thaw()

    def raise_alarm(self, resource: Resource = "memory") -> None:
        self._undo.append(partial(self._ours().clear_alarm, resource))
        self._ours().raise_alarm(resource)

    def clear_alarm(self) -> None:
        self._undo.pop()()

    def delete_queue(self, name: str) -> None:
        with pika.BlockingConnection(pika.URLParameters(self.server.url)) as connection:
            connection.channel().queue_delete(name)

    def let_pass(self, seconds: float) -> None:
        """Real time passes by itself."""

    def clean(self) -> None:
        for undo in list(self._undo):
            undo()
        for broker in self._brokers:
            broker.close()
        self._delete_what_tests_declared()

    def _delete_what_tests_declared(self) -> None:
        with pika.BlockingConnection(pika.URLParameters(self.server.url)) as connection:
            channel = connection.channel()
            for name in _declared:
                channel.queue_delete(name)
                channel.exchange_delete(name)
        _declared.clear()

    def _ours(self) -> Server:
        if not self.server.ours:
            pytest.skip(f"{self.server} is not ours to break")
        return self.server


_declared: list[str] = []


def unique(word: str) -> str:
    """A name that no other test, session or machine uses."""
    name = f"{word}-{uuid.uuid4().hex[:8]}-{next(_numbers)}"
    _declared.append(name)
    return name


def queue_topology(
    arguments: dict[str, str | int | bool] | None = None, *, patterns: tuple[str, ...] = ("#",)
) -> Topology:
    """A topic exchange and a queue of one unique name, bound by ``patterns``."""
    name = unique("queue")
    return Topology(
        exchanges=(Exchange(name, "topic"),),
        queues=(Queue(name, {"x-queue-type": "classic"} | (arguments or {})),),
        bindings=tuple(Binding(name, name, pattern) for pattern in patterns),
    )


def dead_letter_topology(arguments: dict[str, str | int | bool]) -> tuple[Topology, str]:
    """A queue with ``arguments`` whose dead go to the second queue returned."""
    dead = unique("dead")
    living = queue_topology(arguments | {"x-dead-letter-exchange": dead})
    topology = Topology(
        exchanges=(*living.exchanges, Exchange(dead, "fanout")),
        queues=(*living.queues, Queue(dead, {"x-queue-type": "quorum"})),
        bindings=(*living.bindings, Binding(dead, dead, "")),
    )
    return topology, dead


def queue_of(topology: Topology) -> str:
    """The name of a topology's first queue, which is its exchange's as well."""
    return topology.queues[0].name


def message(
    exchange: str,
    number: int | str = 0,
    *,
    key: str = "key",
    body: bytes = b"",
    persistent: bool = True,
) -> Message:
    """A message that is known by its number."""
    return Message(
        exchange, key, body, message_id=f"m{number}", type="test.v1", persistent=persistent
    )


def purge(url: str, queue: str) -> None:
    """Forget what waits in ``queue``."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_purge(queue)


def publish_numbers(publisher: Publisher, exchange: str, numbers: range) -> None:
    """Publish ``m<number>`` for each of ``numbers``."""
    for number in numbers:
        publisher.publish(message(exchange, number))


def publish_until_confirmed(publisher: Publisher, exchange: str, number: int | str) -> None:
    """Publish the same message again while the broker heals, as the outbox does."""

    def confirmed() -> bool:
        try:
            publisher.publish(message(exchange, number))
        except Transient:
            return False
        return True

    eventually(confirmed, within_s=3 * PATIENCE_S, what="a confirm")


def publish_until_refused(publisher: Publisher, exchange: str) -> None:
    """Publish until the broker does not take it any more; raises why."""

    def never() -> bool:
        publisher.publish(message(exchange))
        return False

    eventually(never, within_s=PATIENCE_S, what="a refusal")


def take(subscription: Subscription) -> Delivery:
    """The next delivery; fails the test if none comes."""
    delivery = subscription.receive(PATIENCE_S)
    assert delivery is not None, "no delivery came"
    return delivery


def take_ids(subscription: Subscription, count: int) -> list[str]:
    """The ids of the next ``count`` deliveries, each acked."""
    ids = []
    for _ in range(count):
        delivery = take(subscription)
        subscription.ack(delivery)
        ids.append(delivery.message_id)
    return ids


def await_ready(broker: Broker, queue: str, ready: int) -> None:
    """Return once ``queue`` holds ``ready`` messages that nobody was handed."""

    def holds() -> bool:
        depth = broker.depth(queue)
        return depth is not None and depth.ready == ready

    eventually(holds, within_s=PATIENCE_S, what=f"{ready} ready messages")


def await_connected(subscription: Subscription) -> None:
    """Return once ``subscription`` can deliver."""
    eventually(subscription.connected, within_s=PATIENCE_S, what="being connected")


def await_disconnected(subscription: Subscription) -> None:
    """Return once ``subscription`` noticed that it was lost."""
    eventually(lambda: not subscription.connected(), within_s=PATIENCE_S, what="being lost")
