import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latecomer.errors import ChunkMissing, DiskTrouble, StoreUnreachable
from latecomer.events import Version
from latecomer.store import chunks
from latecomer.store.port import Head
from latecomer.store.redis import RedisStore, embedded
from latecomer.tensors import Kind, digest
from latecomer_worker.fetch import ChunkCache, Snapshot, fetch, head_model
from scenes import (
    CATALOGUE,
    EPOCH,
    FEDERATION,
    LAYOUT,
    Federation,
    make_recipe,
    make_update,
    net,
    rows,
    step,
)


class CountingStore(RedisStore):
    """A store that notes which chunks were asked for, and goes away after ``last`` of them."""

    def __init__(self, scene: Federation, *, last: int | None = None) -> None:
        super().__init__(embedded(scene.redis), federation=FEDERATION, clock=scene.clock)
        self.asked: list[str] = []
        self.last = last

    def read(self, digests: Iterable[str]) -> dict[str, bytes]:
        names = sorted(digests)
        if self.last is not None and len(self.asked) + len(names) > self.last:
            raise StoreUnreachable("the line went dead")
        self.asked += names
        return super().read(names)


@pytest.fixture
def scene() -> Federation:
    scene = Federation(mode="fedasync")
    rng = np.random.default_rng(1)
    scene.found(
        model={each.name: rng.normal(size=each.shape).astype(np.float32) for each in LAYOUT}
    )
    return scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "chunks"


def head_of(scene: Federation) -> Head:
    head = scene.store.head()
    assert head is not None
    return head


def fetched(store: RedisStore, scene: Federation, folder: Path) -> Snapshot:
    head = head_of(scene)
    return fetch(store, head.version, head.manifest, ChunkCache(folder))


def test_a_new_device_fetches_everything_and_gets_the_model(
    scene: Federation, folder: Path
) -> None:
    store = CountingStore(scene)
    snapshot = fetched(store, scene, folder)
    assert snapshot.version == Version(EPOCH, 0)
    assert (snapshot.recipe, snapshot.catalogue) == (scene.recipe.to_bytes(), CATALOGUE)
    assert snapshot.model.keys() == LAYOUT.held.zeros().keys()
    for name, array in snapshot.model.items():
        np.testing.assert_array_equal(array, scene.model()[name])
    assert len(store.asked) == 4


def test_what_is_added_up_stays_with_the_aggregator(scene: Federation, folder: Path) -> None:
    store = CountingStore(scene)
    assert "seen" not in fetched(store, scene, folder).model
    assert LAYOUT["seen"].kind is Kind.SUM
    assert not set(scene.manifest().model["seen"]) & set(store.asked)


def test_halved_versions_are_fetched_as_float16_and_the_truth_stays_float32(folder: Path) -> None:
    recipe = make_recipe(mode="fedasync")
    halved = recipe.compression.model_copy(update={"download": "float16"})
    scene = Federation(recipe.model_copy(update={"compression": halved}))
    rng = np.random.default_rng(1)
    drawn = {each.name: rng.normal(size=each.shape).astype(np.float32) for each in LAYOUT}
    drawn["net"] = np.array([1e6, 1 / 3], np.float32)
    scene.found(model=drawn)
    coordinator = scene.coordinator()
    for number in range(2):
        store = CountingStore(scene)
        snapshot = fetched(store, scene, folder)
        manifest = scene.manifest()
        truth = scene.model()
        assert snapshot.version == Version(EPOCH, number)
        assert manifest.halves.keys() == LAYOUT.held.zeros().keys()
        assert not {name for names in manifest.model.values() for name in names} & set(store.asked)
        for name, array in snapshot.model.items():
            assert array.dtype == np.float32
            finite = np.clip(truth[name], -65504, 65504)
            np.testing.assert_array_equal(array, finite.astype(np.float16))
            stored = store.read(manifest.halves[name]).values()
            assert sum(map(len, stored)) == 2 * array.size
        scene.send(make_update("w1", number, base=snapshot.version, delta=net(0.0, 1e-5)))
        step(coordinator, 3)
    # Less than float16 can tell apart, and not lost: it adds up in float32.
    moved = drawn["net"][1] + np.float32(1e-5) + np.float32(1e-5)
    assert scene.model()["net"].tolist() == [1e6, moved]


def test_only_what_changed_is_downloaded(scene: Federation, folder: Path) -> None:
    store = CountingStore(scene)
    fetched(store, scene, folder)
    store.asked.clear()
    scene.send(make_update(delta=rows({2: (1.0, 1.0)})))
    step(scene.coordinator())
    snapshot = fetched(store, scene, folder)
    assert store.asked == list(snapshot.manifest.model["items"])
    np.testing.assert_array_equal(snapshot.model["items"], scene.model()["items"])


def test_a_version_that_is_here_is_not_downloaded_again(scene: Federation, folder: Path) -> None:
    store = CountingStore(scene)
    fetched(store, scene, folder)
    store.asked.clear()
    fetched(store, scene, folder)
    assert store.asked == []


