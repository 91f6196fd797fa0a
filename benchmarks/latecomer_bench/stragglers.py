"""``latecomer bench stragglers``: virtual time to a quality, with slow and absent devices.

One fleet per seed and way of aggregating, in virtual time, by the production code. Of one seed all
ways share data, split, initial model, device speeds, networks and offline windows; each may spend
the same number of client trainings, and ends at the target. A run that spends them all without
reaching it counts with the time it took, marked by ``reached``: a lower bound.

Devices: slowness is Pareto of shape 1 (the slowest 1 % needs over a hundred times the minimum),
and each is offline for 20 % of the time in windows of its own; it trains on meanwhile and hands in
when it is back.

A synchronous round is one cohort of as many devices as train at once asynchronously, drawn from
those online; it ends with the last of them or T seconds after its first update, and what comes
later is refused. With K below the cohort, its first K make the version (over-selection). Who is
late takes no place in the next cohort; who is lost midway is replaced. K, T and the server's
learning rate decide how well each mode works; they were chosen with other seeds than are measured.

Three kinds of synchronous rounds are told apart, and one fedbuff way, chosen as theirs were, is
compared with the best of each: a **barrier** waits for its cohort as long as a recipe may (300 s);
**over-selection** does so for its first three quarters, which is what FedBuff is compared with in
its paper (Nguyen et al. 2022: 30 % more than needed); a **short T** is quick because it throws away
what slow devices learn.
``speedup`` is over the best of all: the geometric mean of the paired ratios sync / async with a
95 % interval over seeds.
"""

import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import structlog
import torch

from latecomer.errors import BadConfiguration
from latecomer.fleet import Simulation
from latecomer.recipe import Recipe
from latecomer.recommenders.port import Agreed
from latecomer_bench import peers
from latecomer_bench.clients import Job
from latecomer_bench.fold import machine
from latecomer_bench.runs import Run, interval, mean_s, reached, speedup
from latecomer_bench.ways import BARRIER_S, Race, Way
from latecomer_simulator import fleet
from latecomer_worker.site import Site

#: See above; a period is several rounds of a usual device, so that absences hit rounds midway.
DEVICES = Simulation(
    examples_per_s=100.0,
    speed="pareto",
    spread=1.0,
    availability="windows",
    online_share=0.8,
    period_s=300.0,
)


@dataclass(frozen=True)
class Scene:
    """What all runs share."""

    recipe: Recipe
    sites: Mapping[str, Site]
    catalogue: Agreed


