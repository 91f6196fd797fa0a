"""One run of `latecomer bench stragglers`, and what several of them come to."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from latecomer.evaluation.intervals import student_t


@dataclass(frozen=True)
class Run:
    """What one way came to with one seed.

    Attributes:
        seconds: Virtual; without the target reached, all that its work took: a lower bound.
        trained: Client trainings that it spent.
        staleness: Mean over folded updates.
        refused: Updates that came too late.
    """

    seconds: float
    reached: bool
    trained: int
    staleness: float
    refused: int


def speedup(ours: Sequence[Run], theirs: Sequence[Run]) -> dict[str, float]:
    """How many times as long theirs take; by seed, what makes a fleet slow for both cancels out.

    The geometric mean of the ratios: an arithmetic one exceeds 1 also between equals, the more they
    vary.
    """
    pairs = zip(ours, theirs, strict=True)
    logs = [math.log(slow.seconds / quick.seconds) for quick, slow in pairs]
    return _rounded({name: math.exp(value) for name, value in _interval(logs).items()})


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean and 95 % interval; of one value there is none."""
    return _rounded(_interval(values))


def _interval(values: Sequence[float]) -> dict[str, float]:
    if len(values) == 1:
        return {"mean": values[0], "low": math.nan, "high": math.nan}
    return asdict(student_t(np.array(values)))


def _rounded(found: dict[str, float]) -> dict[str, float]:
    return {name: round(each, 2) for name, each in found.items()}


def mean_s(runs: Sequence[Run]) -> float:
    """Mean virtual seconds."""
    return float(np.mean([run.seconds for run in runs]))


def reached(runs: Sequence[Run]) -> int:
    """How many reached the target."""
    return sum(run.reached for run in runs)
