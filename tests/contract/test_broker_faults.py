"""What publishers and subscriptions do when the broker is lost, alarmed, frozen or strict."""

import time

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker
from structlog.testing import capture_logs

from broker_scene import (
    PATIENCE_S,
    RabbitScene,
    Scene,
    await_connected,
    await_disconnected,
    await_ready,
    message,
    publish_numbers,
    publish_until_confirmed,
    publish_until_refused,
    queue_of,
    queue_topology,
    take,
    take_ids,
)
from latecomer.broker.port import QueueDepth
from latecomer.errors import BrokerDenied, BrokerUnreachable, PublishRefused
from server import eventually

#: A handler that is slower than three of these would lose a connection it had to serve itself.
HEARTBEAT_S = 2

#: RabbitMQ notes a new quorum queue's name on disk within half a second; a kill before that
#: loses the queue, whatever it confirmed (seen on 3.10.8 and 4.0.5).
NOTED_AFTER_S = 2.0


def test_unacked_deliveries_of_a_lost_connection_come_again_flagged(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    publish_numbers(broker.publisher(), queue_of(topology), range(3))
    subscription = broker.subscribe(queue_of(topology), prefetch=3)
    before = [take(subscription), take(subscription)]
    await_ready(broker, queue_of(topology), 0)

    scene.lose_connections()
    eventually(
        lambda: (
            broker.depth(queue_of(topology)) == QueueDepth(ready=0, consumers=1)
            and subscription.connected()
        ),
        within_s=PATIENCE_S,
        what="consuming again",
    )

    # The third was handed out but never looked at: its old copy is not to be seen again.
    after = [take(subscription) for _ in range(3)]
    assert [each.message_id for each in after] == ["m0", "m1", "m2"]
    assert all(each.redelivered for each in after)
    assert all(each.generation > before[0].generation for each in after)


def test_acking_a_delivery_of_a_lost_connection_does_nothing(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    broker.publisher().publish(message(queue_of(topology)))
    subscription = broker.subscribe(queue_of(topology), prefetch=1)
    stale = take(subscription)
    scene.lose_connections()
    fresh = take(subscription)

    subscription.ack(stale)
    subscription.reject(stale, requeue=False)

    # Neither did the stale answers settle the message, nor did they cost the connection.
    subscription.reject(fresh, requeue=True)
    again = take(subscription)
    assert again.message_id == "m0"
    assert again.generation == fresh.generation


def test_a_publisher_that_lost_its_connection_publishes_again(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    publisher = broker.publisher()
    publisher.publish(message(queue_of(topology), 0))

    scene.lose_connections()

    publish_until_confirmed(publisher, queue_of(topology), 1)
    assert take_ids(broker.subscribe(queue_of(topology), prefetch=1), 2) == ["m0", "m1"]


def test_a_killed_broker_that_returns_lost_nothing_and_everybody_heals(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology({"x-queue-type": "quorum"})
    broker.declare(topology)
    publisher = broker.publisher()
    publish_numbers(publisher, queue_of(topology), range(3))
    subscription = broker.subscribe(queue_of(topology), prefetch=1, topology=topology)
    held = take(subscription)
    assert subscription.receive(NOTED_AFTER_S if scene.real else 0) is None

    scene.kill()
    await_disconnected(subscription)
    assert subscription.receive(0.1) is None
    with pytest.raises(BrokerUnreachable):
        publisher.publish(message(queue_of(topology), 3))
    with pytest.raises(BrokerUnreachable):
        broker.depth(queue_of(topology))
    subscription.ack(held)

    scene.start()
    publish_until_confirmed(publisher, queue_of(topology), 4)
    # Quorum queues do not promise where in the order a returned message comes.
    assert sorted(take_ids(subscription, 4)) == ["m0", "m1", "m2", "m4"]


@pytest.mark.parametrize(("kind", "kept"), [("classic", ["m1"]), ("quorum", ["m0", "m1"])])
def test_a_restart_forgets_what_is_transient_unless_its_queue_is_a_quorum(
    scene: Scene, kind: str, kept: list[str]
) -> None:
    broker = scene.broker()
    topology = queue_topology({"x-queue-type": kind})
    broker.declare(topology)
    publisher = broker.publisher()
    publisher.publish(message(queue_of(topology), 0, persistent=False))
    publisher.publish(message(queue_of(topology), 1))
    await_ready(broker, queue_of(topology), 2)

    scene.stop()
    scene.start()

    await_ready(broker, queue_of(topology), len(kept))
    assert take_ids(broker.subscribe(queue_of(topology), prefetch=1), len(kept)) == kept


def test_everything_closes_while_the_broker_is_down(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    broker.publisher()
    subscription = broker.subscribe(queue_of(topology), prefetch=1)
    await_connected(subscription)
    scene.stop()
    await_disconnected(subscription)

    started_s = time.monotonic()
    broker.close()

    assert time.monotonic() - started_s < PATIENCE_S
    scene.start()


def test_an_alarm_refuses_publishers_at_once_and_leaves_consumers_alone(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    publisher = broker.publisher()
    publish_numbers(publisher, queue_of(topology), range(2))
    subscription = broker.subscribe(queue_of(topology), prefetch=1)

    scene.raise_alarm()
    # The broker tells its connections a moment after it told whoever raised the alarm.
    with pytest.raises(PublishRefused):
        publish_until_refused(publisher, queue_of(topology))
    started_s = time.monotonic()
    for _ in range(2):
        with pytest.raises(PublishRefused):
            publisher.publish(message(queue_of(topology), 2))
    assert time.monotonic() - started_s < PATIENCE_S
    assert take_ids(subscription, 2) == ["m0", "m1"]

    scene.clear_alarm()
    publish_until_confirmed(publisher, queue_of(topology), 3)


def test_a_publisher_closes_while_an_alarm_is_on(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    publisher = broker.publisher()
    scene.raise_alarm()
    with pytest.raises(PublishRefused):
        publish_until_refused(publisher, queue_of(topology))

    started_s = time.monotonic()
    publisher.close()

    assert time.monotonic() - started_s < PATIENCE_S
    scene.clear_alarm()


def test_a_handler_slower_than_several_heartbeats_keeps_its_connection(scene: Scene) -> None:
    broker = scene.broker(heartbeat_s=HEARTBEAT_S)
    topology = queue_topology()
    broker.declare(topology)
    broker.publisher().publish(message(queue_of(topology)))
    subscription = broker.subscribe(queue_of(topology), prefetch=1)
    delivery = take(subscription)

    _work_for(4 * HEARTBEAT_S if scene.real else 0)
    subscription.reject(delivery, requeue=True)

    assert take(subscription).generation == delivery.generation


def _work_for(seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        sum(range(10_000))


def test_a_frozen_broker_delays_publishers_no_longer_than_promised(rabbit: RabbitScene) -> None:
    broker = rabbit.broker(confirm_timeout_s=1.0)
    topology = queue_topology()
    rabbit.broker().declare(topology)
    publisher = broker.publisher()
    publish_until_confirmed(publisher, queue_of(topology), 0)

    rabbit.freeze()
    for _ in range(2):
        started_s = time.monotonic()
        with pytest.raises(BrokerUnreachable):
            publisher.publish(message(queue_of(topology), 1))
        assert time.monotonic() - started_s < 3.0
    with pytest.raises(BrokerUnreachable):
        broker.depth(queue_of(topology))

    rabbit.thaw()
    publish_until_confirmed(publisher, queue_of(topology), 2)


def test_a_queue_that_is_gone_and_may_not_be_declared_comes_with_the_remedy(
    rabbit: RabbitScene,
) -> None:
    topology = queue_topology()
    with capture_logs() as logs:
        subscription = rabbit.broker().subscribe(queue_of(topology), prefetch=1)
        eventually(lambda: "broker.lost" in {each["event"] for each in logs}, within_s=PATIENCE_S)
        subscription.close()
    lost = next(each for each in logs if each["event"] == "broker.lost")
    assert "no queue" in lost["reason"]
    assert "latecomer init" in lost["hint"]


def test_a_refused_login_is_said_by_everything_that_needs_one(rabbit: RabbitScene) -> None:
    broker = rabbit.login(rabbit.server.url.replace("guest:guest@", "guest:wrong@"))
    topology = queue_topology()

    with pytest.raises(BrokerDenied):
        broker.declare(topology)
    with pytest.raises(BrokerDenied):
        broker.publisher().publish(message(queue_of(topology)))
    subscription = broker.subscribe(queue_of(topology), prefetch=1)
    for _ in range(2):
        with pytest.raises(BrokerDenied):
            subscription.receive(PATIENCE_S)


def test_rights_that_are_missing_are_refused_and_the_others_still_work(rabbit: RabbitScene) -> None:
    topology, forbidden = queue_topology(), queue_topology()
    rabbit.broker().declare(topology)
    rabbit.broker().declare(forbidden)
    allowed = f"^{queue_of(topology)}$"
    broker = rabbit.login(rabbit.new_login(write=allowed, read=allowed))
    publisher = broker.publisher()

    with pytest.raises(BrokerDenied):
        broker.declare(topology)
    with pytest.raises(BrokerDenied):
        publisher.publish(message(queue_of(forbidden)))
    with pytest.raises(BrokerDenied):
        broker.subscribe(queue_of(forbidden), prefetch=1).receive(PATIENCE_S)

    publisher.publish(message(queue_of(topology)))
    assert take_ids(broker.subscribe(queue_of(topology), prefetch=1), 1) == ["m0"]


def test_a_worker_cannot_publish_under_the_key_of_another(rabbit: RabbitScene) -> None:
    topology = queue_topology()
    rabbit.broker().declare(topology)
    url = rabbit.new_login()
    user = pika.URLParameters(url).credentials.username
    rabbit.server.control(
        "set_topic_permissions",
        "-p",
        "/",
        user,
        queue_of(topology),
        "^update[.]f[.]{username}$",
        "",
    )
    publisher = rabbit.login(url).publisher()

    with pytest.raises(BrokerDenied):
        publisher.publish(message(queue_of(topology), key="update.f.victim"))

    publisher.publish(message(queue_of(topology), key=f"update.f.{user}"))
    delivery = take(rabbit.broker().subscribe(queue_of(topology), prefetch=1))
    assert delivery.user_id == user


def test_a_forged_login_never_arrives(rabbit: RabbitScene) -> None:
    topology = queue_topology()
    broker = rabbit.broker()
    broker.declare(topology)
    with pika.BlockingConnection(pika.URLParameters(rabbit.new_login())) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        forged = pika.BasicProperties(user_id="guest")

        with pytest.raises(ChannelClosedByBroker, match="user_id"):
            channel.basic_publish(queue_of(topology), "key", b"", forged)

    await_ready(broker, queue_of(topology), 0)
