from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.evaluation.beyond_accuracy import (
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


def test_diversity_of_alike_unlike_and_opposite_items() -> None:
    vectors = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [0.0, 0.0]])
    lists = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [4, NO_ITEM]])
    assert intra_list_diversity(lists, vectors).tolist() == [0.0, 1.0, 2.0, 1.0, 0.0]


@given(lists=lists_of_three, seed=st.integers(0, 99))
def test_diversity_is_the_mean_over_pairs(lists: list[list[int]], seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(8, 4))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    by_pairs = [1 - np.mean([unit[i] @ unit[j] for i, j in combinations(x, 2)]) for x in lists]
    assert intra_list_diversity(np.array(lists), vectors) == pytest.approx(np.array(by_pairs))


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
    assert intra_list_diversity(NOBODY, np.ones((4, 2))).shape == (0,)
    assert novelty(NOBODY, np.ones(4), 1).shape == (0,)
