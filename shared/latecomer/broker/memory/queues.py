"""One queue: order, limits, consumers. No locks, no clock, no routing: see ``server``."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from operator import attrgetter
from typing import Protocol

from latecomer.broker.port import Message
from latecomer.broker.topology import Queue
from latecomer.errors import BadConfiguration

#: Arguments that mean something here. RabbitMQ ignores a misspelt one silently; we refuse it.
KNOWN_ARGUMENTS = frozenset(
    {
        "x-queue-type",
        "x-single-active-consumer",
        "x-delivery-limit",
        "x-max-length",
        "x-overflow",
        "x-dead-letter-exchange",
        "x-dead-letter-routing-key",
        "x-dead-letter-strategy",
        "x-expires",
    }
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A message at rest, and what queues did to it so far.

    ``position`` is its place in its queue, kept when it comes back; ``returns`` counts how often it
    did. ``died_in`` names the queues that threw it away.
    """

    message: Message
    user_id: str
    position: int = 0
    returns: int = 0
    died_in: frozenset[str] = frozenset()

    def returned(self) -> "Stored":
        """The same message, delivered once more in vain."""
        return replace(self, returns=self.returns + 1)

    def died(self, queue: str, exchange: str, routing_key: str) -> "Stored":
        """The same message on its way to a dead-letter exchange, where it counts afresh."""
        message = replace(self.message, exchange=exchange, routing_key=routing_key)
        return Stored(message, self.user_id, died_in=self.died_in | {queue})


class Consumer(Protocol):
    """Whom a queue hands messages to."""

    def has_room(self) -> bool:
        """Whether the prefetch limit allows one more."""
        ...

    def take(self, item: Stored) -> None:
        """Become responsible for ``item``."""
        ...


class MemoryQueue:
    """FIFO; what comes back takes its old place; what is too much is refused or pushed out."""

    def __init__(self, declared: Queue, now_s: float) -> None:
        unknown = sorted(set(declared.arguments) - KNOWN_ARGUMENTS)
        if unknown:
            raise BadConfiguration(
                f"Queue {declared.name!r} has unknown arguments {unknown}",
                hint=f"known are {sorted(KNOWN_ARGUMENTS)}",
            )
        self.name = declared.name
        self.arguments: Mapping[str, str | int | bool] = dict(declared.arguments)
        self.ready: deque[Stored] = deque()
        self.consumers: list[Consumer] = []
        self.unused_since_s = now_s
        self._positions = count()

    def expired(self, now_s: float) -> bool:
        """Whether nobody consumed for longer than ``x-expires`` allows."""
        limit_ms = self._limit("x-expires")
        if limit_ms is None or self.consumers:
            return False
        return (now_s - self.unused_since_s) * 1000 >= limit_ms

    def refuses(self) -> bool:
        """Whether it is full and lets the publisher know rather than push out the oldest."""
        limit = self._limit("x-max-length")
        rejects = self.arguments.get("x-overflow") == "reject-publish"
        return rejects and limit is not None and len(self.ready) >= limit

    def put(self, item: Stored) -> list[Stored]:
        """Append ``item``; returns what it pushed out at the other end."""
        self.ready.append(replace(item, position=next(self._positions)))
        self.pump()
        return self._pushed_out()

    def put_back(self, items: Iterable[Stored]) -> list[Stored]:
        """Return ``items`` to their places; returns those that came back too often or too late."""
        limit = self._limit("x-delivery-limit")
        back = [item.returned() for item in items]
        spent = [item for item in back if limit is not None and item.returns > limit]
        kept = [item for item in back if item not in spent]
        self.ready = deque(sorted([*kept, *self.ready], key=attrgetter("position")))
        # Unlike in ``put``, room is made before anything is handed out: the newest must win.
        late = self._pushed_out()
        self.pump()
        return spent + late

    def forget_transient(self) -> None:
        """The server restarts: a quorum queue keeps everything, another what is persistent."""
        if self.arguments.get("x-queue-type") != "quorum":
            self.ready = deque(each for each in self.ready if each.message.persistent)

    def pump(self) -> None:
        """Hand out what consumers have room for."""
        while self.ready and (consumer := self._next_consumer()) is not None:
            consumer.take(self.ready.popleft())

    def dead_letter(self, item: Stored) -> Stored | None:
        """What to publish now that ``item`` died here; None where the dead are forgotten."""
        exchange = self.arguments.get("x-dead-letter-exchange")
        if exchange is None:
            return None
        key = self.arguments.get("x-dead-letter-routing-key", item.message.routing_key)
        return item.died(self.name, str(exchange), str(key))

    def _pushed_out(self) -> list[Stored]:
        limit = self._limit("x-max-length")
        if limit is None or self.arguments.get("x-overflow") == "reject-publish":
            return []
        return [self.ready.popleft() for _ in range(len(self.ready) - limit)]

    def _next_consumer(self) -> Consumer | None:
        single = bool(self.arguments.get("x-single-active-consumer"))
        candidates = self.consumers[:1] if single else self.consumers
        chosen = next((each for each in candidates if each.has_room()), None)
        if chosen is not None and not single:
            # Whoever was served goes to the end of the line.
            self.consumers.remove(chosen)
            self.consumers.append(chosen)
        return chosen

    def _limit(self, argument: str) -> int | None:
        value = self.arguments.get(argument)
        return None if value is None else int(value)
