"""Stores to hold to the contract, and the small federation that the tests keep in them."""

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import fakeredis
import pytest
import redis

from latecomer.clock import ManualClock
from latecomer.events import Staged, Version
from latecomer.store.keys import Keys
from latecomer.store.port import Commit, Fold, Lease, Manifest, Refusal
from latecomer.store.redis import RedisStore, connect, embedded
from latecomer.tensors import Kind, Layout, TensorSpec, content_address
from server import Server

#: What any answer of a healthy server may take on a busy machine.
PATIENCE_S = 20.0

#: Longer than any test: a lease that a test does not mean to lose is not lost.
LEASE_S = 600.0

#: For leases that a test waits to see expire.
MOMENT_S = 0.05

RETENTION_S = 3600.0

LEDGER_WINDOW_S = 1000.0

_commits = itertools.count()


class Stores:
    """One federation on one server, and as many stores of it as a test wants."""

    def __init__(self, server: Server | None) -> None:
        self.clock = ManualClock(1_000_000.0)
        self.federation = f"test-{uuid.uuid4().hex[:12]}"
        self.keys = Keys(self.federation)
        self._server = server
        self._fake = fakeredis.FakeServer()
        self._clients: list[redis.Redis] = []
        self.raw = self.client()

    @property
    def server(self) -> Server:
        """The real server."""
        assert self._server is not None, "only tests of real_stores ask for this"
        return self._server

    def client(self) -> redis.Redis:
        """A connection of its own, closed at the end of the test."""
        url = self._server.url if self._server else ""
        self._clients.append(connect(url, client_name="tests") if url else embedded(self._fake))
        return self._clients[-1]

    def open(
        self, *, retention_s: float = RETENTION_S, ledger_window_s: float = LEDGER_WINDOW_S
    ) -> RedisStore:
        """A store of this federation, as another process would open it."""
        return RedisStore(
            self.client(),
            federation=self.federation,
            clock=self.clock,
            retention_s=retention_s,
            ledger_window_s=ledger_window_s,
        )

    def left_s(self, key: str) -> float | None:
        """How long a key lives; None if for ever."""
        left_ms = int(str(self.raw.pttl(key)))
        assert left_ms != -2, f"{key} is gone"
        return None if left_ms == -1 else left_ms / 1000

    def clean(self) -> None:
        """Leave nothing on a server that others use too."""
        for key in self.raw.scan_iter(match=f"lc:{{{self.federation}}}:*", count=1000):
            self.raw.delete(key)
        for client in self._clients:
            client.close()


def need_ours(stores: Stores) -> None:
    """Skip where the server is somebody else's."""
    if not stores.server.ours:
        pytest.skip("not our server to restart or to reconfigure")


@contextmanager
def reconfigured(stores: Stores, name: str, value: str, *, usually: str) -> Iterator[None]:
    """A server of our own, set otherwise for a while."""
    need_ours(stores)
    stores.raw.config_set(name, value)
    try:
        yield
    finally:
        stores.raw.config_set(name, usually)


@contextmanager
def as_replica(stores: Stores) -> Iterator[None]:
    """A server of our own, which follows another one for a while, and takes no writes."""
    need_ours(stores)
    stores.raw.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        stores.raw.replicaof("NO", "ONE")


def need_disk_answers(stores: Stores) -> None:
    """Skip where the server is somebody else's, or has no WAITAOF."""
    need_ours(stores)
    if stores.server.name.startswith("Redis 7.0"):
        pytest.skip("this server cannot say what is on its disk")


def named(*contents: bytes) -> dict[str, bytes]:
    """Contents by their digests."""
    return {content_address(content): content for content in contents}


def manifest(version: Version, *contents: bytes, folds: tuple[Fold, ...] = ()) -> Manifest:
    """A version whose one tensor consists of these chunks."""
    size = sum(len(content) for content in contents) // 4
    return Manifest(
        version=version,
        previous=Version(version.epoch, version.number - 1) if version.number else None,
        layout=Layout((TensorSpec("weights", Kind.DENSE, (size,)),)),
        model={"weights": tuple(content_address(content) for content in contents)},
        folds=folds,
        at_s=1234.5,
    )


def fold(update_id: str, *, staleness: int = 0) -> Fold:
    """An update's part in a version; the worker is what comes before the colon."""
    worker = update_id.partition(":")[0]
    return Fold(update_id, worker, Version(1, 0), staleness, weight=1.0, examples=10)


def refuse(
    store: RedisStore,
    update_id: str,
    reason: str = "stale",
    detail: str = "17 > 16",
    payloads: Staged = frozenset(),
) -> bool:
    """As the leader does; the worker is what comes before the colon."""
    worker = update_id.partition(":")[0]
    return store.refuse(lead(store), Refusal(update_id, worker, reason, detail, payloads))


def commit_of(
    lease: Lease, version: Version, *contents: bytes, folds: tuple[Fold, ...] = ()
) -> Commit:
    """A commit of the version that follows, under a new id."""
    made = manifest(version, *contents, folds=folds)
    return Commit(f"commit-{next(_commits)}", lease, made.previous, made)


def publish(
    store: RedisStore,
    lease: Lease,
    number: int,
    *contents: bytes,
    folds: tuple[Fold, ...] = (),
    superseded: frozenset[str] = frozenset(),
    spent: frozenset[str] = frozenset(),
    payloads: Staged = frozenset(),
) -> Commit:
    """Stage and commit version 1.``number``."""
    store.stage(named(*contents))
    commit = commit_of(lease, Version(1, number), *contents, folds=folds)
    commit = replace(commit, superseded=superseded, spent=spent, payloads=payloads)
    store.commit(commit)
    return commit


def lead(store: RedisStore, owner: str = "leader") -> Lease:
    """A lease that holds for the whole test."""
    lease = store.acquire(owner, LEASE_S)
    assert lease is not None
    return lease
