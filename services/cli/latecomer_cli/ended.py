"""A federation trained to its end in virtual time: what is left to be judged.

One seed gives one result on any machine, however busy: devices are slow and absent as the recipe's
``[simulation]`` says, and what they compute is computed by the production code.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from latecomer.errors import LatecomerError
from latecomer.recommenders.families import family
from latecomer.tensors import Array
from latecomer_cli import sites
from latecomer_cli.demo import Scene
from latecomer_cli.simulation import Progress, counting
from latecomer_simulator import fleet
from latecomer_simulator.outcome import Limits
from latecomer_worker.site import Site


@dataclass(frozen=True)
class Ended:
    """What a federation came to.

    Attributes:
        model: What a worker holds of the last version.
        private: By worker, the private state of its users.
        rounds: By worker, how many updates of it count; of one device per user, on average.
        bytes_sent: By all workers.
        versions: That there were.
        staleness: Folded updates by staleness.
        trained: Finished trainings, of as many as were ``asked`` for.
        cut_short: Why there are fewer; empty where there are not.
    """

    model: Mapping[str, Array]
    private: Mapping[str, Mapping[str, Array]]
    rounds: Mapping[str, int]
    bytes_sent: int
    versions: int
    staleness: Mapping[int, int]
    trained: int
    asked: int
    cut_short: str


def run(scene: Scene, progress: Progress) -> Ended:
    """Train as the recipe says: one device per worker, or one per user.

    Raises:
        LatecomerError: No version came of it; there is nothing to judge.
    """
    recipe = scene.recipe
    devices = {name: _devices(scene, name) for name in scene.honest()}
    sites = {name: site for each in devices.values() for name, site in each.items()}
    most = _trainings(scene, sites)
    outcome = fleet.run(
        recipe,
        sites,
        scene.catalogue,
        seed=recipe.seed,
        limits=Limits(most),
        observe=counting(progress, most),
    )
    if not outcome.history:
        raise _nothing_made(outcome)
    folded = Counter(fold.worker for each in outcome.history for fold in each.folds)
    return Ended(
        outcome.model,
        {name: _gathered([*each], outcome) for name, each in devices.items()},
        {name: round(np.mean([folded[one] for one in each])) for name, each in devices.items()},
        outcome.bytes_up,
        outcome.manifest.version.number,
        outcome.staleness,
        outcome.trained,
        most,
        outcome.cut_short,
    )


def _nothing_made(outcome: fleet.Outcome) -> LatecomerError:
    refused = [f"{count} refused as {reason}" for reason, count in outcome.refused.items()]
    return LatecomerError(
        f"{outcome.recipe.federation} made no version at all, seed {outcome.recipe.seed}: "
        + ", ".join([f"{outcome.trained} trainings", *refused]),
        hint="see what there is to train on, and what [aggregation] admits",
    )


def _devices(scene: Scene, worker: str) -> dict[str, Site]:
    """A worker's own device, or one for each of its users, in their order."""
    site = scene.sites[worker]
    if not scene.recipe.simulation.per_user:
        return {worker: site}
    return sites.of_each_user(worker, site)


def _trainings(scene: Scene, sites: Mapping[str, Site]) -> int:
    """As many as the recipe's versions take; where everybody adds what he has, one of each."""
    if family(scene.recipe.model).layout(len(scene.catalogue)).additive:
        return sum(bool(site.split.train.size) for site in sites.values())
    return scene.recipe.demo.versions * scene.recipe.aggregation.updates_of(len(sites))


def _gathered(devices: list[str], outcome: fleet.Outcome) -> dict[str, Array]:
    """The private state of a worker's users, from all of its devices."""
    states = [outcome.trainers[name].private for name in devices]
    return {
        key: np.concatenate([each[key] for each in states]) for key in (states[0] if states else ())
    }
