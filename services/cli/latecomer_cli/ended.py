"""A federation trained to its end, on threads or in virtual time: what is left to be judged."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from latecomer.errors import LatecomerError
from latecomer.recommenders.families import family
from latecomer.tensors import Array
from latecomer_cli.demo import Scene, head_model
from latecomer_cli.embedded import AGGREGATOR, EmbeddedFederation
from latecomer_simulator import fleet
from latecomer_simulator.outcome import Limits
from latecomer_worker.site import Site

#: Whether it is over is looked at this often.
LOOK_S = 0.2


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
    """

    model: Mapping[str, Array]
    private: Mapping[str, Mapping[str, Array]]
    rounds: Mapping[str, int]
    bytes_sent: int
    versions: int
    staleness: Mapping[int, int]


def run(scene: Scene) -> Ended:
    """Train as the recipe says: one device per worker, or one per user.

    Raises:
        LatecomerError: A thread of the federation ended.
    """
    return _in_virtual_time(scene) if scene.recipe.simulation.per_user else _on_threads(scene)


def _on_threads(scene: Scene) -> Ended:
    embedded = EmbeddedFederation(
        scene.recipe, scene.catalogue, scene.sites, seed=scene.recipe.seed
    )
    with embedded:
        _await_the_end(embedded, scene)
        embedded.stop()
        totals = embedded.store.totals()
        accepted = {record.worker: record.accepted for record in embedded.store.fleet()}
        return Ended(
            head_model(embedded.store),
            {name: embedded.trainer(name).private for name in scene.honest()},
            {name: accepted.get(name, 0) for name in scene.honest()},
            sum(device.state.sent_bytes() for device in embedded.devices.values()),
            embedded.versions(),
            totals.staleness,
        )


def _await_the_end(embedded: EmbeddedFederation, scene: Scene) -> None:
    """Until there are as many versions as the recipe's demo wants, or nothing more to add."""
    additive = _additive(scene)
    end_s = time.monotonic() + scene.recipe.demo.limit_s
    while time.monotonic() < end_s:
        if (error := embedded.failures.get(AGGREGATOR)) is not None:
            raise LatecomerError(f"the aggregator ended: {error}") from error
        heard = {record.worker for record in embedded.store.fleet() if record.accepted}
        if additive and set(scene.honest()) <= heard:
            return
        if embedded.versions() >= scene.recipe.demo.versions:
            return
        time.sleep(LOOK_S)


def _additive(scene: Scene) -> bool:
    """Whether every worker adds what it has, and that is all there is to do."""
    return family(scene.recipe.model).layout(len(scene.catalogue)).additive


def _in_virtual_time(scene: Scene) -> Ended:
    devices = {
        f"{name}-{row + 1}": scene.sites[name].of_user(row)
        for name in scene.honest()
        for row in range(len(scene.sites[name].users))
    }
    aggregation = scene.recipe.aggregation
    wanted = scene.recipe.demo.versions * aggregation.updates_per_version
    trainings = sum(map(_trains, devices.values())) if _additive(scene) else wanted
    outcome = fleet.run(
        scene.recipe,
        devices,
        scene.catalogue,
        seed=scene.recipe.seed,
        limits=Limits(trainings),
    )
    return Ended(
        outcome.model,
        {name: _gathered(name, scene.sites[name], outcome) for name in scene.honest()},
        dict.fromkeys(scene.honest(), round(outcome.trained / len(devices))),
        outcome.bytes_up,
        outcome.manifest.version.number,
        outcome.staleness,
    )


def _trains(site: Site) -> bool:
    """Whether there is anything to learn from."""
    return bool(site.split.train.size)


def _gathered(name: str, site: Site, outcome: fleet.Outcome) -> dict[str, Array]:
    """The private states of a worker's users, from each user's own device."""
    devices = [outcome.trainers[f"{name}-{row + 1}"].private for row in range(len(site.users))]
    return {
        key: np.concatenate([each[key] for each in devices])
        for key in (devices[0] if devices else ())
    }
