from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from latecomer import wire
from latecomer.broker.port import MAX_MESSAGE_BYTES, Delivery, Message
from latecomer.broker.topology import updates_queue
from latecomer.clock import ManualClock
from latecomer.errors import (
    BadConfiguration,
    BrokerUnreachable,
    PublishRefused,
    StoreUnreachable,
    Unroutable,
)
from latecomer.store.redis import PIECE_BYTES, RedisStore, embedded
from latecomer.tensors import content_address
from latecomer_worker.encode import encode
from latecomer_worker.outbox import REPEATABLE_S, Limits, Outbox
from latecomer_worker.pending import Outgoing
from latecomer_worker.state import WorkerState
from scenes import DAY_S, FEDERATION, ROOMY, Federation, make_outbox, make_update, net, step

#: When a manual clock starts.
START_S = 1_700_000_000.0


class Confirms:
    """A publisher that notes what the outbox held whenever the broker had confirmed."""

    def __init__(self, scene: Federation, state: WorkerState) -> None:
        self._inner = scene.login("w1").publisher()
        self._state = state
        self.held: list[int] = []
        self.lost = 0

    def publish(self, message: Message, *, mandatory: bool = True) -> None:
        self._inner.publish(message, mandatory=mandatory)
        self.held.append(self._state.pending.unconfirmed())
        if self.lost:
            self.lost -= 1
            raise BrokerUnreachable("the connection was lost before the confirm")

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def scene() -> Federation:
    return Federation()


@pytest.fixture
def state(tmp_path: Path) -> WorkerState:
    return WorkerState(tmp_path / "state.sqlite")


def outbox_of(
    scene: Federation,
    state: WorkerState,
    publisher: Confirms | None = None,
    *,
    limits: Limits = ROOMY,
) -> Outbox:
    return make_outbox(scene, state, publisher or scene.login("w1").publisher(), limits=limits)


def queue(state: WorkerState, *seqs: int) -> None:
    for seq in seqs:
        state.pending.put(encode(make_update("w1", seq)), created_s=START_S + seq)


def arrived(scene: Federation) -> list[Delivery]:
    subscription = scene.login("aggregator").subscribe(updates_queue(FEDERATION), prefetch=0)
    deliveries = []
    while (delivery := subscription.receive(0)) is not None:
        subscription.ack(delivery)
        deliveries.append(delivery)
    subscription.close()
    return deliveries


def test_everything_that_waits_is_sent_in_order(scene: Federation, state: WorkerState) -> None:
    queue(state, 2, 1, 3)
    assert outbox_of(scene, state).send() == 3
    assert [each.message_id for each in arrived(scene)] == [f"w1:boot:{seq}" for seq in (2, 1, 3)]
    assert state.pending.unconfirmed() == 0


def test_a_message_says_who_sent_what(scene: Federation, state: WorkerState) -> None:
    queue(state, 1)
    outbox_of(scene, state).send()
    (delivery,) = arrived(scene)
    assert (delivery.routing_key, delivery.user_id) == ("update.shop.w1", "w1")
    assert delivery.type == "latecomer.update.v1"
    assert wire.open_update(delivery.body).header.update_id == "w1:boot:1"


def test_an_update_is_deleted_only_after_its_confirm(scene: Federation, state: WorkerState) -> None:
    queue(state, 1, 2)
    publisher = Confirms(scene, state)
    outbox_of(scene, state, publisher).send()
    assert publisher.held == [2, 1]


def test_an_update_whose_confirm_was_lost_is_sent_again_under_the_same_id(
    scene: Federation, state: WorkerState
) -> None:
    queue(state, 1)
    publisher = Confirms(scene, state)
    publisher.lost = 1
    outbox = outbox_of(scene, state, publisher)
    with pytest.raises(BrokerUnreachable):
        outbox.send()
    assert outbox.send() == 1
    first, second = arrived(scene)
    assert (first.message_id, first.body) == (second.message_id, second.body)


