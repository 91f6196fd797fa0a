"""Limits, dead letters, takeovers and the life of queues, on every broker there is."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from broker_scene import (
    LOGIN,
    PATIENCE_S,
    RabbitScene,
    Scene,
    await_connected,
    await_ready,
    dead_letter_topology,
    message,
    publish_numbers,
    publish_until_confirmed,
    publish_until_refused,
    queue_of,
    queue_topology,
    take,
    take_ids,
    unique,
)
from latecomer.broker.port import Message, QueueDepth
from latecomer.broker.topology import (
    DEAD,
    DELIVERY_LIMIT,
    ROUNDS,
    UPDATES,
    Queue,
    Topology,
    federation_topology,
    round_key,
    rounds_queue,
    update_key,
    updates_queue,
    worker_topology,
)
from latecomer.errors import (
    BadConfiguration,
    PublishRefused,
    Unroutable,
)
from server import eventually

KEYS = Path(__file__).parents[2] / "infra/keys.py"


def test_what_is_rejected_goes_to_the_dead_with_its_login(scene: Scene) -> None:
    broker = scene.broker()
    topology, dead = dead_letter_topology({"x-queue-type": "quorum"})
    broker.declare(topology)
    broker.publisher().publish(message(queue_of(topology), body=b"bad"))
    subscription = broker.subscribe(queue_of(topology), prefetch=1)

    subscription.reject(take(subscription), requeue=False)

    letter = take(broker.subscribe(dead, prefetch=1))
    assert (letter.message_id, letter.body, letter.user_id) == ("m0", b"bad", LOGIN)
    assert (letter.dead_lettered, letter.routing_key) == (True, "key")
    assert dict(letter.headers) == {}


def test_after_the_delivery_limit_a_message_is_dead(scene: Scene) -> None:
    broker = scene.broker()
    limit = 2
    topology, dead = dead_letter_topology({"x-queue-type": "quorum", "x-delivery-limit": limit})
    broker.declare(topology)
    broker.publisher().publish(message(queue_of(topology)))
    subscription = broker.subscribe(queue_of(topology), prefetch=1)

    for _ in range(limit + 1):
        subscription.reject(take(subscription), requeue=True)

    assert take(broker.subscribe(dead, prefetch=1)).dead_lettered
    assert subscription.receive(0) is None


def test_a_federations_rejected_updates_are_found_in_its_dead_queue(scene: Scene) -> None:
    broker = scene.broker()
    federation = unique("federation")
    unique_id = unique("update")
    # All federations of a server share it: what others left there is not ours to find.
    scene.delete_queue(DEAD)
    broker.declare(federation_topology(federation))
    broker.publisher().publish(
        Message(UPDATES, update_key(federation, "w1"), b"", unique_id, "test.v1")
    )
    subscription = broker.subscribe(updates_queue(federation), prefetch=1)

    subscription.reject(take(subscription), requeue=False)

    graveyard = broker.subscribe(DEAD, prefetch=1)
    assert take_ids(graveyard, 1) == [unique_id]
    scene.delete_queue(updates_queue(federation))


def test_the_dead_are_still_there_however_often_they_were_looked_at(rabbit: RabbitScene) -> None:
    broker = rabbit.broker()
    topology = queue_topology({"x-queue-type": "quorum"})
    broker.declare(topology)
    set_policy(rabbit, shipped_policy("dead"), queue_of(topology))
    broker.publisher().publish(message(queue_of(topology)))
    subscription = broker.subscribe(queue_of(topology), prefetch=1)

    for _ in range(DELIVERY_LIMIT + 4):
        # What "Get messages" of the management page does.
        subscription.reject(take(subscription), requeue=True)

    assert take(subscription).message_id == "m0"


def shipped_policy(name: str) -> dict[str, Any]:
    made = runpy.run_path(str(KEYS))["definitions"]("f", [], {})
    (policy,) = (each for each in json.loads(made)["policies"] if each["name"] == name)
    return dict(policy["definition"])


def set_policy(rabbit: RabbitScene, definition: dict[str, Any], queue: str) -> None:
    """As infra/keys.py does it, for ``queue`` alone."""
    arguments = ("-p", "/", "--apply-to", "queues", queue, f"^{queue}$", json.dumps(definition))
    rabbit.server.control("set_policy", *arguments)


def test_a_worker_that_returns_sees_only_the_newest_round(scene: Scene) -> None:
    broker = scene.broker()
    worker, federation = unique("worker"), unique("federation")
    topology = worker_topology(federation, worker, cohort="c1")
    broker.declare(topology)
    publisher = broker.publisher()
    for number, cohort in enumerate(["all", "c1", "all", "c1"]):
        publisher.publish(message(ROUNDS, number, key=round_key(federation, cohort)))

    subscription = broker.subscribe(rounds_queue(worker), prefetch=1, topology=topology)

    assert take_ids(subscription, 1) == ["m3"]
    assert broker.depth(rounds_queue(worker)) == QueueDepth(ready=0, consumers=1)
    scene.delete_queue(rounds_queue(worker))


def test_the_newest_round_wins_also_while_an_older_one_is_unacked(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology({"x-max-length": 1, "x-overflow": "drop-head"})
    broker.declare(topology)
    publisher = broker.publisher()
    publisher.publish(message(queue_of(topology), 3))
    subscription = broker.subscribe(queue_of(topology), prefetch=1)
    older = take(subscription)

    publish_numbers(publisher, queue_of(topology), range(4, 7))
    subscription.reject(older, requeue=True)

    assert take(subscription).message_id == "m6"


def test_a_full_queue_refuses_until_there_is_room(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology(
        {"x-queue-type": "quorum", "x-max-length": 3, "x-overflow": "reject-publish"}
    )
    broker.declare(topology)
    publisher = broker.publisher()

    # Quorum queues notice a little late that they are full.
    with pytest.raises(PublishRefused):
        publish_until_refused(publisher, queue_of(topology))

    depth = broker.depth(queue_of(topology))
    assert depth is not None
    take_ids(broker.subscribe(queue_of(topology), prefetch=1), depth.ready)
    publish_until_confirmed(publisher, queue_of(topology), 20)


def test_a_subscription_that_contradicts_its_queue_says_so(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology({"x-max-length": 5})
    broker.declare(topology)
    other = Topology(queues=(Queue(queue_of(topology), {"x-queue-type": "classic"}),))

    subscription = broker.subscribe(queue_of(topology), prefetch=1, topology=other)

    with pytest.raises(BadConfiguration):
        subscription.receive(PATIENCE_S)


def test_what_to_do_about_a_queue_with_other_arguments_is_said(rabbit: RabbitScene) -> None:
    broker = rabbit.broker()
    topology = queue_topology({"x-max-length": 5})
    broker.declare(topology)

    with pytest.raises(BadConfiguration, match=queue_of(topology)) as refused:
        broker.declare(Topology(queues=(Queue(queue_of(topology), {"x-queue-type": "classic"}),)))

    assert "delete_queue" in refused.value.hint


def test_depth_tells_what_waits_and_who_consumes(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology({"x-queue-type": "quorum"})
    broker.declare(topology)
    assert broker.depth(unique("missing")) is None
    assert broker.depth(queue_of(topology)) == QueueDepth(ready=0, consumers=0)

    publish_numbers(broker.publisher(), queue_of(topology), range(3))
    await_ready(broker, queue_of(topology), 3)

    take(broker.subscribe(queue_of(topology), prefetch=1))
    await_ready(broker, queue_of(topology), 2)
    assert broker.depth(queue_of(topology)) == QueueDepth(ready=2, consumers=1)


def test_a_single_active_consumer_gets_everything_until_it_leaves(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology({"x-queue-type": "quorum", "x-single-active-consumer": True})
    broker.declare(topology)
    active = broker.subscribe(queue_of(topology), prefetch=1)
    await_connected(active)
    standby = broker.subscribe(queue_of(topology), prefetch=1)
    await_connected(standby)
    publish_numbers(broker.publisher(), queue_of(topology), range(2))

    assert take(active).message_id == "m0"
    await_ready(broker, queue_of(topology), 1)
    assert standby.receive(0) is None

    active.close()
    assert sorted(take_ids(standby, 2)) == ["m0", "m1"]


def test_a_missing_queue_is_waited_for(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    early = broker.subscribe(queue_of(topology), prefetch=1)
    assert early.receive(0.1) is None
    assert not early.connected()

    broker.declare(topology)
    broker.publisher().publish(message(queue_of(topology)))

    assert take(early).message_id == "m0"


def test_a_queue_deleted_while_consuming_is_declared_again(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology()
    subscription = broker.subscribe(queue_of(topology), prefetch=1, topology=topology)
    await_connected(subscription)

    scene.delete_queue(queue_of(topology))

    eventually(
        lambda: broker.depth(queue_of(topology)) == QueueDepth(ready=0, consumers=1),
        within_s=PATIENCE_S,
        what="consuming again",
    )
    broker.publisher().publish(message(queue_of(topology)))
    assert take(subscription).message_id == "m0"


def test_a_queue_that_nobody_uses_expires(scene: Scene) -> None:
    broker = scene.broker()
    topology = queue_topology({"x-expires": 1000})
    broker.declare(topology)
    publisher = broker.publisher()
    publisher.publish(message(queue_of(topology)))

    scene.let_pass(1.0)

    # Looking at its depth would count as use and keep it alive; publishing to it does not.
    with pytest.raises(Unroutable):
        publish_until_refused(publisher, queue_of(topology))
    assert broker.depth(queue_of(topology)) is None
