"""How many users the arms have: a lot makes them as large as their shares, or nearly so."""

from collections.abc import Mapping
from math import erfc, sqrt

from latecomer.experiments.assignment import Arm

#: What is less likely did not come about by lot: nothing else can be trusted then (Fabijan et al.
#: 2019, "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments").
MISMATCH = 0.001


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
