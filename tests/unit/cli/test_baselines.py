"""What a federation is compared with sees everybody's data, and is judged site by site."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from latecomer.evaluation.protocol import Score
from latecomer.interactions.splits import History
from latecomer_cli.baselines import linear, rounds_alone
from scenes import ITEMS, checkerboard, make_recipe, make_site

SITES = [make_site(checkerboard(4)), make_site(checkerboard(6, first=4))]
TEST = np.concatenate([site.split.test for site in SITES])


def test_a_user_of_a_later_site_gets_his_own_scores() -> None:
    seen: list[History] = []

    def knows_the_answer(known: History, items: int) -> Score:
        seen.append(known)

        def score(users: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
            return np.asarray(np.arange(items) == TEST[users][:, None], np.float64)

        return score

    first, second = linear(make_recipe(), SITES, ITEMS, knows_the_answer)
    assert first.per_user()["ndcg@5"].tolist() == [1] * 4
    assert second.per_user()["ndcg@5"].tolist() == [1] * 6
    # Once, from everything but the test items.
    assert [known.lengths.tolist() for known in seen] == [[7] * 10]


def test_who_is_at_two_sites_counts_once_in_one_place() -> None:
    seen: list[History] = []

    def popular(known: History, items: int) -> Score:
        seen.append(known)
        return lambda users: np.zeros((len(users), items))

    (site, _) = SITES
    again = replace(site, elsewhere=np.array([True, True, False, True]))
    linear(make_recipe(), [site, again], ITEMS, popular)
    assert [known.lengths.tolist() for known in seen] == [[7] * 4 + [0, 0, 7, 0]]


def test_a_slow_site_learns_alone_for_as_long_as_others_on_average() -> None:
    assert rounds_alone({"slow": 2, "fast": 20, "often": 10}) == {
        "slow": 11,
        "fast": 20,
        "often": 11,
    }
