"""What an evaluation must pass, on figures that are easy to see through."""

from typing import Any

import pytest

from latecomer.evaluation.protocol import ALL
from latecomer_cli.standing import criteria, worst_region

METRIC = "ndcg@10"
REACH = {"hr@10": 0.5}
GAINS = {"popularity": 0.01, "local_only": 0.02}


def region(ndcg: float, users: int = 100) -> dict[str, float]:
    return {"users": users, "ndcg@10": ndcg, "hr@10": 2 * ndcg}


def figures(**changes: Any) -> dict[str, dict[str, dict[str, float]]]:
    """Two regions, in which everything is well; ``changes`` win."""
    weak = {ALL: region(0.1), "north": region(0.1), "south": region(0.1)}
    good = {ALL: region(0.3), "north": region(0.4), "south": region(0.2)}
    return {
        "global": good,
        "centralised": good,
        "local_only": weak,
        "popularity": weak,
        **changes,
    }


def missed(means: dict[str, Any], gains: dict[str, float] | None = None) -> list[str]:
    found = criteria(METRIC, REACH, means, gains or GAINS)
    return [each.name for each in found if not each.reached]


def test_who_is_good_everywhere_misses_nothing() -> None:
    assert missed(figures()) == []
    assert len(list(criteria(METRIC, REACH, figures(), GAINS))) == 1 + 2 + 1 + 2 * 2 + 1


def test_a_run_that_was_cut_short_is_no_evaluation() -> None:
    found = criteria(METRIC, REACH, figures(), GAINS, trained=0.5)
    assert [each.name for each in found if not each.reached] == ["trainings, of those asked for"]


def test_what_the_recipe_asks_for_is_asked_for() -> None:
    poor = {**figures()["global"], ALL: region(0.24)}
    assert missed(figures(**{"global": poor}, centralised=poor)) == ["hr@10"]


def test_a_difference_whose_interval_reaches_below_zero_is_none() -> None:
    assert missed(figures(), {"popularity": 0.01, "local_only": -0.001}) == [
        "ndcg@10 above local_only, lower end of the interval"
    ]


def test_who_is_exactly_as_good_as_popularity_is_not_above_it() -> None:
    assert missed(figures(), {"popularity": 0.0}) == [
        "ndcg@10 above popularity, lower end of the interval"
    ]


@pytest.mark.parametrize(("log_loss", "reached"), [(0.39, True), (0.41, False)])
def test_of_errors_less_is_better(log_loss: float, reached: bool) -> None:
    means = figures()
    means["global"][ALL]["log_loss"] = log_loss
    first = next(criteria(METRIC, {"log_loss": 0.4}, means, GAINS))
    assert first.reached is reached


@pytest.mark.parametrize(("central", "misses"), [(0.309, 0), (0.310, 1)])
def test_97_percent_of_centralised_training_are_needed(central: float, misses: int) -> None:
    pooled = {**figures()["global"], ALL: region(central)}
    assert len(missed(figures(centralised=pooled))) == misses


def test_no_region_may_be_worse_off_than_alone() -> None:
    alone = {**figures()["local_only"], "south": region(0.21)}
    assert missed(figures(local_only=alone)) == ["south: ndcg@10 beside local_only"]


def test_the_worst_region_needs_90_percent_of_centralised_training() -> None:
    pooled = {**figures()["global"], "south": region(0.23)}
    assert missed(figures(centralised=pooled)) == [
        "south, the worst region: ndcg@10 beside centralised training"
    ]


def test_a_handful_of_customers_is_no_region() -> None:
    few = {**figures()["global"], "south": region(0.01, users=29)}
    assert worst_region(few, "ndcg@10") == "north"
    assert missed(figures(**{"global": few})) == []


def test_who_serves_personalised_models_is_judged_by_them() -> None:
    means = figures(personalised=figures()["local_only"])
    found = criteria(METRIC, REACH, means, GAINS, served="personalised")
    assert [each.value for each in found if each.name == "hr@10"] == [0.2]
