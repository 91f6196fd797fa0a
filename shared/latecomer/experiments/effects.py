"""What a treatment does to a metric, from sums over users, and how far to trust it.

A metric is the ratio R = sum y / sum x over the n users of an arm; see ``sums``. Users are drawn,
not what they were served, so that a customer of a hundred visits counts as one observation. By the
delta method (Deng, Knoblich and Lu 2018, "Applying the Delta Method in Metric Analytics") the
variance of R is s^2 / n over the square of the mean of x, s^2 being that of y - R x among users.

Over several sites, of which each has the part W of all users, arms are compared site by site:

    R = sum W mean(y) / sum W mean(x),    v = sum W^2 s^2 / n / (sum W mean(x))^2,

the combined ratio of Cochran 1977, "Sampling Techniques", section 6.11. Of a metric per user that
is W times the means of sites. Per row, a mean of their ratios would be another: with a crawler at
one site, or few users at many, the error of such ratios is not known, and they are biased.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import hypot, sqrt

from latecomer.evaluation.intervals import t_975
from latecomer.experiments.assignment import ARMS, Arm
from latecomer.experiments.evidence import Evidence, evidence
from latecomer.experiments.strata import Strata

#: The normal distribution's upper 20 % point: what four experiments of five see.
Z_80 = 0.8416212335729143


@dataclass(frozen=True)
class Estimate:
    """A metric in one arm.

    Attributes:
        users: Of all sites.
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
        low, high: The 95 % interval around it (Welch 1947); None without enough evidence.
        relative: The difference as a share of the control's value, None where that is 0.
        detectable: The least difference, up or down, that four of five experiments of this size
            would have found outside of their interval; None without enough evidence.
        evidence: How many people tell so.
    """

    control: Estimate
    treatment: Estimate
    difference: float
    low: float | None
    high: float | None
    relative: float | None
    detectable: float | None
    evidence: Evidence


def effect(strata: Strata) -> Effect:
    """Of a site, or of several together."""
    control, treatment = (estimate(strata, arm) for arm in ARMS)
    difference = treatment.value - control.value
    sites = list(zip(*(_parts(strata, arm) for arm in ARMS), strict=True))
    error = strata.together(hypot(*(arm.error for arm in arms)) for arms in sites)
    # Errors that simply add up are known as badly as the worst of them may be.
    groups = sites if strata.shared_ids else [tuple(chain.from_iterable(sites))]
    t = t_975(min(map(_degrees_of_freedom, groups)))
    told = evidence(strata)
    return Effect(
        control,
        treatment,
        difference,
        low=difference - t * error if told.enough else None,
        high=difference + t * error if told.enough else None,
        relative=difference / control.value if control.value else None,
        detectable=(t + Z_80) * error if told.enough else None,
        evidence=told,
    )


def estimate(strata: Strata, arm: Arm) -> Estimate:
    """A metric over the users of an arm, of whom each site has two, who were served something."""
    parts = _parts(strata, arm)
    error = strata.together(each.error for each in parts)
    return Estimate(sum(each.users for each in parts), _ratio(strata, arm), error)


@dataclass(frozen=True)
class _Part:
    """What a site adds to the error of an arm, by how many users."""

    users: int
    error: float


def _ratio(strata: Strata, arm: Arm) -> float:
    return strata.mean(arm, "y") / strata.mean(arm, "x")


def _parts(strata: Strata, arm: Arm) -> list[_Part]:
    """(s,)."""
    value, x = _ratio(strata, arm), strata.mean(arm, "x")
    parts = []
    for weight, site in zip(strata.weights, strata.sites, strict=True):
        users, sums = site.users[arm], site.sums[arm]
        squares = sums.yy - 2 * value * sums.xy + value**2 * sums.xx  # sum (y - R x)^2
        beside = max(squares - (sums.y - value * sums.x) ** 2 / users, 0.0)
        parts.append(_Part(users, weight * sqrt(beside / (users - 1) / users) / x))
    return parts


def _degrees_of_freedom(parts: Sequence[_Part]) -> int:
    """Of Welch's interval (Satterthwaite 1946), rounded down; where nothing varies, the least."""
    variances = [each.error**2 for each in parts]
    each_own = sum(v**2 / (each.users - 1) for v, each in zip(variances, parts, strict=True))
    least = min(each.users for each in parts) - 1
    return max(least, int(sum(variances) ** 2 / each_own)) if each_own else least
