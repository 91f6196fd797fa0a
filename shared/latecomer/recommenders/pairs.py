"""Counts of every two items that somebody has both, as the cells of a triangle.

Of I items there are C = I (I + 1) / 2 pairs i <= j, each item with itself among them. Row by row of
the upper triangle, pair (i, j) is cell i I - i (i - 1) / 2 + j - i.
"""

import numpy as np
import numpy.typing as npt

from latecomer.tensors import Array, TensorDelta

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Sorting so many of C cells takes as long as going through all of them.
FEW = 1 / 16


def size(items: int) -> int:
    """C."""
    return items * (items + 1) // 2


def square(cells: Array, items: int) -> Floats:
    """(I, I) counts from the (C,) cells of their upper triangle."""
    counts = np.zeros((items, items))
    start = 0
    for i in range(items):
        counts[i, i:] = counts[i:, i] = cells[start : start + items - i]
        start += items - i
    return counts


class Change:
    """What is added to the cells, set of items by set of items.

    One user's pairs are few of millions, and are sorted; to go through all cells would take his
    device far longer than everything else, and the memory of a model. Many users' are summed up in
    an array of all cells.
    """

    def __init__(self, items: int) -> None:
        self._items = items
        self._room = int(FEW * size(items))
        self._few: list[tuple[Ids, float]] = []
        self._all: Array | None = None

    def add(self, his: Ids, times: float) -> None:
        """Add ``times`` to each pair of a set of n items, which increase."""
        cells = _cells(his, self._items)
        if self._all is None and len(cells) > self._room:
            self._all = np.zeros(size(self._items), np.float32)
            for former, often in self._few:
                self._all[former] += often
            self._few.clear()
        if self._all is not None:
            self._all[cells] += times
        else:
            self._room -= len(cells)
            self._few.append((cells, times))

    def delta(self) -> TensorDelta:
        """The cells that change, as rows of a (C, 1) tensor."""
        if self._all is not None:
            rows = np.flatnonzero(self._all)
            return TensorDelta(self._all[rows, None], rows.astype(np.uint32))
        touched = np.concatenate([np.zeros(0, np.int64), *(cells for cells, _ in self._few)])
        times = np.repeat([often for _, often in self._few], [len(cells) for cells, _ in self._few])
        rows, place = np.unique(touched, return_inverse=True)
        values = np.bincount(place, times, len(rows)).astype(np.float32)
        kept = values != 0
        return TensorDelta(values[kept, None], rows[kept].astype(np.uint32))


def _cells(his: Ids, items: int) -> Ids:
    """Cells of all pairs of one user's n items, which increase: (n (n + 1) / 2,), each once."""
    first, second = np.triu_indices(len(his))
    i, j = his[first], his[second]
    return np.asarray(i * items - i * (i - 1) // 2 + j - i)
