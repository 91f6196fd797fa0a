"""How many people tell what an effect says: few who matter look like many who agree.

Of users with weights v, (sum v)^2 / sum v^2 is the effective number: as many of equal weight tell
as much (Kish 1965, "Survey Sampling", the design effect of unequal weights). Where it is small, no
central limit holds and an arm may have nobody who matters: then nothing varies in it, and intervals
are far too narrow.
"""

from dataclasses import dataclass
from math import sqrt

from latecomer.experiments.assignment import ARMS, Arm
from latecomer.experiments.strata import Strata
from latecomer.experiments.sums import ROUNDING

#: Of fewer, false effects are several times as many as the 5 % that intervals promise.
ENOUGH = 10.0


@dataclass(frozen=True)
class Evidence:
    """Effective numbers of users.

    Attributes:
        control, treatment: By how often they were served: one crawler may be most of an arm.
        metric: By what came of it, for better or worse, as many as the smaller arm may expect.
        enough: Whether none is below ``ENOUGH``.
    """

    control: float
    treatment: float
    metric: float
    enough: bool


def evidence(strata: Strata) -> Evidence:
    """Of what all sites say together; see ``Evidence``."""
    control, treatment = (_served(strata, each) for each in ARMS)
    metric = _metric(strata)
    least = min(control, treatment, metric)
    return Evidence(control, treatment, metric, enough=least >= ENOUGH * (1 - ROUNDING))


def effective(total: float, norm: float) -> float:
    """(sum v)^2 / sum v^2, of the sum and the root of the sum of squares; 0 of nothing."""
    return (total / norm) ** 2 if norm else 0.0


def _served(strata: Strata, arm: Arm) -> float:
    """Of one arm by x, everybody having the weight of his site."""
    own = zip(strata.weights, strata.sites, strict=True)
    norms = (weight * sqrt(each.sums[arm].xx) / each.users[arm] for weight, each in own)
    return effective(strata.mean(arm, "x"), strata.together(norms))


def _metric(strata: Strata) -> float:
    """Of both arms by y; where that is a share of x, by x - y too: few may not do what most do."""
    both = [each.both for each in strata.sites]
    told = [both]
    if not any(each.beyond or each.negative for each in both):
        told.append([each.rest for each in both])
    return _smaller_arm(strata) * min(
        effective(sum(each.size for each in sums), strata.together(sqrt(each.yy) for each in sums))
        for sums in told
    )


def _smaller_arm(strata: Strata) -> float:
    """Its share of users."""
    users = [sum(each.users[arm] for each in strata.sites) for arm in ARMS]
    return min(users) / sum(users)
