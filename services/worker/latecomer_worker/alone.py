"""What one owner's data alone come to: beside the federation's model, or to compare it with.

Who learns from few examples for long learns them by heart. A predictor of outcomes is therefore as
it was after the number of rounds at which it predicted validation examples best (early stopping,
Prechelt 1998): of 1, 2, 4, … and all of them, where fewer rounds are the beginning of more. The
federation's own model is never chosen so; it is its last version.
"""

from itertools import takewhile
from typing import Any

import numpy as np

from latecomer.data import ExampleData
from latecomer.recipe import Recipe
from latecomer.recommenders import ensemble
from latecomer.recommenders.families import family
from latecomer.tensors import Array
from latecomer_worker.site import Split

#: The shared and the private state.
State = tuple[dict[str, Array], dict[str, Array]]

#: How predictors are chosen; less is better. AUC says nothing of probabilities.
LOSS = "log_loss"


def alone(recipe: Recipe, split: Split, items: int, *, rounds: int, seed: int) -> State:
    """What the owner of ``split`` ends with after at most ``rounds``; see the module."""

    def after(count: int) -> State:
        return ensemble.trained_alone(
            recipe.model,
            split.train,
            users=len(split.test),
            items=items,
            plan=recipe.training.model_dump(mode="json"),
            rounds=count,
            seed=recipe.seed,
            rng=np.random.default_rng(seed),
        )

    if not isinstance(recipe.data, ExampleData):
        return after(rounds)
    return min(map(after, candidates(rounds)), key=lambda state: _loss(recipe, split, *state))


def candidates(rounds: int) -> list[int]:
    """All rounds, and the powers of two below them, falling: what ties is what learned longest."""
    shorter = takewhile(lambda count: count < rounds, (2**power for power in range(64)))
    return [max(1, rounds), *reversed(list(shorter))]


def _loss(recipe: Recipe, split: Split, model: Any, private: Any) -> float:
    """On validation examples; alike for all models where there are none."""
    score = family(recipe.model).scorer(model, private, split.known("validation"))
    found = recipe.protocol.evaluate(score, None, split.validation).means()
    return found.get(LOSS, 0.0)
