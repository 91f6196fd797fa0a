"""Lines that fail: what was lost on the way there did nothing, on the way back it did."""

import random
from collections.abc import Iterator

import pytest

from latecomer.broker.port import Broker, Delivery, Subscription
from latecomer.broker.topology import federation_topology, updates_queue
from latecomer.errors import BrokerUnreachable, StoreUnreachable
from latecomer.store.port import ModelStore
from latecomer_simulator.network import Line
from latecomer_simulator.timeline import Timeline
from scenes import FEDERATION, LEASE_S, Federation, make_update, message_of


@pytest.fixture
def scene() -> Federation:
    return Federation()


@pytest.fixture
def timeline() -> Iterator[Timeline]:
    with Timeline(1) as timeline:
        yield timeline


@pytest.fixture
def line(timeline: Timeline) -> Line:
    """Without noise, until a test turns it up."""
    return Line(random.Random(1), timeline)


@pytest.fixture
def broker(scene: Federation, line: Line) -> Broker:
    return line.broker(scene.server, "w1")


def send(scene: Federation, number: int) -> list[str]:
    """So many updates, by workers whose lines are sound; returns their ids."""
    updates = [make_update("w1", seq) for seq in range(1, number + 1)]
    scene.send(*updates)
    return [each.update_id for each in updates]


def listen(broker: Broker, prefetch: int = 100) -> Subscription:
    return broker.subscribe(updates_queue(FEDERATION), prefetch=prefetch)


def everything(subscription: Subscription) -> list[Delivery]:
    found = []
    while (delivery := subscription.receive(0)) is not None:
        found.append(delivery)
    return found


def ids(deliveries: list[Delivery]) -> list[str]:
    return [each.message_id for each in deliveries]


def test_a_sound_line_changes_nothing(scene: Federation, line: Line, broker: Broker) -> None:
    broker.publisher().publish(message_of(make_update()))
    (delivery,) = everything(subscription := listen(broker))
    subscription.ack(delivery)
    assert (delivery.user_id, delivery.redelivered) == ("w1", False)
    assert (scene.waiting(), scene.unacked()) == (0, 0)
    assert line.store(scene.store).acquire("p", LEASE_S) == scene.store.holder()


def test_a_lost_request_to_the_store_has_no_effect(scene: Federation, line: Line) -> None:
    line.lose_request = 1.0
    with pytest.raises(StoreUnreachable):
        line.store(scene.store).acquire("p", LEASE_S)
    assert scene.store.holder() is None


def test_a_lost_reply_of_the_store_has_its_effect(scene: Federation, line: Line) -> None:
    line.lose_reply = 1.0
    with pytest.raises(StoreUnreachable):
        line.store(scene.store).acquire("p", LEASE_S)
    holder = scene.store.holder()
    assert holder is not None
    assert holder.owner == "p"


def test_a_lost_publish_arrives_nowhere(scene: Federation, line: Line, broker: Broker) -> None:
    line.lose_request = 1.0
    with pytest.raises(BrokerUnreachable):
        broker.publisher().publish(message_of(make_update()))
    assert scene.waiting() == 0


def test_a_publish_whose_confirm_was_lost_has_arrived(
    scene: Federation, line: Line, broker: Broker
) -> None:
    line.lose_reply = 1.0
    with pytest.raises(BrokerUnreachable):
        broker.publisher().publish(message_of(make_update()))
    assert scene.waiting() == 1


def test_a_duplicate_is_the_same_message_twice(
    scene: Federation, line: Line, broker: Broker
) -> None:
    line.duplicate = 1.0
    broker.publisher().publish(message_of(make_update()))
    first, second = everything(listen(broker))
    assert (first.message_id, first.body) == (second.message_id, second.body)
    assert first.tag != second.tag


def test_deliveries_come_in_their_order_unless_one_overtakes(
    scene: Federation, line: Line, broker: Broker
) -> None:
    sent = send(scene, 20)
    subscription = listen(broker)
    assert ids(everything(subscription)) == sent
    subscription.close()
    line.reorder = 1.0
    overtaken = ids(everything(listen(broker)))
    assert overtaken != sent
    assert sorted(overtaken) == sorted(sent)


def test_the_same_seed_loses_the_same(scene: Federation, timeline: Timeline) -> None:
    def answered(store: ModelStore) -> bool:
        try:
            store.head()
        except StoreUnreachable:
            return False
        return True

    def lost(seed: int) -> tuple[bool, ...]:
        line = Line(random.Random(seed), timeline, lose_request=0.3, lose_reply=0.3)
        store = line.store(scene.store)
        return tuple(answered(store) for _ in range(40))

    assert lost(1) == lost(1)
    assert lost(1) != lost(2)
    assert {*lost(1)} == {True, False}


def test_calm_ends_the_noise_and_leaves_what_is_cut(line: Line) -> None:
    line.lose_request = line.lose_reply = line.duplicate = line.reorder = 1.0
    line.store_cut = True
    line.cut_broker()
    line.calm()
    assert (line.lose_request, line.lose_reply, line.duplicate, line.reorder) == (0, 0, 0, 0)
    assert (line.store_cut, line.broker_cut) == (True, True)


