"""What a treatment does to a metric, from sums over users, and how far to trust it.

A metric is the ratio R = sum y / sum x over the n users of an arm; see ``counts``. Users are drawn,
not what they were served, so that a customer of a hundred visits counts as one observation. By the
delta method (Deng, Knoblich and Lu 2018, "Applying the Delta Method in Metric Analytics") the
variance of R is

    v = n / (n - 1) sum (y - R x)^2 / (sum x)^2,

which is s^2 / n where every x is 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import erfc, sqrt

from latecomer.evaluation.intervals import t_975
from latecomer.experiments.assignment import Arm
from latecomer.experiments.sums import Sums

#: The normal distribution's upper 20 % point: what four experiments of five see.
Z_80 = 0.8416212335729143

#: What is less likely did not come about by lot: nothing else can be trusted then (Fabijan et al.
#: 2019, "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments").
MISMATCH = 0.001


@dataclass(frozen=True)
class Estimate:
    """A metric in one arm.

    Attributes:
        users: n.
        value: R.
        error: Its standard error, the square root of v.
    """

    users: int
    value: float
    error: float


@dataclass(frozen=True)
class Effect:
    """The treatment's metric less the control's.

    Attributes:
        difference: Of the values.
        low, high: The 95 % interval around it (Welch 1947).
        relative: The difference as a share of the control's value, None where that is 0.
        detectable: The least difference, up or down, that four of five experiments of this size
            would have found outside of their interval.
    """

    control: Estimate
    treatment: Estimate
    difference: float
    low: float
    high: float
    relative: float | None
    detectable: float


def estimate(users: int, sums: Sums) -> Estimate:
    """A metric over the users of an arm, who are at least two and were served at least once."""
    value = sums.y / sums.x
    beside = sums.yy - 2 * value * sums.xy + value**2 * sums.xx  # sum (y - R x)^2
    variance = users / (users - 1) * max(beside, 0.0) / sums.x**2
    return Estimate(users, value, sqrt(variance))


def effect(users: Mapping[Arm, int], sums: Mapping[Arm, Sums]) -> Effect:
    """Of the users of both arms; see ``Effect``."""
    control, treatment = (estimate(users[arm], sums[arm]) for arm in ("control", "treatment"))
    difference = treatment.value - control.value
    error = sqrt(control.error**2 + treatment.error**2)
    t = t_975(_degrees_of_freedom(control, treatment))
    return Effect(
        control,
        treatment,
        difference,
        difference - t * error,
        difference + t * error,
        difference / control.value if control.value else None,
        (t + Z_80) * error,
    )


def mismatch(users: Mapping[Arm, int], share: float) -> float:
    """How likely a lot makes arms that differ from their shares at least as much as these.

    Pearson's test with one degree of freedom: chi^2 = sum (n - N s)^2 / (N s), whose upper tail is
    erfc(sqrt(chi^2 / 2)).

    Args:
        users: Of each arm.
        share: Of the treatment.
    """
    everybody = sum(users.values())
    expected: dict[Arm, float] = {
        "control": everybody * (1 - share),
        "treatment": everybody * share,
    }
    chi_squared = sum((users[arm] - each) ** 2 / each for arm, each in expected.items())
    return erfc(sqrt(chi_squared / 2))


def _degrees_of_freedom(*arms: Estimate) -> int:
    """Of Welch's interval (Satterthwaite 1946), rounded down; where nothing varies, the least."""
    variances = [each.error**2 for each in arms]
    each_own = sum(v**2 / (each.users - 1) for v, each in zip(variances, arms, strict=True))
    least = min(each.users for each in arms) - 1
    return max(least, int(sum(variances) ** 2 / each_own)) if each_own else least
