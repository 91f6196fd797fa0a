"""Passes over what a worker has, a batch at a time: the same for every family."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


def over(
    ids: Ids, passes: int, size: int, rng: np.random.Generator, *, most: int = 0
) -> Iterator[Ids]:
    """Each pass in an order of its own, ``size`` ids at a time, ``most`` ids in all (0 = all)."""
    for _ in range(passes):
        order = rng.permutation(ids)[: most or None]
        for start in range(0, len(order), size):
            yield order[start : start + size]


def evenly(ids: Ids, passes: int, size: int, rng: np.random.Generator) -> Iterator[Ids]:
    """The same in batches of one size, up to one id, and none larger than ``size``.

    For steps that go as far whatever their batch has seen: a rest of one would count for all.
    """
    batches = math.ceil(len(ids) / size)
    for _ in range(passes if batches else 0):
        yield from np.array_split(rng.permutation(ids), batches)