def test_over_a_cut_line_nothing_passes_until_it_is_mended(
    scene: Federation, line: Line, broker: Broker
) -> None:
    store, publisher = line.store(scene.store), broker.publisher()
    line.store_cut = True
    line.cut_broker()
    with pytest.raises(StoreUnreachable):
        store.acquire("p", LEASE_S)
    with pytest.raises(BrokerUnreachable):
        publisher.publish(message_of(make_update()))
    with pytest.raises(BrokerUnreachable):
        broker.declare(federation_topology(FEDERATION))
    assert scene.store.holder() is None
    assert scene.waiting() == 0

    line.store_cut = False
    line.mend_broker()
    assert store.acquire("p", LEASE_S) is not None
    publisher.publish(message_of(make_update()))
    broker.declare(federation_topology(FEDERATION))
    assert scene.waiting() == 1


def test_what_was_held_goes_back_to_the_queue_when_the_line_is_cut(
    scene: Federation, line: Line, broker: Broker
) -> None:
    sent = send(scene, 3)
    subscription = listen(broker)
    held = everything(subscription)
    assert scene.waiting() == 0
    line.cut_broker()
    assert not subscription.connected()
    assert scene.waiting() == 3
    other = listen(scene.login("standby"))
    again = everything(other)
    assert ids(again) == ids(held) == sent
    assert all(each.redelivered for each in again)


def test_an_ack_after_the_cut_does_nothing(scene: Federation, line: Line, broker: Broker) -> None:
    send(scene, 1)
    subscription = listen(broker)
    (delivery,) = everything(subscription)
    line.cut_broker()
    subscription.ack(delivery)
    assert scene.waiting() == 1
    line.mend_broker()
    subscription.ack(delivery)
    subscription.reject(delivery, requeue=False)
    assert (scene.unacked(), scene.dead()) == (1, 0)


def test_what_had_arrived_before_the_cut_can_be_received_after_it(
    scene: Federation, line: Line, broker: Broker
) -> None:
    sent = send(scene, 3)
    subscription = listen(broker)
    assert ids([*filter(None, [subscription.receive(0)])]) == sent[:1]
    line.cut_broker()
    stale = everything(subscription)
    assert ids(stale) == sent[1:]
    for each in stale:
        subscription.ack(each)
    assert scene.waiting() == 3


def test_a_mended_line_consumes_again_under_a_new_generation(
    scene: Federation, line: Line, broker: Broker
) -> None:
    sent = send(scene, 2)
    subscription = listen(broker)
    before = everything(subscription)
    line.cut_broker()
    line.mend_broker()
    assert subscription.connected()
    after = everything(subscription)
    assert ids(after) == sent
    assert {each.generation for each in after}.isdisjoint({each.generation for each in before})
    for each in after:
        subscription.ack(each)
    assert scene.unacked() == 0


def test_mending_a_line_that_was_not_cut_delivers_nothing_twice(
    scene: Federation, line: Line, broker: Broker
) -> None:
    send(scene, 1)
    subscription = listen(broker)
    (delivery,) = everything(subscription)
    line.mend_broker()
    assert everything(subscription) == []
    subscription.ack(delivery)
    assert scene.unacked() == 0


def test_who_subscribes_over_a_cut_line_hears_nothing_until_it_is_mended(
    scene: Federation, line: Line, broker: Broker
) -> None:
    sent = send(scene, 1)
    line.cut_broker()
    subscription = listen(broker)
    assert everything(subscription) == []
    assert scene.waiting() == 1
    line.mend_broker()
    assert ids(everything(subscription)) == sent


@pytest.mark.parametrize("gone", ["closed", "dead"])
def test_who_is_gone_does_not_consume_over_the_mended_line(
    scene: Federation, line: Line, broker: Broker, gone: str
) -> None:
    subscription = listen(broker)
    line.cut_broker()
    if gone == "closed":
        subscription.close()
    else:
        line.hang_up()
    send(scene, 1)
    line.mend_broker()
    assert everything(subscription) == []
    assert scene.waiting() == 1


def test_a_line_that_is_mended_while_the_broker_is_down_is_used_when_it_is_up(
    scene: Federation, line: Line, broker: Broker
) -> None:
    sent = send(scene, 1)
    subscription = listen(broker)
    line.cut_broker()
    scene.server.stop()
    line.mend_broker()
    assert not subscription.connected()
    scene.server.start()
    assert ids([each for each in everything(subscription) if each.generation > 1]) == sent


def test_a_call_takes_a_while_and_others_run_meanwhile(
    scene: Federation, timeline: Timeline
) -> None:
    line = Line(random.Random(1), timeline, jitter_s=0.05)
    store = line.store(scene.store)
    ran: list[str] = []

    def caller() -> None:
        ran.append("asks")
        store.head()
        ran.append("answered")

    timeline.spawn("caller", caller)
    timeline.after(0.0001, lambda: ran.append("other"))
    timeline.run(0.05)
    assert ran == ["asks", "other", "answered"]


def test_who_waits_for_a_delivery_waits_in_virtual_time_until_it_comes(
    scene: Federation, timeline: Timeline, broker: Broker
) -> None:
    subscription, start_s = listen(broker), timeline.clock.monotonic_s()
    heard: list[tuple[str | None, float]] = []

    def listener() -> None:
        for _ in range(2):
            delivery = subscription.receive(60.0)
            waited_s = timeline.clock.monotonic_s() - start_s
            heard.append((delivery.message_id if delivery else None, waited_s))

    timeline.spawn("listener", listener)
    timeline.after(7.0, lambda: scene.send(make_update()))
    timeline.run(120.0)
    assert heard == [("w1:boot:1", 7.0), (None, 67.0)]
