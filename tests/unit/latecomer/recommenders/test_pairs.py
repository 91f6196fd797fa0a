"""What a worker adds to counts of pairs, summed up in either of two ways."""

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.recommenders import pairs
from latecomer.recommenders.pairs import Change, size, square
from latecomer.tensors import TensorDelta

ITEMS = 12

#: A set of items, and how often it is added.
Added = tuple[set[int], int]


def change(sets: Sequence[Added], *, few: float, items: int = ITEMS) -> TensorDelta:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "FEW", few)
        made = Change(items)
        for his, times in sets:
            made.add(np.array(sorted(his), np.int64), times)
        return made.delta()


def counts(delta: TensorDelta, items: int = ITEMS) -> list[list[float]]:
    assert delta.rows is not None
    cells = np.zeros(size(items), np.float32)
    cells[delta.rows] = delta.values[:, 0]
    found: list[list[float]] = square(cells, items).tolist()
    return found


def by_hand(sets: Sequence[Added]) -> list[list[float]]:
    found = np.zeros((ITEMS, ITEMS))
    for his, times in sets:
        for i in his:
            for j in his:
                found[i, j] += times
    counted: list[list[float]] = found.tolist()
    return counted


@pytest.mark.parametrize("few", [0.0, 1.0], ids=["all cells", "one by one"])
def test_every_pair_of_a_set_is_counted_once(few: float) -> None:
    delta = change([({0, 2}, 1), ({1, 2}, 1)], few=few, items=3)
    assert counts(delta, 3) == [[1, 0, 1], [0, 1, 1], [1, 1, 2]]


@given(
    st.lists(st.tuples(st.sets(st.integers(0, ITEMS - 1)), st.sampled_from([1, -1])), max_size=8),
    st.sampled_from([0.0, 0.05, 0.2, 1.0, 10.0]),
)
def test_the_sum_is_the_same_however_many_pairs_there_are(sets: list[Added], few: float) -> None:
    delta = change(sets, few=few)
    assert counts(delta) == by_hand(sets)
    assert delta.rows is not None
    assert np.all(np.diff(delta.rows.astype(int)) > 0)
    assert np.all(delta.values != 0)
    assert delta.values.dtype == np.float32
    assert delta.rows.dtype == np.uint32


def test_one_users_pairs_take_no_memory_of_the_whole_catalogues() -> None:
    items = 8192
    tracemalloc.start()
    change([(set(range(50)), 1), (set(range(49)), -1)], few=pairs.FEW, items=items)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < size(items) / 100
