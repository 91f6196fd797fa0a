"""What every store promises about the lease, and about committers that lost it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError, ResponseError

from latecomer.errors import Fenced, StoreDenied, StoreUnreachable
from latecomer.events import Version
from latecomer.store.port import Commit, Lease, Refusal
from latecomer.store.redis import RedisStore
from server import eventually
from store_scene import (
    LEASE_S,
    MOMENT_S,
    PATIENCE_S,
    Stores,
    commit_of,
    fold,
    lead,
    named,
    publish,
)

pytest_plugins = ["store_plugin"]


def test_the_first_holder_gets_fence_1(stores: Stores) -> None:
    store = stores.open()
    assert store.holder() is None
    assert store.acquire("anna", LEASE_S) == Lease("anna", 1)
    assert store.holder() == Lease("anna", 1)


def test_asking_again_gives_the_holder_the_same_lease_prolonged(stores: Stores) -> None:
    store = stores.open()
    store.acquire("anna", 5)
    assert stores.open().acquire("anna", LEASE_S) == Lease("anna", 1)
    left_s = stores.left_s(stores.keys.lease)
    assert left_s is not None
    assert left_s > LEASE_S - 60


def test_nobody_else_gets_a_lease_that_is_held(stores: Stores) -> None:
    lead(stores.open(), "anna")
    assert stores.open().acquire("bert", LEASE_S) is None


def test_a_released_lease_passes_on_at_once_with_a_higher_fence(stores: Stores) -> None:
    store = stores.open()
    store.release(lead(store, "anna"))
    assert store.holder() is None
    assert store.acquire("bert", LEASE_S) == Lease("bert", 2)


def test_the_fence_grows_even_when_the_same_owner_comes_back(stores: Stores) -> None:
    store = stores.open()
    store.release(lead(store, "anna"))
    assert store.acquire("anna", LEASE_S) == Lease("anna", 2)


def test_an_expired_lease_passes_on_with_a_higher_fence(stores: Stores) -> None:
    store = stores.open()
    assert store.acquire("anna", MOMENT_S) == Lease("anna", 1)
    eventually(lambda: store.holder() is None, within_s=PATIENCE_S, what="expiry of the lease")
    assert store.acquire("bert", LEASE_S) == Lease("bert", 2)


def test_a_renewed_lease_lives_on(stores: Stores) -> None:
    store = stores.open()
    lease = store.acquire("anna", 5)
    assert lease is not None
    assert store.renew(lease, LEASE_S)
    left_s = stores.left_s(stores.keys.lease)
    assert left_s is not None
    assert left_s > LEASE_S - 60


def test_who_lost_the_lease_condemns_no_update(stores: Stores) -> None:
    """It judges by a head that has moved on: to it, what is right is from the future."""
    store = stores.open()
    lost = lead(store, "anna")
    store.release(lost)
    lead(store, "bert")
    with pytest.raises(Fenced, match="bert holds it now"):
        store.refuse(lost, Refusal("carl:b:1", "carl", "future_version", ""))
    assert store.verdicts(["carl:b:1"]) == {}


def test_a_lost_lease_is_neither_renewed_nor_released(stores: Stores) -> None:
    store = stores.open()
    lost = lead(store, "anna")
    store.release(lost)
    assert not store.renew(lost, LEASE_S)
    current = lead(store, "bert")
    assert not store.renew(lost, LEASE_S)
    store.release(lost)
    assert store.holder() == current


def test_an_owner_cannot_renew_with_a_former_fence(stores: Stores) -> None:
    store = stores.open()
    former = lead(store, "anna")
    store.release(former)
    current = lead(store, "anna")
    assert not store.renew(former, LEASE_S)
    store.release(former)
    assert store.holder() == current


def test_a_zombie_whose_lease_passed_on_cannot_commit(stores: Stores) -> None:
    zombie = stores.open()
    old = lead(zombie, "anna")
    publish(zombie, old, 0, b"v0..")
    zombie.release(old)
    publish(stores.open(), lead(zombie, "bert"), 1, b"v1..")

    with pytest.raises(Fenced, match="the lease of anna is over; bert holds it now"):
        publish(zombie, old, 2, b"v2..", folds=(fold("carl:b:1"),))

    head = zombie.head()
    assert head is not None
    assert head.version == Version(1, 1)
    assert zombie.applied(["carl:b:1"]) == frozenset()


def test_a_zombie_learns_that_it_is_fenced_before_any_conflict(stores: Stores) -> None:
    store = stores.open()
    old = lead(store, "anna")
    store.release(old)
    publish(store, lead(store, "bert"), 0, b"v0..")
    with pytest.raises(Fenced):
        publish(store, old, 0, b"lost")


def test_an_expired_lease_cannot_commit_though_nobody_else_took_it(stores: Stores) -> None:
    store = stores.open()
    lease = store.acquire("anna", MOMENT_S)
    assert lease is not None
    eventually(lambda: store.holder() is None, within_s=PATIENCE_S, what="expiry of the lease")
    with pytest.raises(Fenced, match="nobody holds it now"):
        publish(store, lease, 0, b"v0..")
    assert store.head() is None


def test_the_same_owner_with_a_former_fence_cannot_commit(stores: Stores) -> None:
    store = stores.open()
    former = lead(store, "anna")
    store.release(former)
    lead(store, "anna")
    with pytest.raises(Fenced):
        publish(store, former, 0, b"v0..")


def test_a_lease_that_somebody_made_up_cannot_commit(stores: Stores) -> None:
    store = stores.open()
    publish(store, lead(store, "anna"), 0, b"v0..")
    with pytest.raises(Fenced):
        publish(store, Lease("eve", 99), 1, b"evil")


def test_a_fence_alone_is_no_lease_and_neither_is_a_name(stores: Stores) -> None:
    """Fences repeat once a store was emptied, and a name leads more than once."""
    store = stores.open()
    store.release(lead(store, "anna"))
    held = lead(store, "anna")
    publish(store, held, 0, b"v0..")
    for claim in (Lease("eve", held.fence), Lease("anna", held.fence - 1)):
        with pytest.raises(Fenced):
            publish(store, claim, 1, b"evil")
        with pytest.raises(Fenced):
            store.refuse(claim, Refusal("carl:b:1", "carl", "future_version", ""))
        assert not store.renew(claim, LEASE_S)
        store.release(claim)
        assert store.holder() == held
    assert store.verdicts(["carl:b:1"]) == {}


def test_the_tenth_leader_comes_after_the_ninth(stores: Stores) -> None:
    """As words, 10 comes before 9."""
    store = stores.open()
    for number in range(10):
        lease = lead(store, f"leader-{number}")
        publish(store, lease, number, b"v%d.." % number)
        store.release(lease)
    assert lease.fence == 10
    stores.raw.set(stores.keys.fence, 8)
    with pytest.raises(Fenced):
        publish(store, lead(store, "leader-of-a-lost-counter"), 10, b"v10.")


def test_a_fence_lower_than_the_heads_cannot_commit_even_if_the_counter_was_lost(
    stores: Stores,
) -> None:
    store = stores.open()
    store.release(lead(store, "anna"))
    publish(store, lead(store, "bert"), 0, b"v0..")
    stores.raw.delete(stores.keys.lease, stores.keys.fence)
    with pytest.raises(Fenced):
        publish(store, lead(store, "carl"), 1, b"v1..")


def ready_to_commit(stores: Stores) -> tuple[RedisStore, Commit]:
    """A leader's store, and version 0, whose chunks are staged."""
    store = stores.open()
    commit = commit_of(lead(store), Version(1, 0), b"v0..")
    store.stage(named(b"v0.."))
    return store, commit


