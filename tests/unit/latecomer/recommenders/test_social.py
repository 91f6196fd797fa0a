"""What friends add to scores, on numbers that can be checked in one's head."""

import numpy as np
import numpy.typing as npt

from latecomer.interactions.splits import History
from latecomer.recommenders.port import Scorer
from latecomer.recommenders.social import popular_here, smoothed

OWN = np.array([[1, 0], [0, 4], [2, 2], [7, 9]], np.float32)

#: User 0 befriends 1 and 2, and user 1 user 3; 2 and 3 befriend nobody.
EDGES = np.array([[0, 1], [0, 2], [1, 3]])


def own(users: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    return OWN[users]


def of(score: Scorer, *users: int) -> list[list[float]]:
    found: list[list[float]] = score(np.array(users)).tolist()
    return found


def test_a_users_score_gains_the_mean_of_his_friends() -> None:
    score = smoothed(own, EDGES, 0.5)
    # 0: (1, 0) + 1/2 ((0, 4) + (2, 2)) / 2; 1: (0, 4) + 1/2 (7, 9).
    assert of(score, 0, 1) == [[1.5, 1.5], [3.5, 8.5]]


def test_who_has_no_friends_keeps_his_scores() -> None:
    score = smoothed(own, EDGES, 0.5)
    assert of(score, 2, 3) == [[2, 2], [7, 9]]
    assert of(score, 3, 0) == [[7, 9], [1.5, 1.5]]


def test_whoever_shares_a_batch_does_not_matter() -> None:
    score = smoothed(own, EDGES, 0.3)
    assert of(score, 3, 1, 0) == [*of(score, 3), *of(score, 1), *of(score, 0)]
    assert score(np.empty(0, np.int64)).shape == (0, 2)


def test_without_a_weight_or_a_friend_there_is_nothing_to_do() -> None:
    assert smoothed(own, EDGES, 0.0) is own
    assert smoothed(own, np.empty((0, 2), np.int64), 1.0) is own


def history(*users: list[int]) -> History:
    items = np.array([item for user in users for item in user], np.int64)
    return History(np.cumsum([0, *map(len, users)]), items, np.zeros(len(items)))


def test_what_many_at_the_site_have_gains_by_the_share_of_them_who_do() -> None:
    # Item 1 is had by two of four, by one of them twice; item 0 by one.
    score = popular_here(own, history([1, 1], [0, 1], [], []), 8.0)
    assert of(score, 0, 1) == [[1 + 2, 0 + 4], [0 + 2, 4 + 4]]
    assert popular_here(own, history([1]), 0.0) is own


def test_a_site_where_nothing_was_done_yet_adds_nothing() -> None:
    assert of(popular_here(own, history([], []), 8.0), 3) == [[7, 9]]
