from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.interactions.schema import Interactions
from latecomer.interactions.splits import History, temporal_split


def interactions(*histories: Sequence[int]) -> Interactions:
    """A user's items, one per second."""
    lengths = [len(each) for each in histories]
    return Interactions(
        users=tuple(f"user-{number}" for number in range(len(histories))),
        regions=("",) * len(histories),
        user=np.repeat(np.arange(len(histories)), lengths),
        item=np.array([item for each in histories for item in each], np.int64),
        time_s=np.array([second for each in lengths for second in range(each)], np.float64),
    )


def lists(history: History) -> list[list[int]]:
    return [
        history.items[start:end].tolist()
        for start, end in zip(history.indptr[:-1], history.indptr[1:], strict=True)
    ]


#: Anna has three, Bert two, Carl one, Dora four.
TINY = interactions([5, 6, 7], [8, 9], [3], [1, 2, 3, 4])


def test_the_last_is_the_test_and_the_one_before_the_validation() -> None:
    split = temporal_split(TINY, min_tested=3)
    assert lists(split.train) == [[5], [8, 9], [3], [1, 2]]
    assert split.validation.tolist() == [6, -1, -1, 3]
    assert split.test.tolist() == [7, -1, -1, 4]
    assert split.untested == 2


def test_what_is_known_is_what_came_before_the_target() -> None:
    split = temporal_split(TINY, min_tested=3)
    assert lists(split.known("validation")) == [[5], [8, 9], [3], [1, 2]]
    assert lists(split.known("test")) == [[5, 6], [8, 9], [3], [1, 2, 3]]
    assert lists(split.everything()) == [[5, 6, 7], [8, 9], [3], [1, 2, 3, 4]]


@pytest.mark.parametrize("validation", [True, False])
def test_rehearsed_the_item_before_the_test_item_is_asked_for(validation: bool) -> None:
    rehearsed = temporal_split(TINY, min_tested=3, validation=validation).rehearsed()
    assert rehearsed.test.tolist() == [6, -1, -1, 3]
    assert lists(rehearsed.known("test")) == [[5], [8, 9], [3], [1, 2]]
    assert lists(rehearsed.train) == lists(rehearsed.known("test"))
    assert lists(rehearsed.everything()) == [[5, 6], [8, 9], [3], [1, 2, 3]]
    assert rehearsed.validation.tolist() == [-1, -1, -1, -1]


def test_times_stay_with_their_items() -> None:
    split = temporal_split(TINY, min_tested=3)
    assert split.train.time_s.tolist() == [0, 0, 1, 0, 0, 1]
    assert split.train.user.tolist() == [0, 1, 1, 2, 3, 3]


def test_without_validation_only_the_last_is_held_out() -> None:
    split = temporal_split(TINY, min_tested=3, validation=False)
    assert lists(split.train) == [[5, 6], [8, 9], [3], [1, 2, 3]]
    assert split.validation.tolist() == [-1, -1, -1, -1]
    assert split.test.tolist() == [7, -1, -1, 4]
    assert lists(split.known("test")) == lists(split.train)


def test_who_has_fewer_than_five_is_not_tested_unless_said_otherwise() -> None:
    split = temporal_split(interactions([1, 2, 3, 4], [1, 2, 3, 4, 5]))
    assert split.test.tolist() == [-1, 5]
    assert lists(split.train) == [[1, 2, 3, 4], [1, 2, 3]]


@pytest.mark.parametrize(("min_tested", "validation"), [(2, True), (1, False)])
def test_who_is_tested_keeps_something_to_be_trained_on(min_tested: int, validation: bool) -> None:
    with pytest.raises(ValueError, match="something to be trained on"):
        temporal_split(TINY, min_tested=min_tested, validation=validation)


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=8),
    st.integers(3, 6),
    st.booleans(),
)
def test_train_validation_and_test_in_this_order_are_the_history(
    histories: list[list[int]], min_tested: int, validation: bool
) -> None:
    split = temporal_split(interactions(*histories), min_tested=min_tested, validation=validation)
    rebuilt = [
        train + [item for item in held_out if item >= 0]
        for train, *held_out in zip(
            lists(split.train), split.validation.tolist(), split.test.tolist(), strict=True
        )
    ]
    assert rebuilt == histories
    assert split.test.dtype == split.validation.dtype == split.train.indptr.dtype == np.int64
    assert ((split.test >= 0) == [len(each) >= min_tested for each in histories]).all()
