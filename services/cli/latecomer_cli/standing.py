"""Where an evaluation stands: against what its recipe asks for, and what everybody must pass."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from latecomer.evaluation.protocol import ALL
from latecomer.recipe import Evaluation

#: Of the same family trained on everybody's data in one place.
OF_CENTRALISED = 0.97
OF_CENTRALISED_IN_THE_WORST_REGION = 0.90

#: A region's mean over fewer customers says more of them than of the system.
MIN_CUSTOMERS = 30

Means = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Criterion:
    """One line of the list: what was reached, and the least that will do."""

    name: str
    value: float
    least: float

    @property
    def reached(self) -> bool:
        """Whether it will do."""
        return self.value >= self.least


def criteria(
    evaluation: Evaluation, means: Means, gains: Mapping[str, float]
) -> Iterator[Criterion]:
    """All of them.

    Args:
        evaluation: Says which metric, and what is asked of the recipe alone.
        means: system -> region -> metric -> mean over customers and seeds.
        gains: Baseline -> the lower end of the interval of the difference to it.
    """
    ndcg = f"ndcg@{evaluation.k}"
    ours = means["global"]
    for metric, least in evaluation.reach.items():
        yield Criterion(metric, ours[ALL].get(metric, 0.0), least)
    for baseline, low in gains.items():
        yield Criterion(f"{ndcg} above {baseline}, lower end of the interval", low, 0.0)
    central = means["centralised"]
    yield Criterion(
        f"{ndcg} beside centralised training", ours[ALL][ndcg], OF_CENTRALISED * central[ALL][ndcg]
    )
    for region in sorted(ours.keys() - {ALL}):
        if ours[region]["users"] >= MIN_CUSTOMERS:
            for baseline in ("popularity", "local_only"):
                least = means[baseline][region][ndcg]
                yield Criterion(f"{region}: {ndcg} beside {baseline}", ours[region][ndcg], least)
    worst = worst_region(means, ndcg)
    if worst is not None:
        yield Criterion(
            f"{worst}, the worst region: {ndcg} beside centralised training",
            ours[worst][ndcg],
            OF_CENTRALISED_IN_THE_WORST_REGION * central[worst][ndcg],
        )


def worst_region(means: Means, metric: str) -> str | None:
    """The region with the lowest mean, among those with enough customers; None without any."""
    ours = means["global"]
    regions = [name for name in ours if name != ALL and ours[name]["users"] >= MIN_CUSTOMERS]
    return min(sorted(regions), key=lambda region: ours[region][metric], default=None)
