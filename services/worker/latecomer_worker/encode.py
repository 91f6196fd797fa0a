"""From what was learned to what is sent: the difference, and the few facts that travel with it."""

from collections.abc import Mapping

from latecomer import wire
from latecomer.events import UpdateSubmitted
from latecomer.recommenders.port import Trained
from latecomer.tensors import difference
from latecomer_worker.fetch import Snapshot
from latecomer_worker.state import Outgoing

Sums = Mapping[str, Mapping[str, float]]


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
        sums=sums,
        delta=difference(layout, snapshot.model, trained.model),
    )


def encode(update: UpdateSubmitted) -> Outgoing:
    """As bytes for the outbox."""
    encoded = wire.encode_update(update)
    return Outgoing(update.update_id, encoded.body, encoded.detached)
