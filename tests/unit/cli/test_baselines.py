"""What a federation is compared with learns for as long as it does, and is asked the same."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from latecomer.evaluation.outcomes import OutcomeResult
from latecomer.evaluation.protocol import RankingResult
from latecomer.evaluation.results import Result
from latecomer.interactions.schema import Interactions
from latecomer.interactions.splits import Target
from latecomer.outcomes.examples import UNKNOWN, Examples, OutcomeSplit
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer_cli import baselines
from latecomer_cli.alone import alone
from latecomer_cli.baselines import rounds_alone
from latecomer_worker.site import Site
from scenes import ITEMS, checkerboard, make_outcome_recipe, make_recipe, make_site

TESTED = 7


def recipe_of(model: dict[str, Any], training: dict[str, Any], **others: Any) -> Recipe:
    body = make_recipe().model_dump(mode="json")
    return Recipe.model_validate({**body, "model": model, "training": training, **others})


GRAM = recipe_of({"family": "gram", "l2": 1.0}, {}, personal={"weights": [1.0]})


def bought(*since: list[int]) -> Site:
    """Each user's items, the oldest first, after two that everybody bought before."""
    items = [[8, 9, *each] for each in since]
    return make_site(
        Interactions(
            users=tuple(f"customer-{number}" for number in range(len(items))),
            regions=("",) * len(items),
            user=np.repeat(np.arange(len(items)), [len(each) for each in items]),
            item=np.concatenate(items).astype(np.int64),
            time_s=np.concatenate([np.arange(1.0, len(each) + 1) for each in items]),
        )
    )


def wards(labels: list[int], *, tested: int) -> Site:
    """As many examples as labels, of which the last ``tested`` are held out."""
    held_out = np.where(np.arange(len(labels)) < len(labels) - tested, UNKNOWN, labels)
    nobody = np.full(len(labels), UNKNOWN)
    everything = Examples(np.zeros((len(labels), 1), np.float32), np.array(labels))
    names = tuple(f"stay-{number}" for number in range(len(labels)))
    return Site(names, ("",) * len(labels), OutcomeSplit(nobody, held_out, everything), "")


def test_a_slow_site_learns_alone_for_as_long_as_others_on_average() -> None:
    assert rounds_alone({"slow": 2, "fast": 20, "often": 10}) == {
        "slow": 11,
        "fast": 20,
        "often": 11,
    }


def lists(results: list[Result]) -> list[list[list[int]]]:
    found = []
    for each in results:
        assert isinstance(each, RankingResult)
        assert each.lists is not None
        found.append(each.lists.tolist())
    return found


def ranks(result: Result) -> list[int]:
    assert isinstance(result, RankingResult)
    return [int(each) for each in result.rank]


@pytest.mark.parametrize(("target", "best"), [("test", 3), ("validation", 1)])
def test_what_is_popular_is_so_at_all_sites_as_far_as_it_is_known(
    target: Target, best: int
) -> None:
    """Before the tests two know item 3, and one each 1 and 2; before validation nobody does."""
    first, second = bought([0, 1, TESTED], [0, 2, TESTED]), bought([0, 3, TESTED], [0, 3, TESTED])
    popular = baselines.most_popular(make_recipe(), [first, second], 10, target)
    assert (
        lists(popular)[0][0]
        == {
            3: [3, 2, 4, 5, 6],
            1: [1, 2, 3, 4, 5],
        }[best]
    )


def test_who_is_tested_at_another_site_makes_nothing_popular_here_and_is_not_tested() -> None:
    first, second = bought([0, 1, TESTED], [0, 2, TESTED]), bought([0, 3, TESTED], [0, 3, TESTED])
    second = replace(second, elsewhere=np.array([False, True]))
    popular = baselines.most_popular(make_recipe(), [first, second], 10, "test")
    assert lists(popular) == [[[2, 3, 4, 5, 6], [1, 3, 4, 5, 6]], [[1, 2, 4, 5, 6]]]


def test_of_outcomes_is_said_how_often_they_came_about_at_all_sites() -> None:
    recipe = OUTCOMES
    sites = [wards([1, 1, 1, 0], tested=1), wards([0, 1], tested=1)]
    for each in baselines.most_popular(recipe, sites, 1, "test"):
        assert probabilities(each) == [3 / 4]


