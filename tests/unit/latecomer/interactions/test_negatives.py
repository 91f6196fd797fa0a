from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.errors import BadData
from latecomer.interactions.negatives import (
    Unseen,
    candidates,
    known,
    log_inclusion,
    ranges,
)
from latecomer.interactions.schema import Interactions
from latecomer.interactions.splits import History, temporal_split

I = 12  # noqa: E741 - items


def history(*rows: Sequence[int]) -> History:
    lengths = [len(row) for row in rows]
    items = np.array([item for row in rows for item in row], np.int64)
    return History(np.cumsum([0, *lengths]), items, np.zeros(len(items)))


histories = st.lists(st.lists(st.integers(0, I - 1), max_size=I - 1), min_size=1, max_size=5).map(
    lambda rows: history(*rows)
)


@given(histories, st.integers(0, 2**32))
def test_what_a_user_has_in_train_is_never_drawn_and_everything_else_is(
    train: History, seed: int
) -> None:
    users = np.arange(len(train.indptr) - 1)
    drawn = Unseen(train, I).draw(users, 400, np.random.default_rng(seed))
    assert drawn.shape == (len(users), 400)
    for user in users:
        have = set(train.items[train.indptr[user] : train.indptr[user + 1]].tolist())
        assert set(drawn[user].tolist()) == set(range(I)) - have


def test_held_out_items_can_be_drawn() -> None:
    one_user = Interactions(
        ("a",), ("",), np.zeros(5, np.int64), np.arange(5), np.arange(5, dtype=np.float64)
    )
    split = temporal_split(one_user)
    drawn = Unseen(split.train, 5).draw(np.array([0]), 100, np.random.default_rng(0))
    assert set(drawn[0].tolist()) == {3, 4} == {*split.validation.tolist(), *split.test.tolist()}


def test_every_item_that_a_user_lacks_is_equally_likely() -> None:
    unseen = Unseen(history([0, 3, 4, 9]), 10)
    counts = np.bincount(unseen.draw(np.array([0]), 60_000, np.random.default_rng(1))[0])
    # 10,000 each; five standard deviations are 456.
    assert np.abs(counts[[1, 2, 5, 6, 7, 8]] - 10_000).max() < 456


def test_who_knows_all_items_but_one_gets_that_one_at_once() -> None:
    everything_but = [item for item in range(100_000) if item != 77_777]
    unseen = Unseen(history(everything_but, []), 100_000)
    drawn = unseen.draw(np.array([0]), 1_000, np.random.default_rng(2))
    assert set(drawn[0].tolist()) == {77_777}


def test_who_knows_all_items_is_an_error_that_names_the_user() -> None:
    unseen = Unseen(history([], [0, 1], [1]), 2)
    with pytest.raises(BadData, match="user 1 has every item"):
        unseen.draw(np.array([2, 1]), 3, np.random.default_rng(0))


def test_users_may_repeat_and_come_in_any_order_and_a_seed_decides() -> None:
    unseen = Unseen(history([0], [1], [2]), 4)
    users = np.array([2, 0, 2])
    one = unseen.draw(users, 5, np.random.default_rng(3))
    assert one.tolist() == unseen.draw(users, 5, np.random.default_rng(3)).tolist()
    assert (one[[0, 2]] != 2).all()
    assert (one[1] != 0).all()


def test_candidates_are_the_targets_and_some_more_each_once_in_order() -> None:
    offered = candidates(np.array([7, 7, 2]), 10, 4, np.random.default_rng(0))
    assert {2, 7} <= set(offered.tolist())
    assert (np.diff(offered) > 0).all()
    assert 4 <= len(offered) <= 6
    assert candidates(np.array([1]), 3, 99, np.random.default_rng(0)).tolist() == [0, 1, 2]


@given(histories)
def test_known_is_the_membership_matrix(train: History) -> None:
    users = np.arange(len(train.indptr) - 1)[::-1]
    for row, user in zip(known(train, users, I), users, strict=True):
        have = set(train.items[train.indptr[user] : train.indptr[user + 1]].tolist())
        assert set(np.flatnonzero(row).tolist()) == have


def test_inclusion_probabilities_are_those_of_the_formula() -> None:
    # Item 0 is two thirds of the history, item 1 one third, item 2 never seen.
    logs = log_inclusion(history([0, 1], [0]), 3, negatives=1, targets=2)
    miss = 2 / 3
    expected = [1 - miss * (1 / 3) ** 2, 1 - miss * (2 / 3) ** 2, 1 - miss]
    np.testing.assert_allclose(np.exp(logs), expected, rtol=1e-6)


def test_inclusion_probabilities_are_how_often_candidates_appear() -> None:
    train, rng = history([0, 1, 2], [0, 1], [0]), np.random.default_rng(4)
    seen = np.zeros(8)
    for _ in range(20_000):
        seen[candidates(rng.choice(train.items, 3), 8, 2, rng)] += 1
    expected = np.exp(log_inclusion(train, 8, negatives=2, targets=3))
    np.testing.assert_allclose(seen / 20_000, expected, atol=0.02)


def test_ranges_are_concatenated() -> None:
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
