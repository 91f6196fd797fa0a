"""Where the parts of a version lie, and what is none."""

import numpy as np
import pytest

from latecomer.errors import LayoutMismatch
from latecomer.events import Version
from latecomer.store.chunks import WITHHELD
from latecomer.store.keys import Keys
from latecomer.store.port import Commit
from latecomer.store.redis import RedisStore, embedded
from latecomer.wire import messages
from scenes import EPOCH, FEDERATION, LAYOUT, Federation, make_update, step
from unit.aggregator.test_payloads import send


def test_what_an_optimiser_remembers_lies_where_no_worker_may_read() -> None:
    """It is made of what single workers sent; also that of a version that is over."""
    scene = Federation(mode="fedasync", optimizer={"name": "adamw"})
    scene.found()
    coordinator = scene.coordinator()
    for number in range(2):
        scene.send(make_update("w1", number, base=Version(EPOCH, number)))
        step(coordinator, 2)
    assert scene.number() == 2
    for number in range(3):
        manifest = scene.store.manifest(Version(EPOCH, number))
        names = {name for tensor in manifest.optimizer.values() for name in tensor}
        assert names
        assert all(name.startswith(WITHHELD) for name in names)
        assert not names & manifest.fetched()


def test_no_federation_is_founded_on_a_model_that_its_layout_does_not_fit() -> None:
    scene = Federation()
    short = {**LAYOUT.zeros(), "net": np.zeros(1, np.float32)}
    with pytest.raises(LayoutMismatch):
        scene.found(model=short)
    assert scene.store.head() is None


class Noting(RedisStore):
    """A store that notes what it is to commit."""

    def __init__(self, scene: Federation) -> None:
        super().__init__(embedded(scene.redis), federation=FEDERATION, clock=scene.clock)
        self.commits: list[Commit] = []

    def commit(self, commit: Commit) -> None:
        self.commits.append(commit)
        super().commit(commit)


def test_a_commit_tells_and_deletes_what_is_its_own_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others told and left before may be newer by now, or needed again."""
    monkeypatch.setattr(messages, "MAX_INLINE_BYTES", 0)
    scene = Federation()
    scene.found()
    store = Noting(scene)
    coordinator = scene.coordinator(store=store)
    for workers in (("w1", "w2"), ("w3", "w4")):
        send(scene, *(make_update(worker) for worker in workers))
        step(coordinator, 2)
    first, second = store.commits
    assert [set(each.reports) for each in (first, second)] == [{"w1", "w2"}, {"w3", "w4"}]
    assert {worker for worker, _ in first.payloads} == {"w1", "w2"}
    assert {worker for worker, _ in second.payloads} == {"w3", "w4"}


def test_another_version_of_the_same_number_is_another_commit() -> None:
    """Else a zombie would take its successor's version for its own, made at the second try."""
    commits = list[Commit]()
    for worker in ("w1", "w2", "w2"):
        scene = Federation(mode="fedasync")
        scene.found()
        store = Noting(scene)
        scene.send(make_update(worker))
        step(scene.coordinator(store=store), 2)
        commits += store.commits
    assert len({each.manifest.version for each in commits}) == 1
    first, other, same = (each.commit_id for each in commits)
    assert first != other == same


def test_of_a_version_that_is_over_the_manifest_goes_too() -> None:
    scene = Federation(mode="fedasync")
    scene.found()
    coordinator = scene.coordinator()
    scene.send(make_update("w1"))
    step(coordinator, 2)
    keys, redis = Keys(FEDERATION), embedded(scene.redis)
    left_s = [redis.ttl(keys.manifest(Version(EPOCH, number))) for number in range(2)]
    assert left_s == [1200, -1]
