"""What publishers and subscriptions do when the network between them and the broker fails."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from broker_scene import (
    PATIENCE_S,
    RabbitScene,
    await_disconnected,
    message,
    publish_numbers,
    publish_until_confirmed,
    publish_until_refused,
    queue_of,
    queue_topology,
    take_ids,
)
from latecomer.broker.port import Broker, Publisher, Subscription
from latecomer.broker.rabbit.amqp import OPEN_DEADLINE_S
from latecomer.broker.rabbit.broker import CEILING_S, FIRST_PAUSE_S
from latecomer.broker.rabbit.publisher import SLOWEST_BYTES_PER_S
from latecomer.broker.topology import Topology
from latecomer.config import Settings
from latecomer.errors import BrokerUnreachable, PublishRefused, Transient
from proxy import FaultProxy
from server import Resource, eventually

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
        eventually(self._has_all, within_s=HEALED_WITHIN_S, what="every confirmed message")
        assert time.monotonic() - healed_s < HEALED_WITHIN_S

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


@pytest.mark.parametrize("fault", ["silence to the broker", "silence from the broker"])
def test_silence_is_noticed_by_heartbeats_and_outlived(line: Line, fault: str) -> None:
    FAULTS[fault](line.proxy)
    await_disconnected(line.subscription)
    line.try_to_publish(0)
    line.proxy.heal()
    line.assert_works_again()


def test_a_body_larger_than_its_line_was_taken_for_gets_out_in_the_end(line: Line) -> None:
    large = replace(message(line.queue, 1), body=bytes(3 * SLOWEST_BYTES_PER_S))
    line.proxy.trickle(SLOWEST_BYTES_PER_S / 2)

    def confirmed() -> bool:
        try:
            line.publisher.publish(large)
        except BrokerUnreachable:
            return False
        return True

    assert not confirmed()
    eventually(confirmed, within_s=2 * HEALED_WITHIN_S)


def test_connections_that_a_firewall_forgot_are_given_up(line: Line) -> None:
    before = line.proxy.accepted
    line.proxy.half_open()
    line.try_to_publish(0)
    # Both ends connect again, and nobody ever answers on these connections either.
    eventually(lambda: line.proxy.accepted >= before + 2, within_s=PATIENCE_S)
    line.proxy.heal(resets=False)
    line.assert_works_again()


def test_by_default_a_silent_connection_is_replaced_in_less_than_30_s() -> None:
    # pika looks whether anything came every heartbeat plus 5 s, and bytes just after it looked
    # delay the news by one more look.
    noticed_s = 2 * (Settings().heartbeat_s + 5)
    assert noticed_s + FIRST_PAUSE_S < HEALED_WITHIN_S
    assert OPEN_DEADLINE_S + CEILING_S < HEALED_WITHIN_S


def test_everything_closes_within_seconds_while_the_wire_is_silent(line: Line) -> None:
    line.proxy.half_open()
    line.try_to_publish(0)
    started_s = time.monotonic()
    line.broker.close()
    assert time.monotonic() - started_s < PATIENCE_S


def test_errands_fail_in_time_while_the_wire_is_silent(line: Line) -> None:
    line.proxy.half_open()
    started_s = time.monotonic()
    with pytest.raises(Transient):
        line.broker.depth(line.queue)
    assert time.monotonic() - started_s < PATIENCE_S
    line.proxy.heal()
    assert line.broker.depth(line.queue) is not None


@pytest.mark.parametrize("resource", ["memory", "disk"])
def test_an_alarm_refuses_publishers_promptly_and_consuming_goes_on(
    line: Line, rabbit: RabbitScene, resource: Resource
) -> None:
    line.subscription.close()
    publish_numbers(line.publisher, line.queue, range(2))
    rabbit.raise_alarm(resource)
    # The broker tells its connections a moment after it told rabbitmqctl.
    with pytest.raises((PublishRefused, BrokerUnreachable)):
        publish_until_refused(line.publisher, line.queue)
    for _ in range(2):
        started_s = time.monotonic()
        with pytest.raises((PublishRefused, BrokerUnreachable)):
            line.publisher.publish(message(line.queue, 2))
        assert time.monotonic() - started_s < CONFIRM_TIMEOUT_S + MARGIN_S
    consuming = line.broker.subscribe(line.queue, prefetch=1)
    assert take_ids(consuming, 2) == ["m0", "m1"]
    rabbit.clear_alarm()
    publish_until_confirmed(line.publisher, line.queue, 3)


def test_a_queue_deleted_while_consuming_is_declared_and_consumed_again(
    line: Line, rabbit: RabbitScene
) -> None:
    rabbit.delete_queue(line.queue)
    line.assert_works_again()


def test_a_library_that_falls_over_costs_a_connection_and_no_more(line: Line) -> None:
    """pika 1.4 raises ValueError from deep inside where a peer resets as it is connected to."""

    def fall_over() -> None:
        raise ValueError("getpeername() failed")

    for link in (line.publisher._link, line.subscription._link):  # type: ignore[attr-defined]
        link.post(fall_over)
    line.assert_works_again()
