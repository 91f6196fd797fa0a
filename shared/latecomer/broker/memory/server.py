"""The embedded broker's server: exchanges, routing, dead letters, and the ways it can fail."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from latecomer.broker.memory.queues import Consumer, MemoryQueue, Stored
from latecomer.broker.memory.routing import topic_matches
from latecomer.broker.port import MAX_MESSAGE_BYTES, Message, QueueDepth
from latecomer.broker.topology import Binding, Exchange, Queue, Topology
from latecomer.clock import Clock
from latecomer.errors import (
    BadConfiguration,
    BrokerUnreachable,
    MessageTooLarge,
    PublishRefused,
    QueueMissing,
    Unroutable,
)

#: How each kind of exchange decides whether a binding takes a routing key.
ROUTING: dict[str, Callable[[str, str], bool]] = {
    "topic": topic_matches,
    "fanout": lambda _pattern, _routing_key: True,
}


class Connected(Consumer, Protocol):
    """A consumer with a connection that the server can cut."""

    def attach(self) -> None:
        """Consume, if the server is up and the queue is there."""
        ...

    def detach(self) -> None:
        """The connection is gone: give everything back."""
        ...


class MemoryServer:
    """Holds queues in memory; thread-safe, without a thread of its own.

    ``lock`` guards everything, the subscriptions' state included. ``stop``, ``drop_connections``,
    ``raise_alarm`` and ``delete`` do what operators and accidents do to a real server.
    """

    def __init__(self, clock: Clock) -> None:
        self.lock = threading.RLock()
        self.down = False
        self._clock = clock
        self._alarm = False
        self._exchanges: dict[str, Exchange] = {}
        self._queues: dict[str, MemoryQueue] = {}
        self._bindings: dict[str, dict[Binding, None]] = {}
        self._attached: dict[Connected, MemoryQueue] = {}
        self._detached: dict[Connected, None] = {}

    def declare(self, topology: Topology) -> None:
        """Make everything in ``topology`` exist, as ``Broker.declare``."""
        with self.lock:
            self._must_be_up()
            for exchange in topology.exchanges:
                self._declare_exchange(exchange)
            for queue in topology.queues:
                self._declare_queue(queue)
            for binding in topology.bindings:
                self._declare_binding(binding)
            self._attach_waiting()

    def publish(self, message: Message, user_id: str, *, mandatory: bool) -> None:
        """Route ``message`` into every bound queue, as ``Publisher.publish``."""
        if len(message.body) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(
                f"Message {message.message_id!r} has {len(message.body)} bytes, "
                f"more than the {MAX_MESSAGE_BYTES} that every supported broker takes",
            )
        with self.lock:
            self._must_be_up()
            if self._alarm:
                raise PublishRefused("The broker blocks publishers: an alarm is on")
            if message.exchange not in self._exchanges:
                raise Unroutable(f"There is no exchange {message.exchange!r}")
            self._deliver(Stored(_frozen(message), user_id), mandatory=mandatory)

    def depth(self, queue: str) -> QueueDepth | None:
        """How full ``queue`` is, as ``Broker.depth``."""
        with self.lock:
            self._must_be_up()
            found = self.find(queue)
            if found is None:
                return None
            # RabbitMQ takes a passive declaration for use, too.
            found.unused_since_s = self._clock.monotonic_s()
            return QueueDepth(len(found.ready), len(found.consumers))

    def find(self, queue: str) -> MemoryQueue | None:
        """The queue of that name, unless it expired meanwhile."""
        found = self._queues.get(queue)
        if found is not None and found.expired(self._clock.monotonic_s()):
            self.delete(queue)
            return None
        return found

    def consume(self, queue: str, topology: Topology | None, consumer: Connected) -> bool:
        """Let ``consumer`` have the messages of ``queue``; False if it has to wait for it."""
        with self.lock:
            # Declaring attaches all who wait, and this one is being attached already.
            self._detached.pop(consumer, None)
            if topology is not None and not self.down:
                self.declare(topology)
            found = None if self.down else self.find(queue)
            if found is None:
                self._detached[consumer] = None
                return False
            self._attached[consumer] = found
            found.consumers.append(consumer)
            found.pump()
            return True

    def leave(self, consumer: Connected) -> None:
        """Stop to consume; what was un-acked returns to the queue."""
        with self.lock:
            self._detach([each for each in self._attached if each is consumer])
            self._detached.pop(consumer, None)

    def give_back(self, queue: str, items: Iterable[Stored]) -> None:
        """Return un-acked ``items``; those that came back too often are dead."""
        with self.lock:
            found = self._queues.get(queue)
            if found is not None:
                for item in found.put_back(items):
                    self._bury(found, item)

    def bury(self, queue: str, item: Stored) -> None:
        """Send the rejected ``item`` to the dead-letter exchange, if ``queue`` has one."""
        with self.lock:
            found = self._queues.get(queue)
            if found is not None:
                self._bury(found, item)
                found.pump()

    def settled(self, queue: str) -> None:
        """A consumer of ``queue`` has room again."""
        with self.lock:
            found = self._queues.get(queue)
            if found is not None:
                found.pump()

    # What operators and accidents do.

    def stop(self) -> None:
        """Go down: queues and what is persistent in them survive, connections do not."""
        with self.lock:
            self.down = True
            self._detach_all()
            for queue in self._queues.values():
                queue.forget_transient()

    def start(self) -> None:
        """Come up again."""
        with self.lock:
            self.down = False
            self._attach_waiting()

    def drop_connections(self) -> None:
        """Lose every connection; subscriptions come back at once."""
        with self.lock:
            self._detach_all()
            self._attach_waiting()

    def raise_alarm(self) -> None:
        """Block publishers until ``clear_alarm``."""
        with self.lock:
            self._alarm = True

    def clear_alarm(self) -> None:
        """Let publishers publish again."""
        with self.lock:
            self._alarm = False

    def delete(self, queue: str) -> None:
        """Delete ``queue`` with everything in it; whoever may declare it again does."""
        with self.lock:
            gone = self._queues.pop(queue, None)
            for bindings in self._bindings.values():
                for binding in [each for each in bindings if each.queue == queue]:
                    del bindings[binding]
            self._detach([each for each, its in self._attached.items() if its is gone])
            self._attach_waiting()

    def _must_be_up(self) -> None:
        if self.down:
            raise BrokerUnreachable("The embedded broker is down")

    def _declare_exchange(self, exchange: Exchange) -> None:
        if exchange.kind not in ROUTING:
            raise BadConfiguration(f"Exchange {exchange.name!r} has no kind {exchange.kind!r}")
        if self._exchanges.setdefault(exchange.name, exchange) != exchange:
            raise BadConfiguration(f"Exchange {exchange.name!r} exists with another kind")
        self._bindings.setdefault(exchange.name, {})

    def _declare_queue(self, queue: Queue) -> None:
        now_s = self._clock.monotonic_s()
        found = self.find(queue.name)
        if found is None:
            self._queues[queue.name] = MemoryQueue(queue, now_s)
        elif dict(queue.arguments) == found.arguments:
            found.unused_since_s = now_s
        else:
            raise BadConfiguration(f"Queue {queue.name!r} exists with other arguments")

    def _declare_binding(self, binding: Binding) -> None:
        if binding.exchange not in self._exchanges:
            raise Unroutable(f"There is no exchange {binding.exchange!r}")
        if self.find(binding.queue) is None:
            raise QueueMissing(f"There is no queue {binding.queue!r}")
        self._bindings[binding.exchange][binding] = None

    def _deliver(self, item: Stored, *, mandatory: bool) -> None:
        message = item.message
        queues = self._route(message.exchange, message.routing_key)
        if mandatory and not queues:
            raise Unroutable(f"No queue takes {message.routing_key!r} from {message.exchange!r}")
        refused = [queue.name for queue in queues if not self._enqueue(queue, item)]
        if refused and not item.died_in:
            raise PublishRefused(f"Full: {refused}")

    def _route(self, exchange: str, routing_key: str) -> list[MemoryQueue]:
        if exchange not in self._exchanges:
            return []
        takes = ROUTING[self._exchanges[exchange].kind]
        names = [
            each.queue for each in self._bindings[exchange] if takes(each.pattern, routing_key)
        ]
        found = [self.find(name) for name in dict.fromkeys(names)]
        return [queue for queue in found if queue is not None]

    def _enqueue(self, queue: MemoryQueue, item: Stored) -> bool:
        if queue.refuses():
            return False
        for pushed_out in queue.put(item):
            # As in RabbitMQ, a message that would only go in circles is dropped.
            if queue.name not in pushed_out.died_in:
                self._bury(queue, pushed_out)
        return True

    def _bury(self, queue: MemoryQueue, item: Stored) -> None:
        letter = queue.dead_letter(item)
        if letter is not None:
            self._deliver(letter, mandatory=False)

    def _detach_all(self) -> None:
        self._detach(list(self._attached))

    def _detach(self, consumers: list[Connected]) -> None:
        # All leave before any gives back, or one would be handed what another returned.
        for consumer in consumers:
            queue = self._attached.pop(consumer)
            queue.consumers.remove(consumer)
            queue.unused_since_s = self._clock.monotonic_s()
            self._detached[consumer] = None
        for consumer in consumers:
            consumer.detach()

    def _attach_waiting(self) -> None:
        for consumer in list(self._detached):
            # One that declares attaches others on the way: nobody consumes twice.
            if consumer in self._detached:
                consumer.attach()


def _frozen(message: Message) -> Message:
    return replace(message, body=bytes(message.body), headers=dict(message.headers))
