"""How much a late update still counts: pure functions of how many versions it is behind.

Staleness tau = version at the fold - version that the training started from. Every rule gives a
fresh update (tau = 0) weight 1, never gives more to a staler one, and never nothing.
"""

import math
from collections.abc import Callable

from latecomer.aggregation import Staleness

Rule = Callable[[int], float]


def constant(_tau: int) -> float:
    """s(tau) = 1 (Xie et al. 2019, "Asynchronous Federated Optimization", section 5.2)."""
    return 1.0


def polynomial(tau: int, *, exponent: float) -> float:
    """s(tau) = (1 + tau)^-a (Xie et al. 2019, section 5.2; FedBuff uses a = 0.5)."""
    return math.pow(1 + tau, -exponent)


def hinge(tau: int, *, slope: float, grace: int) -> float:
    """s(tau) = 1 if tau <= b else 1 / (a (tau - b) + 1) (Xie et al. 2019, section 5.2)."""
    return 1.0 if tau <= grace else 1.0 / (slope * (tau - grace) + 1.0)


def rule(settings: Staleness) -> Rule:
    """The rule that a recipe names, with its terms bound."""
    match settings.rule:
        case "constant":
            return constant
        case "polynomial":
            return lambda tau: polynomial(tau, exponent=settings.exponent)
        case "hinge":
            return lambda tau: hinge(tau, slope=settings.slope, grace=settings.grace)
