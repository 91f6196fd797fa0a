"""From what was learned to what is sent: the difference, and the few facts that travel with it."""

from collections.abc import Mapping
from math import fsum

from latecomer import wire
from latecomer.events import ALL_REGIONS, MAX_REGIONS, UpdateSubmitted
from latecomer.recommenders.port import Trained
from latecomer.tensors import difference
from latecomer_worker.fetch import Snapshot
from latecomer_worker.state import Outgoing

Sums = Mapping[str, Mapping[str, float]]

#: Longer names do not fit a header sixteen times.
MAX_REGION_CHARS = 80

#: What the smallest regions are reported as together where there are more than a header takes.
OTHER = "other"

#: Names that mean something of their own in a report.
RESERVED = (OTHER, ALL_REGIONS)


def describe(
    snapshot: Snapshot,
    trained: Trained,
    *,
    federation: str,
    worker: str,
    update_id: str,
    sums: Sums,
) -> UpdateSubmitted:
    """Everything that leaves the worker, and nothing else does."""
    layout = snapshot.manifest.layout
    return UpdateSubmitted(
        federation=federation,
        worker=worker,
        update_id=update_id,
        base=snapshot.version,
        layout=layout.digest,
        examples=trained.examples,
        steps=trained.steps,
        sums=_reported(sums),
        delta=difference(layout, snapshot.model, trained.model),
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


def encode(update: UpdateSubmitted) -> Outgoing:
    """As bytes for the outbox."""
    encoded = wire.encode_update(update)
    return Outgoing(update.update_id, encoded.body, encoded.detached)
