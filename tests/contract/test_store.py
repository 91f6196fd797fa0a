"""What every store promises about versions: visible completely or not at all, never going back."""

from dataclasses import replace
from typing import Any

import pytest
from redis.client import Pipeline

from latecomer.errors import ChunkMissing, StagedMissing, VersionConflict
from latecomer.events import Version
from latecomer.store.port import Head
from latecomer.store.redis import SPENT_MS
from latecomer.tensors import content_address
from store_scene import RETENTION_S, Stores, commit_of, fold, lead, manifest, named, publish

pytest_plugins = ["store_plugin"]

RED, GREEN, BLUE = b"red.", b"green...", b"blue"


def test_an_empty_store_has_no_head(stores: Stores) -> None:
    assert stores.open().head() is None


def test_a_commit_moves_the_head_and_names_its_manifest(stores: Stores) -> None:
    store = stores.open()
    commit = publish(store, lead(store), 0, RED)
    expected = Head(Version(1, 0), commit.manifest.digest, 1234.5)
    assert store.head() == expected
    assert stores.open().head() == expected


def test_a_committed_manifest_reads_back_as_it_was(stores: Stores) -> None:
    store = stores.open()
    commit = publish(store, lead(store), 0, RED, GREEN, folds=(fold("anna:b:1"),))
    assert stores.open().manifest(Version(1, 0)) == commit.manifest


def test_committed_chunks_read_back_and_never_expire(stores: Stores) -> None:
    store = stores.open()
    publish(store, lead(store), 0, RED, GREEN)
    assert store.read(named(RED, GREEN)) == named(RED, GREEN)
    assert stores.left_s(stores.keys.chunk(content_address(RED))) is None
    assert stores.left_s(stores.keys.manifest(Version(1, 0))) is None


def test_what_is_staged_but_not_committed_leaves_the_head_alone_and_expires(
    stores: Stores,
) -> None:
    store = stores.open()
    commit = publish(store, lead(store), 0, RED)
    store.stage(named(GREEN))
    head = store.head()
    assert head is not None
    assert head.manifest == commit.manifest.digest
    left_s = stores.left_s(stores.keys.chunk(content_address(GREEN)))
    assert left_s is not None
    assert 800 < left_s <= 900


def test_chunks_may_be_staged_as_views_of_arrays(stores: Stores) -> None:
    store = stores.open()
    store.stage({content_address(RED): memoryview(RED)})
    assert store.read([content_address(RED)]) == named(RED)


def test_staging_again_starts_the_expiry_anew(stores: Stores) -> None:
    store, key = stores.open(), stores.keys.chunk(content_address(RED))
    store.stage(named(RED))
    stores.raw.expire(key, 5)
    store.stage(named(RED))
    left_s = stores.left_s(key)
    assert left_s is not None
    assert left_s > 800


def test_staging_a_chunk_that_the_head_needs_does_not_make_it_expire(stores: Stores) -> None:
    store = stores.open()
    publish(store, lead(store), 0, RED)
    store.stage(named(RED))
    assert stores.left_s(stores.keys.chunk(content_address(RED))) is None


