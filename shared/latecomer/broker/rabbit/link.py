"""One connection to RabbitMQ and the thread that owns it. The only importer of pika.

``SelectConnection`` rather than ``BlockingConnection``: a blocking publish cannot be interrupted
when the broker freezes or stops reading, and pika 1.5 deprecates it. Here nothing ever waits on the
I/O thread, so heartbeats are answered whatever the callers do.

Laws:

* Only the link's own thread touches pika; every other thread hands it a function by ``post``.
* Functions posted before ``close`` run before the connection closes, so acks are not lost.
* A link that was lost opens again with full jitter, unless the broker refused it for good.
"""

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

import structlog
from pika import SelectConnection, URLParameters
from pika.adapters.select_connection import IOLoop
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
    StreamLostError,
)
from pika.spec import BasicProperties

from latecomer.broker.port import Delivery, Message
from latecomer.broker.rabbit.posts import Posts
from latecomer.broker.topology import Topology
from latecomer.errors import (
    BadConfiguration,
    BrokerDenied,
    BrokerUnreachable,
    LatecomerError,
    MessageTooLarge,
    Permanent,
    PublishRefused,
    QueueMissing,
    Unroutable,
)
from latecomer.lifecycle import full_jitter_s

__all__ = [
    "AMQPError",
    "Backoff",
    "Channel",
    "Link",
    "LinkFactory",
    "Role",
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

#: An alarmed or frozen broker never answers a close; after this we drop the socket.
CLOSE_DEADLINE_S = 3.0

#: A connection that lived this long was healthy: the next loss starts with short delays again.
HEALTHY_AFTER_S = 60.0

#: Read from the socket at a time. pika's 4096 would take twenty-five system calls for an update of
#: 100 kB, each of which gives the interpreter to another thread, and copy all that came before.
RECEIVE_BYTES = 64 * 1024

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

#: Headers that brokers add on the way; ours are returned as they were published.
BROKER_HEADERS = frozenset({"x-death", "x-delivery-count", "x-acquired-count"})
BROKER_HEADER_PREFIXES = ("x-first-death-", "x-last-death-")

#: One asynchronous request to the broker, called as ``step(callback=...)``.
Step: TypeAlias = Callable[..., object]

log = structlog.get_logger()


class Role(Protocol):
    """What a link is for. Every method runs on the link's thread and returns at once."""

    def steps(self, channel: Channel) -> Iterable[Step]:
        """What to ask of the broker, one after the other, whenever a channel has opened."""
        ...

    def opened(self, channel: Channel) -> None:
        """The broker agreed to every step."""
        ...

    def lost(self, error: LatecomerError) -> None:
        """The connection is gone, or never came to be; called once per attempt."""
        ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: uniform between 0 and a bound that doubles from ``first_s`` to ``ceiling_s``."""

    first_s: float = 0.5
    ceiling_s: float = 15.0

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """How long to wait before trying again after ``attempt`` failures in a row."""
        return full_jitter_s(attempt, first_s=self.first_s, ceiling_s=self.ceiling_s, rng=rng)


class Link:
    """Keeps one connection with one channel open for ``role`` until closed.

    Without a ``backoff`` there is a single attempt, and no line in the log.
    """

    def __init__(
        self, parameters: URLParameters, role: Role, backoff: Backoff | None, rng: random.Random
    ) -> None:
        self._parameters = parameters
        self._role = role
        self._backoff = backoff
        self._rng = rng
        self._loop = IOLoop()
        self._posts = Posts(self._loop.add_callback_threadsafe)
        self._failures = 0
        self._connection: SelectConnection | None = None
        self._given_up: SelectConnection | None = None
        self._cause: LatecomerError | None = None
        self._steps: Iterator[Step] = iter(())
        self._timers: dict[str, object] = {}
        self._thread = threading.Thread(target=self._run, name="latecomer-link", daemon=True)
        self._log = log.bind(host=parameters.host, port=parameters.port)

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._loop.add_callback_threadsafe(self._open)
        self._thread.start()

    def post(self, function: Callable[[], None]) -> bool:
        """Run ``function`` on the link's thread, after all posted before; False once closed."""
        return self._posts.add(function)

    def close(self) -> None:
        """Run what was posted, close the connection, join the thread: all within a deadline."""
        self._posts.add(self._shut, last=True)
        self._thread.join(2 * CLOSE_DEADLINE_S)

    # From here on everything runs on the link's own thread.

    def hurry(self) -> None:
        """Do not wait any longer before the next attempt; somebody needs the connection now."""
        if self._connection is None:
            self._cancel("reopen")
            self._open()

    def drop(self, cause: LatecomerError) -> None:
        """Give this connection up because of ``cause`` and open another."""
        self._cause = self._cause or cause
        self._leave()

    def _run(self) -> None:
        running = True
        while running:
            try:
                self._loop.start()
                running = False
            except Exception as error:  # noqa: BLE001 - pika's, from deep inside of its loop
                self._fell_over(error)
        self._loop.close()

    def _fell_over(self, error: Exception) -> None:
        """An attempt in which pika itself raised is lost like any other.

        (A peer that resets at the very moment of connecting makes pika 1.4 raise ValueError.)
        """
        self._given_up = self._connection
        if self._given_up is not None and self._given_up.is_open:
            # Half a connection must not go on consuming for nobody.
            with suppress(Exception):
                self._abort(self._given_up)
        self._connection_closed(None, error)

    def _open(self) -> None:
        self._cause = None
        self._connection = SelectConnection(
            self._parameters,
            on_open_callback=self._connection_opened,
            on_open_error_callback=self._connection_closed,
            on_close_callback=self._connection_closed,
            custom_ioloop=self._loop,
        )

    def _connection_opened(self, connection: SelectConnection) -> None:
        # There is no public way to say so; each connection has a transport of its own.
        connection._transport._MAX_RECV_BYTES = RECEIVE_BYTES  # noqa: SLF001
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._channel_closed)
        self._steps = iter(self._role.steps(channel))
        self._advance(channel)

    def _advance(self, channel: Channel, _reply: object = None) -> None:
        step = next(self._steps, None)
        if step is None:
            self._ready(channel)
        else:
            step(callback=partial(self._advance, channel))

    def _ready(self, channel: Channel) -> None:
        self._later("healthy", HEALTHY_AFTER_S, self._forget_failures)
        if self._backoff is not None:
            self._log.info("broker.connected", after_failures=self._failures)
        self._role.opened(channel)

    def _forget_failures(self) -> None:
        self._failures = 0

    def _channel_closed(self, _channel: Channel, reason: Exception) -> None:
        if isinstance(reason, ChannelClosedByBroker):
            # Reopening all is as cheap as reopening a channel, and there is one way to be lost.
            self.drop(translate(reason))

    def _leave(self) -> None:
        connection = self._connection
        if connection is None or "abort" in self._timers:
            return
        self._later("abort", CLOSE_DEADLINE_S, partial(self._abort, connection))
        if connection.is_open:
            connection.close()
        else:
            # Not close(): amid the handshake pika 1.4 fails an assertion of its own there.
            self._abort(connection)

    def _abort(self, connection: SelectConnection) -> None:
        # pika has no public way to drop a socket that the broker no longer answers on.
        connection._terminate_stream(StreamLostError("dropped by this side"))  # noqa: SLF001

    def _connection_closed(self, connection: SelectConnection | None, reason: Exception) -> None:
        if connection is not None and connection is self._given_up:
            return
        error = self._cause or translate(reason)
        self._connection = None
        self._cancel("abort")
        self._cancel("healthy")
        self._role.lost(error)
        if self._posts.closed:
            self._loop.stop()
        else:
            self._consider_reopening(error)

    def _consider_reopening(self, error: LatecomerError) -> None:
        if self._backoff is None:
            return
        if isinstance(error, Permanent):
            self._log.warning("broker.refused", reason=str(error))
            return
        delay_s = self._backoff.delay_s(self._failures, self._rng)
        self._failures += 1
        self._log.warning("broker.lost", reason=str(error), again_in_s=round(delay_s, 2))
        self._later("reopen", delay_s, self._open)

    def _shut(self) -> None:
        self._cancel("reopen")
        if self._connection is None:
            self._role.lost(BrokerUnreachable("This side closed the connection"))
            self._loop.stop()
        else:
            self._leave()

    def _later(self, name: str, delay_s: float, function: Callable[[], None]) -> None:
        self._cancel(name)
        self._timers[name] = self._loop.call_later(delay_s, function)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            self._loop.remove_timeout(timer)


