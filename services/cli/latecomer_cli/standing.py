"""Where an evaluation stands: against what its recipe asks for, and what everybody must pass."""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from latecomer.evaluation.protocol import ALL
from latecomer_cli import calibration

#: Of the same family trained on everybody's data in one place.
OF_CENTRALISED = 0.97
OF_CENTRALISED_IN_THE_WORST_REGION = 0.90

#: A region's mean over fewer customers says more of them than of the system.
MIN_CUSTOMERS = 30

#: region -> metric -> mean.
Regions = Mapping[str, Mapping[str, float]]
Means = Mapping[str, Regions]


#: How a value stands to its bound where it will do.
Rule = Literal["at least", "above", "at most"]
RULES: Mapping[Rule, Callable[[float, float], bool]] = {
    "at least": operator.ge,
    "above": operator.gt,
    "at most": operator.le,
}

#: Of these metrics, less is better.
ERRORS = frozenset({"log_loss", "brier", calibration.NAME})


@dataclass(frozen=True)
class Criterion:
    """One line of the list: what was reached, and what will do."""

    name: str
    value: float
    bound: float
    rule: Rule = "at least"

    @property
    def reached(self) -> bool:
        """Whether it will do."""
        return RULES[self.rule](self.value, self.bound)


def criteria(
    metric: str,
    reach: Mapping[str, float],
    means: Means,
    gains: Mapping[str, float],
    *,
    served: str = "global",
    trained: float = 1.0,
) -> Iterator[Criterion]:
    """All of them.

    Args:
        metric: By which systems are compared.
        reach: What is asked of the recipe alone: the least mean of some metrics, the most of an
            error.
        means: system -> region -> metric -> mean over customers and seeds.
        gains: Baseline -> the lower end of the interval of the difference to it.
        served: The system that users are served by, and that is judged.
        trained: Which part of the trainings asked for there was.
    """
    ours = means[served]
    if trained < 1.0:
        yield Criterion("trainings, of those asked for", trained, 1.0)
    for name, bound in reach.items():
        if name in ERRORS:
            yield Criterion(name, ours[ALL].get(name, math.inf), bound, "at most")
        else:
            yield Criterion(name, ours[ALL].get(name, 0.0), bound)
    for baseline, low in gains.items():
        yield Criterion(f"{metric} above {baseline}, lower end of the interval", low, 0.0, "above")
    central = means["centralised"]
    least = OF_CENTRALISED * central[ALL][metric]
    yield Criterion(f"{metric} beside centralised training", ours[ALL][metric], least)
    for region in sorted(ours.keys() - {ALL}):
        if ours[region]["users"] >= MIN_CUSTOMERS:
            for baseline in ("popularity", "local_only"):
                name, least = (
                    f"{region}: {metric} beside {baseline}",
                    means[baseline][region][metric],
                )
                yield Criterion(name, ours[region][metric], least)
    worst = worst_region(ours, metric)
    if worst is not None:
        yield Criterion(
            f"{worst}, the worst region: {metric} beside centralised training",
            ours[worst][metric],
            OF_CENTRALISED_IN_THE_WORST_REGION * central[worst][metric],
        )


def worst_region(ours: Regions, metric: str) -> str | None:
    """The region with the lowest mean, among those with enough customers; None without any."""
    regions = [name for name in ours if name != ALL and ours[name]["users"] >= MIN_CUSTOMERS]
    return min(sorted(regions), key=lambda region: ours[region][metric], default=None)