def test_a_zombie_that_stages_what_the_leader_just_committed_gives_it_no_expiry(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, zombie = stores.open(), stores.open()
    lease = lead(leader)
    look = Pipeline.execute

    def look_and_be_paused(pipe: Pipeline) -> list[Any]:
        seen = look(pipe)
        monkeypatch.undo()
        publish(leader, lease, 0, RED)
        return seen

    monkeypatch.setattr(Pipeline, "execute", look_and_be_paused)
    zombie.stage(named(RED))
    assert leader.head() is not None
    assert stores.left_s(stores.keys.chunk(content_address(RED))) is None


def test_staging_nothing_and_reading_nothing_are_no_errors(stores: Stores) -> None:
    store = stores.open()
    store.stage({})
    assert store.read([]) == {}


def test_more_chunks_than_are_in_flight_at_once_all_arrive(stores: Stores) -> None:
    store = stores.open()
    chunks = named(*(f"chunk {number}".encode() for number in range(11)))
    store.stage(chunks)
    assert store.read(chunks) == chunks


def test_a_commit_whose_staged_chunk_expired_changes_nothing(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, RED)
    store.stage(named(GREEN, BLUE))
    stores.raw.delete(stores.keys.chunk(content_address(BLUE)))
    commit = commit_of(lease, Version(1, 1), GREEN, BLUE, folds=(fold("anna:b:1"),))

    with pytest.raises(StagedMissing, match=content_address(BLUE)):
        store.commit(commit)

    head = store.head()
    assert head is not None
    assert head.version == Version(1, 0)
    assert store.applied(["anna:b:1"]) == frozenset()
    assert store.totals().accepted == 0
    with pytest.raises(ChunkMissing):
        store.manifest(Version(1, 1))


def test_the_commit_succeeds_once_the_chunk_is_staged_again(stores: Stores) -> None:
    store = stores.open()
    commit = commit_of(lead(store), Version(1, 0), RED)
    with pytest.raises(StagedMissing):
        store.commit(commit)
    store.stage(named(RED))
    store.commit(commit)
    assert store.read([content_address(RED)]) == named(RED)


def test_a_repeated_commit_succeeds_and_changes_nothing(stores: Stores) -> None:
    store = stores.open()
    commit = publish(store, lead(store), 0, RED, folds=(fold("anna:b:1"),))
    before = store.head(), store.totals(), store.fleet()
    stores.clock.advance(60)
    stores.open().commit(commit)
    assert (store.head(), store.totals(), store.fleet()) == before


def test_a_repeated_commit_succeeds_even_after_the_lease_was_released(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    commit = publish(store, lease, 0, RED)
    store.release(lease)
    store.commit(commit)


def test_a_commit_computed_from_an_older_head_is_a_conflict(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, RED)
    publish(store, lease, 1, RED)
    with pytest.raises(VersionConflict, match=r"the head is 1\.1, not 1\.0"):
        publish(store, lease, 1, GREEN)
    with pytest.raises(VersionConflict, match=r"the head is 1\.1, not None"):
        publish(store, lease, 0, GREEN)


def test_a_commit_computed_from_a_head_that_is_not_there_is_a_conflict(stores: Stores) -> None:
    store = stores.open()
    with pytest.raises(VersionConflict, match=r"the head is none, not 1\.4"):
        publish(store, lead(store), 5, RED)
    assert store.head() is None


@pytest.mark.parametrize(
    "version", [Version(1, 0), Version(1, 2), Version(0, 0), Version(0, 1), Version(2, 1)]
)
def test_a_version_must_be_the_one_that_follows(stores: Stores, version: Version) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, RED)
    commit = replace(commit_of(lease, version, RED), expected=Version(1, 0))
    with pytest.raises(VersionConflict, match="does not follow"):
        store.commit(commit)


def test_the_very_first_version_has_number_0(stores: Stores) -> None:
    store = stores.open()
    store.stage(named(RED))
    commit = replace(commit_of(lead(store), Version(1, 1), RED), expected=None)
    with pytest.raises(VersionConflict, match="does not follow"):
        store.commit(commit)


def test_a_new_epoch_starts_at_0_over_the_old_head(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, RED)
    commit = replace(commit_of(lease, Version(2, 0), RED), expected=Version(1, 0))
    store.commit(commit)
    head = store.head()
    assert head is not None
    assert head.version == Version(2, 0)


def test_a_flushed_store_starts_over_with_a_new_epoch(stores: Stores) -> None:
    store = stores.open()
    publish(store, lead(store), 0, RED)
    for key in stores.raw.scan_iter(match=f"lc:{{{stores.federation}}}:*"):
        stores.raw.delete(key)
    assert store.head() is None
    store.stage(named(RED))
    store.commit(commit_of(lead(store), Version(2, 0), RED))
    head = store.head()
    assert head is not None
    assert head.version == Version(2, 0)


def test_between_two_versions_only_the_changed_chunks_are_new(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, RED, GREEN)
    publish(store, lease, 1, RED, BLUE)
    old, new = store.manifest(Version(1, 0)), store.manifest(Version(1, 1))
    assert new.chunks() - old.chunks() == {content_address(BLUE)}
    assert store.read(new.chunks() - old.chunks()) == named(BLUE)


def test_what_is_superseded_lives_for_the_retention_time(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, RED)
    publish(store, lease, 1, GREEN, superseded=frozenset({content_address(RED), "1.0"}))
    for key in (stores.keys.chunk(content_address(RED)), stores.keys.manifest(Version(1, 0))):
        left_s = stores.left_s(key)
        assert left_s is not None
        assert RETENTION_S - 60 < left_s <= RETENTION_S
    assert store.read(named(RED)) == named(RED)
    assert store.manifest(Version(1, 0)) == manifest(Version(1, 0), RED)


def test_what_only_aggregators_read_is_soon_gone(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, RED, BLUE)
    spent, superseded = frozenset({content_address(BLUE)}), frozenset({content_address(RED), "1.0"})
    publish(store, lease, 1, GREEN, superseded=superseded, spent=spent)
    left_s = stores.left_s(stores.keys.chunk(content_address(BLUE)))
    assert left_s is not None
    assert 0 < left_s <= SPENT_MS / 1000
    kept_s = stores.left_s(stores.keys.chunk(content_address(RED)))
    assert kept_s is not None
    assert kept_s > RETENTION_S - 60


def test_a_superseded_version_is_gone_after_the_retention_time(stores: Stores) -> None:
    store = stores.open(retention_s=0)
    lease = lead(store)
    publish(store, lease, 0, RED)
    publish(store, lease, 1, GREEN, superseded=frozenset({content_address(RED), "1.0"}))
    with pytest.raises(ChunkMissing, match=r"1\.0"):
        store.manifest(Version(1, 0))
    with pytest.raises(ChunkMissing, match=content_address(RED)):
        store.read([content_address(RED)])


def test_a_superseded_chunk_that_comes_back_does_not_expire(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, RED)
    publish(store, lease, 1, GREEN, superseded=frozenset({content_address(RED)}))
    publish(store, lease, 2, RED, superseded=frozenset({content_address(GREEN)}))
    assert stores.left_s(stores.keys.chunk(content_address(RED))) is None


def test_a_chunk_that_is_needed_and_called_superseded_stays(stores: Stores) -> None:
    store = stores.open()
    publish(store, lead(store), 0, RED, superseded=frozenset({content_address(RED)}))
    assert stores.left_s(stores.keys.chunk(content_address(RED))) is None


def test_staging_never_shortens_what_retention_promised(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, RED)
    publish(store, lease, 1, GREEN, superseded=frozenset({content_address(RED)}))
    store.stage(named(RED))
    left_s = stores.left_s(stores.keys.chunk(content_address(RED)))
    assert left_s is not None
    assert left_s > RETENTION_S - 60


def test_a_damaged_chunk_is_an_error_and_never_returned(stores: Stores) -> None:
    store = stores.open()
    publish(store, lead(store), 0, RED, GREEN)
    stores.raw.set(stores.keys.chunk(content_address(RED)), b"rad.")
    with pytest.raises(ChunkMissing, match=f"{content_address(RED)} is damaged"):
        store.read(named(RED, GREEN))


def test_a_chunk_that_is_gone_is_named(stores: Stores) -> None:
    with pytest.raises(ChunkMissing, match=f"{content_address(RED)} is gone"):
        stores.open().read([content_address(RED)])


def test_federations_on_one_server_do_not_see_each_other(stores: Stores) -> None:
    store = stores.open()
    publish(store, lead(store), 0, RED)
    stores.federation = f"{stores.federation}-2"
    assert stores.open().head() is None
    assert stores.open().holder() is None
