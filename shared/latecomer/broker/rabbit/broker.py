"""A login at RabbitMQ 3.10 or 4.x, behind the broker port.

Publishers and subscriptions have a connection each: a broker under alarm stops reading from whoever
publishes, and acks must not wait for that. Declaring and looking are errands on a connection of
their own, closed right after.
"""

import random
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any

from latecomer.broker.opened import Opened
from latecomer.broker.port import QueueDepth
from latecomer.broker.rabbit.amqp import Channel, Step, parameters_of, topology_steps
from latecomer.broker.rabbit.link import Link, Role
from latecomer.broker.rabbit.publisher import RabbitPublisher
from latecomer.broker.rabbit.subscription import RabbitSubscription
from latecomer.broker.topology import Topology
from latecomer.errors import BrokerUnreachable, LatecomerError, QueueMissing
from latecomer.lifecycle import Backoff

#: The bound of the pause before connecting again, from the first failure to the last.
FIRST_PAUSE_S = 0.5
CEILING_S = 15.0


class _Errand:
    """A few steps on a connection that is closed again right after."""

    def __init__(self, ask: Callable[[Channel], Iterable[Step]]) -> None:
        self._ask = ask
        self.outcome: Future[dict[str, Any]] = Future()

    def steps(self, channel: Channel) -> Iterable[Step]:
        """What was asked for."""
        return self._ask(channel)

    def opened(self, channel: Channel) -> None:
        """All was granted; the outcome tells who the server says it is."""
        if not self.outcome.done():
            self.outcome.set_result(channel.connection.server_properties)

    def lost(self, error: LatecomerError) -> None:
        """One refusal is enough."""
        if not self.outcome.done():
            self.outcome.set_exception(error)


class RabbitBroker:
    """A login at a RabbitMQ server.

    Args:
        url: ``amqp://`` or ``amqps://`` with login, host and virtual host.
        client_name: What the server's management pages call our connections.
        heartbeat_s: How often either side proves to be alive; handlers may take far longer. A
            silent connection is given up after this plus 5 s, or twice that: 8 keeps it below 30.
        blocked_timeout_s: How long an alarm may block a connection before it is given up.
        confirm_timeout_s: The longest that publish, declare and depth may take.
        first_pause_s, ceiling_s: Of the pauses before connecting again, see ``Backoff``.
        rng: Draws the jitter.
    """

    def __init__(
        self,
        url: str,
        *,
        client_name: str,
        heartbeat_s: int = 8,
        blocked_timeout_s: float = 60.0,
        confirm_timeout_s: float = 30.0,
        first_pause_s: float = FIRST_PAUSE_S,
        ceiling_s: float = CEILING_S,
        rng: random.Random | None = None,
    ) -> None:
        self._parameters = parameters_of(
            url,
            client_name=client_name,
            heartbeat_s=heartbeat_s,
            blocked_timeout_s=blocked_timeout_s,
        )
        self._user_id: str | None = getattr(self._parameters.credentials, "username", None)
        self._confirm_timeout_s = confirm_timeout_s
        self._backoff = partial(
            Backoff, first_s=first_pause_s, ceiling_s=ceiling_s, rng=rng or random.Random()
        )
        self._opened = Opened()

    def declare(self, topology: Topology) -> None:
        """Make everything in ``topology`` exist."""
        self._run(lambda channel: topology_steps(channel, topology))

    def publisher(self) -> RabbitPublisher:
        """A publisher that begins to connect at once and is usable at once."""
        return self._opened.add(
            RabbitPublisher(
                self._lasting_link,
                user_id=self._user_id,
                confirm_timeout_s=self._confirm_timeout_s,
                on_close=self._opened.forget,
            )
        )

    def subscribe(
        self, queue: str, *, prefetch: int, topology: Topology | None = None
    ) -> RabbitSubscription:
        """A subscription that begins to connect at once, and again whenever it is lost."""
        return self._opened.add(
            RabbitSubscription(
                self._lasting_link,
                queue,
                prefetch=prefetch,
                topology=topology or Topology(),
                on_close=self._opened.forget,
            )
        )

    def depth(self, queue: str) -> QueueDepth | None:
        """How full ``queue`` is, by declaring it passively."""
        found: list[QueueDepth] = []

        def look(channel: Channel) -> Iterable[Step]:
            yield partial(_passive_declare, channel, queue, found.append)

        try:
            self._run(look)
        except QueueMissing:
            return None
        return found[0]

    def version(self) -> str:
        """Product and version, as the server introduces itself."""
        about = self._run(lambda _channel: ())
        return f"{about['product']} {about['version']}"

    def close(self) -> None:
        """Close every publisher and subscription made here."""
        self._opened.close()

    def _lasting_link(self, role: Role) -> Link:
        return Link(self._parameters, role, self._backoff())

    def _run(self, ask: Callable[[Channel], Iterable[Step]]) -> dict[str, Any]:
        errand = _Errand(ask)
        link = Link(self._parameters, errand)
        link.start()
        try:
            return errand.outcome.result(self._confirm_timeout_s)
        except TimeoutError:
            raise BrokerUnreachable(
                f"RabbitMQ did not answer in {self._confirm_timeout_s} s",
            ) from None
        finally:
            link.close()


def _passive_declare(
    channel: Channel,
    queue: str,
    found: Callable[[QueueDepth], None],
    callback: Callable[[object], None],
) -> None:
    def answered(frame: Any) -> None:
        found(QueueDepth(frame.method.message_count, frame.method.consumer_count))
        callback(frame)

    channel.queue_declare(queue, passive=True, callback=answered)
