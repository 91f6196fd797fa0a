"""A recipe's fleet in virtual time: its devices, one run, and what is kept of it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latecomer.errors import BadConfiguration
from latecomer.fleet import device_name
from latecomer.interactions import lots
from latecomer.interactions.selection import Divisible
from latecomer.recipe import Recipe
from latecomer_cli import sites
from latecomer_cli.sites import Part
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
        sites.note_left_out(data, recipe, self.reading)
        parts = sites.present(data, recipe)
        found = sites.of_workers(
            data,
            split(parts, data, devices) if devices and parts else parts,
            self.catalogue,
            seed=recipe.seed,
            protocol=recipe.evaluation.protocol,
        )
        if recipe.simulation.per_user and not devices:
            of_each = [sites.of_each_user(*each) for each in found.items()]
            found = {name: site for each in of_each for name, site in each.items()}
        self.sites: dict[str, Site] = found


def split(parts: Sequence[Part], data: Divisible, devices: int) -> list[Part]:
    """So many devices, of at least one user each; every worker has at least one of them.

    Raises:
        BadConfiguration: There are more workers than devices, or more devices than users; or two
            devices would be called the same, or one would have too long a name.
    """
    users = [len({data.users[row] for row in each.rows}) for each in parts]
    if not len(parts) <= devices <= sum(users):
        raise BadConfiguration(
            f"{sum(users)} users of {len(parts)} workers cannot be {devices} devices",
            hint=f"give --devices of {len(parts)} to {sum(users)}",
        )
    counts = _shares(devices, users)
    found = [part for each in zip(parts, counts, strict=True) for part in _cut(*each, data)]
    for name, count in Counter(part.name for part in found).items():
        if count > 1:
            raise BadConfiguration(
                f"{count} of the {devices} devices would be called {name!r}",
                hint="rename the worker of that name in the recipe",
            )
    return found


def _shares(devices: int, users: Sequence[int]) -> list[int]:
    """How many of the ``devices`` each worker has of so many ``users``; never more than these.

    One each, and the others in proportion to the other users, by largest remainder.
    """
    others = max(1, sum(users) - len(users))
    due = [(devices - len(users)) * (count - 1) for count in users]
    shares = [1 + each // others for each in due]
    by_remainder = sorted(range(len(users)), key=lambda place: -(due[place] % others))
    for place in by_remainder[: devices - sum(shares)]:
        shares[place] += 1
    return shares


def _cut(whole: Part, count: int, data: Divisible) -> Iterator[Part]:
    """Its users by lot, as many at one device as at another, or one more."""
    if count == 1:
        yield whole
        return
    users = [data.users[row] for row in whole.rows]
    drawn = sorted(set(users), key=lambda user: (lots.lot(user), user))
    device_of = {user: place * count // len(drawn) for place, user in enumerate(drawn)}
    device = np.array([device_of[user] for user in users])
    order, ends = np.argsort(device, kind="stable"), np.cumsum(np.bincount(device))
    for number, rows in enumerate(np.split(whole.rows[order], ends[:-1]), start=1):
        yield Part(device_name(whole.name, number), whole.label, rows)


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
        f"{outcome.recipe.protocol.metric} on validation": (
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
