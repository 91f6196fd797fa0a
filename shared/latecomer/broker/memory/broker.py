"""A login at the embedded broker, behind the broker port."""

import threading
from collections import deque
from collections.abc import Callable
from itertools import count

from latecomer.broker.memory.queues import Stored
from latecomer.broker.memory.server import MemoryServer
from latecomer.broker.opened import Opened
from latecomer.broker.port import Delivery, Message, QueueDepth, Receipt
from latecomer.broker.topology import Topology
from latecomer.errors import BrokerUnreachable, Permanent


class MemoryPublisher:
    """Publishes under its broker's login, who is told once it is closed."""

    def __init__(
        self, server: MemoryServer, user: str, *, on_close: Callable[["MemoryPublisher"], None]
    ) -> None:
        self._server = server
        self._user = user
        self._on_close = on_close
        self._closed = False

    def publish(self, message: Message, *, mandatory: bool = True) -> None:
        """Return once every bound queue took the message."""
        if self._closed:
            raise BrokerUnreachable("This publisher is closed")
        self._server.publish(message, self._user, mandatory=mandatory)

    def close(self) -> None:
        """Refuse to publish from now on."""
        self._closed = True
        self._on_close(self)


class MemorySubscription:
    """Consumes one queue; the server's lock guards its state. Who made it is told of its close."""

    def __init__(
        self,
        server: MemoryServer,
        queue: str,
        prefetch: int,
        topology: Topology | None,
        *,
        on_close: Callable[["MemorySubscription"], None],
    ) -> None:
        self._server = server
        self._queue = queue
        self._prefetch = prefetch
        self._topology = topology
        self._on_close = on_close
        self._changed = threading.Condition(server.lock)
        self._attached = False
        self._refusal: Permanent | None = None
        self._inbox: deque[Delivery] = deque()
        self._unsettled: dict[int, Stored] = {}
        self._tags = count(1)
        self._generation = 0
        self._closed = False
        with self._changed:
            self.attach()

    def receive(self, timeout_s: float) -> Delivery | None:
        """The next delivery, or None if none came in time."""
        with self._changed:
            self._changed.wait_for(self.has_news, timeout_s)
            if self._refusal is not None:
                raise self._refusal.with_traceback(None)
            return self._inbox.popleft() if self._inbox else None

    def ack(self, *deliveries: Delivery | Receipt) -> None:
        """Forget ``deliveries``; of a lost connection, do nothing."""
        with self._changed:
            settled = [self._settle(each) for each in deliveries]
            if any(each is not None for each in settled):
                self._server.settled(self._queue)

    def reject(self, delivery: Delivery | Receipt, *, requeue: bool) -> None:
        """Give ``delivery`` back or to the dead; of a lost connection, do nothing."""
        with self._changed:
            item = self._settle(delivery)
            if item is None:
                return
            if requeue:
                self._server.give_back(self._queue, [item])
            else:
                self._server.bury(self._queue, item)

    def connected(self) -> bool:
        """Whether the server is up and the queue exists."""
        with self._changed:
            return self._attached

    def close(self) -> None:
        """Give everything un-acked back."""
        with self._changed:
            self._closed = True
            self._server.leave(self)
            self._changed.notify_all()
        self._on_close(self)

    # What the server calls, under its lock.

    def attach(self) -> None:
        """Consume if the server is up and the queue is there; wait to be called again if not."""
        if self._closed:
            return
        self._generation += 1
        # As on a real connection: a tag means something only within its generation.
        self._tags = count(1)
        try:
            self._attached = self._server.consume(self._queue, self._topology, self)
        except Permanent as refusal:
            # It belongs to whoever receives, not to whoever happened to start the server.
            self._refusal = refusal
            self._changed.notify_all()

    def detach(self) -> None:
        """Everything un-acked belongs to the queue again."""
        self._attached = False
        self._inbox.clear()
        lost, self._unsettled = list(self._unsettled.values()), {}
        self._server.give_back(self._queue, lost)

    def has_room(self) -> bool:
        """Whether the prefetch limit allows one more; 0 is no limit."""
        return self._prefetch == 0 or len(self._unsettled) < self._prefetch

    def take(self, item: Stored) -> None:
        """Hold ``item`` until it is acked or rejected."""
        tag = next(self._tags)
        self._unsettled[tag] = item
        self._inbox.append(_delivery(item, tag, self._generation))
        self._changed.notify_all()

    def has_news(self) -> bool:
        """Whether ``receive`` would not have to wait."""
        return bool(self._inbox) or self._closed or self._refusal is not None

    def _settle(self, delivery: Delivery | Receipt) -> Stored | None:
        if delivery.generation != self._generation:
            return None
        return self._unsettled.pop(delivery.tag, None)


def _delivery(item: Stored, tag: int, generation: int) -> Delivery:
    message = item.message
    return Delivery(
        routing_key=message.routing_key,
        body=message.body,
        message_id=message.message_id,
        type=message.type,
        headers=dict(message.headers),
        user_id=item.user_id,
        redelivered=item.returns > 0,
        dead_lettered=bool(item.died_in),
        tag=tag,
        generation=generation,
    )


class MemoryBroker:
    """A login at ``server``, which stamps ``user`` on everything published through it."""

    def __init__(self, server: MemoryServer, user: str) -> None:
        self._server = server
        self._user = user
        self._opened = Opened()

    def declare(self, topology: Topology) -> None:
        """Make everything in ``topology`` exist."""
        self._server.declare(topology)

    def publisher(self) -> MemoryPublisher:
        """A publisher under this login."""
        return self._opened.add(
            MemoryPublisher(self._server, self._user, on_close=self._opened.forget)
        )

    def subscribe(
        self, queue: str, *, prefetch: int, topology: Topology | None = None
    ) -> MemorySubscription:
        """Consume ``queue``."""
        return self._opened.add(
            MemorySubscription(
                self._server, queue, prefetch, topology, on_close=self._opened.forget
            )
        )

    def depth(self, queue: str) -> QueueDepth | None:
        """How full ``queue`` is."""
        return self._server.depth(queue)

    def version(self) -> str:
        """What this is, for people."""
        return "memory"

    def close(self) -> None:
        """Close every publisher and subscription made here."""
        self._opened.close()
