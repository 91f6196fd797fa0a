from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.evaluation.beyond_accuracy import (
    acquaintance,
    catalogue_coverage,
    exposure_gini,
    intra_list_diversity,
    novelty,
    personalisation,
)
from latecomer.evaluation.ranking import NO_ITEM

NOBODY = np.empty((0, 3), np.int64)
lists_of_three = st.lists(
    st.lists(st.integers(0, 7), min_size=3, max_size=3, unique=True), min_size=2, max_size=8
)


def test_coverage_is_the_share_of_items_shown_to_anybody() -> None:
    assert catalogue_coverage(np.array([[0, 1], [1, NO_ITEM]]), 8) == 0.25


@pytest.mark.parametrize(
    ("lists", "gini"),
    [
        ([[0, 1], [2, 3]], 0.0),
        ([[0], [0], [0]], 0.75),
        # Sorted exposures 0, 1, 1, 2: (-3*0 - 1*1 + 1*1 + 3*2) / (4 * 4).
        ([[1, 2], [1, 3]], 6 / 16),
    ],
)
def test_gini_of_exposure_over_four_items(lists: list[list[int]], gini: float) -> None:
    assert exposure_gini(np.array(lists), 4) == pytest.approx(gini)


def test_diversity_of_alike_unlike_and_unknown_items() -> None:
    # Users 0 and 1 know items 0 and 1, user 2 knows item 2, nobody item 3.
    alike = acquaintance(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 2]), 4)
    lists = np.array([[0, 1], [0, 2], [1, 3], [3, NO_ITEM]])
    assert intra_list_diversity(lists, alike).tolist() == [0.0, 1.0, 1.0, 0.0]


@given(
    lists=lists_of_three,
    known=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=40),
)
def test_diversity_is_the_mean_over_pairs_of_who_knows_both(
    lists: list[list[int]], known: list[tuple[int, int]]
) -> None:
    users, items = np.array(known).T
    matrix = np.zeros((6, 8))
    matrix[users, items] = 1.0
    length = np.linalg.norm(matrix, axis=0)
    unit = matrix / np.where(length > 0, length, 1.0)
    by_pairs = [
        1 - np.mean([unit[:, i] @ unit[:, j] for i, j in combinations(x, 2)]) for x in lists
    ]
    found = intra_list_diversity(np.array(lists), acquaintance(users, items, 8))
    assert found == pytest.approx(np.array(by_pairs))


def test_novelty_is_the_mean_self_information_in_bits() -> None:
    known_by = np.array([8.0, 4.0, 1.0, 0.0])
    lists = np.array([[0, 1], [2, 3], [1, NO_ITEM], [NO_ITEM, NO_ITEM]])
    assert novelty(lists, known_by, 8).tolist() == [0.5, 3.0, 1.0, 0.0]


def test_the_same_list_for_all_is_not_personal_and_disjoint_lists_are() -> None:
    assert personalisation(np.array([[0, 1], [1, 0], [0, 1]]), 6) == 0.0
    assert personalisation(np.array([[0, 1], [2, 3], [4, 5]]), 6) == 1.0


@given(lists=lists_of_three)
def test_personalisation_is_the_mean_over_pairs(lists: list[list[int]]) -> None:
    overlaps = [len(set(a) & set(b)) / 3 for a, b in combinations(lists, 2)]
    by_pairs = 1 - np.mean(overlaps)
    assert personalisation(np.array(lists), 8) == pytest.approx(by_pairs)


def test_what_shows_nothing_scores_nothing() -> None:
    assert catalogue_coverage(NOBODY, 4) == 0.0
    assert exposure_gini(NOBODY, 4) == 0.0
    assert personalisation(NOBODY, 4) == 0.0
    assert personalisation(np.array([[0, 1]]), 4) == 0.0
    assert intra_list_diversity(NOBODY, acquaintance(NOBODY[:, 0], NOBODY[:, 0], 4)).shape == (0,)
    assert novelty(NOBODY, np.ones(4), 1).shape == (0,)
