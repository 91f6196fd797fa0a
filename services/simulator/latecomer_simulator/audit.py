"""A model that is its own audit log: each update adds exactly 1 to a cell of its own.

In the final model a cell of 0 is a lost update and a cell of 2 one that counted twice, whatever the
rest of the system believes. Beside the cells, a dense tensor and a table take random floats, so
that a replay in another order or with other weights cannot give the same bits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from latecomer import wire
from latecomer.events import UpdateSubmitted
from latecomer.recipe import Recipe
from latecomer.recommenders.port import Plan, Trained
from latecomer.store.port import Head, ModelStore
from latecomer.tensors import Kind, Layout, State, TensorDelta, TensorSpec
from latecomer_aggregator import commit
from latecomer_worker.state import WorkerState

CATALOGUE = b'{"descriptions":[],"items":[]}'

#: Sides of the two tensors that are there for their floats.
DENSE, ROWS, WIDTH = 8, 16, 4

#: No update is larger; a payload must fit what the recipe allows.
_LIMIT_BYTES = 2**28


class Cell(NamedTuple):
    """Where one update leaves its mark."""

    worker: int
    slot: int


def layout(workers: int, slots: int) -> Layout:
    """Cells for ``slots`` updates of each of so many workers, and floats beside them."""
    return Layout(
        (
            TensorSpec("cells", Kind.SUM, (workers, slots)),
            TensorSpec("dense", Kind.DENSE, (DENSE,)),
            TensorSpec("table", Kind.ROWS, (ROWS, WIDTH)),
        )
    )


def recipe(federation: str, **aggregation: Any) -> Recipe:
    """A recipe for audits: staleness weights as in production, and quick versions."""
    terms = {"updates_per_version": 3, "max_wait_s": 2.0, "live_s": 20.0, "identity": "declared"}
    return Recipe.model_validate(
        {
            "federation": federation,
            "data": {
                "source": "",
                "catalogue": "",
                "columns": {"user": "u", "item": "i", "time": "t"},
            },
            "model": {},
            "training": {},
            "aggregation": terms | aggregation,
        }
    )


def found(
    store: ModelStore, recipe: Recipe, shape: Layout, *, epoch: int, at_s: float
) -> Head | None:
    """Publish version 0 of an audit model; None while somebody else leads."""
    lease = store.acquire("founder", ttl_s=5.0)
    if lease is None:
        return None
    try:
        return commit.publish_initial(
            store,
            lease,
            recipe,
            catalogue=CATALOGUE,
            layout=shape,
            model=shape.zeros(),
            epoch=epoch,
            at_s=at_s,
        )
    finally:
        store.release(lease)


@dataclass
class AuditTrainer:
    """Trains by leaving a mark; stands where a worker's trainer stands.

    Attributes:
        shape: The model's layout.
        worker: This worker's row of cells.
        state: Where the next slot is kept, in the same transaction as the outbox.
        train_for: Takes as long as training would.
        more: Whether there is anything left to learn, for a worker at this slot.
    """

    shape: Layout
    worker: int
    state: WorkerState
    train_for: Callable[[], object]
    more: Callable[[int], bool]

    def sums(self, _model: State) -> dict[str, dict[str, float]]:
        """There is nobody to evaluate on."""
        return {}

    def train(
        self,
        model: State,
        *,
        plan: Plan,
        rng: np.random.Generator,
        should_stop: Callable[[], bool],
    ) -> Trained:
        """Add 1 to the next cell, and floats drawn for that cell to the rest."""
        del plan, rng, should_stop
        self.train_for()
        slot = self._next_slot()
        if not self.more(slot):
            return Trained({}, {}, examples=0, steps=0, loss=float("nan"))
        return _marked(model, Cell(self.worker, slot), self.shape)

    def keep(self, _trained: Trained, state: WorkerState, _update_id: str) -> None:
        """The update is in the outbox: the next one gets the next cell."""
        state.remember("audit_slot", self._next_slot() + 1)

    def let_go(self, state: WorkerState) -> None:
        """Nobody ever leaves."""

    def recall(self, state: WorkerState) -> None:
        """There is nothing private."""

    def _next_slot(self) -> int:
        return int(self.state.fact("audit_slot") or 0)


def decoded(body: bytes, payload: bytes) -> UpdateSubmitted:
    """An update as it was put into the outbox; ``payload`` is empty where it is in the body."""
    sealed = wire.open_update(body)
    detached = memoryview(payload) if sealed.inline is None else sealed.inline
    return wire.read_update(sealed, detached, limit_bytes=_LIMIT_BYTES)


def cell_of(update: UpdateSubmitted) -> Cell:
    """The cell that an update marks."""
    cells = update.delta["cells"]
    assert cells.rows is not None, "one row of one worker"
    return Cell(int(cells.rows[0]), int(cells.values[0].argmax()))


def _marked(model: State, cell: Cell, shape: Layout) -> Trained:
    rng = np.random.default_rng(cell)
    trained = {name: array.copy() for name, array in model.items()}
    trained["dense"] += rng.normal(size=DENSE).astype(np.float32)
    touched = rng.choice(ROWS, size=3, replace=False)
    trained["table"][touched] += rng.normal(size=(3, WIDTH)).astype(np.float32)
    mark = np.zeros((1, shape["cells"].shape[1]), np.float32)
    mark[0, cell.slot] = 1
    additions = {"cells": TensorDelta(mark, np.array([cell.worker], np.uint32))}
    return Trained(trained, {}, examples=1, steps=1, loss=0.0, additions=additions)
