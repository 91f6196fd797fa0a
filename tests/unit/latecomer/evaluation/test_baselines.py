import numpy as np
import pytest

from latecomer.errors import BadData
from latecomer.evaluation.baselines import at_random, popularity, same_for_all
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
