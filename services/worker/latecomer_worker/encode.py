"""From what was learned to what is sent: the difference, and the few facts that travel with it."""

from collections.abc import Callable, Mapping
from functools import partial
from math import fsum

from latecomer import codecs, wire
from latecomer.compression import Compression
from latecomer.events import ALL_REGIONS, MAX_REGIONS, UpdateSubmitted
from latecomer.recipe import Recipe
from latecomer.recommenders.port import Trained
from latecomer.tensors import Delta, norm
from latecomer_worker.fetch import Snapshot
from latecomer_worker.pending import Outgoing
from latecomer_worker.residual import left_over
from latecomer_worker.state import WorkerState

Sums = Mapping[str, Mapping[str, float]]

#: Longer names do not fit a header sixteen times.
MAX_REGION_CHARS = 80

#: What the smallest regions are reported as together where there are more than a header takes.
OTHER = "other"

#: Names that mean something of their own in a report.
RESERVED = (OTHER, ALL_REGIONS)


def coded(snapshot: Snapshot, trained: Trained, state: WorkerState) -> codecs.Coded:
    """What changed, and what earlier updates left out, as the federation's recipe codes it.

    The law: of a change that the aggregator refuses for its length nothing is left over. It travels
    as it is, to be refused as a whole; in pieces it would pass, or come back for ever. And one that
    it would not refuse is not refused for how it is coded.
    """
    recipe, layout = Recipe.from_bytes(snapshot.recipe), snapshot.manifest.layout
    limits, compression = recipe.aggregation, recipe.compression
    delta = trained.delta(layout, snapshot.model)
    left = left_over(state, snapshot, max_age=limits.max_staleness, max_norm=limits.max_update_norm)
    longest = limits.max_update_norm
    if norm(delta) > longest:
        return codecs.Coded(delta, dict(left))
    form = partial(codecs.coded, layout, delta, left, longest=longest)
    if compression.budget_bytes is None:
        return form(compression.loss)
    return _within(form, compression, compression.budget_bytes)


def _within(
    form: Callable[[codecs.Loss], codecs.Coded], compression: Compression, budget_bytes: int
) -> codecs.Coded:
    """The least lossy form whose payload fits, or the most lossy one."""
    for loss in codecs.ladder(compression.loss):
        found = form(loss)
        if wire.payload_bytes(found.delta, compression.codec) <= budget_bytes:
            break
    return found


def describe(
    snapshot: Snapshot,
    trained: Trained,
    *,
    federation: str,
    worker: str,
    update_id: str,
    sums: Sums,
    delta: Delta,
) -> UpdateSubmitted:
    """Everything that leaves the worker, and nothing else does."""
    return UpdateSubmitted(
        federation=federation,
        worker=worker,
        update_id=update_id,
        base=snapshot.version,
        layout=snapshot.manifest.layout.digest,
        examples=trained.examples,
        steps=trained.steps,
        sums=_reported(sums),
        delta=delta,
    )


def _reported(sums: Sums) -> Sums:
    """The largest regions as they are, the rest added up: sums of users may be pooled."""
    named = sorted(
        (region for region in sums if region not in RESERVED and len(region) <= MAX_REGION_CHARS),
        key=lambda region: (-sums[region]["users"], region),
    )
    room = MAX_REGIONS if len(named) == len(sums) <= MAX_REGIONS else MAX_REGIONS - 1
    kept = {region: sums[region] for region in named[:room]}
    rest = [sums[region] for region in sorted(sums.keys() - kept.keys())]
    if not rest:
        return kept
    return kept | {OTHER: {name: fsum(each[name] for each in rest) for name in rest[0]}}


def codec_of(snapshot: Snapshot) -> wire.Codec:
    """How the federation's recipe wants updates to be written."""
    return Recipe.from_bytes(snapshot.recipe).compression.codec


def encode(update: UpdateSubmitted, codec: wire.Codec = "raw") -> Outgoing:
    """As bytes for the outbox."""
    encoded = wire.encode_update(update, codec=codec)
    return Outgoing(update.update_id, encoded.body, encoded.detached)
