"""Batches of one pass: everybody once, and no rest that would count for a whole batch."""

import numpy as np
import pytest

from latecomer.recommenders import passes


@pytest.mark.parametrize(("size", "sizes"), [(4, [3, 3, 3]), (8, [5, 4]), (9, [9]), (100, [9])])
def test_even_batches_differ_by_one_at_most_and_meet_everybody_once(
    size: int, sizes: list[int]
) -> None:
    ids = np.arange(100, 109)
    batches = [*passes.evenly(ids, 2, size, np.random.default_rng(0))]
    assert [len(each) for each in batches] == 2 * sizes
    first, second = np.concatenate(batches[: len(sizes)]), np.concatenate(batches[len(sizes) :])
    assert sorted(first) == sorted(second) == ids.tolist()
    assert first.tolist() != second.tolist()


def test_of_nobody_there_is_no_batch() -> None:
    nobody = np.zeros(0, np.int64)
    assert [*passes.evenly(nobody, 3, 4, np.random.default_rng(0))] == []
