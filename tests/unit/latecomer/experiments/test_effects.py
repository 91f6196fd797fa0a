"""Effects are those of textbooks, keep their level, and are the same from sums as from users."""

import numpy as np
import numpy.typing as npt
import pytest

from latecomer.evaluation.intervals import standard_error, t_975
from latecomer.evaluation.ranking import Floats
from latecomer.experiments.assignment import ARMS, Arm, arm
from latecomer.experiments.effects import Effect, effect
from latecomer.experiments.strata import Strata, Stratum
from latecomer.experiments.sums import Sums

Bools = npt.NDArray[np.bool_]


def stratum(control: Floats, treatment: Floats) -> Stratum:
    """A site with a metric per user."""
    return Stratum(
        {"control": len(control), "treatment": len(treatment)},
        {
            "control": Sums.of(np.ones(len(control)), control),
            "treatment": Sums.of(np.ones(len(treatment)), treatment),
        },
    )


def of_users(control: Floats, treatment: Floats) -> Effect:
    return effect(Strata([stratum(control, treatment)]))


def sees(found: Effect) -> bool:
    """Whether 0 is outside of the interval."""
    assert found.low is not None
    assert found.high is not None
    return not found.low <= 0 <= found.high


def test_a_mean_and_its_error_by_hand() -> None:
    # Mean 1/2, s^2 = 4 * 1/4 / 3 = 1/3, and v = s^2 / 4.
    found = of_users(np.array([0.0, 0.0, 1.0, 1.0]), np.zeros(2)).control
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
    site = Stratum(dict.fromkeys(ARMS, 40), dict.fromkeys(ARMS, own))
    found = effect(Strata([site])).control
    assert found.value == pytest.approx(clicked.mean())
    assert found.error == pytest.approx(standard_error(clicked, user))
    assert found.error > 1.5 * standard_error(clicked)


def test_sums_of_two_sites_are_the_sums_of_all_their_users() -> None:
    x, y = np.arange(1.0, 9.0), np.arange(8.0) ** 2
    assert Sums.of(x[:3], y[:3]) + Sums.of(x[3:], y[3:]) == Sums.of(x, y)


def lots(draw: np.random.Generator, values: Floats, share: float = 0.5) -> Stratum:
    """A site whose users have these values, whatever arm they are in."""
    treated = draw.random(len(values)) < share
    return stratum(values[~treated], values[treated])


def test_where_nothing_was_to_be_seen_one_experiment_of_twenty_sees_something() -> None:
    spent = np.random.default_rng(7).gamma(0.5, 20.0, 400)
    seen = 0
    for number in range(1000):
        arms = np.array([arm(f"nothing-{number}", str(user), site="here") for user in range(400)])
        seen += sees(of_users(spent[arms == "control"], spent[arms == "treatment"]))
    assert seen == pytest.approx(50, abs=21)  # three standard deviations


def test_over_all_sites_too_it_is_one_of_twenty() -> None:
    draw = np.random.default_rng(9)
    sites = [draw.gamma(4.0, level, users) for level, users in ((1, 30), (10, 200), (100, 400))]
    seen = sum(
        sees(effect(Strata([lots(draw, values, 0.3) for values in sites]))) for _ in range(1000)
    )
    assert seen == pytest.approx(50, abs=21)


def test_who_shops_everywhere_is_no_more_evidence_than_one() -> None:
    # Three sites of the same people, in the same arms, who do much the same at all of them.
    draw = np.random.default_rng(10)
    seen = 0
    for _ in range(1000):
        treated, usual = draw.random(300) < 0.5, draw.normal(size=300)
        sites = []
        for _ in range(3):
            spent = usual + 0.3 * draw.normal(size=300)
            sites.append(stratum(spent[~treated], spent[treated]))
        seen += sees(effect(Strata(sites, shared_ids=True)))
    assert 20 < seen <= 50 + 21


def test_how_different_sites_are_hides_no_effect() -> None:
    # 5 % everywhere, at sites of which one sells a hundred times as much as another.
    draw = np.random.default_rng(11)
    seen = 0
    for _ in range(200):
        sites = []
        for level in (2.0, 20.0, 200.0):
            treated = draw.random(1000) < 0.5
            spent = draw.gamma(4.0, level / 4, 1000) * np.where(treated, 1.05, 1.0)
            sites.append(stratum(spent[~treated], spent[treated]))
        seen += sees(effect(Strata(sites)))
    assert seen == pytest.approx(80, abs=21)  # added up before they are compared, 34


