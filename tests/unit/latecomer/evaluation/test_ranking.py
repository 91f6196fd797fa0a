from collections.abc import Callable
from math import log2
from typing import Any

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.errors import NotFinite
from latecomer.evaluation import ranking
from latecomer.evaluation.ranking import NO_ITEM, of_held_out, rank_of, top_k

METRICS = {
    "recall": ranking.recall,
    "precision": ranking.precision,
    "f1": ranking.f1,
    "ndcg": ranking.ndcg,
    "hit_rate": ranking.hit_rate,
    "average_precision": ranking.average_precision,
    "reciprocal_rank": ranking.reciprocal_rank,
}
AS_TREC_HAS_THEM: dict[str, Callable[[int], Any]] = {
    "recall": lambda k: ir_measures.R @ k,
    "precision": lambda k: ir_measures.P @ k,
    "f1": lambda _: ir_measures.SetF,
    "ndcg": lambda k: ir_measures.nDCG @ k,
    "hit_rate": lambda k: ir_measures.Success @ k,
    "average_precision": lambda k: ir_measures.AP @ k,
    "reciprocal_rank": lambda k: ir_measures.RR @ k,
}
LENGTH = 12
permutations = st.permutations(range(LENGTH))
relevant_sets = st.sets(st.integers(0, LENGTH + 3), min_size=1)
cutoffs = st.integers(1, LENGTH)


def by_trec(name: str, ranked: list[int], relevant: set[int], k: int) -> float:
    run = {"u": {str(item): float(-place) for place, item in enumerate(ranked[:k])}}
    judged = {"u": dict.fromkeys(map(str, relevant), 1)}
    measure = AS_TREC_HAS_THEM[name](k)
    return float(ir_measures.calc_aggregate([measure], judged, run)[measure])


@pytest.mark.parametrize("name", METRICS)
@given(ranked=permutations, relevant=relevant_sets, k=cutoffs)
def test_every_metric_of_a_list_is_that_of_trec_eval(
    name: str, ranked: list[int], relevant: set[int], k: int
) -> None:
    assert METRICS[name](ranked, relevant, k) == pytest.approx(by_trec(name, ranked, relevant, k))


@pytest.mark.parametrize("name", METRICS)
@given(ranked=permutations, held_out=st.integers(0, LENGTH - 1), k=cutoffs)
def test_the_rank_of_a_single_relevant_item_says_as_much_as_the_list(
    name: str, ranked: list[int], held_out: int, k: int
) -> None:
    rank = np.array([ranked.index(held_out) + 1])
    of_list = METRICS[name](ranked, {held_out}, k)
    assert of_held_out(rank, k)[name] == pytest.approx([of_list])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recall", 2 / 3),
        ("precision", 2 / 4),
        ("f1", 4 / 7),
        ("ndcg", (1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4))),
        ("hit_rate", 1.0),
        ("average_precision", (1 / 2 + 2 / 4) / 3),
        ("reciprocal_rank", 1 / 2),
    ],
)
def test_two_of_three_relevant_items_at_places_two_and_four(name: str, value: float) -> None:
    assert METRICS[name]([9, 1, 8, 2], {1, 2, 3}, 4) == pytest.approx(value)


@pytest.mark.parametrize("name", METRICS)
def test_a_user_without_relevant_items_and_a_list_without_items_score_nothing(name: str) -> None:
    assert METRICS[name]([1, 2, 3], set(), 3) == 0.0
    assert METRICS[name]([], {1}, 3) == 0.0


@pytest.mark.parametrize("name", ["recall", "ndcg", "hit_rate", "reciprocal_rank"])
def test_the_best_list_scores_one_however_short(name: str) -> None:
    assert METRICS[name]([1], {1}, 10) == 1.0


def test_a_list_may_be_an_array() -> None:
    assert ranking.recall(np.array([4, 2]), {2}, 2) == 1.0


def test_a_rank_beyond_k_is_worth_nothing() -> None:
    values = of_held_out(np.array([11]), 10)
    assert {name: value.item() for name, value in values.items()} == dict.fromkeys(METRICS, 0.0)


def test_rank_counts_whoever_scores_at_least_as_high() -> None:
    scores = np.array([[0.9, 0.5, 0.5, 0.1], [0.1, 0.2, 0.3, 0.4]])
    nobody = np.zeros_like(scores, np.bool_)
    assert rank_of(scores, np.array([1, 3]), nobody).tolist() == [3, 1]


def test_a_constant_scorer_ranks_every_positive_last() -> None:
    scores = np.ones((2, 50), np.float32)
    assert rank_of(scores, np.array([0, 49]), np.zeros((2, 50), np.bool_)).tolist() == [50, 50]


def test_excluded_items_do_not_compete_whatever_they_score() -> None:
    scores = np.array([[np.nan, np.inf, 0.5, 0.7]])
    excluded = np.array([[True, True, False, False]])
    assert rank_of(scores, np.array([2]), excluded).tolist() == [2]
    assert top_k(scores, excluded, 2).tolist() == [[3, 2]]


def test_the_positive_competes_even_if_excluded() -> None:
    assert rank_of(np.array([[0.1, 0.2]]), np.array([0]), np.array([[True, False]])).tolist() == [2]


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_a_candidate_without_a_number_is_an_error(broken: float, place: int) -> None:
    scores = np.zeros((1, 3))
    scores[0, place] = broken
    nobody = np.zeros((1, 3), np.bool_)
    with pytest.raises(NotFinite, match=f"item {place} of row 0"):
        rank_of(scores, np.array([0]), nobody)
    with pytest.raises(NotFinite, match=f"item {place} of row 0"):
        top_k(scores, nobody, 2)


def test_no_users_have_no_ranks_and_no_lists() -> None:
    nothing = np.empty((0, 5))
    nobody = np.empty((0, 5), np.bool_)
    assert rank_of(nothing, np.empty(0, np.int64), nobody).shape == (0,)
    assert top_k(nothing, nobody, 3).shape == (0, 3)


def test_equal_scores_are_shown_in_the_order_of_items() -> None:
    scores = np.array([[1.0, 2.0, 1.0, 2.0, 1.0]])
    assert top_k(scores, np.zeros((1, 5), np.bool_), 4).tolist() == [[1, 3, 0, 2]]


def test_a_list_that_runs_out_of_items_is_filled_up() -> None:
    scores = np.array([[0.1, 0.3, 0.2]])
    assert top_k(scores, np.array([[False, True, False]]), 5).tolist() == [
        [2, 0, NO_ITEM, NO_ITEM, NO_ITEM]
    ]


@given(
    values=st.lists(st.integers(0, 4), min_size=1, max_size=20),
    excluded=st.sets(st.integers(0, 19)),
    k=st.integers(1, 22),
)
def test_top_k_is_the_front_of_a_stable_sort(values: list[int], excluded: set[int], k: int) -> None:
    left = [item for item in range(len(values)) if item not in excluded]
    best = sorted(left, key=lambda item: -values[item])[:k]
    mask = np.isin(np.arange(len(values)), list(excluded))[np.newaxis]
    shown = top_k(np.array([values], np.float32), mask, k)
    assert shown.tolist() == [best + [NO_ITEM] * (k - len(best))]
