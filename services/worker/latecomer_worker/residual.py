"""What a worker's updates left out, until a later one carries it (error feedback).

It is a late piece of an update, and is treated as one: it is forgotten where the aggregator would
refuse an update of its base - another epoch, another layout, or further behind than the recipe's
``max_staleness``, counted from the base of the update that last carried or kept it - or one of its
length: beyond ``max_update_norm`` no update could ever carry it.
"""

import math

from latecomer.tensors import Delta, norm
from latecomer_worker.fetch import Snapshot
from latecomer_worker.state import WorkerState

#: The fact that says which version, of which layout, the residual belongs to.
BASE = "residual_base"


def left_over(
    state: WorkerState, snapshot: Snapshot, *, max_age: int, max_norm: float = math.inf
) -> Delta:
    """What is to be added to an update of this snapshot; empty where there is nothing."""
    base = state.fact(BASE)
    if base is None:
        return {}
    epoch, number, layout = base
    same = (epoch, layout) == (snapshot.version.epoch, snapshot.manifest.layout.digest)
    if not same or snapshot.version.number - number > max_age:
        return {}
    left = state.residual()
    return left if norm(left) <= max_norm else {}


def keep(state: WorkerState, snapshot: Snapshot, residual: Delta) -> None:
    """Keep ``residual`` alone; inside the transaction that queues the update which left it."""
    if not residual and state.fact(BASE) is None:
        return
    state.save_residual(residual)
    layout = snapshot.manifest.layout.digest
    state.remember(BASE, (*snapshot.version, layout) if residual else None)