def test_over_all_sites_by_hand() -> None:
    # A site of 40 users with a difference of 2 - 1, and one of 120 with one of 5 - 8; in an arm of
    # n users half are 1 above its mean and half below: s^2 / n = 1 / (n - 1).
    half = np.array([-1.0, 1.0])
    sites = [
        stratum(1 + np.tile(half, 10), 2 + np.tile(half, 10)),
        stratum(8 + np.tile(half, 30), 5 + np.tile(half, 30)),
    ]
    found = effect(Strata(sites))
    assert found.control.value == pytest.approx(0.25 * 1 + 0.75 * 8)
    assert found.treatment.value == pytest.approx(0.25 * 2 + 0.75 * 5)
    assert found.difference == pytest.approx(0.25 * 1 - 0.75 * 3)
    assert found.control.users == found.treatment.users == 80
    parts = [0.25**2 / 19] * 2 + [0.75**2 / 59] * 2
    assert found.control.error == pytest.approx((parts[0] + parts[2]) ** 0.5)
    freedom = sum(parts) ** 2 / sum(
        part**2 / (users - 1) for part, users in zip(parts, (20, 20, 60, 60), strict=True)
    )
    assert int(freedom) == 155
    assert found.high == pytest.approx(found.difference + t_975(155) * sum(parts) ** 0.5)

    alike = effect(Strata(sites, shared_ids=True))
    errors = 0.25 * (2 / 19) ** 0.5, 0.75 * (2 / 59) ** 0.5
    assert alike.difference == found.difference
    assert alike.high == pytest.approx(found.difference + t_975(38) * sum(errors))


def test_of_rows_a_site_has_the_weight_of_its_rows() -> None:
    users: dict[Arm, int] = {"control": 20, "treatment": 20}
    often, seldom = np.full(20, 9.0), np.ones(20)
    sites = [
        Stratum(users, {"control": Sums.of(x, 0 * x), "treatment": Sums.of(x, clicked * x)})
        for x, clicked in ((often, 0.5), (seldom, 0.1))
    ]
    assert effect(Strata(sites)).difference == pytest.approx(0.9 * 0.5 + 0.1 * 0.1)


def test_of_rows_the_error_by_hand() -> None:
    # Two sites of as many users, who were all served once or twice, and clicked always or never:
    # R = 1/2 * (1 + 0) / (1/2 * (1 + 2)) = 1/3; y - R x is 2/3 or -2/3 for all of one site, so
    # nothing varies there. With half of a site served thrice and half once, it is 2 * 1/3 apart.
    users: dict[Arm, int] = {"control": 20, "treatment": 20}
    once, twice, uneven = np.ones(20), np.full(20, 2.0), np.tile([1.0, 3.0], 10)
    always, never = Sums.of(once, once), Sums.of(twice, 0 * twice)
    sites = [
        Stratum(users, dict.fromkeys(ARMS, always)),
        Stratum(users, {"control": never, "treatment": Sums.of(uneven, 0 * uneven)}),
    ]
    found = effect(Strata(sites))
    assert found.control.value == found.treatment.value == pytest.approx(1 / 3)
    assert found.control.error == pytest.approx(0.0, abs=1e-9)
    # W / mean(x) * sqrt(s^2 / n), s^2 = 20 / 19 * (1/3)^2.
    assert found.treatment.error == pytest.approx(0.5 / 1.5 * (1 / 19 / 9) ** 0.5)


def with_crawler(draw: np.random.Generator, users: int, views: float) -> Stratum:
    """A site where one of ten lists is clicked by everybody but one, who looks at many."""
    x = 1.0 + draw.poisson(3, users).astype(np.float64)
    y = draw.binomial(x.astype(int), 0.1).astype(np.float64)
    if views:
        x[0], y[0] = views, 0.0
    treated = draw.random(users) < 0.5
    where: dict[Arm, Bools] = {"control": ~treated, "treatment": treated}
    return Stratum(
        {each: int(his.sum()) for each, his in where.items()},
        {each: Sums.of(x[his], y[his]) for each, his in where.items()},
    )


def test_a_crawler_at_one_site_makes_no_effect_over_all() -> None:
    draw = np.random.default_rng(12)
    seen = 0
    for _ in range(100):
        sites = [with_crawler(draw, 1000, 5000.0 * (number == 0)) for number in range(20)]
        own = effect(Strata(sites[:1]))
        assert (own.low, own.evidence.enough) == (None, False)
        seen += sees(effect(Strata(sites)))
    assert seen <= 12


def test_four_of_five_experiments_see_what_is_detectable() -> None:
    draw = np.random.default_rng(8)
    seen = 0
    for _ in range(1000):
        control, treatment = draw.normal(1.0, 1.0, 200), draw.normal(1.0, 2.0, 100)
        detectable = of_users(control, treatment).detectable
        assert detectable is not None
        found = of_users(control, treatment + detectable)
        seen += sees(found) and found.difference > 0
    assert seen == pytest.approx(800, abs=38)  # three standard deviations


def test_of_nothing_there_is_no_multiple() -> None:
    nothing, something = np.zeros(10), np.arange(10.0)
    assert of_users(nothing, something).relative is None
    alike = of_users(nothing, nothing)
    assert (alike.difference, alike.low, alike.high, alike.detectable) == (0.0, None, None, None)
