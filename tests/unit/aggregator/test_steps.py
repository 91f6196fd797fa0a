"""Steps that fold nothing: pauses, a head that went back, and what is left to an operator."""

import pytest

from latecomer.broker.port import Message
from latecomer.broker.topology import ROUNDS, Topology
from latecomer.errors import BrokerUnreachable, PublishRefused, Transient, Unroutable
from latecomer.events import Version
from latecomer.store.keys import Keys
from latecomer.store.redis import embedded
from latecomer_aggregator.coordinator import ANNOUNCE_AGAIN_S, DECLARE_AGAIN_S
from latecomer_aggregator.leadership import STANDBY_ASKS_S
from scenes import EPOCH, FEDERATION, LEASE_S, Federation, heard, make_update, step

KEYS = Keys(FEDERATION)


@pytest.fixture
def scene() -> Federation:
    scene = Federation()
    scene.found()
    return scene


def test_a_leader_whose_store_was_put_back_by_a_version_goes_on_from_there(
    scene: Federation,
) -> None:
    """It leads still, and what it would commit follows a version that is not the head any more."""
    redis = embedded(scene.redis)
    coordinator = scene.coordinator()
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator)
    backup = redis.hgetall(KEYS.head)
    step(coordinator)
    assert scene.number() == 1
    redis.hset(KEYS.head, mapping=backup)  # type: ignore[arg-type]
    scene.send(make_update("w3"), make_update("w4"))
    step(coordinator, 5)
    assert scene.manifest().version == Version(EPOCH, 1)
    assert [fold.update_id for fold in scene.manifest().folds] == ["w3:boot:1", "w4:boot:1"]
    assert scene.unacked() == scene.waiting() == 0


def test_pauses_start_small_again_once_the_store_was_well(scene: Federation) -> None:
    coordinator = scene.coordinator()
    step(coordinator)
    for _ in range(2):
        scene.slept.clear()
        scene.redis.connected = False
        scene.clock.advance(LEASE_S)
        step(coordinator, 8)
        assert scene.slept[0] <= 0.2 < max(scene.slept)
        scene.redis.connected = True
        step(coordinator)


def test_a_standby_sleeps_until_it_asks_again_and_no_longer_than_it_was_given(
    scene: Federation,
) -> None:
    step(scene.coordinator("a"))
    standby = scene.coordinator("b")
    standby.step(0.5)
    standby.step(60.0)
    assert scene.slept == [0.5, STANDBY_ASKS_S]


def test_what_an_operator_declares_is_left_to_him(scene: Federation) -> None:
    coordinator = scene.built(declare=False)
    for bound in scene.server._bindings.values():
        bound.clear()
    for _ in range(2):
        step(coordinator, 2)
        scene.clock.advance(DECLARE_AGAIN_S + 1.0)
    with pytest.raises(Unroutable):
        scene.send(make_update("w1"))


def test_a_quiet_leader_declares_once_a_minute(scene: Federation) -> None:
    coordinator, declared = scene.coordinator(), list[Topology]()
    coordinator._broker.declare = declared.append  # type: ignore[method-assign,assignment]
    for _ in range(6):
        step(coordinator, 2)
        scene.clock.advance(DECLARE_AGAIN_S / 2 + 1.0)
    assert len(declared) == 3


@pytest.mark.parametrize("error", [BrokerUnreachable, PublishRefused, Unroutable])
def test_whatever_keeps_an_announcement_back_does_not_keep_updates(
    scene: Federation, error: type[Transient]
) -> None:
    rounds, coordinator = scene.listen("w9"), scene.coordinator()
    honest = coordinator._publisher.publish

    def fail(message: Message, *, mandatory: bool = True) -> None:
        del message, mandatory
        raise error("no confirm")

    coordinator._publisher.publish = fail  # type: ignore[method-assign]
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator, 2)
    assert (scene.number(), scene.unacked(), scene.slept) == (1, 0, [])
    coordinator._publisher.publish = honest  # type: ignore[method-assign]
    scene.clock.advance(ANNOUNCE_AGAIN_S)
    step(coordinator)
    assert heard(rounds) == [Version(EPOCH, 1)]


def test_who_stands_down_is_not_said_to_lead(scene: Federation) -> None:
    leader = scene.coordinator("a")
    step(leader)
    assert scene.telemetry.leading._value.get() == 1
    scene.lapse_lease()
    assert scene.store.acquire("b", LEASE_S) is not None
    step(leader)
    assert scene.telemetry.leading._value.get() == 0


def test_an_exchange_that_somebody_deleted_is_there_again_with_the_next_announcement(
    scene: Federation,
) -> None:
    coordinator = scene.coordinator()
    step(coordinator)
    for known in (scene.server._exchanges, scene.server._bindings):
        del known[ROUNDS]
    scene.send(make_update("w1"), make_update("w2"))
    step(coordinator, 2)
    assert scene.number() == 1
    scene.clock.advance(ANNOUNCE_AGAIN_S)
    step(coordinator)
    assert coordinator._term is not None
    assert coordinator._term.announced
    assert ROUNDS in scene.server._exchanges


def test_a_store_that_is_emptied_while_its_head_is_read_is_waited_for(scene: Federation) -> None:
    store = scene.open_store()
    answers = iter([store.head()])
    store.head = lambda: next(answers, None)  # type: ignore[method-assign]
    coordinator = scene.coordinator(store=store)
    step(coordinator, 2)
    assert coordinator._term is None
    assert len(scene.slept) == 2
