"""What a store does when the network between it and its server fails: heads move exactly once."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from latecomer.errors import StoreUnreachable
from latecomer.events import Version
from latecomer.store import server as store_server
from latecomer.store.port import Commit, Lease
from latecomer.store.redis import RedisStore, connect
from proxy import FaultProxy
from server import eventually
from store_scene import (
    LEASE_S,
    PATIENCE_S,
    Stores,
    as_replica,
    commit_of,
    fold,
    lead,
    named,
    publish,
)

pytest_plugins = ["store_plugin"]

#: After a fault heals, commits succeed again within this.
HEALED_WITHIN_S = 30.0

#: Impatient, so that a test need not wait for four attempts of ten seconds.
SOCKET_TIMEOUT_S = 0.3

#: Two commands of four attempts each, the pauses in between, and a busy machine.
UNREACHABLE_WITHIN_S = 15.0

FAULTS: dict[str, Callable[[FaultProxy], None]] = {
    "latency": lambda proxy: proxy.latency(0.05, 0.05, seed=1),
    "more latency than patience": lambda proxy: proxy.latency(0.5, 0.2, seed=1),
    "silence to the server": lambda proxy: proxy.blackhole("up"),
    "silence from the server": lambda proxy: proxy.blackhole("down"),
    "reset mid-frame": FaultProxy.reset_mid_frame,
    "half open": FaultProxy.half_open,
    "trickle": lambda proxy: proxy.trickle(2000),
    "refused": FaultProxy.refuse,
}


@dataclass
class Line:
    """A leader's store by way of a proxy, and a witness who sees the server directly."""

    proxy: FaultProxy
    witness: RedisStore
    store: RedisStore = field(init=False)
    lease: Lease = field(init=False)

    def by_the_proxy(self, stores: Stores) -> RedisStore:
        """A store as another process would open it, with the patience of this moment."""
        client = connect(self.proxy.url_of(stores.server.url), client_name="tests")
        return RedisStore(client, federation=stores.federation, clock=stores.clock)

    def found(self) -> None:
        """Give the federation a leader and its first version."""
        self.lease = lead(self.store)
        publish(self.store, self.lease, 0, b"v0..")

    def version(self, number: int) -> tuple[bytes, Commit]:
        """A version that folds one update, and that may be committed again and again."""
        content = f"v{number}..".encode()
        folds = (fold(f"anna:b:{number}"),)
        return content, commit_of(self.lease, Version(1, number), content, folds=folds)

    def try_to_commit(self, content: bytes, commit: Commit) -> bool:
        """Whether it was confirmed; raises what is neither that nor StoreUnreachable."""
        try:
            self.store.stage(named(content))
            self.store.commit(commit)
        except StoreUnreachable:
            return False
        return True

    def committed(self) -> tuple[int, int]:
        """The head's number and how many updates were counted, as the witness sees them."""
        head = self.witness.head()
        assert head is not None
        return head.version.number, self.witness.totals().accepted


@pytest.fixture
def line(real_stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    witness = real_stores.open()
    monkeypatch.setattr(store_server, "SOCKET_TIMEOUT_S", SOCKET_TIMEOUT_S)
    with FaultProxy.before(real_stores.server.url) as proxy:
        line = Line(proxy, witness)
        line.store = line.by_the_proxy(real_stores)
        line.found()
        yield line
        line.store.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_head_moves_once_however_often_its_commit_is_tried(line: Line, fault: str) -> None:
    content, commit = line.version(1)
    FAULTS[fault](line.proxy)
    started_s = time.monotonic()
    confirmed = line.try_to_commit(content, commit)
    assert time.monotonic() - started_s < UNREACHABLE_WITHIN_S
    assert line.committed() in ({(1, 1)} if confirmed else {(0, 0), (1, 1)})
    line.proxy.heal()
    eventually(lambda: line.try_to_commit(content, commit), within_s=HEALED_WITHIN_S)
    assert line.committed() == (1, 1)
    assert line.try_to_commit(*line.version(2))
    assert line.committed() == (2, 2)


@pytest.mark.parametrize("fault", ["silence to the server", "silence from the server", "half open"])
def test_a_server_that_never_answers_is_tried_four_times_and_not_four_times_four(
    line: Line, real_stores: Stores, fault: str
) -> None:
    FAULTS[fault](line.proxy)
    store, before = line.by_the_proxy(real_stores), line.proxy.accepted
    with pytest.raises(StoreUnreachable):
        store.head()
    # Each of them was waited for; of a real server, for ten seconds.
    assert line.proxy.accepted - before == 4
    store.close()


def test_a_commit_whose_reply_was_lost_is_repeated_and_counts_once(
    line: Line, real_stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_server, "SOCKET_TIMEOUT_S", PATIENCE_S)
    store = line.by_the_proxy(real_stores)
    content, commit = line.version(1)
    store.stage(named(content))
    line.proxy.latency(1.0)
    with ThreadPoolExecutor(1) as thread:
        committing = thread.submit(store.commit, commit)
        # The server has moved its head, and says so to nobody before a second has passed.
        eventually(lambda: line.committed() == (1, 1), within_s=PATIENCE_S)
        line.proxy.refuse()
        with pytest.raises(StoreUnreachable):
            committing.result()
    line.proxy.heal()
    store.commit(commit)
    assert line.committed() == (1, 1)
    store.close()


def test_commits_that_a_network_delivers_late_change_nothing(line: Line) -> None:
    content, commit = line.version(1)
    line.store.stage(named(content))
    line.proxy.blackhole("up")
    with pytest.raises(StoreUnreachable):
        line.store.commit(commit)
    # Over another path the leader goes on, while its former commands are still under way.
    line.witness.commit(commit)
    publish(line.witness, line.lease, 2, b"v2..")
    line.proxy.heal()
    eventually(lambda: line.store.holder() == line.lease, within_s=HEALED_WITHIN_S)
    assert line.committed() == (2, 1)


def test_a_lease_is_kept_through_a_fault_that_no_reset_ends(line: Line) -> None:
    line.proxy.half_open()
    with pytest.raises(StoreUnreachable):
        line.store.renew(line.lease, LEASE_S)
    line.proxy.heal(resets=False)
    assert line.store.renew(line.lease, LEASE_S)
    assert line.witness.holder() == line.lease


def test_a_flushed_server_ends_every_lease_and_has_no_head(line: Line, real_stores: Stores) -> None:
    if not real_stores.server.ours:
        pytest.skip("not our server to flush")
    real_stores.server.flush()
    assert not line.store.renew(line.lease, LEASE_S)
    assert line.store.head() is None
    line.found()
    assert line.committed() == (0, 0)


def test_who_finds_that_the_server_is_a_replica_now_looks_where_its_address_leads(
    line: Line, real_stores: Stores
) -> None:
    """A failover closes no connection; behind a stable address, another server is the primary."""
    if not real_stores.server.ours:
        pytest.skip("a server that was given to us is made nobody's replica")
    before = line.proxy.accepted
    line.store.head()
    assert line.proxy.accepted == before
    with as_replica(real_stores):
        with pytest.raises(StoreUnreachable, match="is a replica now"):
            line.store.renew(line.lease, LEASE_S)
        line.store.head()
        assert line.proxy.accepted == before + 1
    assert line.store.renew(line.lease, LEASE_S)
