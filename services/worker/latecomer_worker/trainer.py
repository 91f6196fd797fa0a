"""Local learning: judge the fetched model, then train on it with each user's private state."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from latecomer.evaluation.results import EvaluationProtocol, Result
from latecomer.interactions.splits import Target
from latecomer.recipe import Social
from latecomer.recommenders.port import Family, Plan, Scorer, Trained
from latecomer.tensors import Array, State
from latecomer_worker.nearby import nearby
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState

#: Nobody weighs in.
ALONE = Social()


class Trainer:
    """A family, a site, and the private state of the site's users.

    What ``social`` says of people at the site weighs in. Of users who are in the state and not at
    the site any more, what was added is taken back, and everything else forgotten.
    """

    def __init__(
        self,
        family: Family[Any],
        site: Site,
        protocol: EvaluationProtocol,
        state: WorkerState,
        *,
        social: Social = ALONE,
    ) -> None:
        self.site = site
        self._social = social
        self._family = family
        self._protocol = protocol
        self.recall(state)

    @property
    def private(self) -> Mapping[str, Array]:
        """The users' private state, (users, …) per name."""
        return self._private

    def evaluate(self, model: State, *, target: Target = "validation") -> Result:
        """Ask for what is held out of each user, from what is known then."""
        known = self.site.split.known(target)
        score = self._scorer(model, known)
        asked = self.site.asked(target)
        return self._protocol.evaluate(score, known, asked, given=self.site.given)

    def sums(self, model: State) -> dict[str, dict[str, float]]:
        """Per region, the metric sums that an update reports."""
        return self.evaluate(model).sums(self.site.regions)

    def train(
        self,
        model: State,
        *,
        plan: Plan,
        rng: np.random.Generator,
        should_stop: Callable[[], bool],
    ) -> Trained:
        """Train on copies; nothing is kept until ``keep``."""
        here = self.site.split.train
        return self._family.train(
            model,
            self._private,
            here.with_nobody(len(self._departed)) if self._departed else here,
            plan=plan,
            rng=rng,
            should_stop=should_stop,
        )

    def people(self, trained: Trained) -> int:
        """How many people an update is of; of additions, whoever is added or taken back anew."""
        return len(self._changed(trained)) if trained.additions else self.site.people

    def keep(self, trained: Trained, state: WorkerState, update_id: str) -> None:
        """The update is in the outbox: keep the private state that belongs to it.

        What says what was added to sums is true only if the update counts, and is kept of those of
        whom it says anything new.
        """
        users = (*self.site.users, *self._departed)
        if trained.additions:
            rows = self._changed(trained)
            changed = {name: own[rows] for name, own in trained.private.items()}
            state.private.save_tentative(update_id, [users[row] for row in rows], changed)
        else:
            state.private.save(users, trained.private)
            state.private.forget(self._departed)
            self._private = trained.private

    def let_go(self, state: WorkerState) -> None:
        """There is nothing to learn, nor to take back: nothing is kept of who is not here."""
        if self._departed:
            state.private.forget(self._departed)
            self.recall(state)

    def recall(self, state: WorkerState) -> None:
        """Read the private state anew: a verdict may have changed it."""
        self._departed = sorted(state.private.users() - {*self.site.users})
        users = (*self.site.users, *self._departed)
        self._private = self._family.initial_private(len(users))
        state.private.load(users, self._private)

    def scorer(self, model: State) -> Scorer:
        """How a version scores for the site's users, from everything that is known of them."""
        return self._scorer(model, self.site.split.everything())

    def _changed(self, trained: Trained) -> list[int]:
        """Rows of those whose private state an update would change."""
        changed = [
            (own != self._private[name]).reshape(len(own), -1).any(axis=1)  # (U,)
            for name, own in trained.private.items()
        ]
        rows: list[int] = np.flatnonzero(np.any(changed, axis=0)).tolist()
        return rows

    def _scorer(self, model: State, known: Any) -> Scorer:
        score = self._family.scorer(model, self._private, known)
        return nearby(score, self.site, self._social)
