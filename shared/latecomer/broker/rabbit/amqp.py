"""What is said on a connection: messages as AMQP has them, and replies in our words."""

import struct
from collections.abc import Callable, Iterator
from functools import partial
from ssl import SSLCertVerificationError
from typing import Any, TypeAlias

from pika import URLParameters, spec
from pika.channel import Channel
from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ConnectionBlockedTimeout,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    ShortStringTooLong,
)
from pika.spec import BasicProperties

from latecomer.broker.port import Delivery, Message
from latecomer.broker.topology import Topology
from latecomer.config import not_a_url
from latecomer.errors import (
    UNTRUSTED,
    BadConfiguration,
    BrokerDenied,
    BrokerUnreachable,
    LatecomerError,
    MessageTooLarge,
    PublishRefused,
    QueueMissing,
    Unroutable,
)

__all__ = [
    "AMQPError",
    "Channel",
    "Step",
    "delivery_of",
    "parameters_of",
    "properties_of",
    "topology_steps",
    "translate",
]

#: A connection that is not open by then never will be: the path forgets, or the broker is frozen.
#: RabbitMQ itself gives up on us after as long. With the longest pause between two attempts it is
#: less than the 30 s in which everything has to work again.
OPEN_DEADLINE_S = 10.0

#: A broker's reply as (code, fragment of its text) and what it means to us; first match wins.
REPLIES: tuple[tuple[int, str, type[LatecomerError]], ...] = (
    (403, "", BrokerDenied),
    (404, "no exchange", Unroutable),
    (404, "no queue", QueueMissing),
    (406, "message size", MessageTooLarge),
    (406, "user_id", BrokerDenied),
    # Held past the broker's consumer timeout: it redelivers, nothing is wrong with the queue.
    (406, "delivery acknowledgement", BrokerUnreachable),
    (406, "unknown delivery tag", BrokerUnreachable),
    (406, "", BadConfiguration),
    # A full virtual host empties again; only a refused login is final.
    (530, "limit", BrokerUnreachable),
    (530, "", BrokerDenied),
    (540, "", BadConfiguration),
)

#: What to do about a refused login.
LOGIN = "check LATECOMER_BROKER_USER, its password and rights, and the virtual host"

#: What to do about a queue that this login may not declare.
NO_QUEUE = "`latecomer init RECIPE` declares it again"

#: What to do about a queue that a former release, or somebody else, declared otherwise.
OTHERWISE = (
    "let it run empty, then `rabbitmqctl -p VHOST delete_queue NAME` and `latecomer init RECIPE`"
)

#: Where a message has been in a dead-letter queue, and as it is written in a table.
DEATH = "x-death"
DEATH_ENTRY = bytes([len(DEATH)]) + DEATH.encode()

#: Headers that brokers add on the way; ours are returned as they were published.
BROKER_HEADERS = frozenset({DEATH, "x-delivery-count", "x-acquired-count"})
BROKER_HEADER_PREFIXES = ("x-first-death-", "x-last-death-")

#: AMQP's delivery modes.
TRANSIENT, PERSISTENT = 1, 2

#: One asynchronous request to the broker, called as ``step(callback=...)``.
Step: TypeAlias = Callable[..., object]


class Properties(BasicProperties):  # type: ignore[misc] # pika has no types
    """A message's properties, whatever its author put into their header table.

    The law: no table ends a connection. (A date out of range or three thousand nested arrays make
    pika raise; the message would come again over the next connection, and take everybody's with it
    until the broker buries them all.) Of one that cannot be read only ``x-death`` is looked for.
    """

    def decode(self, encoded: bytes, offset: int = 0) -> BasicProperties:
        """As pika does."""
        try:
            return super().decode(encoded, offset)
        except Exception:  # noqa: BLE001 - pika's, of whatever kind
            start, end = _table(encoded, offset)
            super().decode(encoded[:start] + bytes(4) + encoded[end:], offset)
            self.headers: dict[str, Any] = {DEATH: []} if DEATH_ENTRY in encoded[start:end] else {}
            return self


# There is no public way to say so: pika looks up here what it decodes a content header as.
spec.props[BasicProperties.INDEX] = Properties


def _table(encoded: bytes, offset: int) -> tuple[int, int]:
    """Where the header table begins and ends: after the flags and up to two short strings."""
    (flags,) = struct.unpack_from(">H", encoded, offset)
    start = offset + 2
    for before in (BasicProperties.FLAG_CONTENT_TYPE, BasicProperties.FLAG_CONTENT_ENCODING):
        if flags & before:
            start += 1 + encoded[start]
    (size,) = struct.unpack_from(">I", encoded, start)
    return start, start + 4 + size


