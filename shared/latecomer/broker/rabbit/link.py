"""One connection to RabbitMQ and the thread that owns it.

``SelectConnection`` rather than ``BlockingConnection``: a blocking publish cannot be interrupted
when the broker freezes or stops reading, and pika 1.5 deprecates it. Here nothing ever waits on the
I/O thread, so heartbeats are answered whatever the callers do.

Laws:

* Only the link's own thread touches pika; every other thread hands it a function by ``post``.
* Functions posted before ``close`` run before the connection closes, so acks are not lost.
* A link that was lost opens again with full jitter, unless the broker refused it for good.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeAlias

import structlog
from pika import SelectConnection, URLParameters
from pika.adapters.select_connection import IOLoop
from pika.exceptions import ChannelClosedByBroker, StreamLostError

from latecomer.broker.rabbit.amqp import Channel, Step, translate
from latecomer.broker.rabbit.posts import Posts
from latecomer.errors import BrokerUnreachable, LatecomerError, Permanent
from latecomer.lifecycle import Backoff

#: An alarmed or frozen broker never answers a close; after this we drop the socket.
CLOSE_DEADLINE_S = 3.0

#: A connection that lived this long was healthy: the next loss starts with short delays again.
HEALTHY_AFTER_S = 60.0

#: Read from the socket at a time. pika's 4096 would take twenty-five system calls for an update of
#: 100 kB, each of which gives the interpreter to another thread, and copy all that came before.
RECEIVE_BYTES = 64 * 1024

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


class Link:
    """Keeps one connection with one channel open for ``role`` until closed.

    Without a ``backoff`` there is a single attempt, and no line in the log.
    """

    def __init__(
        self, parameters: URLParameters, role: Role, backoff: Backoff | None = None
    ) -> None:
        self._parameters = parameters
        self._role = role
        self._backoff = backoff
        self._loop = IOLoop()
        self._posts = Posts(self._loop.add_callback_threadsafe)
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
        if self._backoff is not None:
            self._later("healthy", HEALTHY_AFTER_S, self._backoff.reset)
            self._log.info("broker.connected", after_failures=self._backoff.failures)
        self._role.opened(channel)

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
        delay_s = self._backoff.next_s()
        hint = {"hint": error.hint} if error.hint else {}
        self._log.warning("broker.lost", reason=str(error), again_in_s=round(delay_s, 2), **hint)
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
