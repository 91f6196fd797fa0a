"""An effect rests on as many people as matter: where these are few, nothing can be told."""

from collections.abc import Callable

import numpy as np
import pytest

from latecomer.evaluation.ranking import Floats
from latecomer.experiments.assignment import Arm
from latecomer.experiments.effects import Effect, effect
from latecomer.experiments.evidence import evidence
from latecomer.experiments.strata import Strata, Stratum
from latecomer.experiments.sums import Sums


def site(control: Sums, treatment: Sums, users: tuple[int, int]) -> Stratum:
    both: dict[Arm, int] = {"control": users[0], "treatment": users[1]}
    return Stratum(both, {"control": control, "treatment": treatment})


def of(y: Floats, x: Floats | None = None) -> Sums:
    return Sums.of(np.ones(len(y)) if x is None else x, y)


def drawn(draw: np.random.Generator, y: Floats, share: float) -> Stratum:
    treated = draw.random(len(y)) < share
    users = (int((~treated).sum()), int(treated.sum()))
    return site(of(y[~treated]), of(y[treated]), users)


def bought(buyers: int, users: int) -> Floats:
    return np.repeat([1.0, 0.0], [buyers, users - buyers])


def test_users_who_are_served_alike_are_as_many_as_they_are() -> None:
    found = evidence(Strata([site(of(bought(20, 60)), of(bought(20, 40)), (60, 40))]))
    assert [found.control, found.treatment] == pytest.approx([60, 40])


def test_of_buyers_the_smaller_arm_has_its_share() -> None:
    found = evidence(Strata([site(of(bought(10, 180)), of(bought(2, 20)), (180, 20))]))
    assert found.metric == pytest.approx(12 * 0.1)
    assert not found.enough


def test_who_buys_for_most_of_it_is_nearly_alone() -> None:
    paid = np.repeat([1.0, 98.0, 0.0], [2, 1, 97])
    found = evidence(Strata([site(of(paid), of(0 * paid), (100, 100))]))
    assert found.metric == pytest.approx(100**2 / (98**2 + 2) / 2)


def test_what_few_do_not_do_is_as_rare_as_what_few_do() -> None:
    few = site(of(bought(10, 180)), of(bought(2, 20)), (180, 20))
    most = site(of(1 - bought(10, 180)), of(1 - bought(2, 20)), (180, 20))
    assert evidence(Strata([most])).metric == pytest.approx(evidence(Strata([few])).metric)


def test_a_count_has_no_rest() -> None:
    # All did it once, and one twice: nobody knows of how often it might have been.
    did = np.append(np.ones(99), 2.0)
    found = evidence(Strata([site(of(did), of(did), (100, 100))]))
    assert found.metric == pytest.approx(0.5 * 202**2 / 206)


def test_what_was_lost_counts_as_what_was_won() -> None:
    won = bought(12, 100)
    lost = evidence(Strata([site(of(-won), of(-won), (100, 100))]))
    assert lost.metric == pytest.approx(12)


def test_one_refund_makes_nobody_many() -> None:
    paid, refunded = bought(3, 100), bought(3, 100)
    refunded[-1] = -1.0
    told = evidence(Strata([site(of(paid), of(refunded), (100, 100))]))
    assert told.metric == pytest.approx(0.5 * 7)
    assert not told.enough


def test_one_crawler_is_most_of_an_arm() -> None:
    views = np.append(np.ones(99), 901.0)
    found = evidence(Strata([site(of(0 * views, views), of(np.ones(100)), (100, 100))]))
    assert found.control == pytest.approx(1000**2 / (901**2 + 99))
    assert not found.enough


def test_where_nothing_came_of_it_nothing_can_be_told() -> None:
    found = evidence(Strata([site(of(np.zeros(50)), of(np.zeros(50)), (50, 50))]))
    assert (found.metric, found.enough) == (0.0, False)


def test_sites_that_are_too_few_alone_may_be_enough_together() -> None:
    sites = [site(of(bought(8, 50)), of(bought(8, 50)), (50, 50)) for _ in range(3)]
    assert evidence(Strata(sites[:1])).metric == pytest.approx(8)
    assert evidence(Strata(sites)).metric == pytest.approx(24)
    # Where they may be the same people, they are taken to be.
    alike = evidence(Strata(sites, shared_ids=True))
    assert alike.metric == pytest.approx(8)
    assert [alike.control, alike.treatment] == pytest.approx([50, 50])


@pytest.mark.parametrize("sites", range(1, 10))
def test_ten_are_enough_however_they_are_rounded(sites: int) -> None:
    ten = site(of(-np.ones(10)), of(-np.ones(10)), (10, 10))
    assert evidence(Strata([ten] * sites, shared_ids=True)).enough


def told(found: Effect) -> bool:
    return found.low is not None and found.high is not None


def wrong(found: Effect) -> bool:
    return found.low is not None and found.high is not None and not found.low <= 0 <= found.high


@pytest.mark.parametrize(
    "values",
    [
        lambda draw: (draw.random(1000) < 0.01).astype(np.float64),
        lambda draw: (draw.random(1000) < 0.99).astype(np.float64),
        lambda draw: (draw.random(1000) < 0.05) * draw.lognormal(3.0, 1.0, 1000),
    ],
    ids=["few do it", "few do not do it", "few pay"],
)
def test_of_too_few_no_effect_is_told(values: Callable[[np.random.Generator], Floats]) -> None:
    # Their intervals would be wrong in 36, 37 and 15 of 100 experiments.
    draw = np.random.default_rng(13)
    found = [effect(Strata([drawn(draw, values(draw), 0.1)])) for _ in range(300)]
    assert sum(map(told, found)) <= 3


def test_of_just_enough_one_in_twenty_is_told_wrongly() -> None:
    draw = np.random.default_rng(14)
    found = [
        effect(Strata([drawn(draw, (draw.random(1500) < 0.1).astype(np.float64), 0.1)]))
        for _ in range(1000)
    ]
    assert sum(map(told, found)) > 950
    assert sum(map(wrong, found)) <= 50 + 21
