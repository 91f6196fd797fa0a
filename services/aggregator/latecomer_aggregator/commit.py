"""From arrays to a visible version: cut into chunks, staged, then committed in one fenced step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog
from pydantic_core import to_json

from latecomer import wire
from latecomer.codecs import LEVELS
from latecomer.errors import BadConfiguration, MessageTooLarge, NotInitialised, StagedMissing
from latecomer.events import Staged, UpdateHeader, Version
from latecomer.recipe import Recipe
from latecomer.store import chunks
from latecomer.store.chunks import Chunked
from latecomer.store.port import Cadence, Commit, Fold, Head, Lease, Manifest, ModelStore
from latecomer.tensors import Array, Layout, State, digest
from latecomer_aggregator import optimizer

log = structlog.get_logger()

NONE = Chunked({}, {})


@dataclass(frozen=True)
class Published:
    """The head as a leader holds it in memory: arrays that nobody changes any more."""

    manifest: Manifest
    model: dict[str, Array]
    optimizer: dict[str, Array]

    @property
    def version(self) -> Version:
        """Its version."""
        return self.manifest.version

    def head(self) -> Head:
        """As the store names it."""
        return Head(self.version, self.manifest.digest, self.manifest.at_s)


def load(store: ModelStore, federation: str) -> tuple[Published, Recipe]:
    """The head and the recipe that it was published with.

    Raises:
        NotInitialised: There is no version yet.
    """
    head = store.head()
    if head is None:
        raise NotInitialised(federation)
    manifest = store.manifest(head.version)
    blobs = store.read(manifest.led())
    published = Published(
        manifest,
        chunks.joined(manifest.layout, manifest.model, blobs),
        chunks.joined(manifest.optimizer_layout, manifest.optimizer, blobs),
    )
    return published, Recipe.from_bytes(blobs[manifest.recipe])


@dataclass(frozen=True)
class Attempt:
    """A version that was computed: what it will be, the chunks that it needs, what it used up."""

    published: Published
    blobs: Mapping[str, memoryview]
    reports: Mapping[str, str]
    payloads: Staged


def prepare(
    current: Published,
    model: dict[str, Array],
    optimizer: dict[str, Array],
    folds: tuple[Fold, ...],
    divisor: int,
    reports: Mapping[str, str],
    *,
    at_s: float,
    cadence: Cadence | None = None,
    payloads: Staged = frozenset(),
) -> Attempt:
    """The next version, cut into chunks. From here on nothing about it changes."""
    before = current.manifest
    cut_model = chunks.cut(before.layout, model)
    cut_optimizer = chunks.cut(before.optimizer_layout, optimizer, withheld=True)
    halves = _halves(before.layout, model) if before.halves else NONE
    manifest = replace(
        before,
        version=Version(before.version.epoch, before.version.number + 1),
        previous=before.version,
        model=cut_model.tensors,
        optimizer=cut_optimizer.tensors,
        folds=folds,
        divisor=divisor,
        at_s=at_s,
        halves=halves.tensors,
        cadence=cadence,
    )
    blobs = {**cut_model.blobs, **cut_optimizer.blobs, **halves.blobs}
    return Attempt(Published(manifest, model, optimizer), blobs, dict(reports), payloads)


def publish(store: ModelStore, lease: Lease, current: Published, attempt: Attempt) -> None:
    """Make the attempt visible and durable; repeating it after a lost reply is harmless.

    Raises:
        Fenced, VersionConflict, StagedMissing, StoreUnreachable: As ``ModelStore.commit``.
    """
    manifest = attempt.published.manifest
    there = current.manifest.chunks()
    store.stage({name: blob for name, blob in attempt.blobs.items() if name not in there})
    version = Commit(
        commit_id=_commit_id(manifest),
        lease=lease,
        expected=current.version,
        manifest=manifest,
        superseded=_superseded(current.manifest, manifest),
        spent=_spent(current.manifest, manifest),
        reports=attempt.reports,
        payloads=attempt.payloads,
    )
    try:
        store.commit(version)
    except StagedMissing as error:
        # Also of what the former version had the server can lose a part (it evicts, say).
        log.warning("version.staged_again", cause=str(error))
        store.stage(attempt.blobs)
        store.commit(version)


def publish_initial(
    store: ModelStore,
    lease: Lease,
    recipe: Recipe,
    *,
    catalogue: bytes,
    layout: Layout,
    model: State,
    epoch: int,
    at_s: float,
) -> Head:
    """Publish version ``(epoch, 0)``; an epoch that exists already is replaced by a later one only.

    Raises:
        BadConfiguration: No worker could send what it learns of such a model.
        Fenced, VersionConflict, StoreUnreachable: As ``ModelStore.commit``.
    """
    layout.check(model)
    _check_updates_fit(recipe, layout)
    cut = chunks.cut(layout, model)
    optimizer_layout = optimizer.state_layout(optimizer.build(recipe.aggregation.optimizer), layout)
    slots = chunks.cut(optimizer_layout, optimizer_layout.zeros(), withheld=True)
    halves = _halves(layout, model) if recipe.compression.download == "float16" else NONE
    recipe_bytes = recipe.to_bytes()
    manifest = Manifest(
        version=Version(epoch, 0),
        previous=None,
        layout=layout,
        model=cut.tensors,
        optimizer=slots.tensors,
        optimizer_layout=optimizer_layout,
        recipe=digest(recipe_bytes),
        catalogue=digest(catalogue),
        at_s=at_s,
        halves=halves.tensors,
    )
    head = store.head()
    former = None if head is None else store.manifest(head.version)
    read_once = {manifest.recipe: recipe_bytes, manifest.catalogue: catalogue}
    store.stage({**cut.blobs, **slots.blobs, **halves.blobs, **read_once})
    store.commit(
        Commit(
            commit_id=_commit_id(manifest),
            lease=lease,
            expected=None if former is None else former.version,
            manifest=manifest,
            superseded=frozenset() if former is None else _superseded(former, manifest),
            spent=frozenset() if former is None else _spent(former, manifest),
        )
    )
    return Head(manifest.version, manifest.digest, at_s)


def report(header: UpdateHeader) -> str:
    """What the fleet table keeps of a worker's last folded update, as JSON."""
    facts = {"base": header.base, "examples": header.examples, "sums": header.sums}
    # json.dumps would make an encoder for every update, which takes longer than encoding.
    return to_json(facts).decode()


def _check_updates_fit(recipe: Recipe, layout: Layout) -> None:
    own = recipe.compression
    try:
        wire.check_layout(layout, coded=own.values in LEVELS or own.budget_bytes is not None)
    except MessageTooLarge as error:
        raise BadConfiguration(
            f"the model of {recipe.federation} has more tensors than an update can carry: {error}",
            hint="take fewer blocks or layers; codes and a budget need scales for each tensor",
        ) from error


def _halves(layout: Layout, model: State) -> Chunked:
    """Beside the whole; of what is derived from counts there are none: it holds items' numbers."""
    if layout.additive:
        return NONE
    return chunks.cut(layout.held, model, chunks.FLOAT16)


def _superseded(before: Manifest, after: Manifest) -> frozenset[str]:
    """What only the former version needs, its manifest included."""
    return (before.fetched() - after.chunks()) | {str(before.version)}


def _spent(before: Manifest, after: Manifest) -> frozenset[str]:
    """What only the former version's optimiser needs."""
    return before.chunks() - before.fetched() - after.chunks()


def _commit_id(manifest: Manifest) -> str:
    """An attempt that is repeated is the same commit."""
    return f"{manifest.version}:{manifest.digest}"
