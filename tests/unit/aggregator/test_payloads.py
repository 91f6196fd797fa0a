"""What waited in the store is gone once nobody needs it any more, and not before."""

import pytest

from latecomer import wire
from latecomer.events import UpdateSubmitted, Version
from latecomer.store.redis import embedded
from latecomer.store.server import text
from latecomer.tensors import content_address
from latecomer.wire import messages
from scenes import EPOCH, Federation, make_update, message_of, net, step


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Federation:
    """Every payload is too large for a message."""
    monkeypatch.setattr(messages, "MAX_INLINE_BYTES", 0)
    scene = Federation()
    scene.found()
    return scene


def send(scene: Federation, *updates: UpdateSubmitted) -> None:
    """Stage and publish, as a worker does."""
    for update in updates:
        payload = wire.encode_update(update).detached
        assert payload is not None
        scene.store.stage_payload(update.worker, payload)
    scene.send(*updates)


def staged(scene: Federation) -> list[str]:
    """Whose payloads are in the store."""
    keys = embedded(scene.redis).keys("lc:*:u:*")
    return sorted(text(key).split(":")[-2] for key in keys)


def test_payloads_go_with_the_version_that_is_made_of_them(scene: Federation) -> None:
    coordinator = scene.coordinator()
    send(scene, make_update("w1"), make_update("w2"), make_update("w3"))
    step(coordinator)
    assert staged(scene) == ["w1", "w2", "w3"]

    step(coordinator)
    assert (scene.number(), staged(scene)) == (1, ["w3"])

    step(coordinator)
    send(scene, make_update("w1", 2))
    step(coordinator)
    assert (scene.number(), staged(scene)) == (2, [])


def test_a_payload_goes_with_the_verdict_against_its_update(scene: Federation) -> None:
    send(scene, make_update("w1", base=Version(EPOCH, 5)), make_update("w2", delta=net(1, 2, 3)))
    step(scene.coordinator(), 2)
    assert scene.store.totals().refused == {"future_version": 1, "bad_shape": 1}
    assert staged(scene) == []


def test_who_forges_an_update_deletes_no_payload(scene: Federation) -> None:
    honest = make_update("w1")
    send(scene, make_update("w2"))
    scene.store.stage_payload("w1", wire.encode_update(honest).detached or b"")
    scene.login("eve").publisher().publish(message_of(honest))
    step(scene.coordinator(), 2)
    assert scene.store.totals().refused == {"forged_worker": 1}
    assert staged(scene) == ["w1", "w2"]


def test_a_worker_that_trains_the_same_again_does_not_lose_it(scene: Federation) -> None:
    """Its file was lost between the two: the same tensors under another id."""
    send(scene, make_update("w1"), make_update("w1", update_id="w1:again:1"), make_update("w2"))
    coordinator = scene.coordinator()
    step(coordinator, 3)
    assert (scene.number(), staged(scene)) == (1, ["w1"])
    send(scene, make_update("w2", 2))
    step(coordinator, 2)
    assert (scene.number(), staged(scene)) == (2, [])
    assert scene.store.totals().accepted == 4
    assert scene.store.totals().refused == {}


def test_a_copy_that_comes_after_the_commit_needs_no_payload(scene: Federation) -> None:
    coordinator = scene.coordinator()
    send(scene, make_update("w1"), make_update("w2"))
    step(coordinator, 2)
    scene.send(make_update("w1"))
    step(coordinator)
    assert (scene.store.totals().duplicates, scene.store.totals().refused) == (1, {})


def test_the_next_leader_finds_the_payloads_of_a_version_that_never_was(scene: Federation) -> None:
    first = scene.coordinator("a")
    send(scene, make_update("w1"))
    step(first)
    first.close()
    send(scene, make_update("w2"))
    step(scene.coordinator("b"), 2)
    assert (scene.number(), scene.store.totals().accepted, staged(scene)) == (1, 2, [])


def test_a_payload_is_named_by_the_digest_that_its_reader_checks(scene: Federation) -> None:
    update = make_update("w1")
    payload = wire.encode_update(update).detached or b""
    sealed = wire.open_update(message_of(update).body)
    assert sealed.staged == {("w1", content_address(payload))}
    assert scene.store.stage_payload("w1", payload) == sealed.payload.digest
