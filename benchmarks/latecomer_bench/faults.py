"""``latecomer bench faults``: seeds of simulated disasters, and the bugs that prove the checkers.

Each seed is a whole deployment in virtual time (see ``latecomer_simulator.faults``), judged by
``latecomer_simulator.invariants``. A violation is reported with its seed, which replays exactly.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import Any

from latecomer_simulator import faults
from latecomer_simulator.invariants import violations
from latecomer_simulator.plants import PLANTS
from latecomer_simulator.tally import NOTHING, Tally, recoveries, tally

#: A plant that so many seeds do not catch is not caught.
SEEDS_PER_PLANT = 60

#: The words of the report, in its order.
COUNTS = tuple(each.name for each in fields(Tally))

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Outcome:
    """What one seed came to."""

    seed: int
    tally: Tally
    recoveries_s: tuple[float, ...]
    violations: dict[str, list[str]] = field(default_factory=dict)


def outcome(seed: int) -> Outcome:
    """Run one seed and judge it."""
    evidence = faults.run(seed)
    return Outcome(
        seed,
        tally(evidence),
        tuple(waited_s for _, waited_s in recoveries(evidence.history)),
        violations(evidence),
    )


def caught(plant: str) -> int | None:
    """The first seed that catches a planted bug; None if none does."""
    return PLANTS[plant].seed_that_catches_it(range(SEEDS_PER_PLANT))


def measure(seeds: range, progress: Progress = lambda _done, _all: None) -> dict[str, Any]:
    """All seeds and all plants, on every core; the body of the report."""
    # Processes of their own: a plant changes production code, and a seed has threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        plants = {name: pool.submit(caught, name) for name in PLANTS}
        outcomes = list(_watched(pool.map(outcome, seeds, chunksize=5), len(seeds), progress))
        seeds_that_caught = {name: future.result() for name, future in plants.items()}
    return body(outcomes, seeds_that_caught)


def body(outcomes: list[Outcome], plants: dict[str, int | None]) -> dict[str, Any]:
    """The report: counts over all seeds, and whatever was found wrong."""
    recoveries_s = [each for one in outcomes for each in one.recoveries_s]
    return {
        "seeds": len(outcomes),
        **asdict(sum((one.tally for one in outcomes), NOTHING)),
        "median_recovery_s": round(median(recoveries_s), 2) if recoveries_s else None,
        "longest_recovery_s": round(max(recoveries_s), 2) if recoveries_s else None,
        "faults": len(recoveries_s),
        "planted_caught": sum(seed is not None for seed in plants.values()),
        "planted_total": len(plants),
        "planted": plants,
        "violations": {str(one.seed): one.violations for one in outcomes if one.violations},
    }


def kept(report: dict[str, Any]) -> bool:
    """Whether every promise was kept, and every planted bug found."""
    lost = report["lost"] or report["duplicated"] or report["unexpected"] or report["violations"]
    return not lost and report["planted_caught"] == report["planted_total"]


def _watched(outcomes: Iterator[Outcome], total: int, progress: Progress) -> Iterator[Outcome]:
    for done, one in enumerate(outcomes, start=1):
        progress(done, total)
        yield one
