"""Two models served as one, on numbers that can be checked in one's head."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest

from latecomer.recommenders.als import FACTORS
from latecomer.recommenders.ensemble import certain, gated, mixed, trained_alone
from latecomer.recommenders.port import Scorer
from latecomer.recommenders.settings import AlsModel
from latecomer.tensors import Array
from unit.latecomer.recommenders.families_under_test import ITEMS, checkerboard
from unit.latecomer.recommenders.families_under_test import USERS as OWNERS

USERS = np.array([0, 1])


def scorer(*scores: object) -> Scorer:
    table = np.array(scores, np.float32)

    def score(users: npt.NDArray[np.int64]) -> Array:
        return np.asarray(table[users])

    return score


SHARED = scorer((1, 2, 3), (0, 0, 6))
OWN = scorer((300, 200, 100), (5, 5, 5))


def test_both_models_count_alike_whatever_the_scale_of_their_scores() -> None:
    # Of three scores at equal distances, the outer are sqrt(3/2) deviations from the mean.
    outer = math.sqrt(1.5)
    shared, own = np.array([-outer, 0, outer]), np.array([outer, 0, -outer])
    half, quarter = mixed(SHARED, OWN, 0.5)(USERS)[0], mixed(SHARED, OWN, 0.25)(USERS)[0]
    np.testing.assert_allclose(half, [0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(quarter, 0.75 * shared + 0.25 * own, atol=1e-6)


def test_a_model_that_knows_no_difference_for_a_user_says_nothing_of_him() -> None:
    alone, both = mixed(SHARED, SHARED, 0.5)(USERS)[1], mixed(SHARED, OWN, 0.5)(USERS)[1]
    np.testing.assert_allclose(both, alone / 2, atol=1e-6)


def test_without_a_weight_the_shared_scores_stay_as_they_are() -> None:
    np.testing.assert_array_equal(mixed(SHARED, OWN, 0.0)(USERS), SHARED(USERS))


def test_probabilities_are_mixed_as_odds() -> None:
    # Odds of 1/4 and 9: their geometric mean is 3/2.
    (both,) = mixed(scorer(0.2), scorer(0.9), 0.5)(USERS[:1])
    assert both == pytest.approx(0.6)
    (sure,) = mixed(scorer(1.0), scorer(0.0), 0.5)(USERS[:1])
    assert sure == pytest.approx(0.5)


def alone(passes: int, rounds: int) -> Array:
    model, _ = trained_alone(
        AlsModel(dimension=2),
        checkerboard(),
        users=OWNERS,
        items=ITEMS,
        plan={"passes": passes},
        rounds=rounds,
        seed=1,
        rng=np.random.default_rng(0),
    )
    return model[FACTORS]


def test_who_trains_alone_has_the_passes_of_all_rounds_however_many() -> None:
    np.testing.assert_array_equal(alone(3, 2), alone(6, 1))
    once, often = alone(1, 1), alone(2, 501)
    assert not np.array_equal(once, often)


#: What three users get with each weight.
GOT: Mapping[float, tuple[float, ...]] = {
    0.0: (0.2, 0.4, 0.3),
    0.5: (0.4, 0.5, 0.6),
    1.0: (0.1, 0.1, 0.1),
}


def chosen(weights: tuple[float, ...], values: Mapping[float, tuple[float, ...]]) -> float:
    return gated(weights, lambda weight: np.array(values[weight]))


def test_the_weight_with_the_best_mean_is_taken() -> None:
    assert chosen((1.0, 0.5), GOT) == 0.5


def test_what_does_not_help_is_not_used() -> None:
    assert chosen((1.0,), GOT) == 0.0


def test_of_equals_the_smallest_weight_is_taken() -> None:
    assert chosen((1.0, 0.5), {**GOT, 1.0: GOT[0.5]}) == 0.5
    assert chosen((0.5,), {**GOT, 0.5: GOT[0.0]}) == 0.0


@pytest.mark.parametrize(
    ("errors", "third", "weight"),
    [(1.0, -0.006, 0.0), (1.0, -0.004, 0.5), (2.0, -0.001, 0.0), (2.0, 0.001, 0.5)],
)
def test_a_gain_within_its_standard_errors_is_luck(
    errors: float, third: float, weight: float
) -> None:
    # Of gains (d, d, x), the mean (2 d + x) / 3 is the standard error (d - x) / 3 at x = -d / 2,
    # and twice that at x = 0.
    gains = np.array([0.01, 0.01, third])
    without = np.array([0.2, 0.4, 0.3])
    found = gated(
        (0.5,), lambda each: without + gains if each else without, errors=lambda _: errors
    )
    assert found == weight


def test_few_groups_must_gain_the_more_to_be_certain_and_fewer_than_five_never_are() -> None:
    assert certain(4) == math.inf
    assert certain(5) == 2.776
    assert certain(11) == 2.228
    assert certain(10**6) == pytest.approx(1.96, abs=0.001)
    # All gain alike, so that there is no error at all.
    assert gated((0.5,), lambda weight: np.full(4, weight), errors=certain) == 0.0
    assert gated((0.5,), lambda weight: np.full(5, weight), errors=certain) == 0.5


def test_who_are_of_one_group_are_lucky_together() -> None:
    gains = np.array([0.1] * 6 + [-0.1] * 2)

    def chosen_of(*groups: int) -> float:
        return gated((0.5,), lambda weight: gains * bool(weight), np.array(groups))

    assert chosen_of(*range(8)) == 0.5
    assert chosen_of(0, 0, 0, 0, 0, 0, 1, 1) == 0.0  # a standard error of 0.075 for a gain of 0.05
    assert chosen_of(0, 0, 0, 0, 0, 0, 0, 0) == 0.0


@pytest.mark.parametrize("got", [(), (0.1,)])
def test_who_has_hardly_anything_to_validate_on_has_no_model_of_his_own(
    got: tuple[float, ...],
) -> None:
    assert chosen((0.5,), {0.0: got, 0.5: tuple(2 * each for each in got)}) == 0.0
