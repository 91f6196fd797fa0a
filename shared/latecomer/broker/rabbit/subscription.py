"""Consuming from RabbitMQ: deliveries, answers and takeovers, bookkept on the link's thread."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from latecomer.broker.port import Delivery, Receipt
from latecomer.broker.rabbit.amqp import Channel, Step, delivery_of, topology_steps
from latecomer.broker.rabbit.link import LinkFactory
from latecomer.broker.topology import Topology
from latecomer.errors import LatecomerError, Permanent, QueueMissing


class _Inbox:
    """Deliveries between the link's thread and the consumer's; prefetch keeps it short."""

    def __init__(self) -> None:
        self._deliveries: deque[Delivery] = deque()
        self._changed = threading.Condition()
        self._refusal: LatecomerError | None = None
        self._closed = False

    def put(self, delivery: Delivery) -> None:
        """Hand a delivery over."""
        with self._changed:
            self._deliveries.append(delivery)
            self._changed.notify()

    def get(self, timeout_s: float) -> Delivery | None:
        """The oldest delivery; None after ``timeout_s`` or once closed; raises a refusal."""
        with self._changed:
            self._changed.wait_for(self._has_news, timeout_s)
            if self._deliveries:
                return self._deliveries.popleft()
            if self._refusal is not None:
                raise self._refusal.with_traceback(None)
            return None

    def forget(self) -> None:
        """Drop what was not fetched yet: the broker delivers it again."""
        with self._changed:
            self._deliveries.clear()

    def refuse(self, error: LatecomerError) -> None:
        """Let every ``get`` raise ``error``."""
        with self._changed:
            self._refusal = error
            self._changed.notify_all()

    def close(self) -> None:
        """Let every ``get`` return at once."""
        with self._changed:
            self._closed = True
            self._deliveries.clear()
            self._changed.notify_all()

    def _has_news(self) -> bool:
        return bool(self._deliveries) or self._closed or self._refusal is not None


class RabbitSubscription:
    """Consumes one queue on a connection of its own."""

    def __init__(
        self,
        make_link: LinkFactory,
        queue: str,
        *,
        prefetch: int,
        topology: Topology | None,
        on_close: Callable[["RabbitSubscription"], None],
    ) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._topology = topology or Topology()
        self._on_close = on_close
        self._inbox = _Inbox()
        self._channel: Channel | None = None
        self._connected = False
        self._generation = 0
        self._unsettled: set[int] = set()
        self._link = make_link(self)
        self._link.start()

    def receive(self, timeout_s: float) -> Delivery | None:
        """The next delivery, or None; raises what the broker refused for good."""
        return self._inbox.get(timeout_s)

    def ack(self, *deliveries: Delivery | Receipt) -> None:
        """Forget ``deliveries``; of a lost connection, do nothing."""
        self._link.post(partial(self._forget, deliveries))

    def reject(self, delivery: Delivery | Receipt, *, requeue: bool) -> None:
        """Give ``delivery`` back or to the dead; of a lost connection, do nothing."""
        self._link.post(partial(self._give_up, delivery, requeue=requeue))

    def connected(self) -> bool:
        """Whether the broker agreed to our consuming, and the connection still stands."""
        return self._connected

    def close(self) -> None:
        """Send the acks that are on their way, then let the rest return to the queue."""
        self._inbox.close()
        self._link.close()
        self._on_close(self)

    # From here on everything runs on the link's own thread.

    def steps(self, channel: Channel) -> Iterable[Step]:
        """Declare, limit, consume: the same on every connection."""
        self._generation += 1
        self._channel = channel
        self._unsettled = set()
        yield from topology_steps(channel, self._topology)
        yield partial(channel.basic_qos, prefetch_count=self._prefetch)
        channel.add_on_cancel_callback(self._cancelled)
        yield partial(channel.basic_consume, self._queue, self._delivered)

    def opened(self, channel: Channel) -> None:
        """Deliveries can arrive now."""
        self._connected = channel.is_open

    def lost(self, error: LatecomerError) -> None:
        """Everything un-acked belongs to the broker again."""
        self._connected = False
        self._channel = None
        self._inbox.forget()
        if isinstance(error, Permanent):
            self._inbox.refuse(error)

    def _delivered(self, _channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        self._unsettled.add(method.delivery_tag)
        self._inbox.put(delivery_of(method, properties, body, self._generation))

    def _cancelled(self, _frame: object) -> None:
        self._link.drop(QueueMissing(f"Queue {self._queue!r} was deleted while consuming it"))

    def _forget(self, deliveries: Iterable[Delivery | Receipt]) -> None:
        """Of tags without a gap below them, one frame acks all."""
        if (channel := self._answering()) is None:
            return
        tags = self._settled(deliveries)
        first_open = min(self._unsettled, default=math.inf) if len(tags) > 1 else -math.inf
        run = [tag for tag in tags if tag < first_open]
        if run:
            channel.basic_ack(max(run), multiple=True)
        for tag in sorted(tags.difference(run)):
            channel.basic_ack(tag)

    def _give_up(self, delivery: Delivery | Receipt, *, requeue: bool) -> None:
        if (channel := self._answering()) is None:
            return
        for tag in self._settled([delivery]):
            # Not nack: from RabbitMQ 4.3 on only a reject counts towards the delivery limit.
            channel.basic_reject(tag, requeue=requeue)

    def _answering(self) -> Channel | None:
        """The channel, while anything can be said on it."""
        return self._channel if self._channel is not None and self._channel.is_open else None

    def _settled(self, deliveries: Iterable[Delivery | Receipt]) -> set[int]:
        """The tags that may be answered, and are from now on.

        A second answer to one tag, or a tag of another connection, would cost the channel (406).
        """
        current = {each.tag for each in deliveries if each.generation == self._generation}
        tags = current & self._unsettled
        self._unsettled -= tags
        return tags
