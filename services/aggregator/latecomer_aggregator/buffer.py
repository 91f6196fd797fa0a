"""What was folded since the last version: one accumulator, and the deliveries still owed an ack.

The broker is the write-ahead log: a delivery stays un-acked until the version that it is part of is
durable. If this process dies before, the broker delivers again and nothing is lost; if it dies
after, the ledger recognises the redelivery and nothing counts twice.

Memory is one model-sized accumulator, however many updates or workers there are; time per update
does not depend on their number either.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from latecomer.broker.port import Delivery, Receipt
from latecomer.store.port import Fold
from latecomer.tensors import BLOCK, Array, Delta, Kind, Layout, TensorDelta, TensorSpec


class _Accumulator:
    """The weighted sum of one tensor's deltas; for tables also how many touched each row.

    Its arrays serve one version after the other: fresh ones would cost more than the sum, because
    the system hands out memory page by page, and clears each.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self.is_table = spec.kind is Kind.ROWS
        self.total: Array = np.zeros(spec.shape, np.float32)
        self.contributors = np.zeros(spec.shape[0] if self.is_table else 0, np.int32)
        self.empty = True

    def add(self, change: TensorDelta, weight: float, scratch: Array) -> None:
        """What the first one does not overwrite as a whole, it finds cleared."""
        if change.rows is not None:
            self._add_rows(change.rows, change.values, weight)
        elif self.empty:
            np.multiply(change.values, weight, out=self.total, dtype=np.float32)
        else:
            _add_scaled(self.total, change.values, weight, scratch)
        self.empty = False

    def touched(self) -> npt.NDArray[np.uint32]:
        """The rows of a table that somebody changed, increasing."""
        return np.flatnonzero(self.contributors).astype(np.uint32)

    def clear(self) -> None:
        """Begin again. A table is cleared where it was touched, however large it is."""
        if self.is_table:
            rows = self.touched()
            self.total[rows] = 0
            self.contributors[rows] = 0
        self.empty = True

    def _add_rows(
        self, rows: npt.NDArray[np.uint32], values: npt.NDArray[np.floating], weight: float
    ) -> None:
        if self.is_table:
            self.contributors[rows] += 1
        elif self.empty:
            self.total.fill(0)
        self.total[rows] += np.multiply(values, weight, dtype=np.float32)


@dataclass
class Buffer:
    """Folds deltas until a commit takes their mean. Not thread-safe: one coordinator owns it.

    The law: folding the same updates with the same weights in the same order gives the same bits,
    so any version can be replayed from the ledger.
    """

    layout: Layout
    folds: list[Fold] = field(default_factory=list)
    _held: dict[str, Receipt] = field(default_factory=dict)
    _workers: set[str] = field(default_factory=set)
    _sums: dict[str, _Accumulator] = field(default_factory=dict)
    _scratch: Array = field(default_factory=lambda: np.empty(BLOCK, np.float32))

    def __len__(self) -> int:
        return len(self.folds)

    def holds(self, update_id: str) -> bool:
        """Whether this update is folded here and waits for its commit."""
        return update_id in self._held

    def holds_worker(self, worker: str) -> bool:
        """Whether this worker has its one place already."""
        return worker in self._workers

    def fold(self, update: Fold, delta: Delta, delivery: Delivery) -> None:
        """Add ``weight x delta``; ``sum`` tensors are added as they are, however stale."""
        for name, change in delta.items():
            spec = self.layout[name]
            weight = 1.0 if spec.kind is Kind.SUM else update.weight
            self._sum(spec).add(change, weight, self._scratch)
        self.folds.append(update)
        self._workers.add(update.worker)
        self._held[update.update_id] = delivery.receipt

    def receipt(self, update_id: str) -> Receipt:
        """What a held update will be acked by."""
        return self._held[update_id]

    def redelivered(self, update_id: str, delivery: Delivery) -> Receipt:
        """A held update came again: the commit will ack the later delivery; returns the other."""
        return hold_later(self._held, update_id, delivery)

    def mean(self, divisor: int, *, row_floor: int) -> dict[str, TensorDelta]:
        """The mean delta.

        ``dense``: sum / divisor, the K in force, never the sum of the weights: with that, a buffer
        in which everything is equally stale would be applied at full step (FedBuff, Nguyen et al.
        2022, Algorithm 1, line 11). ``rows``: each touched row's sum / max(its contributors,
        row_floor), so that a rare item is not diluted by all who never saw it. ``sum``: the sum
        itself, which the next version's will overwrite.
        """
        return {
            name: _mean(self.layout[name], accumulator, divisor, row_floor)
            for name, accumulator in self._sums.items()
            if not accumulator.empty
        }

    def release(self) -> dict[str, Receipt]:
        """Forget everything; returns what acks are owed for, by update, in fold order."""
        held, self._held = self._held, {}
        self.folds = []
        self._workers = set()
        for accumulator in self._sums.values():
            accumulator.clear()
        return held

    def _sum(self, spec: TensorSpec) -> _Accumulator:
        if spec.name not in self._sums:
            self._sums[spec.name] = _Accumulator(spec)
        return self._sums[spec.name]


def hold_later(held: dict[str, Receipt], update_id: str, delivery: Delivery) -> Receipt:
    """Of a held update's two deliveries hold the later, which can be acked; returns the other."""
    copies = (held[update_id], delivery.receipt)
    held[update_id] = max(copies)
    return min(copies)


def _add_scaled(
    total: Array,
    values: npt.NDArray[np.float32] | npt.NDArray[np.float16],
    weight: float,
    scratch: Array,
) -> None:
    """``total += weight x values``; the product is only ever a block that stays in the cache."""
    into, flat = total.reshape(-1), values.reshape(-1)
    for at in range(0, into.size, BLOCK):
        part = into[at : at + BLOCK]
        product = scratch[: part.size]
        np.multiply(flat[at : at + BLOCK], weight, out=product, dtype=np.float32)
        part += product


def _mean(spec: TensorSpec, sums: _Accumulator, divisor: int, row_floor: int) -> TensorDelta:
    if sums.is_table:
        rows = sums.touched()
        counts = np.maximum(sums.contributors[rows], row_floor).astype(np.float32)
        return TensorDelta(sums.total[rows] / counts[:, None], rows)
    if spec.kind is Kind.SUM:
        return TensorDelta(sums.total)
    return TensorDelta(sums.total / np.float32(divisor))
