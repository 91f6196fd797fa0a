"""Publishing to RabbitMQ: confirms, returns and alarms, bookkept on the link's thread."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from latecomer.broker.port import MAX_MESSAGE_BYTES, Message
from latecomer.broker.rabbit.amqp import AMQPError, Channel, Step, properties_of, translate
from latecomer.broker.rabbit.link import LinkFactory
from latecomer.errors import (
    BrokerUnreachable,
    LatecomerError,
    MessageTooLarge,
    PublishRefused,
    Unroutable,
)

#: A phone at the edge of a cell still sends this much; its confirm may take as long as its body.
SLOWEST_BYTES_PER_S = 32 * 1024

#: Where a line turns out to be slower, a body gets twice as long each time, up to this: every new
#: attempt sends all of it again. (A line that is dead is known from its heartbeats before.)
LONGEST_BODY_S = 120.0

#: And no less than this is expected, so that what is small is never waited for much longer.
LEAST_BYTES_PER_S = 2 * 1024


@dataclass(eq=False, slots=True)
class _Outgoing:
    """A message on its way to the broker, and the caller who waits for its confirm."""

    message: Message
    mandatory: bool
    returned: bool = False
    confirmed: Future[None] = field(default_factory=Future)

    def settle(self, error: LatecomerError | None = None) -> None:
        """Tell the caller; whoever gave up waiting is not told."""
        if self.confirmed.done():
            return
        if error is None:
            self.confirmed.set_result(None)
        else:
            self.confirmed.set_exception(error)


class RabbitPublisher:
    """Publishes with confirms on a connection of its own; callers may share it between threads."""

    def __init__(
        self,
        make_link: LinkFactory,
        *,
        user_id: str | None,
        confirm_timeout_s: float,
        on_close: Callable[["RabbitPublisher"], None],
    ) -> None:
        self._user_id = user_id
        self._confirm_timeout_s = confirm_timeout_s
        self._on_close = on_close
        self._channel: Channel | None = None
        self._bytes_per_s: float = SLOWEST_BYTES_PER_S
        self._blocked = False
        self._sequence = 0
        self._waiting: deque[_Outgoing] = deque()
        self._unconfirmed: dict[int, _Outgoing] = {}
        self._link = make_link(self)
        self._link.start()

    def publish(self, message: Message, *, mandatory: bool = True) -> None:
        """Return once the broker has confirmed, raise within ``confirm_timeout_s`` otherwise.

        That is for what is small; a large body has the time that it needs to get out besides.
        """
        if len(message.body) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(
                f"Message {message.message_id!r} has {len(message.body)} bytes, "
                f"more than the {MAX_MESSAGE_BYTES} that every supported broker takes",
            )
        outgoing = _Outgoing(message, mandatory)
        if not self._link.post(partial(self._send, outgoing)):
            raise BrokerUnreachable("This publisher is closed")
        timeout_s = self._confirm_timeout_s + self._body_s(len(message.body))
        try:
            outgoing.confirmed.result(timeout_s)
        except TimeoutError:
            self._link.post(partial(self._give_up, outgoing))
            self._bytes_per_s = max(self._bytes_per_s / 2, LEAST_BYTES_PER_S)
            raise BrokerUnreachable(
                f"RabbitMQ did not confirm {message.message_id!r} in {timeout_s:.0f} s",
            ) from None

    def _body_s(self, size_bytes: int) -> float:
        longest_s = max(LONGEST_BODY_S, size_bytes / SLOWEST_BYTES_PER_S)
        return min(longest_s, size_bytes / self._bytes_per_s)

    def close(self) -> None:
        """Close the connection; whoever still waits for a confirm gets BrokerUnreachable."""
        self._link.close()
        self._on_close(self)

    # From here on everything runs on the link's own thread.

    def steps(self, channel: Channel) -> Iterable[Step]:
        """Ask for confirms."""
        self._sequence = 0
        self._blocked = False
        channel.add_on_return_callback(self._returned)
        channel.connection.add_on_connection_blocked_callback(self._alarm_raised)
        channel.connection.add_on_connection_unblocked_callback(self._alarm_cleared)
        yield partial(channel.confirm_delivery, self._answered)

    def opened(self, channel: Channel) -> None:
        """Send what waited for the connection."""
        self._channel = channel
        waiting, self._waiting = self._waiting, deque()
        for outgoing in waiting:
            self._send(outgoing)

    def lost(self, error: LatecomerError) -> None:
        """Tell every waiting caller; they decide whether to publish again."""
        self._channel = None
        outstanding = [*self._unconfirmed.values(), *self._waiting]
        self._unconfirmed.clear()
        self._waiting.clear()
        for outgoing in outstanding:
            outgoing.settle(error)

    def _send(self, outgoing: _Outgoing) -> None:
        if self._channel is None or not self._channel.is_open:
            self._waiting.append(outgoing)
            self._link.hurry()
        elif self._blocked:
            outgoing.settle(PublishRefused("RabbitMQ blocks publishers: an alarm is on"))
        else:
            self._transmit(self._channel, outgoing)

    def _transmit(self, channel: Channel, outgoing: _Outgoing) -> None:
        message = outgoing.message
        try:
            channel.basic_publish(
                message.exchange,
                message.routing_key,
                message.body,
                properties_of(message, self._user_id),
                mandatory=outgoing.mandatory,
            )
        except AMQPError as error:
            outgoing.settle(translate(error))
        else:
            self._sequence += 1
            self._unconfirmed[self._sequence] = outgoing

    def _returned(self, _channel: Channel, _method: Any, properties: Any, _body: bytes) -> None:
        same_id = (
            outgoing
            for outgoing in self._unconfirmed.values()
            if outgoing.message.message_id == properties.message_id and not outgoing.returned
        )
        for outgoing in same_id:
            outgoing.returned = True
            break

    def _answered(self, frame: Any) -> None:
        tag, refused = frame.method.delivery_tag, frame.method.NAME == "Basic.Nack"
        tags = [tag]
        if frame.method.multiple:
            tags = [each for each in self._unconfirmed if each <= tag]
        for each in tags:
            outgoing = self._unconfirmed.pop(each)
            outgoing.settle(_verdict(outgoing, refused=refused))

    def _alarm_raised(self, _connection: object, frame: Any) -> None:
        self._blocked = True
        for outgoing in self._unconfirmed.values():
            outgoing.settle(PublishRefused(f"RabbitMQ blocks publishers: {frame.method.reason}"))

    def _alarm_cleared(self, _connection: object, _frame: object) -> None:
        self._blocked = False

    def _give_up(self, outgoing: _Outgoing) -> None:
        outgoing.confirmed.cancel()
        if outgoing in self._waiting:
            self._waiting.remove(outgoing)
        elif not self._blocked:
            self._link.drop(BrokerUnreachable("RabbitMQ stopped to answer"))


def _verdict(outgoing: _Outgoing, *, refused: bool) -> LatecomerError | None:
    message = outgoing.message
    if refused:
        return PublishRefused(f"RabbitMQ refused {message.message_id!r}: a queue is full")
    if outgoing.returned:
        return Unroutable(f"No queue takes {message.routing_key!r} from {message.exchange!r}")
    return None
