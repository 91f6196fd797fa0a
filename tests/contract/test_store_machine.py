"""Any sequence of acquiring, expiring, committing and repeating keeps the laws of the head."""

from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from latecomer.errors import Fenced, VersionConflict
from latecomer.events import Version
from latecomer.store.port import Commit, Lease
from store_scene import LEASE_S, Stores, commit_of, fold, named

OWNERS = st.sampled_from(["anna", "bert", "carl"])


class Leaders(RuleBasedStateMachine):
    """Aggregators that lose leases without knowing it, against a model of who may do what."""

    leases: ClassVar[Bundle[Lease]] = Bundle("leases")
    done: ClassVar[Bundle[Commit]] = Bundle("done")

    def __init__(self) -> None:
        super().__init__()
        self.scene = Stores(None)
        self.store = self.scene.open()
        self.holder: Lease | None = None
        self.fences = 0
        self.head: Version | None = None
        self.last_commit = ""
        self.folded = 0

    @rule(target=leases, owner=OWNERS)
    def acquire(self, owner: str) -> Lease:
        lease = self.store.acquire(owner, LEASE_S)
        if self.holder is None:
            self.fences += 1
            self.holder = Lease(owner, self.fences)
        assert lease == (self.holder if self.holder.owner == owner else None)
        return lease or Lease(owner, 0)

    @rule()
    def expire(self) -> None:
        self.scene.raw.delete(self.scene.keys.lease)
        self.holder = None

    @rule(lease=leases)
    def renew(self, lease: Lease) -> None:
        assert self.store.renew(lease, LEASE_S) is (lease == self.holder)

    @rule(lease=leases)
    def release(self, lease: Lease) -> None:
        self.store.release(lease)
        if lease == self.holder:
            self.holder = None

    @rule(target=done, lease=leases, behind=st.integers(0, 2))
    def commit(self, lease: Lease, behind: int) -> Commit:
        number = max(0, (-1 if self.head is None else self.head.number) + 1 - behind)
        version = Version(1, number)
        content = f"{lease.owner}{number:04}".encode()
        update = fold(f"{lease.owner}:b:{self.folded + 1}")
        commit = commit_of(lease, version, content, folds=(update,))
        self.store.stage(named(content))
        if lease != self.holder:
            with pytest.raises(Fenced):
                self.store.commit(commit)
        elif commit.expected != self.head:
            with pytest.raises(VersionConflict):
                self.store.commit(commit)
        else:
            self.store.commit(commit)
            self.head, self.last_commit = version, commit.commit_id
            self.folded += 1
        return commit

    @rule(commit=consumes(done))
    def repeat(self, commit: Commit) -> None:
        """A lost reply: harmless for the newest version, refused for everything else."""
        if commit.commit_id == self.last_commit:
            self.store.commit(commit)
        elif commit.lease != self.holder:
            with pytest.raises(Fenced):
                self.store.commit(commit)
        elif commit.expected != self.head:
            with pytest.raises(VersionConflict):
                self.store.commit(commit)

    @invariant()
    def the_head_is_the_last_commit_that_succeeded(self) -> None:
        head = self.store.head()
        assert (head and head.version) == self.head
        if head is not None:
            assert self.store.manifest(head.version).digest == head.manifest

    @invariant()
    def each_version_counted_its_one_update(self) -> None:
        assert self.store.totals().accepted == self.folded

    @invariant()
    def the_holder_is_who_acquired_last(self) -> None:
        assert self.store.holder() == self.holder

    def teardown(self) -> None:
        self.scene.clean()


TestLeaders = Leaders.TestCase
TestLeaders.settings = settings(max_examples=60, stateful_step_count=25)
