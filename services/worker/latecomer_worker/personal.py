"""Serving from two models: the federation's, and one that this site trained from its data alone."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from latecomer.evaluation.ranking import Floats
from latecomer.interactions.splits import Target
from latecomer.recipe import Recipe
from latecomer.recommenders import ensemble
from latecomer.recommenders.families import family
from latecomer.recommenders.port import Scorer
from latecomer.tensors import Array, State
from latecomer_worker.nearby import nearby
from latecomer_worker.site import Site, together
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer

Private = Mapping[str, Array]


class Personal:
    """A site's own model beside the federation's; see ``latecomer.recommenders.ensemble``.

    Attributes:
        own: The model that the site trained alone when this was made, and its users' state.
    """

    def __init__(self, recipe: Recipe, site: Site, items: int) -> None:
        self._recipe, self._site = recipe, site
        self.own = ensemble.trained_alone(
            recipe.model,
            site.split.train,
            users=len(site.users),
            items=items,
            plan=recipe.training.model_dump(mode="json"),
            rounds=recipe.personal.rounds,
            seed=recipe.seed,
            rng=np.random.default_rng(recipe.seed),
        )

    def weight(self, model: State, private: Private) -> float:
        """How much of the site's own model helps on its validation items."""
        return ensemble.gated(
            self._recipe.personal.weights,
            lambda weight: self._values(model, private, weight),
            together([self._site], np.flatnonzero(self._site.split.validation >= 0)),
            errors=ensemble.certain,
        )

    def scorer(
        self, model: State, private: Private, target: Target | None, *, weight: float
    ) -> Scorer:
        """Both models' scores, from what is known before ``target``, or from everything."""
        split = self._site.split
        known = split.everything() if target is None else split.known(target)
        return ensemble.mixed(
            self._served(model, private, known), self._served(*self.own, known), weight
        )

    def _served(self, model: State, private: Private, known: Any) -> Scorer:
        """One model's scores, as a site without another one would serve them."""
        score = family(self._recipe.model).scorer(model, private, known)
        return nearby(score, self._site, self._recipe.social)

    def _values(self, model: State, private: Private, weight: float) -> Floats:
        """(T,) the metric of each user with something to validate on."""
        protocol, split = self._recipe.protocol, self._site.split
        score = self.scorer(model, private, "validation", weight=weight)
        found = protocol.evaluate(
            score, split.known("validation"), split.validation, given=self._site.given
        )
        return found.per_user()[protocol.metric]


class PersonalTrainer(Trainer):
    """Serves from both models; what is reported of a version is of the version alone."""

    def __init__(self, recipe: Recipe, site: Site, state: WorkerState, items: int) -> None:
        super().__init__(family(recipe.model), site, recipe.protocol, state, social=recipe.social)
        self._recipe, self._items = recipe, items

    @cached_property
    def _personal(self) -> Personal:
        return Personal(self._recipe, self.site, self._items)

    def scorer(self, model: State) -> Scorer:
        """See ``Trainer.scorer``; the first call trains the site's own model."""
        weight = self._personal.weight(model, self.private)
        return self._personal.scorer(model, self.private, None, weight=weight)
