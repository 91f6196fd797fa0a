import numpy as np
import pytest

from latecomer.errors import BadData
from latecomer.evaluation.baselines import (
    at_random,
    ease,
    item_knn,
    popularity,
    same_for_all,
)
from latecomer.evaluation.protocol import RankingProtocol
from unit.latecomer.evaluation.histories import history


def test_popularity_counts_what_was_trained_on() -> None:
    assert popularity(history([2, 0], [], [2]), 4).tolist() == [1.0, 0.0, 2.0, 0.0]
    assert popularity(history(), 3).tolist() == [0.0, 0.0, 0.0]


def test_an_item_outside_the_catalogue_is_bad_data() -> None:
    with pytest.raises(BadData, match="item 4"):
        popularity(history([4]), 4)


def test_popularity_recommends_the_best_known_item_that_is_new_to_the_user() -> None:
    known = history([0, 1], [0], [0, 1], [2])
    score = same_for_all(popularity(known, 4))
    target = np.array([2, 1, 3, 0])
    result = RankingProtocol(k=1).evaluate(score, known, target, lists=True)
    assert result.rank.tolist() == [1, 1, 2, 1]
    assert result.lists is not None
    assert result.lists.tolist() == [[2], [1], [2], [0]]


def test_chance_depends_on_seed_and_user_alone() -> None:
    score = at_random(6, seed=1)
    assert (score(np.array([3, 4]))[1] == score(np.array([4]))[0]).all()
    assert (score(np.array([4])) != at_random(6, seed=2)(np.array([4]))).all()
    assert (score(np.array([3]))[0] != score(np.array([4]))[0]).all()
    assert score(np.empty(0, np.int64)).shape == (0, 6)


def test_ease_is_the_closed_form_worked_out_by_hand() -> None:
    # G + I = [[3, 1], [1, 2]], its inverse [[2, -1], [-1, 3]] / 5: B01 = 1/3 and B10 = 1/2.
    score = ease(history([0, 1], [0], []), 2, regularisation=1.0)
    assert score(np.array([0, 1, 2])) == pytest.approx(
        np.array([[1 / 2, 1 / 3], [0, 1 / 3], [0, 0]])
    )


def test_item_knn_is_the_shrunk_cosine_worked_out_by_hand() -> None:
    # Items 0 and 1 share 2 of 2 and 2 users, 0 and 2 share 1 of 2 and 1.
    known = history([0, 1, 2], [0, 1])
    wide = item_knn(known, 3, neighbours=2, shrinkage=2.0)(np.array([1]))
    assert wide == pytest.approx(np.array([[0.5, 0.5, 2 / (2**0.5 + 2)]]))
    assert item_knn(known, 3, neighbours=3, shrinkage=2.0)(np.array([1])) == pytest.approx(wide)


def test_item_knn_keeps_the_nearest_neighbours_of_each_item_alone() -> None:
    # Item 0 is 2 / 4 from item 1 and 1 / (2 ** 0.5 + 2) from item 2: only item 1 is its neighbour.
    known = history([0, 1, 2], [0, 1], [2])
    score = item_knn(known, 3, neighbours=1, shrinkage=2.0)
    assert score(np.array([2])).tolist() == [[0.0, 0.0, 0.0]]
    assert score(np.array([1]))[0, :2] == pytest.approx([0.5, 0.5])


def test_items_that_nobody_knows_score_nothing_even_without_shrinkage() -> None:
    assert item_knn(history([0]), 2, shrinkage=0.0)(np.array([0])).tolist() == [[0.0, 0.0]]
