"""What publishers and subscriptions do when the network between them and the broker fails."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from broker_scene import (
    RabbitScene,
    message,
    publish_until_confirmed,
    queue_of,
    queue_topology,
    take_ids,
)
from latecomer.broker.port import Broker, Publisher, Subscription
from latecomer.broker.topology import Topology
from latecomer.errors import Transient
from proxy import FaultProxy
from server import eventually

#: After a fault heals, everybody works again within this.
HEALED_WITHIN_S = 30.0

HEARTBEAT_S = 2

CONFIRM_TIMEOUT_S = 1.0

#: What a caller may wait beyond the timeout promised, on a busy machine.
MARGIN_S = 2.0

FAULTS: dict[str, Callable[[FaultProxy], None]] = {
    "latency": lambda proxy: proxy.latency(0.2, 0.1, seed=1),
    "silence to the broker": lambda proxy: proxy.blackhole("up"),
    "silence from the broker": lambda proxy: proxy.blackhole("down"),
    "reset mid-frame": FaultProxy.reset_mid_frame,
    "half open": FaultProxy.half_open,
    "trickle": lambda proxy: proxy.trickle(300),
    "refused": FaultProxy.refuse,
}


@dataclass
class Line:
    """A publisher and a subscription of one queue, both by way of a proxy."""

    proxy: FaultProxy
    broker: Broker
    queue: str
    publisher: Publisher = field(init=False)
    subscription: Subscription = field(init=False)
    confirmed: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)

    def open(self, topology: Topology) -> None:
        self.publisher = self.broker.publisher()
        self.subscription = self.broker.subscribe(self.queue, prefetch=4, topology=topology)
        publish_until_confirmed(self.publisher, self.queue, "before")
        assert take_ids(self.subscription, 1) == ["mbefore"]

    def try_to_publish(self, number: int) -> None:
        """Publish or be told in time that it may not have been."""
        started_s = time.monotonic()
        try:
            self.publisher.publish(message(self.queue, number))
        except Transient:
            pass
        else:
            self.confirmed.add(f"m{number}")
        assert time.monotonic() - started_s < CONFIRM_TIMEOUT_S + MARGIN_S

    def drain(self, timeout_s: float) -> None:
        delivery = self.subscription.receive(timeout_s)
        if delivery is not None:
            self.delivered.add(delivery.message_id)
            self.subscription.ack(delivery)

    def assert_works_again(self) -> None:
        """Neither end is rebuilt; all that was confirmed arrives."""
        healed_s = time.monotonic()
        publish_until_confirmed(self.publisher, self.queue, "after")
        self.confirmed.add("mafter")
        left_s = HEALED_WITHIN_S - (time.monotonic() - healed_s)
        eventually(self._has_all, within_s=left_s, what="every confirmed message")

    def _has_all(self) -> bool:
        self.drain(0.1)
        return self.confirmed <= self.delivered


@pytest.fixture
def line(rabbit: RabbitScene) -> Iterator[Line]:
    topology = queue_topology({"x-queue-type": "quorum"})
    with FaultProxy.before(rabbit.server.url) as proxy:
        broker = rabbit.login(
            proxy.url_of(rabbit.server.url),
            heartbeat_s=HEARTBEAT_S,
            confirm_timeout_s=CONFIRM_TIMEOUT_S,
        )
        line = Line(proxy, broker, queue_of(topology))
        line.open(topology)
        yield line
        broker.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_confirmed_arrives_and_both_ends_work_once_it_heals(
    line: Line, fault: str
) -> None:
    FAULTS[fault](line.proxy)
    for number in range(3):
        line.try_to_publish(number)
        line.drain(0.1)
    line.proxy.heal()
    line.assert_works_again()
