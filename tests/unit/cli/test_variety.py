"""What lists are like apart from hits is asked of all sites' users together."""

import numpy as np
import pytest

from latecomer.evaluation.protocol import RankingResult
from latecomer.interactions.schema import Interactions
from latecomer_cli.variety import variety
from latecomer_worker.site import Site
from scenes import make_site

ITEMS, TESTED = 10, 7


def knows(*items: int) -> Site:
    """Two users who know items 8, 9, 0 and one more each, and are tested on another."""
    return make_site(
        Interactions(
            users=("first", "second"),
            regions=("", ""),
            user=np.repeat([0, 1], 5),
            item=np.concatenate([[8, 9, 0, each, TESTED] for each in items]),
            time_s=np.tile(np.arange(5.0), 2),
        )
    )


def shown(*lists: list[int]) -> RankingResult:
    return RankingResult(np.arange(2), np.array([1, 1]), 2, np.array(lists))


def test_lists_of_all_sites_are_compared_and_users_of_two_sites_are_never_the_same() -> None:
    """Of four users all know item 0, two know 1, and one each knows 2 and 3.

    Items are known in bits: 0, 1, 2, 2, and 2 where nobody knows them. Of the pairs that are shown,
    one user of four knows both 0 and 2, and nobody any other: 1 - 1 / sqrt(4 * 1) is 1/2.
    """
    found = variety(
        [shown([2, 3], [1, 5]), shown([2, 3], [0, 2])], [knows(1, 2), knows(1, 3)], ITEMS
    )
    assert found == pytest.approx(
        {
            "coverage@2": 5 / 10,
            "gini@2": 50 / 80,
            "diversity@2": (1 + 1 + 1 + 1 / 2) / 4,
            "novelty@2": (2 + 3 / 2 + 2 + 1) / 4,
            "personalisation@2": 1 - (3 * 2 + 2 * 1) / (2 * 4 * 3),
        }
    )


def test_where_nothing_is_shown_there_is_no_variety() -> None:
    nothing = RankingResult(np.arange(2), np.array([1, 1]), 2)
    assert variety([nothing], [knows(1, 2)], ITEMS) == {}
    assert variety([], [], ITEMS) == {}
