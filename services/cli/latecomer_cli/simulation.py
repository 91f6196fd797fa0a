"""A recipe's fleet in virtual time: its devices, one run, and what is kept of it."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from latecomer.errors import BadConfiguration
from latecomer.fleet import FleetWorker
from latecomer.interactions.selection import Divisible, Selection, anybody, select
from latecomer.recipe import Recipe
from latecomer_cli import sites
from latecomer_simulator import fleet, record, report, traces
from latecomer_simulator.outcome import Outcome
from latecomer_simulator.record import Event
from latecomer_worker.site import Site

TIMELINE = "timeline.jsonl"

#: Told of trainings: so many are done, of so many.
Progress = Callable[[int, int], None]


class Scene:
    """A recipe, its data, and its honest workers' sites; ``devices`` splits them further.

    Without, a recipe of one device per user has those. The data lies in ``source``, or beside the
    recipe in ``folder``.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, devices: int | None, *, source: Path | None = None
    ) -> None:
        self.recipe = recipe
        self.catalogue = sites.read_catalogue(recipe, folder, source=source)
        data, self.reading = sites.read_data(recipe, folder, self.catalogue, source=source)
        workers = sites.present(data, recipe)
        chosen = split(workers, data, devices) if devices else workers
        found = sites.of_workers(
            data, chosen, self.catalogue, seed=recipe.seed, protocol=recipe.evaluation.protocol
        )
        if recipe.simulation.per_user and not devices:
            of_each = [sites.of_each_user(*each) for each in found.items()]
            found = {name: site for each in of_each for name, site in each.items()}
        self.sites: dict[str, Site] = found


def split(workers: list[FleetWorker], data: Divisible, devices: int) -> list[FleetWorker]:
    """About ``devices`` workers of one shard each, in proportion to the users of their entry.

    Parts that no user falls into are left out.

    Raises:
        BadConfiguration: There are more workers than devices, or more devices than users; or two
            devices would be called the same.
    """
    users = {each.name: len(select(data, each).users) for each in workers}
    if not len(workers) <= devices <= sum(users.values()):
        raise BadConfiguration(
            f"{sum(users.values())} users of {len(workers)} workers cannot be {devices} devices",
            hint="give another --devices",
        )
    parts = {
        name: max(1, round(devices * count / sum(users.values()))) for name, count in users.items()
    }
    found = [part for each in workers for part in _parts(each, parts[each.name], data)]
    for name, count in Counter(part.name for part in found).items():
        if count > 1:
            raise BadConfiguration(
                f"{count} of the {devices} devices would be called {name!r}",
                hint="rename the worker of that name in the recipe",
            )
    return found


def _parts(entry: FleetWorker, parts: int, data: Divisible) -> Iterator[FleetWorker]:
    if parts == 1:
        yield entry
        return
    own = select(data, entry)
    for number in range(1, parts + 1):
        part = entry.part(number, parts)
        if anybody(own, Selection(shard=part.shard)):
            yield part


def run(
    scene: Scene,
    *,
    seed: int,
    limits: fleet.Limits,
    mode: fleet.Mode | None,
    trace: Path | None,
    progress: Progress,
) -> Outcome:
    """Run a scene; ``progress`` is told of finished trainings."""
    # One device trains at a time, and what it learns must not depend on the number of cores.
    torch.set_num_threads(1)
    return fleet.run(
        scene.recipe,
        scene.sites,
        scene.catalogue,
        seed=seed,
        limits=limits,
        mode=mode,
        traces=traces.read(trace, scene.sites) if trace else None,
        observe=counting(progress, limits.updates),
    )


def keep(outcome: Outcome, facts: dict[str, Any], out: Path) -> None:
    """Write the timeline, then the report."""
    record.write(outcome.events, out / TIMELINE)
    report.write(outcome, facts, out)


def summary(outcome: Outcome, seed: int) -> dict[str, Any]:
    """What a run came to, as it is printed."""
    events = Counter(each["event"] for each in outcome.events)
    return {
        "mode": outcome.recipe.aggregation.mode,
        "protocol": outcome.recipe.protocol.label(),
        "seed": seed,
        "devices": len(outcome.trainers),
        "versions": outcome.manifest.version.number,
        "trained": outcome.trained,
        "cut_short": outcome.cut_short,
        "folded": sum(outcome.staleness.values()),
        "dropped_out": events["dropped_out"],
        "refused": dict(outcome.refused),
        "staleness": {str(tau): count for tau, count in sorted(outcome.staleness.items())},
        "virtual_s": round(outcome.virtual_s, 3),
        "bytes_up": outcome.bytes_up,
        "bytes_down": outcome.bytes_down,
        outcome.recipe.protocol.metric: (
            round(outcome.quality[-1][2], 4) if outcome.quality else None
        ),
    }


def counting(progress: Progress, most: int) -> Callable[[Event], None]:
    """An observer of a run that tells how many trainings of ``most`` are done."""
    done = 0

    def count(event: Event) -> None:
        nonlocal done
        if event["event"] == "trained":
            done += 1
            progress(done, most)

    return count
