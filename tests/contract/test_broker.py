"""The laws of ``latecomer.broker.port``, on every broker there is."""

import gc
import weakref
from dataclasses import replace

import pytest

from broker_scene import (
    LOGIN,
    PATIENCE_S,
    Scene,
    await_connected,
    await_ready,
    message,
    publish_numbers,
    queue_of,
    queue_topology,
    take,
    take_ids,
    unique,
)
from latecomer.broker.port import MAX_MESSAGE_BYTES, Message, Publisher, Subscription
from latecomer.broker.topology import (
    Binding,
    Exchange,
    Queue,
    Topology,
)
from latecomer.errors import (
    BadConfiguration,
    BrokerUnreachable,
    MessageTooLarge,
    Unroutable,
)


def test_what_was_published_arrives_unchanged_with_the_login_of_its_publisher(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    sent = Message(queue_of(topology), "a.b", b"\x00\xff", "id-1", "test.v1", {"n": 7, "s": "x"})

    broker.publisher().publish(sent)
    got = take(broker.subscribe(queue_of(topology), prefetch=1))

    assert (got.routing_key, got.body, got.message_id) == ("a.b", b"\x00\xff", "id-1")
    assert (got.type, dict(got.headers), got.user_id) == ("test.v1", {"n": 7, "s": "x"}, LOGIN)
    assert (got.redelivered, got.dead_lettered) == (False, False)


def test_messages_come_in_the_order_of_publishing(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology({"x-queue-type": "quorum"})
    broker.declare(topology)

    publish_numbers(broker.publisher(), queue_of(topology), range(50))

    ids = take_ids(broker.subscribe(queue_of(topology), prefetch=7), 50)
    assert ids == [f"m{number}" for number in range(50)]


def test_no_more_than_prefetch_are_handed_out_until_one_is_acked(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    publish_numbers(broker.publisher(), queue_of(topology), range(3))
    subscription = broker.subscribe(queue_of(topology), prefetch=2)

    first, _second = take(subscription), take(subscription)
    await_ready(broker, queue_of(topology), 1)
    assert subscription.receive(0) is None

    subscription.ack(first)
    assert take(subscription).message_id == "m2"


def test_two_consumers_never_share_a_delivery(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    one = broker.subscribe(queue_of(topology), prefetch=1)
    other = broker.subscribe(queue_of(topology), prefetch=1)
    await_connected(one)
    await_connected(other)

    publish_numbers(broker.publisher(), queue_of(topology), range(4))

    assert {take(one).message_id, take(other).message_id} == {"m0", "m1"}
    assert one.receive(0) is None
    assert other.receive(0) is None


def test_what_is_given_back_comes_again_first_and_flagged(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    publish_numbers(broker.publisher(), queue_of(topology), range(2))
    subscription = broker.subscribe(queue_of(topology), prefetch=1)

    subscription.reject(take(subscription), requeue=True)

    again = take(subscription)
    assert (again.message_id, again.redelivered) == ("m0", True)


def test_a_message_without_a_queue_is_refused_if_mandatory(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology(patterns=("known.*",))
    broker.declare(topology)
    publisher = broker.publisher()
    stray = message(queue_of(topology), key="unknown.key")

    with pytest.raises(Unroutable):
        publisher.publish(stray)

    publisher.publish(stray, mandatory=False)
    publisher.publish(replace(stray, routing_key="known.key"))


def test_an_exchange_that_does_not_exist_takes_nothing_and_costs_nothing(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    publisher = broker.publisher()

    with pytest.raises(Unroutable):
        publisher.publish(message(unique("nowhere")))

    publisher.publish(message(queue_of(topology)))


def test_patterns_take_one_word_or_any_number_of_words(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology(patterns=("one.*", "many.#", "*.*.end"))
    broker.declare(topology)
    publisher = broker.publisher()

    for key in ("one.word", "many", "many.more.words", "a.b.end"):
        publisher.publish(message(queue_of(topology), key=key))
    for key in ("one", "one.two.words", "other", "a.end"):
        with pytest.raises(Unroutable):
            publisher.publish(message(queue_of(topology), key=key))


def test_a_message_of_two_matching_bindings_comes_once(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology(patterns=("a.#", "#.b"))
    broker.declare(topology)

    broker.publisher().publish(message(queue_of(topology), key="a.b"))

    await_ready(broker, queue_of(topology), 1)


def test_a_fanout_reaches_every_queue(scene: Scene) -> None:
    broker = scene.broker()
    names = [unique("fan"), unique("fan")]
    topology = Topology(
        exchanges=(Exchange(names[0], "fanout"),),
        queues=tuple(Queue(name, {"x-queue-type": "classic"}) for name in names),
        bindings=tuple(Binding(names[0], name, "") for name in names),
    )
    broker.declare(topology)

    broker.publisher().publish(message(names[0]))

    for name in names:
        await_ready(broker, name, 1)


def test_the_largest_message_passes_and_one_byte_more_is_refused(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    publisher = broker.publisher()
    largest = bytes(MAX_MESSAGE_BYTES)

    with pytest.raises(MessageTooLarge):
        publisher.publish(message(queue_of(topology), body=largest + b"x"))
    publisher.publish(message(queue_of(topology), body=largest))

    assert take(broker.subscribe(queue_of(topology), prefetch=1)).body == largest


def test_declaring_again_is_harmless_but_not_with_other_arguments(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology({"x-max-length": 5})
    name = queue_of(topology)
    broker.declare(topology)
    broker.declare(topology)

    with pytest.raises(BadConfiguration):
        broker.declare(Topology(queues=(Queue(name, {"x-queue-type": "classic"}),)))
    with pytest.raises(BadConfiguration):
        broker.declare(Topology(exchanges=(Exchange(name, "fanout"),)))


def test_acking_twice_is_harmless(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    publish_numbers(broker.publisher(), queue_of(topology), range(2))
    subscription = broker.subscribe(queue_of(topology), prefetch=1)
    first = take(subscription)

    subscription.ack(first)
    subscription.ack(first)
    subscription.reject(first, requeue=True)

    second = take(subscription)
    assert (second.message_id, second.redelivered) == ("m1", False)
    assert second.generation == first.generation


@pytest.mark.parametrize("acked", [[0, 1, 2], [2, 0], [1], [0, 1, 3, 4], []], ids=str)
def test_several_are_acked_at_once_and_no_other_with_them(scene: Scene, acked: list[int]) -> None:
    broker = scene.broker()
    topology = queue_topology({"x-queue-type": "quorum"})
    broker.declare(topology)
    publish_numbers(broker.publisher(), queue_of(topology), range(5))
    subscription = broker.subscribe(queue_of(topology), prefetch=5)
    deliveries = [take(subscription) for _ in range(5)]

    subscription.ack(*(deliveries[number].receipt for number in acked))
    subscription.close()

    left = [f"m{number}" for number in range(5) if number not in acked]
    await_ready(broker, queue_of(topology), len(left))
    again = broker.subscribe(queue_of(topology), prefetch=5)
    assert [take(again).message_id for _ in left] == left


def test_closing_gives_the_unacked_back_in_order_and_keeps_the_acks(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    publish_numbers(broker.publisher(), queue_of(topology), range(5))
    leaving = broker.subscribe(queue_of(topology), prefetch=4)
    deliveries = [take(leaving) for _ in range(3)]

    leaving.ack(deliveries[1])
    leaving.close()
    leaving.close()

    assert leaving.receive(PATIENCE_S) is None
    heir = broker.subscribe(queue_of(topology), prefetch=4)
    inherited = [take(heir) for _ in range(4)]
    assert [each.message_id for each in inherited] == ["m0", "m2", "m3", "m4"]
    assert [each.redelivered for each in inherited[:2]] == [True, True]


def closed(opened: Publisher | Subscription) -> weakref.ref[Publisher | Subscription]:
    opened.close()
    return weakref.ref(opened)


def test_what_was_closed_is_not_kept(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)

    publisher = closed(broker.publisher())
    subscription = closed(broker.subscribe(queue_of(topology), prefetch=1))

    gc.collect()
    assert publisher() is None
    assert subscription() is None


def test_who_closed_publishes_no_more(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    broker.declare(topology)
    publisher = broker.publisher()

    publisher.close()
    publisher.close()

    with pytest.raises(BrokerUnreachable):
        publisher.publish(message(queue_of(topology)))


def test_the_version_names_the_product(scene: Scene) -> None:
    assert scene.broker().version().startswith("RabbitMQ " if scene.real else "memory")
