"""The demo's devices: production agents, and what makes some of them slow, absent or hostile."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from latecomer import wire
from latecomer.broker.port import (
    Broker,
    Delivery,
    Message,
    Publisher,
    QueueDepth,
    Receipt,
    Subscription,
)
from latecomer.broker.topology import UPDATES, Topology, update_key
from latecomer.errors import BrokerUnreachable, LatecomerError
from latecomer.evaluation.results import EvaluationProtocol
from latecomer.events import UpdateSubmitted, Version
from latecomer.lifecycle import Stop
from latecomer.recipe import Social
from latecomer.recommenders.port import Family, Plan, Trained
from latecomer.store.port import ModelStore
from latecomer.tensors import Kind, Layout, State, TensorDelta, TensorSpec
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer

#: A slow device takes this many times as long as a fast one.
SLOWNESS = 5.0

#: An intermittent device is there for so long, then away for as long.
WINDOW_S = 4.0


class PacedTrainer(Trainer):
    """Trains like any other, and takes about ``seconds`` for it."""

    def __init__(
        self,
        family: Family[Any],
        site: Site,
        protocol: EvaluationProtocol,
        state: WorkerState,
        *,
        social: Social,
        seconds: float,
        wait: Callable[[float], object],
    ) -> None:
        super().__init__(family, site, protocol, state, social=social)
        self._seconds = seconds
        self._wait = wait

    def train(
        self,
        model: State,
        *,
        plan: Plan,
        rng: np.random.Generator,
        should_stop: Callable[[], bool],
    ) -> Trained:
        """See ``Trainer.train``."""
        started_s = time.monotonic()
        trained = super().train(model, plan=plan, rng=rng, should_stop=should_stop)
        pause_s = rng.uniform(0.75, 1.25) * self._seconds - (time.monotonic() - started_s)
        self._wait(max(0.0, pause_s))
        return trained


@dataclass(frozen=True)
class Windows:
    """When an intermittent device has a network: every other window."""

    started_s: float

    def away(self) -> bool:
        """Whether it is away now."""
        return int((time.monotonic() - self.started_s) / WINDOW_S) % 2 == 1


@dataclass(frozen=True)
class IntermittentPublisher:
    """Publishes while the network is there."""

    inner: Publisher
    windows: Windows

    def publish(self, message: Message, *, mandatory: bool = True) -> None:
        """See ``Publisher``."""
        if self.windows.away():
            raise BrokerUnreachable("no network")
        self.inner.publish(message, mandatory=mandatory)

    def close(self) -> None:
        """See ``Publisher``."""
        self.inner.close()


@dataclass(frozen=True)
class IntermittentSubscription:
    """Hears of rounds while the network is there."""

    inner: Subscription
    windows: Windows

    def receive(self, timeout_s: float) -> Delivery | None:
        """See ``Subscription``."""
        if self.windows.away():
            raise BrokerUnreachable("no network")
        return self.inner.receive(timeout_s)

    def ack(self, *deliveries: Delivery | Receipt) -> None:
        """See ``Subscription``."""
        self.inner.ack(*deliveries)

    def reject(self, delivery: Delivery | Receipt, *, requeue: bool) -> None:
        """See ``Subscription``."""
        self.inner.reject(delivery, requeue=requeue)

    def connected(self) -> bool:
        """See ``Subscription``."""
        return not self.windows.away() and self.inner.connected()

    def close(self) -> None:
        """See ``Subscription``."""
        self.inner.close()


class IntermittentBroker:
    """A login whose device has a network only now and then."""

    def __init__(self, inner: Broker) -> None:
        self._inner = inner
        self._windows = Windows(time.monotonic())

    def declare(self, topology: Topology) -> None:
        """See ``Broker``."""
        self._inner.declare(topology)

    def depth(self, queue: str) -> QueueDepth | None:
        """See ``Broker``."""
        return self._inner.depth(queue)

    def version(self) -> str:
        """See ``Broker``."""
        return self._inner.version()

    def close(self) -> None:
        """See ``Broker``."""
        self._inner.close()

    def publisher(self) -> Publisher:
        """See ``Broker``."""
        return IntermittentPublisher(self._inner.publisher(), self._windows)

    def subscribe(
        self, queue: str, *, prefetch: int, topology: Topology | None = None
    ) -> Subscription:
        """See ``Broker``."""
        inner = self._inner.subscribe(queue, prefetch=prefetch, topology=topology)
        return IntermittentSubscription(inner, self._windows)


def _change(spec: TensorSpec, value: float) -> TensorDelta:
    """Of a tensor of any kind: its first row, where only rows may change, else all of it."""
    if spec.kind is Kind.DENSE:
        return TensorDelta(np.full(spec.shape, value, np.float32))
    values = np.full((1, spec.shape[1]), value, np.float32)
    return TensorDelta(values, np.array([0], np.uint32))


class Misbehaving:
    """Sends, in turn, what no honest worker sends: each must be refused by its own reason."""

    def __init__(self, name: str, federation: str, broker: Broker, store: ModelStore) -> None:
        self._name = name
        self._federation = federation
        self._publisher = broker.publisher()
        self._store = store
        self._sent = 0

    def run(self, stop: Stop, pause_s: float) -> None:
        """Misbehave until told to stop."""
        while not stop.wait(pause_s):
            head = self._store.head()
            if head is None:
                continue
            layout = self._store.manifest(head.version).layout
            for body in self._bodies(layout, head.version):
                self._send(body)

    def _bodies(self, layout: Layout, version: Version) -> list[bytes]:
        honest = self._update(layout, version)
        self._sent += 1
        match self._sent % 5:
            case 0:
                return [b"\x00garbage" * 20]
            case 1:
                return [self._update(layout, version, value=float("nan"))]
            case 2:
                return [self._update(layout, version, worker="uk-1")]
            case 3:
                return [self._update(layout, Version(version.epoch - 1, version.number))]
            case _:
                return [honest[: len(honest) // 2]]

    def _update(
        self, layout: Layout, base: Version, *, value: float = 0.0, worker: str | None = None
    ) -> bytes:
        spec = next(each for each in layout if each.kind is not Kind.DERIVED)
        name = worker or self._name
        update = UpdateSubmitted(
            federation=self._federation,
            worker=name,
            update_id=f"{name}:bad:{self._sent}",
            base=base,
            layout=layout.digest,
            examples=1,
            steps=1,
            delta={spec.name: _change(spec, value)},
        )
        return wire.encode_update(update).body

    def _send(self, body: bytes) -> None:
        message = Message(
            exchange=UPDATES,
            routing_key=update_key(self._federation, self._name),
            body=body,
            message_id=f"{self._name}:{self._sent}",
            type="latecomer.update.v1",
        )
        try:
            self._publisher.publish(message)
        except LatecomerError:
            # It would not be much of a vandal who minded.
            return
