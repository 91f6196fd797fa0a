"""What every store does when its server is away, restarted, strange, or used by many at once."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import pytest

from latecomer.clock import ManualClock
from latecomer.errors import (
    BadConfiguration,
    Fenced,
    LatecomerError,
    StoreDenied,
    StoreUnreachable,
    VersionConflict,
)
from latecomer.events import Version
from latecomer.store import server as store_server
from latecomer.store.port import Lease
from latecomer.store.redis import RedisStore, connect
from server import eventually, free_port
from store_scene import (
    PATIENCE_S,
    Stores,
    commit_of,
    fold,
    lead,
    named,
    need_disk_answers,
    need_ours,
    publish,
    reconfigured,
)

pytest_plugins = ["store_plugin"]


def test_a_server_that_is_not_there_is_unreachable_within_seconds() -> None:
    store = _store_at(f"redis://127.0.0.1:{free_port()}")
    start_s = time.monotonic()
    with pytest.raises(StoreUnreachable, match=r"127\.0\.0\.1:\d+ does not answer"):
        store.head()
    assert time.monotonic() - start_s < 5
    store.close()


def test_a_host_that_does_not_exist_is_unreachable() -> None:
    store = _store_at("redis://no-such-host.invalid:6379")
    with pytest.raises(StoreUnreachable, match=r"no-such-host\.invalid:6379"):
        store.holder()
    store.close()


def test_opening_a_store_does_not_connect_yet() -> None:
    _store_at(f"redis://127.0.0.1:{free_port()}").close()


@pytest.mark.parametrize(
    "url", ["http://anna:secret@localhost", "redis://anna:s/ecret@x:1", "redis://anna:s#ecret@x:1"]
)
def test_what_is_no_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(BadConfiguration, match="is not a store's URL") as refused:
        connect(url, client_name="tests")
    assert "ecret" not in f"{refused.value} {refused.value.hint}"


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("rediss://u:***@x/0?ssl_cert_reqs=bad", "Invalid SSL Certificate Requirements Flag: bad"),
        ("redis://u:***@x/0?protocol=9", "protocol must be either 2 or 3"),
    ],
)
def test_an_option_that_is_none_is_told_with_its_cause(url: str, cause: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        connect(url.replace("***", "secret"), client_name="tests")
    assert str(refused.value) == f"LATECOMER_STORE_URL: {url} is not a store's URL: {cause}"


def _full(stores: Stores) -> AbstractContextManager[None]:
    """The server takes no more."""
    return reconfigured(stores, "maxmemory", "1", usually="0")


def test_a_store_that_is_full_says_so(real_stores: Stores) -> None:
    with _full(real_stores), pytest.raises(StoreUnreachable, match="is full") as refused:
        real_stores.open().stage({"0" * 32: b"chunk"})
    assert "maxmemory" in refused.value.hint


@pytest.fixture
def locked(real_stores: Stores) -> Iterator[Stores]:
    """A server that asks for a password."""
    with reconfigured(real_stores, "requirepass", "right", usually=""):
        yield real_stores


@pytest.mark.parametrize("login", ["anna:wrong@", ":wrong@", ""])
def test_a_login_that_is_wrong_or_missing_is_denied(locked: Stores, login: str) -> None:
    store = _store_at(_with_login(locked, login))
    for ask in (store.head, store.version, store.durability):
        with pytest.raises(StoreDenied, match="refuses this login"):
            ask()
    store.close()


@pytest.mark.parametrize("login", [":wrong@", ""])
def test_a_denied_login_is_not_tried_again(locked: Stores, login: str) -> None:
    store = _store_at(_with_login(locked, login))
    before = _connections(locked)
    with pytest.raises(StoreDenied):
        store.head()
    store.close()
    assert _connections(locked) == before + 1


def test_a_full_server_refuses_the_chunk_and_keeps_the_head(real_stores: Stores) -> None:
    need_ours(real_stores)
    store = real_stores.open()
    lease = lead(store)
    publish(store, lease, 0, b"v0..")
    with _full(real_stores), pytest.raises(StoreUnreachable, match="maxmemory"):
        publish(store, lease, 1, b"v1..")
    publish(store, lease, 1, b"v1..")


def test_with_a_store_that_is_full_who_leads_stays_and_may_resign_and_nobody_begins(
    real_stores: Stores,
) -> None:
    need_ours(real_stores)
    store = real_stores.open()
    lease = lead(store)
    with _full(real_stores):
        assert store.renew(lease, 8.0)
        store.release(lease)
        with pytest.raises(StoreUnreachable, match="is full"):
            store.acquire("b", 8.0)
    assert store.acquire("b", 8.0)


def test_of_concurrent_committers_with_one_lease_exactly_one_wins(stores: Stores) -> None:
    lease = lead(stores.open())
    outcomes = _commit_at_once(stores, [lease] * 8)
    assert outcomes.count(None) == 1
    assert [type(each) for each in outcomes if each].count(VersionConflict) == 7
    totals = stores.open().totals()
    assert totals.accepted == 1


def test_of_concurrent_committers_only_the_holder_wins(stores: Stores) -> None:
    store = stores.open()
    lost = lead(store, "anna")
    store.release(lost)
    outcomes = _commit_at_once(stores, [lost, lead(store, "bert"), lost, lost])
    assert outcomes[1] is None
    assert all(isinstance(each, Fenced) for each in outcomes[:1] + outcomes[2:])


def test_of_concurrent_askers_exactly_one_gets_the_lease(stores: Stores) -> None:
    opened = [stores.open() for _ in range(8)]
    with ThreadPoolExecutor(len(opened)) as threads:
        asks = [threads.submit(each.acquire, f"asker-{n}", 60) for n, each in enumerate(opened)]
    leases = [ask.result() for ask in asks]
    assert [lease.fence for lease in leases if lease] == [1]


def test_scripts_that_the_server_forgot_are_loaded_again(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, b"v0..")
    stores.raw.script_flush()
    publish(store, lease, 1, b"v1..")
    stores.raw.script_flush()
    assert store.renew(lease, 60)


def test_a_connection_lost_between_two_commands_is_not_an_error(real_stores: Stores) -> None:
    store = real_stores.open()
    lease = lead(store)
    publish(store, lease, 0, b"v0..")
    real_stores.raw.client_kill_filter(_type="normal", skipme=True)
    publish(store, lease, 1, b"v1..")
    assert store.totals().accepted == 0


def test_a_confirmed_version_survives_a_power_cut(real_stores: Stores) -> None:
    need_ours(real_stores)
    store = real_stores.open()
    commit = publish(store, lead(store), 0, b"v0..", folds=(fold("anna:b:1"),))
    real_stores.server.kill()
    real_stores.server.start()
    head = store.head()
    assert head is not None
    assert head.manifest == commit.manifest.digest
    assert store.read(named(b"v0..")) == named(b"v0..")
    assert store.applied(["anna:b:1"]) == {"anna:b:1"}


def test_the_leader_goes_on_after_a_restart_of_the_server(real_stores: Stores) -> None:
    need_ours(real_stores)
    store = real_stores.open()
    lease = lead(store)
    publish(store, lease, 0, b"v0..")
    real_stores.server.restart()
    publish(store, lease, 1, b"v1..")
    assert store.holder() == lease


def test_a_server_that_comes_back_is_used_again(real_stores: Stores) -> None:
    need_ours(real_stores)
    store = real_stores.open()
    publish(store, lead(store), 0, b"v0..")
    real_stores.server.stop()
    try:
        with pytest.raises(StoreUnreachable):
            store.head()
    finally:
        real_stores.server.start()
    eventually(lambda: store.head() is not None, within_s=PATIENCE_S)


def test_a_frozen_server_is_unreachable_and_used_again_once_it_thaws(
    real_stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_ours(real_stores)
    monkeypatch.setattr(store_server, "SOCKET_TIMEOUT_S", 0.2)
    store = real_stores.open()
    publish(store, lead(store), 0, b"v0..")
    real_stores.server.freeze()
    try:
        with pytest.raises(StoreUnreachable, match="does not answer"):
            store.head()
    finally:
        real_stores.server.thaw()
    assert store.head() is not None


def test_a_commit_that_is_not_on_the_disk_yet_is_not_confirmed(
    real_stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_disk_answers(real_stores)
    monkeypatch.setattr(store_server, "FSYNC_TIMEOUT_MS", 50)
    store = real_stores.open()
    store.stage(named(b"v0.."))
    commit = commit_of(lead(store), Version(1, 0), b"v0..")
    real_stores.raw.config_set("appendfsync", "no")
    try:
        with pytest.raises(StoreUnreachable, match="to its disk in time"):
            store.commit(commit)
        # Over a new connection, which has written nothing else that it could wait for.
        with pytest.raises(StoreUnreachable, match="to its disk in time"):
            real_stores.open().commit(commit)
    finally:
        real_stores.raw.config_set("appendfsync", "always")
    real_stores.open().commit(commit)


def test_a_server_introduces_itself(stores: Stores) -> None:
    version = stores.open().version()
    assert version.startswith(("Redis ", "Valkey ", "embedded (fakeredis)"))


def test_a_real_server_is_called_what_it_is(real_stores: Stores) -> None:
    assert real_stores.open().version() == real_stores.server.name


def _store_at(url: str) -> RedisStore:
    client = connect(url, client_name="tests")
    return RedisStore(client, federation="tests", clock=ManualClock())


def _with_login(stores: Stores, login: str) -> str:
    parts = urlsplit(stores.server.url)
    return f"redis://{login}{parts.hostname}:{parts.port}"


def _connections(stores: Stores) -> int:
    """How many the server ever took."""
    return int(stores.raw.info("stats")["total_connections_received"])


def _commit_at_once(stores: Stores, leases: list[Lease]) -> list[LatecomerError | None]:
    """One commit of version 1.0 per lease, each by a store of its own; what became of each."""
    barrier = threading.Barrier(len(leases))

    def commit(number: int, store: RedisStore) -> LatecomerError | None:
        content = f"v{number:03}".encode()
        folds = (fold(f"worker-{number}:b:1"),)
        store.stage(named(content))
        barrier.wait(PATIENCE_S)
        try:
            store.commit(commit_of(leases[number], Version(1, 0), content, folds=folds))
        except LatecomerError as error:
            return error
        return None

    opened = [stores.open() for _ in leases]
    with ThreadPoolExecutor(len(leases)) as threads:
        return list(threads.map(commit, range(len(leases)), opened))