def test_the_server_optimisers_state_stays_there(folder: Path) -> None:
    scene = Federation(mode="fedasync", optimizer={"name": "adamw"})
    scene.found()
    scene.send(make_update(delta=net(1.0, 2.0)))
    step(scene.coordinator())
    snapshot = fetched(CountingStore(scene), scene, folder)
    slots = {name for names in snapshot.manifest.optimizer.values() for name in names}
    model = {name for names in snapshot.manifest.model.values() for name in names}
    assert slots - model
    assert not (slots - model) & {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("damage", [b"", b"rotten", None])
def test_a_damaged_file_is_as_good_as_none(
    scene: Federation, folder: Path, damage: bytes | None
) -> None:
    store = CountingStore(scene)
    name = fetched(store, scene, folder).manifest.model["net"][0]
    store.asked.clear()
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1] + b"\xee" if damage is None else damage)
    snapshot = fetched(store, scene, folder)
    assert store.asked == [name]
    assert (folder / name).read_bytes() == whole
    np.testing.assert_array_equal(snapshot.model["net"], scene.model()["net"])


def test_a_file_that_cannot_be_read_is_as_good_as_none(
    scene: Federation, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CountingStore(scene)
    name = fetched(store, scene, folder).manifest.model["net"][0]
    store.asked.clear()
    whole = Path.read_bytes

    def worn(path: Path) -> bytes:
        if path.name == name:
            raise OSError(errno.EIO, "Input/output error")
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", worn)
    snapshot = fetched(store, scene, folder)
    assert store.asked == [name]
    np.testing.assert_array_equal(snapshot.model["net"], scene.model()["net"])


def test_what_another_process_is_writing_stays(scene: Federation, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "abc.partial").write_bytes(b"half a chunk")
    fetched(scene.store, scene, folder)
    assert (folder / "abc.partial").exists()


def test_the_cache_holds_one_version(scene: Federation, folder: Path) -> None:
    store = CountingStore(scene)
    coordinator = scene.coordinator()
    for seq in range(3):
        fetched(store, scene, folder)
        scene.send(make_update(seq=seq, delta=net(1.0, 1.0)))
        step(coordinator)
    crashed = folder / "abc.partial"
    crashed.write_bytes(b"from a crash, long ago")
    os.utime(crashed, (0, 0))
    manifest = fetched(store, scene, folder).manifest
    needed = {name for spec in LAYOUT.held for name in manifest.model[spec.name]}
    assert {path.name for path in folder.iterdir()} == needed | {
        manifest.recipe,
        manifest.catalogue,
        manifest.digest,
    }


def test_who_only_looks_at_a_version_leaves_the_one_to_fall_back_on(
    scene: Federation, folder: Path
) -> None:
    own = fetched(scene.store, scene, folder).manifest
    scene.send(make_update(delta=net(1.0, 1.0)))
    step(scene.coordinator())
    head = head_of(scene)
    fetch(scene.store, head.version, head.manifest, ChunkCache(folder), kept=own.digest)
    scene.redis.connected = False
    again = fetch(scene.store, own.version, own.digest, ChunkCache(folder))
    assert again.version == own.version


def test_who_only_looks_leaves_what_the_worker_went_on_to_meanwhile(
    scene: Federation, folder: Path
) -> None:
    own = fetched(scene.store, scene, folder).manifest
    looked_at, coordinator = head_of(scene), scene.coordinator()
    scene.send(make_update(delta=net(1.0, 1.0)))
    step(coordinator)
    newer = fetched(scene.store, scene, folder).manifest
    long_ago = folder / ("0" * 32)
    long_ago.write_bytes(b"of a version that nobody has")
    os.utime(long_ago, (0, 0))
    fetch(scene.store, looked_at.version, looked_at.manifest, ChunkCache(folder), kept=own.digest)
    scene.redis.connected = False
    again = fetch(scene.store, newer.version, newer.digest, ChunkCache(folder), kept=own.digest)
    assert again.version == newer.version > own.version
    assert not long_ago.exists()


def test_a_version_that_is_here_as_a_whole_needs_no_store(scene: Federation, folder: Path) -> None:
    head = head_of(scene)
    there = fetched(scene.store, scene, folder)
    scene.redis.connected = False
    again = fetch(scene.store, head.version, head.manifest, ChunkCache(folder))
    assert again.manifest == there.manifest
    assert {name: array.tobytes() for name, array in again.model.items()} == {
        name: array.tobytes() for name, array in there.model.items()
    }


def test_a_version_that_has_expired_is_missing(scene: Federation, folder: Path) -> None:
    head = head_of(scene)
    embedded(scene.redis).delete(f"lc:{{{FEDERATION}}}:m:{head.version}")
    with pytest.raises(ChunkMissing):
        fetch(scene.store, head.version, head.manifest, ChunkCache(folder))


def test_a_version_whose_chunks_expired_meanwhile_is_missing(
    scene: Federation, folder: Path
) -> None:
    name = scene.manifest().model["net"][0]
    embedded(scene.redis).delete(f"lc:{{{FEDERATION}}}:b:{name}")
    with pytest.raises(ChunkMissing):
        fetched(scene.store, scene, folder)


def test_a_version_that_is_not_what_was_announced_is_not_used(
    scene: Federation, folder: Path
) -> None:
    with pytest.raises(ChunkMissing, match="not the one that was announced"):
        fetch(scene.store, head_of(scene).version, "0" * 32, ChunkCache(folder))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("held", [None, ""])
def test_what_was_downloaded_before_the_line_went_dead_is_kept(
    monkeypatch: pytest.MonkeyPatch, folder: Path, held: str | None
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4)
    scene = Federation()
    rng = np.random.default_rng(1)
    scene.found(
        model={each.name: rng.normal(size=each.shape).astype(np.float32) for each in LAYOUT}
    )
    needed, head, cache = 4 + 2 + 2, head_of(scene), ChunkCache(folder)
    with pytest.raises(StoreUnreachable):
        fetch(CountingStore(scene, last=needed - 1), head.version, head.manifest, cache, held=held)
    kept = len(list(folder.iterdir())) - 1  # the manifest
    assert kept >= needed // 2
    store = CountingStore(scene)
    snapshot = fetch(store, head.version, head.manifest, cache, held=held)
    assert len(store.asked) == needed - kept
    np.testing.assert_array_equal(snapshot.model["items"], scene.model()["items"])


def test_over_a_line_too_slow_for_any_version_the_cache_does_not_grow(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4)
    scene = Federation(mode="fedasync")
    scene.found()
    here, cache = fetched(scene.store, scene, folder), ChunkCache(folder)
    held = {path.name for path in folder.iterdir()}
    coordinator, rng = scene.coordinator(), np.random.default_rng(1)
    for seq in range(5):
        moved = {row: tuple(rng.normal(size=2)) for row in range(LAYOUT["items"].shape[0])}
        scene.send(make_update(seq=seq, delta=rows(moved) | net(*rng.normal(size=2))))
        step(coordinator)
        head = head_of(scene)
        with pytest.raises(StoreUnreachable):
            fetch(
                CountingStore(scene, last=4),
                head.version,
                head.manifest,
                cache,
                held=here.manifest.digest,
            )
        left = {path.name for path in folder.iterdir()}
        assert held < left
        assert len(left - held) <= 4 + 1  # the manifest
    again = fetch(scene.store, here.version, here.manifest.digest, cache)
    assert again.manifest == here.manifest


def test_a_full_disk_is_made_no_fuller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ChunkCache(folder)

    def full(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskTrouble, match="No space left"):
        cache.put("0" * 32, b"chunk")
    assert list(folder.iterdir()) == []


def test_a_folder_that_went_away_is_trouble_that_passes(folder: Path) -> None:
    cache = ChunkCache(folder)
    folder.rmdir()
    with pytest.raises(DiskTrouble, match="No such file"):
        cache.put("0" * 32, b"chunk")


@pytest.mark.parametrize("name", ["/dev/zero", "../state.sqlite", "", "0" * 33])
def test_a_manifest_names_chunks_and_no_other_files(folder: Path, name: str) -> None:
    with pytest.raises(ChunkMissing, match="names no chunk"):
        ChunkCache(folder).get(name)


def test_a_manifest_of_a_later_release_is_the_one_that_was_announced(
    scene: Federation, folder: Path
) -> None:
    client, head = embedded(scene.redis), head_of(scene)
    key = f"lc:{{{FEDERATION}}}:m:{head.version}"
    raw: Any = client.get(key)
    later = json.dumps(json.loads(raw) | {"to_come": 1}).encode()
    client.set(key, later)
    snapshot = fetch(scene.store, head.version, digest(later), ChunkCache(folder))
    assert snapshot.manifest.layout == LAYOUT
    again = fetch(scene.store, head.version, digest(later), ChunkCache(folder))
    assert again.manifest == snapshot.manifest


def test_a_version_is_judged_as_workers_hold_it(folder: Path) -> None:
    """Where downloads are halved, nobody serves the whole."""
    recipe = make_recipe()
    halves = recipe.compression.model_copy(update={"download": "float16"})
    scene = Federation(recipe.model_copy(update={"compression": halves}))
    third = {each.name: np.full(each.shape, 1 / 3, np.float32) for each in LAYOUT}
    head = scene.found(model=third)
    manifest, judged = head_model(scene.store)
    held = fetch(scene.store, head.version, head.manifest, ChunkCache(folder)).model
    assert manifest.version == head.version
    assert judged.keys() == held.keys()
    for name, array in held.items():
        assert array.tobytes() == judged[name].tobytes() != third[name].tobytes()
