"""Histories for tests, written as the lists they mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class History:
    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]


def history(*rows: Sequence[int]) -> History:
    lengths = [len(row) for row in rows]
    items = np.array([item for row in rows for item in row], np.int64)
    return History(np.cumsum([0, *lengths], dtype=np.int64), items)