#: Makes the link that a publisher or subscription lives on.
LinkFactory: TypeAlias = Callable[[Role], Link]


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
            return kind(f"RabbitMQ refused the login: {text}")
        case ConnectionBlockedTimeout():
            return PublishRefused(f"RabbitMQ kept publishers blocked too long: {text}")
        case ShortStringTooLong():
            return BadConfiguration(f"A name does not fit into AMQP's 255 bytes: {text}")
        case _:
            return BrokerUnreachable(f"No connection to RabbitMQ: {_innermost(reason)!r}")


def _innermost(reason: BaseException) -> BaseException:
    """The socket's own words, out of the three layers that pika wraps around a failed connect."""
    layers = [*getattr(reason, "exceptions", ()), getattr(reason, "exception", None), *reason.args]
    inner = [layer for layer in layers if isinstance(layer, BaseException)]
    return _innermost(inner[-1]) if inner else reason


def _translate_reply(code: int, text: str) -> LatecomerError:
    matches = (kind for known, part, kind in REPLIES if known == code and part in text)
    return next(matches, BrokerUnreachable)(f"RabbitMQ answered {code}: {text}")


def parameters_of(
    url: str, *, client_name: str, heartbeat_s: int, blocked_timeout_s: float
) -> URLParameters:
    """Connection parameters of an ``amqp://`` or ``amqps://`` address."""
    parameters = URLParameters(url)
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
    """A message's AMQP properties: persistent, and with the login for the broker to validate."""
    return BasicProperties(
        content_type="application/msgpack",
        headers=dict(message.headers),
        delivery_mode=2,
        message_id=message.message_id,
        type=message.type,
        user_id=user_id,
        app_id="latecomer",
    )


def delivery_of(method: Any, properties: BasicProperties, body: bytes, generation: int) -> Delivery:
    """What the broker handed out, free of pika's types and of the broker's own headers."""
    headers: dict[str, Any] = properties.headers or {}
    return Delivery(
        routing_key=method.routing_key,
        body=body,
        message_id=properties.message_id or "",
        type=properties.type or "",
        headers={name: value for name, value in headers.items() if not _added_by_broker(name)},
        user_id=properties.user_id,
        redelivered=method.redelivered,
        dead_lettered="x-death" in headers,
        tag=method.delivery_tag,
        generation=generation,
    )


def _added_by_broker(name: str) -> bool:
    return name in BROKER_HEADERS or name.startswith(BROKER_HEADER_PREFIXES)
