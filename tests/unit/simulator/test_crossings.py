"""Where a process can be stopped, and what it leaves in the history at which side of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from latecomer.broker.port import Delivery, Subscription
from latecomer.broker.topology import updates_queue
from latecomer.errors import BrokerUnreachable, StoreUnreachable
from latecomer.events import Version
from latecomer.store.port import Commit, Lease, ModelStore, Refusal
from latecomer_aggregator import commit, rounds
from latecomer_aggregator.commit import Published
from latecomer_simulator.crossings import (
    AGGREGATOR_CALLS,
    STORE_CALLS,
    WORKER_CALLS,
    Crossings,
    points,
)
from latecomer_simulator.history import (
    Acknowledged,
    Attempted,
    Committed,
    Dropped,
    Event,
    Held,
    History,
    Led,
    Refused,
    Sent,
)
from latecomer_simulator.timeline import Killed
from latecomer_worker.encode import encode
from latecomer_worker.state import WorkerState
from scenes import DAY_S, FEDERATION, LEASE_S, Federation, make_update, message_of

#: The date when a scene begins, and how long its clock has run by then.
START_S, BEGIN_S = 1_700_000_000.0, 0.0


class Watched:
    """A process under watch, over a founded federation.

    Attributes:
        reached: The points that it came by.
        dies_at: It is killed there.
    """

    def __init__(self, scene: Federation) -> None:
        self.scene = scene
        self.history = History()
        self.reached: list[str] = []
        self.dies_at = ""
        self.crossings = Crossings("p", scene.clock, self.history, self._reached)
        self.store = self.crossings.store(scene.store)
        self.publisher = self.crossings.broker(scene.login("w1")).publisher()

    def events(self, kind: type[Event]) -> list[Event]:
        return list(self.history.all(kind))

    def subscription(self, prefetch: int = 8) -> Subscription:
        broker = self.crossings.broker(self.scene.login("aggregator"))
        return broker.subscribe(updates_queue(FEDERATION), prefetch=prefetch)

    def _reached(self, point: str) -> None:
        self.reached.append(point)
        if point == self.dies_at:
            raise Killed


@pytest.fixture
def scene() -> Federation:
    return Federation()


@pytest.fixture
def watched(scene: Federation) -> Watched:
    scene.found()
    return Watched(scene)


@pytest.fixture
def state(tmp_path: Path) -> WorkerState:
    return WorkerState(tmp_path / "state.sqlite")


def taken(subscription: Subscription) -> Delivery:
    delivery = subscription.receive(0)
    assert delivery is not None
    return delivery


def led(store: ModelStore) -> Lease:
    lease = store.acquire("p", LEASE_S)
    assert lease is not None
    return lease


def dies(watched: Watched, at: str, action: Callable[[], object]) -> None:
    watched.dies_at = at
    with pytest.raises(Killed):
        action()
    watched.dies_at = ""


def test_points_are_both_ends_of_each_call_but_a_delivery_is_only_received() -> None:
    assert points(("commit", "receive", "ack")) == [
        "commit:before",
        "commit:after",
        "receive:after",
        "ack:before",
        "ack:after",
    ]
    assert len(points(AGGREGATOR_CALLS)) == 2 * 15 - 1
    assert len(points(WORKER_CALLS)) == 2 * 8 - 1


def test_every_watched_call_of_the_store_is_one_of_its_port() -> None:
    assert [name for name in STORE_CALLS if not hasattr(ModelStore, name)] == []


def test_a_call_is_crossed_before_and_after_it_takes_effect(watched: Watched) -> None:
    dies(watched, "acquire:before", lambda: watched.store.acquire("p", LEASE_S))
    assert watched.scene.store.holder() is None
    dies(watched, "acquire:after", lambda: watched.store.acquire("p", LEASE_S))
    assert watched.scene.store.holder() is not None
    assert watched.reached == ["acquire:before", "acquire:before", "acquire:after"]


def test_a_call_that_fails_has_no_end(watched: Watched) -> None:
    watched.scene.redis.connected = False
    with pytest.raises(StoreUnreachable):
        watched.store.head()
    assert watched.reached == ["head:before"]


def test_what_no_way_depends_on_passes_unwatched(watched: Watched) -> None:
    assert watched.store.totals().accepted == 0
    assert watched.reached == []


def test_who_got_the_lease_led_and_who_did_not_did_not(watched: Watched) -> None:
    lease = led(watched.store)
    assert watched.store.acquire("q", LEASE_S) is None
    assert watched.events(Led) == [Led(BEGIN_S, "p", lease.fence)]


def publish_version(watched: Watched, lease: Lease, at_s: float = START_S) -> Published:
    """Version 1, made of nothing."""
    current = commit.load(watched.scene.store, FEDERATION)[0]
    attempt = commit.prepare(current, current.model, current.optimizer, (), 1, {}, at_s=at_s)
    commit.publish(watched.store, lease, current, attempt)
    return attempt.published


def test_a_version_was_asked_for_before_it_was_heard_of(watched: Watched) -> None:
    """Who was frozen in between is judged by when it asked."""
    lease = led(watched.store)
    watched.scene.store.before_commit = lambda: watched.scene.clock.advance(5.0)
    publish_version(watched, lease)
    (event,) = watched.history.all(Committed)
    assert (event.asked_s, event.at_s) == (BEGIN_S, BEGIN_S + 5.0)


def test_a_version_is_committed_once_the_reply_was_given(watched: Watched) -> None:
    lease = led(watched.store)
    dies(watched, "commit:before", lambda: publish_version(watched, lease))
    assert watched.events(Committed) == []
    assert watched.scene.number() == 0
    published = publish_version(watched, lease)
    assert watched.events(Committed) == [
        Committed(BEGIN_S, "p", lease.fence, published.manifest.to_bytes(), BEGIN_S)
    ]
    assert published.version == Version(7, 1)


def test_who_is_killed_after_the_reply_has_committed_all_the_same(watched: Watched) -> None:
    lease = led(watched.store)
    dies(watched, "commit:after", lambda: publish_version(watched, lease))
    assert len(watched.events(Committed)) == 1


def test_a_commit_whose_reply_was_lost_is_no_event_until_it_is_repeated(watched: Watched) -> None:
    lease = led(watched.store)

    def lost() -> None:
        raise StoreUnreachable("the reply was lost")

    watched.scene.store.after_commit = lost
    with pytest.raises(StoreUnreachable):
        publish_version(watched, lease)
    assert watched.scene.number() == 1
    assert watched.events(Committed) == []

    watched.scene.store.after_commit = lambda: None
    manifest = watched.scene.manifest()
    again = Commit(f"{manifest.version}:{manifest.digest}", lease, Version(7, 0), manifest)
    watched.store.commit(again)
    assert len(watched.events(Committed)) == 1


def test_a_refusal_is_written_down_when_it_is_new(watched: Watched) -> None:
    lease = led(watched.store)
    refusal = Refusal("w1:boot:1", "w1", "too_stale", "by far")
    assert watched.store.refuse(lease, refusal)
    assert not watched.store.refuse(lease, refusal)
    fact = Refused(BEGIN_S, "p", "w1:boot:1", "too_stale", lease.fence, BEGIN_S)
    assert watched.events(Refused) == [fact]


def test_an_update_is_sent_before_and_acknowledged_after_its_confirm(watched: Watched) -> None:
    watched.publisher.publish(message_of(make_update()))
    assert [type(each) for each in watched.history.events] == [Sent, Acknowledged]
    assert watched.reached == ["submit:before", "submit:after"]


@pytest.mark.parametrize(("point", "arrived"), [("submit:before", 0), ("submit:after", 1)])
def test_who_was_killed_before_he_learned_of_the_confirm_has_sent_and_no_more(
    watched: Watched, point: str, arrived: int
) -> None:
    dies(watched, point, lambda: watched.publisher.publish(message_of(make_update())))
    assert watched.history.events == [Sent(BEGIN_S, "p", "w1:boot:1")]
    assert watched.scene.waiting() == arrived


def test_what_no_broker_confirmed_was_sent_and_no_more(watched: Watched) -> None:
    watched.scene.server.stop()
    with pytest.raises(BrokerUnreachable):
        watched.publisher.publish(message_of(make_update()))
    assert watched.history.events == [Sent(BEGIN_S, "p", "w1:boot:1")]


def test_a_round_that_is_announced_is_a_crossing_of_its_own_and_no_update(watched: Watched) -> None:
    head = watched.scene.store.head()
    assert head is not None
    message = rounds.announcement(watched.scene.recipe, head)
    watched.publisher.publish(message, mandatory=False)
    assert watched.reached == ["announce:before", "announce:after"]
    assert watched.history.events == []


def put(watched: Watched, state: WorkerState, seq: int = 1) -> None:
    worker = watched.crossings.state(state)
    with worker.transaction():
        worker.pending.put(encode(make_update("w1", seq)), created_s=START_S + seq)


def test_an_update_is_attempted_with_its_own_bytes(watched: Watched, state: WorkerState) -> None:
    put(watched, state)
    body = encode(make_update()).body
    assert watched.history.events == [Attempted(BEGIN_S, "p", "w1:boot:1", body, b"")]
    assert watched.reached == ["save:before", "save:after"]
    assert state.pending.unconfirmed() == 1


def test_an_update_is_attempted_though_its_transaction_never_ended(
    watched: Watched, state: WorkerState
) -> None:
    def killed_in_between() -> None:
        worker = watched.crossings.state(state)
        with worker.transaction():
            worker.pending.put(encode(make_update()), created_s=START_S)
            raise Killed

    with pytest.raises(Killed):
        killed_in_between()
    assert len(watched.events(Attempted)) == 1
    assert state.pending.unconfirmed() == 0
    assert watched.reached == ["save:before"]


def test_who_is_killed_before_the_transaction_has_attempted_nothing(
    watched: Watched, state: WorkerState
) -> None:
    dies(watched, "save:before", lambda: put(watched, state))
    assert watched.history.events == []
    assert state.pending.unconfirmed() == 0


def test_who_is_killed_after_the_transaction_has_saved_it(
    watched: Watched, state: WorkerState
) -> None:
    dies(watched, "save:after", lambda: put(watched, state))
    assert state.pending.unconfirmed() == 1


def test_what_the_outbox_gives_up_is_dropped(watched: Watched, state: WorkerState) -> None:
    for seq in (1, 2, 3):
        put(watched, state, seq)
    worker = watched.crossings.state(state)
    dropped = worker.pending.trim(created_before_s=START_S + 2.5, keep_bytes=int(DAY_S))
    assert dropped == ["w1:boot:1", "w1:boot:2"]
    assert watched.events(Dropped) == [Dropped(BEGIN_S, "p", each) for each in dropped]


def test_a_confirm_is_noted_in_the_outbox_between_its_ends(
    watched: Watched, state: WorkerState
) -> None:
    put(watched, state)
    worker = watched.crossings.state(state)

    def confirm() -> None:
        worker.pending.confirm("w1:boot:1", now_s=START_S)

    dies(watched, "confirm:before", confirm)
    assert state.pending.unconfirmed() == 1
    dies(watched, "confirm:after", confirm)
    assert state.pending.unconfirmed() == 0


def send(scene: Federation, number: int) -> None:
    scene.send(*(make_update(f"w{each}", each) for each in range(1, number + 1)))


def test_held_is_written_down_whenever_there_are_more_than_ever(watched: Watched) -> None:
    send(watched.scene, 4)
    subscription = watched.subscription()
    first, second = taken(subscription), taken(subscription)
    subscription.ack(first)
    subscription.reject(second, requeue=False)
    third, fourth = taken(subscription), taken(subscription)
    assert watched.events(Held) == [Held(BEGIN_S, "p", 1), Held(BEGIN_S, "p", 2)]
    assert (third.message_id, fourth.message_id) == ("w3:boot:3", "w4:boot:4")


def test_of_a_lost_connection_nothing_is_held(watched: Watched) -> None:
    send(watched.scene, 3)
    subscription = watched.subscription()
    for _ in range(3):
        taken(subscription)
    watched.scene.server.drop_connections()
    for _ in range(3):
        taken(subscription)
    assert [each.deliveries for each in watched.history.all(Held)] == [1, 2, 3]


def test_what_a_former_subscription_left_unacked_is_not_held_by_the_next_one(
    watched: Watched,
) -> None:
    send(watched.scene, 3)
    former = watched.subscription()
    taken(former)
    former.ack(taken(former))
    taken(former)
    former.close()
    subscription = watched.subscription()
    taken(subscription)
    taken(subscription)
    assert max(each.deliveries for each in watched.history.all(Held)) == 2


def test_what_is_acked_leaves_the_queue_between_the_ends_of_the_crossing(watched: Watched) -> None:
    send(watched.scene, 1)
    subscription = watched.subscription()
    delivery = taken(subscription)
    dies(watched, "ack:before", lambda: subscription.ack(delivery))
    assert watched.scene.unacked() == 1
    dies(watched, "ack:after", lambda: subscription.ack(delivery))
    assert watched.scene.unacked() == 0
    assert watched.reached == [
        "subscribe:before",
        "subscribe:after",
        "receive:after",
        "ack:before",
        "ack:before",
        "ack:after",
    ]


def test_what_is_rejected_is_dead_between_the_ends_of_the_crossing(watched: Watched) -> None:
    send(watched.scene, 1)
    subscription = watched.subscription()
    delivery = taken(subscription)
    dies(watched, "reject:before", lambda: subscription.reject(delivery, requeue=False))
    assert watched.scene.dead() == 0
    dies(watched, "reject:after", lambda: subscription.reject(delivery, requeue=False))
    assert watched.scene.dead() == 1


def test_where_nothing_was_received_nothing_is_crossed(watched: Watched) -> None:
    assert watched.subscription().receive(0) is None
    assert watched.reached == ["subscribe:before", "subscribe:after"]
