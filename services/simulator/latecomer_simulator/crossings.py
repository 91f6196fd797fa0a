"""Where a process can be stopped: every call across a port, before and after it takes effect.

Coordinator and agent reach the world through ports alone, so the calls across them are all the
arrows of the flow. A crossing writes what happened into the history and asks ``reached`` at both
ends, which may pause, kill, or do nothing. Production code knows nothing of it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

from latecomer.broker.port import Broker, Delivery, Message, Publisher, Receipt, Subscription
from latecomer.broker.topology import UPDATES
from latecomer.clock import Clock
from latecomer.store.port import Commit, Lease, ModelStore, Refusal
from latecomer_simulator.history import (
    Acknowledged,
    Attempted,
    Committed,
    Dropped,
    Event,
    Held,
    Led,
    Refused,
    Sent,
)
from latecomer_worker.pending import Outgoing, PendingUpdates
from latecomer_worker.state import WorkerState

#: Calls across the store's port that a process's way depends on.
STORE_CALLS = (
    "acquire",
    "renew",
    "release",
    "head",
    "manifest",
    "read",
    "stage",
    "commit",
    "applied",
    "refuse",
    "verdicts",
    "stage_payload",
    "read_payload",
)

#: The arrows of the flow that an aggregator and a worker cross, in their order.
AGGREGATOR_CALLS = (
    "acquire",
    "head",
    "manifest",
    "read",
    "subscribe",
    "announce",
    "receive",
    "applied",
    "read_payload",
    "refuse",
    "stage",
    "commit",
    "ack",
    "reject",
    "release",
)
WORKER_CALLS = (
    "receive",
    "manifest",
    "read",
    "save",
    "stage_payload",
    "submit",
    "confirm",
    "verdicts",
)


def points(calls: Iterable[str]) -> list[str]:
    """Both ends of each call; a delivery that was received has only one."""
    ends = [f"{call}:{end}" for call in calls for end in ("before", "after")]
    return [point for point in ends if point != "receive:before"]


class Record(Protocol):
    """Where events go: a ``History`` or a ``Journal``."""

    def append(self, event: Event) -> None:
        """One more."""
        ...


@dataclass
class Crossings:
    """The ports of one process, watched.

    Attributes:
        process: Its name, in the history.
        clock: One for all processes.
        record: Where events go.
        reached: Called at ``<call>:before`` and ``<call>:after``.
    """

    process: str
    clock: Clock
    record: Record
    reached: Callable[[str], None]
    _most_held: int = 0

    def store(self, store: ModelStore) -> ModelStore:
        """The store's port, watched."""
        notes: dict[str, Note] = {
            "acquire": self._acquired,
            "commit": self._committed,
            "refuse": self._refused,
        }
        return cast("ModelStore", _Watched(self, store, dict.fromkeys(STORE_CALLS), notes))

    def broker(self, broker: Broker) -> Broker:
        """The broker's port, watched, with everything that it opens."""
        return cast("Broker", _WatchedBroker(self, broker))

    def state(self, state: WorkerState) -> WorkerState:
        """A worker's file, watched."""
        return cast("WorkerState", _WatchedState(self, state))

    def note(self, event: type[Event], **facts: Any) -> None:
        """Write an event of this process into the history."""
        self.record.append(event(self.clock.monotonic_s(), self.process, **facts))

    @contextmanager
    def crossing(self, name: str) -> Iterator[None]:
        """Both ends of a call."""
        self.reached(f"{name}:before")
        yield
        self.reached(f"{name}:after")

    def held(self, deliveries: int) -> None:
        """So many are un-acked now; only a new maximum is worth a line."""
        if deliveries > self._most_held:
            self._most_held = deliveries
            self.note(Held, deliveries=deliveries)

    def _acquired(self, _asked_s: float, lease: Lease | None, *_: object) -> None:
        if lease is not None:
            self.note(Led, fence=lease.fence)

    def _committed(self, asked_s: float, _result: None, commit: Commit) -> None:
        manifest = commit.manifest.to_bytes()
        self.note(Committed, fence=commit.lease.fence, manifest=manifest, asked_s=asked_s)

    def _refused(self, asked_s: float, new: bool, lease: Lease, refusal: Refusal) -> None:  # noqa: FBT001
        if new:
            self.note(
                Refused,
                update_id=refusal.update_id,
                reason=str(refusal.reason),
                fence=lease.fence,
                asked_s=asked_s,
            )


