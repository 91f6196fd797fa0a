"""Our own clients in a peer's hands: what `latecomer bench stragglers` lends to FLGo and Flower.

A peer brings a server's algorithm and its scheduling. The rest is ours and the same for all: the
worker's trainer with its private state, the split, the initial model, and of a seed each device's
speed, network and windows, drawn exactly as the simulator draws them.

Imported in the peers' environment, which has what a worker needs, and neither broker nor store.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latecomer import wire
from latecomer.evaluation.protocol import ALL, mean_of_sums
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer.tensors import Array, Layout, State
from latecomer_simulator import profiles
from latecomer_simulator.traces import Window
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer

#: Calls over a device's link before it has a version, as its agent makes them.
FETCH_CALLS = 4

MEMORY = Path(":memory:")


@dataclass(frozen=True)
class Job:
    """One seed's world, as a peer's process is given it.

    Attributes:
        recipe: With the benchmark's devices in ``[simulation]``.
        items: Entries of the catalogue.
        target: Validation quality to reach.
        updates: Client trainings that a run may spend.
        evaluated_every: Trainings between two evaluations.
        sweep: Whether to run all settings that were tried, not only the chosen ones.
    """

    recipe: Recipe
    sites: Mapping[str, Site]
    items: int
    seed: int
    target: float
    updates: int
    evaluated_every: int
    sweep: bool = False

    @property
    def layout(self) -> Layout:
        """The shared tensors."""
        return family(self.recipe.model).layout(self.items)

    def initial(self) -> dict[str, Array]:
        """Version 0, as the simulator founds it."""
        return dict(family(self.recipe.model).initial(self.items, seed=self.recipe.seed))

    def clients(self) -> list["Client"]:
        """A client per site, none of which has trained."""
        return [Client(self, number, site) for number, site in enumerate(self.sites.values())]


@dataclass(frozen=True)
class Answer:
    """What a client made of a model.

    Attributes:
        model: The shared tensors after training.
        examples: That it learned from.
        arrives_s: Virtual seconds at which the server has it.
    """

    model: Mapping[str, Array]
    examples: int
    arrives_s: float


class Client:
    """One device of the fleet, with the production trainer.

    The law: from the same model, a device's first training gives the same bits here as in the
    simulator, and so does each later one if those before it did.
    """

    def __init__(self, job: Job, number: int, site: Site) -> None:
        recipe = job.recipe
        self.site = site
        self._recipe, self._layout = recipe, job.layout
        rng = np.random.default_rng((job.seed, number))
        self.profile = profiles.draw(recipe.simulation, rng)
        # The generator of the first boot of the simulator's device.
        self._rng = np.random.default_rng((job.seed * 1_000_003 + number) * 1_000 + 1)
        self._state = WorkerState(MEMORY)
        self.trainer = Trainer(
            family(recipe.model),
            site,
            recipe.protocol,
            self._state,
            social=recipe.social,
        )
        self._trained = 0
        self._windows: list[Window] = [next(self.profile.windows)]

    def online(self, at_s: float) -> bool:
        """Whether it is there."""
        return self._window(at_s)[0] <= at_s

    def train(self, model: State, begun_s: float) -> Answer:
        """Fetch, train, and hand in: at once, or when it is back online."""
        self._rng.uniform(0.0, self._recipe.aggregation.spread_s)
        plan = self._recipe.training.model_dump(mode="json")
        trained = self.trainer.train(model, plan=plan, rng=self._rng, should_stop=lambda: False)
        self._trained += 1
        self.trainer.keep(trained, self._state, str(self._trained))
        size = wire.payload_bytes(trained.delta(self._layout, model), "raw")
        done_s = begun_s + self._fetch_s(model) + self._training_s()
        return Answer({**model, **trained.model}, trained.examples, self._handed_in_s(done_s, size))

    def _fetch_s(self, model: State) -> float:
        size = sum(array.nbytes for array in model.values())
        link = self.profile
        return FETCH_CALLS * link.latency_s + size / link.down_bytes_per_s

    def _training_s(self) -> float:
        """As the simulator's ``TimedTrainer`` counts."""
        plan = self._recipe.training.model_dump(mode="json")
        examples = self.site.split.train.size
        drawn = min(examples, int(plan.get("examples_per_pass", 0)) or examples)
        work = drawn * int(plan.get("passes", 1))
        return float(work * self.profile.slowness / self._recipe.simulation.examples_per_s)

    def _handed_in_s(self, done_s: float, size: int) -> float:
        """A transfer that the network's end cuts off begins anew with the next window."""
        needed_s = self.profile.latency_s + size / self.profile.up_bytes_per_s
        at_s = max(done_s, self._window(done_s)[0])
        while at_s + needed_s > self._window(at_s)[1]:
            at_s = self._window(self._window(at_s)[1])[0]
        return at_s + needed_s

    def _window(self, at_s: float) -> Window:
        """The first window that ends after ``at_s``."""
        while self._windows[-1][1] <= at_s:
            self._windows.append(next(self.profile.windows, (math.inf, math.inf)))
        return next(window for window in self._windows if window[1] > at_s)


class Judge:
    """When a peer's run has reached the target, by the benchmark's own question.

    Attributes:
        reached_s: Virtual seconds at which it was; None while it was not.
    """

    def __init__(self, job: Job, clients: Iterable[Client]) -> None:
        self._job, self._clients = job, list(clients)
        self.reached_s: float | None = None

    def look(self, model: State, now_s: float) -> float:
        """The model's validation quality over all users, with each client's private state."""
        sums = [each.trainer.evaluate(model).sums(each.site.regions) for each in self._clients]
        means = mean_of_sums(each for each in sums if each)
        found = means[ALL][self._job.recipe.protocol.metric] if ALL in means else math.nan
        if found >= self._job.target and self.reached_s is None:
            self.reached_s = now_s
        return found

    def result(
        self, now_s: float, trained: int, *, staleness: float = 0.0, refused: int = 0
    ) -> dict[str, float | bool]:
        """One run as it is printed: see ``runs.Run``."""
        return {
            "seconds": now_s if self.reached_s is None else self.reached_s,
            "reached": self.reached_s is not None,
            "trained": trained,
            "staleness": staleness,
            "refused": refused,
        }