def synced_with(store: RedisStore, answer: object) -> Callable[..., list[object]]:
    """As the server's script answers, and this for WAITAOF."""
    in_one_go = store._server._in_one_go
    return lambda *words: [in_one_go(*words)[0], answer]


def test_a_commit_is_confirmed_by_the_disk_and_may_be_asked_again(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server answers that its disk has not written it yet."""
    store, commit = ready_to_commit(stores)
    with monkeypatch.context() as unwritten:
        unwritten.setattr(store._server, "_in_one_go", synced_with(store, [0, 0]))
        for _ in range(2):
            with pytest.raises(StoreUnreachable, match="to its disk in time"):
                store.commit(commit)
    monkeypatch.setattr(store._server, "_in_one_go", synced_with(store, [1, 0]))
    store.commit(commit)
    assert store.manifest(Version(1, 0)) == commit.manifest


@pytest.mark.parametrize(
    ("answer", "words"),
    [(OutOfMemoryError("maxmemory"), "is full"), (ReadOnlyError("replica"), "is a replica now")],
)
def test_a_commit_that_the_server_does_not_take_is_tried_again_later(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, answer: Exception, words: str
) -> None:
    store, commit = ready_to_commit(stores)
    monkeypatch.setattr(store._server, "_in_one_go", lambda *_: [answer, [1, 0]])
    with pytest.raises(StoreUnreachable, match=words):
        store.commit(commit)


def test_a_login_that_may_not_wait_for_the_disk_commits_nothing_that_is_believed(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that has no such command is excused, and nobody else."""
    store, commit = ready_to_commit(stores)
    denied = synced_with(store, NoPermissionError("waitaof"))
    monkeypatch.setattr(store._server, "_in_one_go", denied)
    with pytest.raises(StoreDenied):
        store.commit(commit)
    unknown = ResponseError("unknown command 'WAITAOF'")
    monkeypatch.setattr(store._server, "_in_one_go", synced_with(store, unknown))
    store.commit(commit)


def test_what_a_zombie_staged_does_not_touch_the_manifest_that_won(stores: Stores) -> None:
    store = stores.open()
    old = lead(store, "anna")
    store.release(old)
    won = publish(store, lead(store, "bert"), 0, b"won.")
    store.stage(named(b"lost"))
    with pytest.raises(Fenced):
        store.commit(replace(commit_of(old, Version(1, 0), b"lost")))
    assert store.manifest(Version(1, 0)) == won.manifest
