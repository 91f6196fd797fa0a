"""Fetching a version: only the chunks that this device does not have yet.

Chunks are files named by their content, so what is on disk is either right or detected. After a
successful fetch the cache holds exactly one version; before, at most that and the one to come. Who
only looks at a version leaves the worker's own beside it.
"""

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from latecomer.errors import ChunkMissing, DiskTrouble
from latecomer.events import DIGEST_PATTERN, Version
from latecomer.store import chunks
from latecomer.store.port import Manifest, ModelStore
from latecomer.tensors import Array, has_name
from latecomer_worker.database import made

log = structlog.get_logger()

#: Asked for at a time: when a bad line breaks, all but the last few are on disk.
CHUNKS_AT_A_TIME = 4

#: A digest: no other file of the machine is called so.
NAME = re.compile(DIGEST_PATTERN)

#: Who has not finished a chunk after this long died over it.
PARTIAL_S = 3600.0

#: Nobody looks at a version for longer: what came meanwhile is the worker's.
LOOKED_AT_S = 3600.0


@dataclass(frozen=True)
class Snapshot:
    """A version on this device: what a worker holds of the model, the recipe, the catalogue."""

    manifest: Manifest
    model: dict[str, Array]
    recipe: bytes
    catalogue: bytes

    @property
    def version(self) -> Version:
        """Its version."""
        return self.manifest.version


class ChunkCache:
    """Chunks on disk. A damaged file is as good as none.

    Raises:
        BadConfiguration: The folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = made(folder, "chunks")

    def get(self, name: str) -> bytes | None:
        """The chunk, if it is here and whole.

        Raises:
            ChunkMissing: The name is none of a chunk; a manifest may not name other files.
        """
        if not NAME.fullmatch(name):
            raise ChunkMissing(f"{name[:40]!r} names no chunk")
        try:
            data = (self._folder / name).read_bytes()
        except OSError:
            return None  # not here, or on a part of the disk that cannot be read any more
        return data if has_name(data, name) else None

    def put(self, name: str, data: bytes) -> None:
        """Keep a chunk; a crash leaves the whole file or none."""
        partial = self._folder / f"{uuid.uuid4().hex}.partial"
        try:
            partial.write_bytes(data)
            partial.replace(self._folder / name)
        except OSError as error:
            partial.unlink(missing_ok=True)  # a full disk needs its place
            raise DiskTrouble(f"the chunk cache {self._folder}: {error.strerror}") from error

    def model(self, manifest: Manifest, blobs: Mapping[str, bytes]) -> dict[str, Array]:
        """The base that this device trains from: a delta is against what it read, rounded or not.

        Raises:
            ChunkMissing: The chunks do not add up.
        """
        return _joined(manifest, blobs)

    def keep_only(self, names: frozenset[str], *, and_newer_than_s: float = 0.0) -> None:
        """Delete what no longer belongs to the newest version.

        Another process of this device may be writing just now: its partial files stay, and so does
        what came here less than ``and_newer_than_s`` ago.

        Raises:
            DiskTrouble: Nothing can be deleted there.
        """
        try:
            for path in self._folder.iterdir():
                spared_s = PARTIAL_S if path.suffix == ".partial" else and_newer_than_s
                if path.name not in names and not _is_newer_than(path, spared_s):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise DiskTrouble(f"the chunk cache {self._folder}: {error.strerror}") from error


def _is_newer_than(path: Path, age_s: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime < age_s
    except FileNotFoundError:
        return False


def fetch(
    store: ModelStore,
    version: Version,
    expected_digest: str,
    cache: ChunkCache,
    *,
    held: str | None = None,
    kept: str | None = None,
) -> Snapshot:
    """Bring a version here; what is in the cache is not asked for, and all of it may be.

    Where ``held`` is given, the digest of the manifest of the version to fall back on or "" for
    none, what is neither that one's nor the new one's goes before anything comes: over a line too
    slow for versions to last until they are here, the rests of each would pile up.

    Where ``kept`` is given, somebody else looks at a version beside the worker: the one with this
    manifest stays, if any, and so does what the worker may have fetched meanwhile.

    Raises:
        ChunkMissing: It was superseded and has expired, or it is not what was announced.
        StoreUnreachable: What was downloaded so far is kept.
    """
    manifest = _manifest(store, version, expected_digest, cache)
    needed = _needed(manifest)
    if held is not None:
        cache.keep_only(needed | {expected_digest} | _belongs_to(held, cache))
    blobs = {name: data for name in needed if (data := cache.get(name)) is not None}
    missing = sorted(needed - blobs.keys())
    for start in range(0, len(missing), CHUNKS_AT_A_TIME):
        for name, data in store.read(missing[start : start + CHUNKS_AT_A_TIME]).items():
            cache.put(name, data)
            blobs[name] = data
    own, newer_s = _belongs_to(kept or "", cache), 0.0 if kept is None else LOOKED_AT_S
    cache.keep_only(needed | {expected_digest} | own, and_newer_than_s=newer_s)
    log.debug("version.fetched", version=str(version), downloaded=len(missing), of=len(needed))
    return Snapshot(
        manifest,
        cache.model(manifest, blobs),
        blobs[manifest.recipe],
        blobs[manifest.catalogue],
    )


def head_model(store: ModelStore) -> tuple[Manifest, dict[str, Array]]:
    """The newest version of a federation that was founded, as workers hold it: halves, if any."""
    head = store.head()
    assert head is not None, "founded before it is read"
    manifest = store.manifest(head.version)
    return manifest, _joined(manifest, store.read(_needed(manifest)))


def _manifest(
    store: ModelStore, version: Version, expected_digest: str, cache: ChunkCache
) -> Manifest:
    held = cache.get(expected_digest)
    if held is not None:
        return Manifest.from_bytes(held)
    manifest = store.manifest(version)
    if manifest.digest != expected_digest:
        raise ChunkMissing(f"the manifest of {version} is not the one that was announced")
    cache.put(expected_digest, manifest.to_bytes())
    return manifest


def _belongs_to(digest: str, cache: ChunkCache) -> frozenset[str]:
    """The files of a version that is here; of none, none."""
    data = cache.get(digest) if digest else None
    return frozenset() if data is None else _needed(Manifest.from_bytes(data)) | {digest}


def _joined(manifest: Manifest, blobs: Mapping[str, bytes]) -> dict[str, Array]:
    held = manifest.layout.held
    if manifest.halves:
        return chunks.joined(held, manifest.halves, blobs, chunks.FLOAT16)
    return chunks.joined(held, manifest.model, blobs)


def _needed(manifest: Manifest) -> frozenset[str]:
    """The model's chunks, recipe and catalogue; sums and the optimiser's state stay there."""
    tables = manifest.halves or manifest.model
    model = {name for spec in manifest.layout.held for name in tables[spec.name]}
    return frozenset(model | {manifest.recipe, manifest.catalogue})
