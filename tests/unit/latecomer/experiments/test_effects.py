"""Effects are those of textbooks, keep their level, and are the same from sums as from users."""

import numpy as np
import pytest

from latecomer.evaluation.intervals import standard_error
from latecomer.evaluation.ranking import Floats
from latecomer.experiments.assignment import Arm, arm
from latecomer.experiments.effects import Effect, effect, estimate, mismatch
from latecomer.experiments.sums import Sums


def of_users(control: Floats, treatment: Floats) -> Effect:
    """Of a metric per user."""
    users: dict[Arm, int] = {"control": len(control), "treatment": len(treatment)}
    return effect(
        users,
        {
            "control": Sums.of(np.ones(len(control)), control),
            "treatment": Sums.of(np.ones(len(treatment)), treatment),
        },
    )


def test_a_mean_and_its_error_by_hand() -> None:
    # Mean 1/2, s^2 = 4 * 1/4 / 3 = 1/3, and v = s^2 / 4.
    found = estimate(4, Sums.of(np.ones(4), np.array([0.0, 0.0, 1.0, 1.0])))
    assert (found.users, found.value) == (4, 0.5)
    assert found.error == pytest.approx((1 / 12) ** 0.5)


def test_per_user_the_interval_is_welchs() -> None:
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(5)
    control, treatment = draw.normal(3.0, 1.0, 30), draw.normal(3.4, 4.0, 50)
    found = of_users(control, treatment)
    known = stats.ttest_ind(treatment, control, equal_var=False).confidence_interval()
    assert found.difference == pytest.approx(treatment.mean() - control.mean())
    # Its degrees of freedom are no whole number; ours are rounded down.
    assert (found.low, found.high) == pytest.approx((known.low, known.high), rel=1e-2)
    assert found.low <= known.low
    assert found.high >= known.high
    assert found.relative == pytest.approx(treatment.mean() / control.mean() - 1)


def test_per_row_the_error_is_of_whoever_was_served_and_not_of_what() -> None:
    draw = np.random.default_rng(6)
    user = np.sort(draw.integers(40, size=500))
    clicked = (draw.random(500) < draw.random(40)[user]).astype(np.float64)
    served, clicks = np.bincount(user), np.bincount(user, clicked)
    own = Sums.of(served.astype(np.float64), clicks.astype(np.float64))
    found = estimate(40, own)
    assert found.value == pytest.approx(clicked.mean())
    assert found.error == pytest.approx(standard_error(clicked, user))
    assert found.error > 1.5 * standard_error(clicked)


def test_sums_of_two_sites_are_the_sums_of_all_their_users() -> None:
    x, y = np.arange(1.0, 9.0), np.arange(8.0) ** 2
    assert Sums.of(x[:3], y[:3]) + Sums.of(x[3:], y[3:]) == Sums.of(x, y)


def test_where_nothing_was_to_be_seen_one_experiment_of_twenty_sees_something() -> None:
    spent = np.random.default_rng(7).gamma(0.5, 20.0, 400)
    seen = 0
    for number in range(1000):
        arms = np.array([arm(f"nothing-{number}", str(user), site="here") for user in range(400)])
        found = of_users(spent[arms == "control"], spent[arms == "treatment"])
        seen += not found.low <= 0 <= found.high
    assert seen == pytest.approx(50, abs=21)  # three standard deviations


def test_four_of_five_experiments_see_what_is_detectable() -> None:
    draw = np.random.default_rng(8)
    seen = 0
    for _ in range(1000):
        control, treatment = draw.normal(1.0, 1.0, 200), draw.normal(1.0, 2.0, 100)
        found = of_users(control, treatment + of_users(control, treatment).detectable)
        seen += found.low > 0
    assert seen == pytest.approx(800, abs=38)  # three standard deviations


def test_of_nothing_there_is_no_multiple() -> None:
    nothing, something = np.zeros(10), np.arange(10.0)
    assert of_users(nothing, something).relative is None
    alike = of_users(nothing, nothing)
    assert (alike.difference, alike.low, alike.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("control", "treatment", "share"), [(500, 500, 0.5), (5000, 5400, 0.5), (900, 85, 0.1)]
)
def test_a_mismatch_is_as_likely_as_pearson_says(
    control: int, treatment: int, share: float
) -> None:
    stats = pytest.importorskip("scipy.stats")
    everybody = control + treatment
    known = stats.chisquare([control, treatment], [everybody * (1 - share), everybody * share])
    found = mismatch({"control": control, "treatment": treatment}, share)
    assert found == pytest.approx(known.pvalue)