def test_a_broker_that_is_down_gets_it_when_it_is_back(
    scene: Federation, state: WorkerState
) -> None:
    queue(state, 1, 2)
    outbox = outbox_of(scene, state)
    scene.server.stop()
    with pytest.raises(BrokerUnreachable):
        outbox.send()
    assert state.pending.unconfirmed() == 2
    scene.server.start()
    assert outbox.send() == 2


def test_what_the_broker_refuses_stays(scene: Federation, state: WorkerState) -> None:
    queue(state, 1)
    scene.server.raise_alarm()
    with pytest.raises(PublishRefused):
        outbox_of(scene, state).send()
    assert state.pending.unconfirmed() == 1


def test_what_no_queue_takes_stays(scene: Federation, state: WorkerState) -> None:
    queue(state, 1)
    scene.server.delete(updates_queue(FEDERATION))
    with pytest.raises(Unroutable):
        outbox_of(scene, state).send()
    assert state.pending.unconfirmed() == 1


def test_what_no_broker_will_ever_take_is_dropped_loudly_and_lets_the_next_one_pass(
    scene: Federation, state: WorkerState
) -> None:
    state.pending.put(Outgoing("w1:boot:1", bytes(MAX_MESSAGE_BYTES + 1), None), created_s=START_S)
    queue(state, 2)
    with capture_logs() as logs:
        assert outbox_of(scene, state).send() == 1
    (dropped,) = [each for each in logs if each["event"] == "update.dropped"]
    assert (dropped["update_id"], dropped["log_level"]) == ("w1:boot:1", "error")
    assert [each.message_id for each in arrived(scene)] == ["w1:boot:2"]
    assert state.pending.unconfirmed() == 0