Note = Callable[..., None]


class _Watched:
    """Some calls of a port are crossings; ``notes`` say what each leaves in the history."""

    def __init__(
        self,
        crossings: Crossings,
        port: Any,
        calls: Mapping[str, str | None],
        notes: Mapping[str, Note] | None = None,
    ) -> None:
        self._crossings = crossings
        self._port = port
        self._calls = calls
        self._notes = notes or {}

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._port, name)
        if name not in self._calls:
            return call

        def crossed(*arguments: Any, **options: Any) -> Any:
            with self._crossings.crossing(self._calls[name] or name):
                asked_s = self._crossings.clock.monotonic_s()
                result = call(*arguments, **options)
                if name in self._notes:
                    self._notes[name](asked_s, result, *arguments)
            return result

        return crossed


class _WatchedBroker(_Watched):
    def __init__(self, crossings: Crossings, broker: Broker) -> None:
        super().__init__(crossings, broker, {"declare": None})

    def publisher(self) -> Publisher:
        return _WatchedPublisher(self._crossings, self._port.publisher())

    def subscribe(self, queue: str, **options: Any) -> Subscription:
        with self._crossings.crossing("subscribe"):
            subscription = self._port.subscribe(queue, **options)
        return cast("Subscription", _WatchedSubscription(self._crossings, subscription))


class _WatchedPublisher:
    def __init__(self, crossings: Crossings, publisher: Publisher) -> None:
        self._crossings = crossings
        self._publisher = publisher

    def publish(self, message: Message, *, mandatory: bool = True) -> None:
        is_update = message.exchange == UPDATES
        if is_update:
            self._crossings.note(Sent, update_id=message.message_id)
        with self._crossings.crossing("submit" if is_update else "announce"):
            self._publisher.publish(message, mandatory=mandatory)
        if is_update:
            # Only now: who was killed at the crossing never learned of the confirm.
            self._crossings.note(Acknowledged, update_id=message.message_id)

    def close(self) -> None:
        self._publisher.close()


class _WatchedSubscription(_Watched):
    """A delivery is held until it is settled; of a lost connection, none is."""

    def __init__(self, crossings: Crossings, subscription: Subscription) -> None:
        super().__init__(crossings, subscription, {})
        # Its own: the next subscription counts generations and tags from 1 again.
        self._held: set[tuple[int, int]] = set()

    def receive(self, timeout_s: float) -> Delivery | None:
        delivery: Delivery | None = self._port.receive(timeout_s)
        if delivery is not None:
            self._held = {each for each in self._held if each[0] == delivery.generation}
            self._held.add((delivery.generation, delivery.tag))
            self._crossings.held(len(self._held))
            self._crossings.reached("receive:after")
        return delivery

    def ack(self, *deliveries: Delivery | Receipt) -> None:
        with self._crossings.crossing("ack"):
            self._port.ack(*deliveries)
            for each in deliveries:
                self._settled(each)

    def reject(self, delivery: Delivery | Receipt, *, requeue: bool) -> None:
        with self._crossings.crossing("reject"):
            self._port.reject(delivery, requeue=requeue)
            self._settled(delivery)

    def _settled(self, delivery: Delivery | Receipt) -> None:
        self._held.discard((delivery.generation, delivery.tag))


class _WatchedState(_Watched):
    """The transaction that saves a round is one crossing, ``save``."""

    def __init__(self, crossings: Crossings, state: WorkerState) -> None:
        super().__init__(crossings, state, {})
        self.pending = _WatchedUpdates(crossings, state.pending)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._crossings.crossing("save"), self._port.transaction():
            yield


class _WatchedUpdates(_Watched):
    def __init__(self, crossings: Crossings, pending: PendingUpdates) -> None:
        super().__init__(crossings, pending, {"confirm": None})

    def put(self, outgoing: Outgoing, *, created_s: float) -> None:
        # Before it is durable: who is killed in between must not leave an update without a past.
        self._crossings.note(
            Attempted,
            update_id=outgoing.update_id,
            body=outgoing.body,
            payload=outgoing.payload or b"",
        )
        self._port.put(outgoing, created_s=created_s)

    def trim(self, **limits: Any) -> list[str]:
        dropped: list[str] = self._port.trim(**limits)
        for update_id in dropped:
            self._crossings.note(Dropped, update_id=update_id)
        return dropped
