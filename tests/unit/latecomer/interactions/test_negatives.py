from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from latecomer.interactions.negatives import (
    candidates,
    log_inclusion,
    mask,
    ranges,
    shares,
)
from latecomer.interactions.schema import Interactions
from latecomer.interactions.splits import History, Split, temporal_split

I = 12  # noqa: E741 - items


def history(*rows: Sequence[int]) -> History:
    lengths = [len(row) for row in rows]
    items = np.array([item for row in rows for item in row], np.int64)
    return History(np.cumsum([0, *lengths]), items, np.zeros(len(items)))


histories = st.lists(st.lists(st.integers(0, I - 1), max_size=I - 1), min_size=1, max_size=5).map(
    lambda rows: history(*rows)
)


def test_held_out_items_can_be_drawn_and_are_not_masked() -> None:
    one_user = Interactions(
        ("a",), ("",), np.zeros(5, np.int64), np.arange(5), np.arange(5, dtype=np.float64)
    )
    split = temporal_split(one_user)
    held_out = {*split.validation.tolist(), *split.test.tolist()}
    offered = candidates(np.array([0]), 5, 5, np.random.default_rng(0))
    assert held_out == {3, 4} <= set(offered.tolist())
    assert mask(split.train, np.array([0]), 5)[0].tolist() == [True, True, True, False, False]


def test_a_leaking_split_spares_what_is_held_out_for_each_user_alone_and_pooled() -> None:
    interactions = Interactions(
        ("a", "b"),
        ("", ""),
        np.repeat([0, 1], [6, 3]),
        np.array([0, 1, 2, 3, 4, 5, 5, 4, 3]),
        np.arange(9, dtype=np.float64),
    )
    clean = temporal_split(interactions)
    leaking = clean.leaking()
    alone = leaking.of_user(0).train
    pooled = Split.pooled([leaking, leaking]).train
    nobody, owner = [False] * 6, [True] * 6
    few = [False, False, False, True, True, True]  # too few to be tested: nothing is held out
    assert mask(leaking.train, np.array([1, 0]), 6).tolist() == [few, owner]
    assert mask(alone, np.array([0]), 6).tolist() == [owner]
    assert mask(pooled, np.array([2, 3]), 6).tolist() == [owner, few]
    assert mask(clean.train, np.array([0]), 6)[0].tolist() == [*owner[:4], *nobody[4:]]


def test_candidates_are_the_targets_and_some_more_each_once_in_order() -> None:
    offered = candidates(np.array([7, 7, 2]), 10, 4, np.random.default_rng(0))
    assert {2, 7} <= set(offered.tolist())
    assert (np.diff(offered) > 0).all()
    assert 4 <= len(offered) <= 6
    assert candidates(np.array([1]), 3, 99, np.random.default_rng(0)).tolist() == [0, 1, 2]


@given(histories)
def test_the_mask_is_the_membership_matrix(train: History) -> None:
    users = np.arange(len(train.indptr) - 1)[::-1]
    for row, user in zip(mask(train, users, I), users, strict=True):
        have = set(train.items[train.indptr[user] : train.indptr[user + 1]].tolist())
        assert set(np.flatnonzero(row).tolist()) == have


def test_inclusion_probabilities_are_those_of_the_formula() -> None:
    # Item 0 is two thirds of the history, item 1 one third, item 2 never seen.
    logs = log_inclusion(shares(history([0, 1], [0]), 3), negatives=1, targets=4, contexts=2)
    miss = 2 / 3
    expected = [1 - miss * (1 / 3) ** 2, 1 - miss * (2 / 3) ** 2, 1 - miss]
    np.testing.assert_allclose(np.exp(logs), expected, rtol=1e-6)


def test_inclusion_probabilities_are_how_often_a_context_meets_others_targets_and_negatives() -> (
    None
):
    train, rng = history([0, 1, 2], [0, 1], [0]), np.random.default_rng(4)
    seen = np.zeros(8)
    for _ in range(20_000):
        # Of two contexts with three targets each, those of the other one.
        seen[candidates(rng.choice(train.items, 3), 8, 2, rng)] += 1
    expected = np.exp(log_inclusion(shares(train, 8), negatives=2, targets=6, contexts=2))
    np.testing.assert_allclose(seen / 20_000, expected, atol=0.02)


def test_a_context_alone_in_its_batch_meets_every_other_item_equally_often() -> None:
    logs = log_inclusion(shares(history([0, 0, 1]), 6), negatives=2, targets=3, contexts=1)
    np.testing.assert_allclose(np.exp(logs), 2 / 6, rtol=1e-6)


def test_ranges_are_concatenated() -> None:
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