def test_a_payload_too_large_for_a_message_is_in_the_store_before_the_message_is_out(
    scene: Federation, state: WorkerState
) -> None:
    delta = net(*np.ones(wire.MAX_INLINE_BYTES // 4 + 1))
    outgoing = encode(make_update("w1", delta=delta))
    assert outgoing.payload is not None
    state.pending.put(outgoing, created_s=START_S)
    scene.redis.connected = False
    with pytest.raises(StoreUnreachable):
        outbox_of(scene, state).send()
    assert arrived(scene) == []
    assert state.pending.unconfirmed() == 1

    scene.redis.connected = True
    assert outbox_of(scene, state).send() == 1
    (delivery,) = arrived(scene)
    assert len(delivery.body) < wire.MAX_HEADER_BYTES
    name = wire.open_update(delivery.body).payload.digest
    assert name == content_address(outgoing.payload)
    assert scene.store.read_payload("w1", name, len(outgoing.payload)) == outgoing.payload


def test_a_payload_of_just_four_mib_travels_inside_the_message() -> None:
    outgoing = encode(make_update("w1", delta=net(*np.ones(wire.MAX_INLINE_BYTES // 4))))
    assert outgoing.payload is None
    assert len(outgoing.body) < MAX_MESSAGE_BYTES


def test_what_is_offered_to_a_broker_that_is_away_waits_and_is_offered_again_after_a_pause(
    scene: Federation, state: WorkerState
) -> None:
    queue(state, 1)
    outbox = outbox_of(scene, state)
    scene.server.stop()
    with capture_logs() as logs:
        outbox.offer()
        outbox.offer()
    assert [each["event"] for each in logs] == ["outbox.waits"]
    assert 0 < logs[0]["pause_s"] <= 0.5
    scene.server.start()
    outbox.offer()
    assert state.pending.unconfirmed() == 1
    scene.clock.advance(0.5)
    outbox.offer()
    assert state.pending.unconfirmed() == 0


class JustSwitchedOn(ManualClock):
    """A machine's two times have nothing to do with each other."""

    def monotonic_s(self) -> float:
        return self.now_s() - START_S


def test_a_pause_is_not_measured_by_the_calendar(scene: Federation, state: WorkerState) -> None:
    queue(state, 1)
    clock = JustSwitchedOn(START_S)
    outbox = make_outbox(scene, state, scene.login("w1").publisher(), clock=clock)
    scene.server.stop()
    outbox.offer()
    scene.server.start()
    clock.advance(1.0)
    outbox.offer()
    assert state.pending.unconfirmed() == 0


def test_what_is_too_old_goes_first_then_the_oldest_and_the_newest_always_stays(
    scene: Federation, state: WorkerState
) -> None:
    size = len(encode(make_update("w1", 1)).body)
    limits = Limits(max_bytes=2 * size, max_age_s=DAY_S)
    outbox = outbox_of(scene, state, limits=limits)
    queue(state, 1)
    scene.clock.advance(DAY_S + 2)
    with capture_logs() as logs:
        for seq in (2, 3, 4):
            outbox.put(encode(make_update("w1", seq)))
    dropped = [each["update_id"] for each in logs if each["event"] == "update.dropped"]
    assert dropped == ["w1:boot:1", "w1:boot:2"]
    assert outbox.send() == 2
    assert [each.message_id for each in arrived(scene)] == ["w1:boot:3", "w1:boot:4"]


def test_an_update_larger_than_the_whole_outbox_is_kept_while_it_is_the_newest(
    scene: Federation, state: WorkerState
) -> None:
    outbox = outbox_of(scene, state, limits=Limits(max_bytes=1, max_age_s=DAY_S))
    outbox.put(encode(make_update("w1", 1)))
    assert state.pending.unconfirmed() == 1


def test_a_broken_upload_goes_on_where_it_stopped(scene: Federation, state: WorkerState) -> None:
    """What is there already is not sent again: here a mark, which no upload would leave alone."""
    delta = net(*np.arange(wire.MAX_INLINE_BYTES // 4 + 1, dtype=np.float32))
    outgoing = encode(make_update("w1", delta=delta))
    assert outgoing.payload is not None
    client, there = embedded(scene.redis), 3 * PIECE_BYTES
    key = f"lc:{{{FEDERATION}}}:u:w1:{content_address(outgoing.payload)}"
    client.set(key, b"mark" + outgoing.payload[4:there])
    state.pending.put(outgoing, created_s=START_S)
    outbox_of(scene, state).send()
    assert client.get(key) == b"mark" + outgoing.payload[4:]
    assert client.ttl(key) > 0


def test_a_confirmed_update_is_awaited_until_its_verdict_is_known(
    scene: Federation, state: WorkerState
) -> None:
    scene.found()
    queue(state, 1, 2)
    outbox_of(scene, state).send()
    assert state.pending.awaited(limit=10) == ["w1:boot:1", "w1:boot:2"]
    coordinator = scene.coordinator()
    step(coordinator)
    scene.clock.advance(30.0)
    step(coordinator)
    verdicts = scene.store.verdicts(state.pending.awaited(limit=10))
    state.pending.settle(dict.fromkeys(verdicts, True), sent_before_s=0.0)
    assert state.pending.awaited(limit=10) == ["w1:boot:2"]
    state.pending.settle({}, sent_before_s=scene.clock.now_s())
    assert state.pending.awaited(limit=10) == []


def test_a_state_file_belongs_to_one_federation(tmp_path: Path) -> None:
    first = WorkerState(tmp_path / "w1.sqlite")
    first.claim("shop")
    first.claim("shop")
    with pytest.raises(BadConfiguration, match="belongs to federation 'shop', not to 'mall'"):
        first.claim("mall")


def test_also_the_newest_is_given_up_when_the_ledger_may_have_forgotten_it(
    scene: Federation, state: WorkerState
) -> None:
    queue(state, 1)
    scene.clock.advance(8 * DAY_S)
    assert outbox_of(scene, state).send() == 0
    assert state.pending.unconfirmed() == 0


def test_a_device_that_has_just_learned_the_date_loses_nothing(
    scene: Federation, state: WorkerState
) -> None:
    """No battery behind its clock: what it queued in 1970 was queued a moment ago."""
    for seq in (1, 2):
        state.pending.put(encode(make_update("w1", seq)), created_s=60.0 * seq)
    assert outbox_of(scene, state).send() == 2


class VanishingStore(RedisStore):
    """A server that forgets an upload half-way, once."""

    forgets = True

    def _write(self, key: str, start: int, piece: bytes) -> bool:
        if start and self.forgets:
            self.forgets = False
            self._redis.delete(key)
        return super()._write(key, start, piece)


def test_an_upload_that_was_forgotten_half_way_begins_again(scene: Federation) -> None:
    store = VanishingStore(embedded(scene.redis), federation=FEDERATION, clock=scene.clock)
    payload = np.arange(wire.MAX_INLINE_BYTES // 4 + 1, dtype=np.float32).tobytes()
    name = store.stage_payload("w1", payload)
    assert store.read_payload("w1", name, len(payload)) == payload


def test_an_upload_that_is_whole_lives_on(scene: Federation) -> None:
    payload = bytes(PIECE_BYTES)
    client = embedded(scene.redis)
    name = scene.store.stage_payload("w1", payload)
    key = f"lc:{{{FEDERATION}}}:u:w1:{name}"
    client.expire(key, 60)
    scene.store.stage_payload("w1", payload)
    assert client.ttl(key) > 3600


def adding(scene: Federation, state: WorkerState) -> None:
    """An update that adds to sums: sent, and confirmed at ``START_S``."""
    queue(state, 1)
    state.private.save_tentative("w1:boot:1", ["u1"], {"counted": np.ones((1, 1), np.float32)})
    make_outbox(scene, state, scene.login("w1").publisher(), clock=ManualClock(START_S)).send()
    assert len(arrived(scene)) == 1


def patience_s(times: int) -> float:
    return 10.0 * times


@pytest.mark.parametrize(("after_s", "repeated"), [(9.0, 0), (10.0, 1), (REPEATABLE_S, 0)])
def test_what_adds_is_sent_again_where_it_has_no_verdict_and_cannot_have_had_one(
    scene: Federation, state: WorkerState, after_s: float, repeated: int
) -> None:
    adding(scene, state)
    outbox = make_outbox(
        scene, state, scene.login("w1").publisher(), clock=ManualClock(START_S + after_s)
    )
    outbox.repeat(patience_s)
    assert outbox.send() == repeated
    assert [each.message_id for each in arrived(scene)] == ["w1:boot:1"] * repeated


def test_a_device_that_was_off_and_does_not_know_the_date_learns_it_from_the_versions(
    scene: Federation, state: WorkerState
) -> None:
    adding(scene, state)
    scene.clock.advance(REPEATABLE_S)
    scene.found()
    outbox = make_outbox(
        scene, state, scene.login("w1").publisher(), clock=ManualClock(START_S + 10.0)
    )
    outbox.repeat(patience_s)
    assert outbox.send() == 0


def test_what_adds_is_sent_again_less_and_less_often_and_not_twice_at_once(
    scene: Federation, state: WorkerState
) -> None:
    adding(scene, state)
    clock = ManualClock(START_S)
    outbox = make_outbox(scene, state, scene.login("w1").publisher(), clock=clock)
    sent_at = []
    for _ in range(100):
        clock.advance(1.0)
        outbox.repeat(patience_s)
        outbox.repeat(patience_s)
        if outbox.send():
            sent_at.append(clock.now_s() - START_S)
    assert sent_at == [10.0, 30.0, 60.0, 100.0]


def test_what_trains_is_not_kept_once_it_is_confirmed(
    scene: Federation, state: WorkerState
) -> None:
    queue(state, 1)
    outbox = outbox_of(scene, state)
    outbox.send()
    scene.clock.advance(DAY_S)
    outbox.repeat(patience_s)
    assert outbox.send() == 0


@pytest.mark.parametrize("counts", [True, False])
def test_a_verdict_on_what_is_about_to_be_sent_again_spares_that(
    scene: Federation, state: WorkerState, *, counts: bool
) -> None:
    adding(scene, state)
    scene.clock.advance(10.0)
    outbox = outbox_of(scene, state)
    outbox.repeat(patience_s)
    state.pending.settle({"w1:boot:1": counts}, sent_before_s=0.0)
    assert outbox.send() == 0
    assert state.private.users() == ({"u1"} if counts else set())