def test_in_one_place_every_site_is_judged_by_its_own_users_state() -> None:
    """As if its users were all at one site, in the same order."""
    recipe = recipe_of({"family": "neural_cf", "dimension": 4, "hidden": 4}, {})
    first, second = make_site(checkerboard(4)), make_site(checkerboard(6, first=4))
    both = Site(
        (*first.users, *second.users),
        (*first.regions, *second.regions),
        baselines.pooled([first, second]),
        first.catalogue,
    )
    (whole,) = baselines.centralised(recipe, [both], ITEMS, rounds=2, seed=1)
    parts = baselines.centralised(recipe, [first, second], ITEMS, rounds=2, seed=1)
    assert [rank for each in parts for rank in ranks(each)] == ranks(whole)


def test_a_test_item_is_predicted_from_everything_before_it() -> None:
    """Item 2 follows item 1 and item 4 follows item 3: who had only item 0 may get either."""
    taught = [[0, 1, 2, 5, 6]] * 6 + [[0, 3, 4, 5, 6]] * 6
    site = bought([0, 1, 2], [0, 3, 4], *taught)
    found = baselines.local_only(GRAM, site, 10, rounds=1, seed=1)
    assert ranks(found)[:2] == [1, 1]


def test_who_knows_better_alone_is_served_by_what_he_knows() -> None:
    site, chosen = make_site(checkerboard(40)), family(GRAM.model)
    initial = chosen.initial(ITEMS, seed=1)
    nothing = {spec.name: initial[spec.name] for spec in chosen.layout(ITEMS).held}
    private = chosen.initial_private(40)
    own = baselines.local_only(GRAM, site, ITEMS, rounds=1, seed=1)
    mixed = baselines.personalised(GRAM, site, ITEMS, nothing, private)
    plain = baselines.judged(GRAM, site, nothing, private)
    assert mixed.per_user()["ndcg@5"].tolist() == own.per_user()["ndcg@5"].tolist()
    assert mixed.per_user()["ndcg@5"].tolist() != plain.per_user()["ndcg@5"].tolist()


OUTCOMES = make_outcome_recipe(hidden=8, examples_per_pass=50)


ROUNDS = 32


def probabilities(result: Result) -> list[float]:
    assert isinstance(result, OutcomeResult)
    return [float(each) for each in result.probability]


def one_person() -> Site:
    """Outcomes by the first of many inputs, a third of them wrong; all stays are of one person."""
    rng, count = np.random.default_rng(0), 300
    inputs = rng.standard_normal((count, 12)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    turn = np.arange(count) % 4
    wrong = (turn > 1) & (rng.random(count) < 0.4)
    split = OutcomeSplit(
        np.where(turn == 0, labels, UNKNOWN),
        np.where(turn == 1, labels, UNKNOWN),
        Examples(inputs, np.where(wrong, 1 - labels, labels)),
    )
    names = tuple(f"stay-{number}" for number in range(count))
    return Site(names, ("",) * count, split, "", groups=("somebody",) * count)


def by_itself(recipe: Recipe, site: Site) -> Result:
    return baselines.local_only(recipe, site, 12, rounds=ROUNDS, seed=1)


def in_one_place(recipe: Recipe, site: Site) -> Result:
    (found,) = baselines.centralised(recipe, [site], 12, rounds=ROUNDS, seed=1)
    return found


@pytest.fixture
def _one_thread() -> None:
    """As ``evaluate``: threads that wait for each other take longer than such small batches."""
    torch.set_num_threads(1)


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("learned", [by_itself, in_one_place])
def test_stays_of_one_person_do_not_end_what_is_learned_early(
    learned: Callable[[Recipe, Site], Result],
) -> None:
    recipe, site = OUTCOMES, one_person()

    def after(groups: Any) -> list[float]:
        state = alone(recipe, [site.split], 12, rounds=ROUNDS, seed=1, groups=groups)
        return probabilities(baselines.judged(recipe, site, *state))

    to_the_end = after(np.zeros(300, np.int64))
    assert after(None) != to_the_end
    assert probabilities(learned(recipe, site)) == to_the_end


def test_one_place_draws_as_many_examples_as_all_sites_together() -> None:
    """Of two sites' 50 each it draws all 100: as many as without a limit."""
    limited = OUTCOMES
    training = limited.training.model_copy(update={"examples_per_pass": 100})
    site = one_person()
    sites = [site, replace(site, users=tuple(f"other-{each}" for each in site.users))]
    at_most = limited.model_copy(update={"training": training})
    splits = [each.split for each in sites]
    state = alone(at_most, splits, 12, rounds=2, seed=1, groups=np.zeros(600, np.int64))
    expected = probabilities(baselines.judged(limited, site, *state))
    found = baselines.centralised(limited, sites, 12, rounds=2, seed=1)[0]
    assert probabilities(found) == expected