def measure(
    scene: Scene,
    seeds: Iterable[int],
    race: Race,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Every way with every seed; the report, as it is printed."""
    seeds = list(seeds)
    jobs = [(way, seed) for way in race.ways for seed in seeds]
    theirs = [_job(scene, seed, race) for seed in seeds] if race.peers else []
    steps = itertools.count(1)
    total = len(jobs) + peers.processes(len(theirs))

    def finished() -> None:
        progress(next(steps), total)

    found: dict[tuple[Way, int], Run] = {}
    # Forked, a child of a process that used torch or threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(jobs)), mp_context=context) as pool:
        waiting = {pool.submit(run, scene, way, seed, race): (way, seed) for way, seed in jobs}
        for future in as_completed(waiting):
            found[waiting[future]] = future.result()
            finished()
    by_way = {way: [found[way, seed] for seed in seeds] for way in race.ways}
    return report(by_way, race, peers.measure(theirs, finished)) | {
        "devices": len(scene.sites),
        "seeds": seeds,
        "machine": machine() | {"clock": "virtual"},
    }


def run(scene: Scene, way: Way, seed: int, race: Race) -> Run:
    """One way with one seed: to the target, or until its equal work is spent.

    Raises:
        BadConfiguration: The target says nothing.
    """
    torch.set_num_threads(1)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    recipe = adapted(scene.recipe, way)
    every = max(1, race.evaluated_every // way.k)
    outcome = fleet.run(
        recipe,
        scene.sites,
        scene.catalogue,
        seed=seed,
        limits=fleet.Limits(race.updates, quality=race.target, evaluate_every=every),
    )
    if outcome.reached_s == 0.0:
        raise BadConfiguration(
            f"the first model has reached {race.target} already", hint="give a higher --target"
        )
    folded = sum(outcome.staleness.values())
    behind = sum(tau * count for tau, count in outcome.staleness.items())
    return Run(
        seconds=outcome.virtual_s if outcome.reached_s is None else outcome.reached_s,
        reached=outcome.reached_s is not None,
        trained=outcome.trained,
        staleness=behind / folded if folded else 0.0,
        refused=sum(outcome.refused.values()),
    )


def _job(scene: Scene, seed: int, race: Race) -> Job:
    """One seed's world for a peer: the devices are those of ``adapted``."""
    return Job(
        recipe=scene.recipe.model_copy(update={"simulation": DEVICES}),
        sites=scene.sites,
        items=len(scene.catalogue),
        seed=seed,
        target=race.target,
        updates=race.updates,
        evaluated_every=race.evaluated_every,
        sweep=race.swept,
    )


def adapted(recipe: Recipe, way: Way) -> Recipe:
    """A recipe that aggregates this way, over the devices of this benchmark."""
    rule = recipe.aggregation.optimizer
    step = {
        "learning_rate": rule.learning_rate * way.rate,
        # It counts versions, of which the ways make from seven to a hundred of the same work.
        "decay_after": None,
    }
    aggregation = recipe.aggregation.model_copy(
        update={
            "mode": way.mode,
            "updates_per_version": way.k,
            "target_staleness": None,
            "max_wait_s": way.wait_s,
            "row_floor": way.row_floor,
            # How much is too late is staleness weighting's to say; only the barrier refuses.
            "max_staleness": 1000,
            "optimizer": rule.model_copy(update=step),
        }
    )
    simulation = DEVICES.model_copy(update={"concurrency": way.concurrency})
    return recipe.model_copy(update={"aggregation": aggregation, "simulation": simulation})


def report(
    by_way: Mapping[Way, list[Run]], race: Race, others: Sequence[peers.Peer] = ()
) -> dict[str, Any]:
    """Times of all ways and peers, and how many times as long as ours they need.

    Everything is compared with what trains as many devices at once: here the fewest. Of ours the
    first way is compared, because the best of several on the seeds that are measured would be luck
    in part; of a baseline that luck is its own.
    """
    at_once = min(way.concurrency for way in by_way)
    few = {way: runs for way, runs in by_way.items() if way.concurrency == at_once}
    fedbuff = next(way for way in few if way.mode == "fedbuff")
    fedasync = next(way for way in few if way.mode == "fedasync")
    sync = best(few, lambda way: way.mode == "sync")
    patient = {way: runs for way, runs in few.items() if way.wait_s == BARRIER_S}
    barrier = best(patient, lambda way: way.mode == "sync" and way.k == way.concurrency)
    selected = best(patient, lambda way: way.mode == "sync" and way.k < way.concurrency)
    ours, baseline = _first_by_at_once(by_way), _best_by_at_once(by_way)
    return {
        "target": race.target,
        "updates": race.updates,
        "async_s": round(mean_s(by_way[fedbuff]), 1),
        "sync_s": round(mean_s(by_way[sync]), 1),
        "speedup": speedup(by_way[fedbuff], by_way[sync]),
        "speedup_over_selected": speedup(by_way[fedbuff], by_way[selected]),
        "speedup_over_barrier": speedup(by_way[fedbuff], by_way[barrier]),
        "fedasync_speedup": speedup(by_way[fedasync], by_way[sync]),
        "async": asdict(fedbuff),
        "baseline": asdict(sync),
        "over_selection": asdict(selected),
        "barrier": asdict(barrier),
        "peers": {
            name: peer.as_dict(ours[peer.at_once]) for name, peer in peers.chosen(others).items()
        },
        "peer_rows": [{"peer": peer.name} | peer.as_dict(ours[peer.at_once]) for peer in others],
        "rows": [_row(way, runs, baseline[way.concurrency]) for way, runs in by_way.items()],
    }


def best(by_way: Mapping[Way, list[Run]], wanted: Callable[[Way], bool] = lambda _way: True) -> Way:
    """The way that reaches the target most often, and of several the one that takes least time."""
    ways = filter(wanted, by_way)
    return min(ways, key=lambda way: (-reached(by_way[way]), mean_s(by_way[way])))


def _first_by_at_once(by_way: Mapping[Way, list[Run]]) -> dict[int, list[Run]]:
    """The first fedbuff way for each number of devices that train at once."""
    found: dict[int, list[Run]] = {}
    for way, runs in by_way.items():
        if way.mode == "fedbuff":
            found.setdefault(way.concurrency, runs)
    return found


def _best_by_at_once(by_way: Mapping[Way, list[Run]]) -> dict[int, list[Run]]:
    """The best synchronous way for each."""
    found: dict[int, dict[Way, list[Run]]] = {}
    for way, runs in by_way.items():
        if way.mode == "sync":
            found.setdefault(way.concurrency, {})[way] = runs
    return {number: some[best(some)] for number, some in found.items()}


def _row(way: Way, runs: list[Run], sync: list[Run]) -> dict[str, Any]:
    return {
        **asdict(way),
        "seconds": interval([run.seconds for run in runs]),
        "reached": f"{reached(runs)}/{len(runs)}",
        "trained": round(float(np.mean([run.trained for run in runs])), 1),
        "staleness": round(float(np.mean([run.staleness for run in runs])), 2),
        "refused": round(float(np.mean([run.refused for run in runs])), 1),
        "speedup": speedup(runs, sync),
    }
