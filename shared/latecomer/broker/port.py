"""What the house needs from a message broker, and nothing more.

The laws, which one contract suite checks on every adapter:

* ``Publisher.publish`` returns only after the broker confirmed that the message is safe in at least
  one queue. It raises if it was not; then the message may or may not arrive, so publishing it again
  with the same ``message_id`` is always right.
* A delivery stays with its subscription until ``ack`` or ``reject``, or comes back (to any consumer
  of the queue, flagged ``redelivered``) once the subscription's connection is gone.
* Acking a delivery of a lost connection does nothing: the broker redelivers it.
* No method needs to be called from the thread that created the object, and none runs user code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from latecomer.broker.topology import Topology

#: RabbitMQ >= 4.0 refuses more than 16 MiB; below it we keep room for properties, and on every
#: broker, so that what is accepted in a test is accepted in production.
MAX_MESSAGE_BYTES = 12 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes to publish, with what a broker routes and validates by.

    ``message_id`` stays the same when a message is published again. ``type`` names the schema.
    ``persistent`` messages outlive a restart of the broker. Others need not, unless they are in a
    quorum queue, and cost it no disk: for hints that the next one makes worthless.
    """

    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    type: str
    headers: Mapping[str, str | int] = field(default_factory=dict)
    persistent: bool = True


class Receipt(NamedTuple):
    """A delivery as its adapter knows it again: the tag means something only in its generation.

    Of two copies of a message, the later one is the greater; only that of a connection that still
    stands can be acked.
    """

    generation: int
    tag: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that a queue handed to a subscription.

    ``user_id`` is the login that the broker itself validated, None where the publisher gave none.
    ``dead_lettered`` tells that some queue threw the message away before: no honest update was.
    ``tag`` and ``generation`` belong to the adapter: a tag means something only within the
    connection (generation) that delivered it.
    """

    routing_key: str
    body: bytes
    message_id: str
    type: str
    headers: Mapping[str, str | int]
    user_id: str | None
    redelivered: bool
    dead_lettered: bool
    tag: int
    generation: int

    @property
    def receipt(self) -> Receipt:
        """What an ack needs of it: bodies that wait for their acks would be models in memory."""
        return Receipt(self.generation, self.tag)


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Messages waiting in a queue, and how many consumers it has."""

    ready: int
    consumers: int


class Publisher(Protocol):
    """Publishes with confirms, always mandatory unless told otherwise."""

    def publish(self, message: Message, *, mandatory: bool = True) -> None:
        """Return once the broker has confirmed the message.

        Raises:
            MessageTooLarge: The body exceeds ``MAX_MESSAGE_BYTES``; nothing was sent.
            Unroutable: ``mandatory`` and no queue took the message.
            PublishRefused: A queue was full, or the broker is blocked by an alarm.
            BrokerDenied: This login may not publish with that routing key.
            BrokerUnreachable: The connection is down or was lost before the confirm.
        """
        ...

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        ...


class Subscription(Protocol):
    """A consumer of one queue with a prefetch limit; reconnects by itself."""

    def receive(self, timeout_s: float) -> Delivery | None:
        """The next delivery, or None if none came within ``timeout_s`` (0 = do not wait).

        Raises:
            BrokerDenied: The login or the right to consume was refused; retrying is useless.
        """
        ...

    def ack(self, *deliveries: Delivery | Receipt) -> None:
        """The effect of ``deliveries`` is durable; the broker may forget them."""
        ...

    def reject(self, delivery: Delivery | Receipt, *, requeue: bool) -> None:
        """Give ``delivery`` back to its queue, or send it to the dead-letter queue."""
        ...

    def connected(self) -> bool:
        """Whether deliveries can arrive right now."""
        ...

    def close(self) -> None:
        """Stop consuming; un-acked deliveries return to the queue. Closing twice is harmless."""
        ...


class Broker(Protocol):
    """A login at a broker: declares, publishes, subscribes."""

    def declare(self, topology: Topology) -> None:
        """Make exchanges, queues and bindings exist; idempotent.

        Raises:
            BrokerDenied: This login may not declare them.
            BadConfiguration: One of them exists with other arguments.
            BrokerUnreachable: The broker does not answer.
        """
        ...

    def publisher(self) -> Publisher:
        """A publisher on a connection of its own."""
        ...

    def subscribe(
        self, queue: str, *, prefetch: int, topology: Topology | None = None
    ) -> Subscription:
        """Consume ``queue`` on a connection of its own, with at most ``prefetch`` un-acked.

        ``topology``, where given, is declared again after every reconnect and whenever the queue
        was deleted; without it, a missing queue is waited for.
        """
        ...

    def depth(self, queue: str) -> QueueDepth | None:
        """How full ``queue`` is; None if there is no such queue.

        Raises:
            BrokerUnreachable: The broker does not answer.
        """
        ...

    def version(self) -> str:
        """Product and version, for people: ``RabbitMQ 4.0.5``."""
        ...

    def close(self) -> None:
        """Close every publisher and subscription made by this broker."""
        ...