def translate(reason: Exception) -> LatecomerError:
    """What went wrong, in our words: foreign exceptions end here."""
    text = str(reason) or repr(reason)
    match reason:
        case ChannelClosedByBroker() | ConnectionClosedByBroker():
            return _translate_reply(reason.reply_code, reason.reply_text)
        case AuthenticationError() | ProbableAuthenticationError() | ProbableAccessDeniedError():
            # pika guesses "denied" also when a stopping broker hangs up amid the handshake.
            said_so = ConnectionClosedByBroker.__name__ in text
            kind = BrokerDenied if said_so else BrokerUnreachable
            return kind(f"RabbitMQ refused the login: {text}", hint=LOGIN if said_so else "")
        case ConnectionBlockedTimeout():
            return PublishRefused(f"RabbitMQ kept publishers blocked too long: {text}")
        case ShortStringTooLong():
            return BadConfiguration(f"A name does not fit into AMQP's 255 bytes: {text}")
        case _:
            cause = _innermost(reason)
            hint = UNTRUSTED if isinstance(cause, SSLCertVerificationError) else ""
            return BrokerUnreachable(f"No connection to RabbitMQ: {cause!r}", hint=hint)


def _innermost(reason: BaseException) -> BaseException:
    """The socket's own words, out of the three layers that pika wraps around a failed connect."""
    layers = [*getattr(reason, "exceptions", ()), getattr(reason, "exception", None), *reason.args]
    inner = [layer for layer in layers if isinstance(layer, BaseException)]
    return _innermost(inner[-1]) if inner else reason


def _translate_reply(code: int, text: str) -> LatecomerError:
    matches = (kind for known, part, kind in REPLIES if known == code and part in text)
    kind = next(matches, BrokerUnreachable)
    hints = {BrokerDenied: LOGIN, QueueMissing: NO_QUEUE}
    hint = OTHERWISE if "inequivalent arg" in text and "queue" in text else hints.get(kind, "")
    return kind(f"RabbitMQ answered {code}: {text}", hint=hint)


def parameters_of(
    url: str, *, client_name: str, heartbeat_s: int, blocked_timeout_s: float
) -> URLParameters:
    """Connection parameters of an ``amqp://`` or ``amqps://`` address.

    Raises:
        BadConfiguration: It is none.
    """
    try:
        parameters = URLParameters(url)
    except Exception as error:  # noqa: BLE001 - what evaluates options, of whatever kind
        cause = error.strerror or "" if isinstance(error, OSError) else ""
        refusal = not_a_url(url, "broker", "amqp://host:port/vhost", cause=cause)
        raise refusal from error.with_traceback(None)
    parameters.heartbeat = heartbeat_s
    parameters.socket_timeout = parameters.stack_timeout = OPEN_DEADLINE_S
    parameters.blocked_connection_timeout = blocked_timeout_s
    parameters.client_properties = {"connection_name": client_name}
    return parameters


def topology_steps(channel: Channel, topology: Topology) -> Iterator[Step]:
    """Declare everything in ``topology``, in its order."""
    for exchange in topology.exchanges:
        yield partial(channel.exchange_declare, exchange.name, exchange.kind, durable=True)
    for queue in topology.queues:
        arguments = dict(queue.arguments)
        yield partial(channel.queue_declare, queue.name, durable=True, arguments=arguments)
    for binding in topology.bindings:
        yield partial(channel.queue_bind, binding.queue, binding.exchange, binding.pattern)


def properties_of(message: Message, user_id: str | None) -> BasicProperties:
    """A message's AMQP properties, with the login for the broker to validate."""
    return BasicProperties(
        content_type="application/msgpack",
        headers=dict(message.headers),
        delivery_mode=PERSISTENT if message.persistent else TRANSIENT,
        message_id=message.message_id,
        type=message.type,
        user_id=user_id,
        app_id="latecomer",
    )


def delivery_of(method: Any, properties: BasicProperties, body: bytes, generation: int) -> Delivery:
    """What the broker handed out, free of pika's types and of the broker's own headers."""
    headers: dict[str, Any] = properties.headers or {}
    return Delivery(
        routing_key=_text(method.routing_key),
        body=body,
        message_id=_text(properties.message_id),
        type=_text(properties.type),
        headers={name: value for name, value in headers.items() if _is_authors(name)},
        user_id=properties.user_id,
        redelivered=method.redelivered,
        dead_lettered=DEATH in headers,
        tag=method.delivery_tag,
        generation=generation,
    )


def _text(said: str | bytes | None) -> str:
    """Pika gives back as bytes what is no UTF-8: nothing that we ever wrote."""
    return said if isinstance(said, str) else ""


def _is_authors(name: str | bytes) -> bool:
    brokers = name in BROKER_HEADERS or _text(name).startswith(BROKER_HEADER_PREFIXES)
    return isinstance(name, str) and not brokers
