"""What one owner's data come to alone, or everybody's in one place, with the same family.

Who learns from few examples for long learns them by heart. A predictor of outcomes is therefore as
it was after a half, a quarter, … of its rounds, where that predicted validation examples better for
certain (early stopping, Prechelt 1998, by the rule of ``ensemble.gated`` and the metric by which
systems are compared): fewer rounds are the beginning of more. The federation's own model is never
chosen so; it is its last version.
"""

from functools import cache

import numpy as np

from latecomer.data import ExampleData
from latecomer.evaluation.ranking import Floats, Ids
from latecomer.recipe import Recipe
from latecomer.recommenders import ensemble
from latecomer.recommenders.families import family
from latecomer.tensors import Array
from latecomer_worker.site import Split

#: The shared and the private state.
State = tuple[dict[str, Array], dict[str, Array]]


def alone(
    recipe: Recipe, split: Split, items: int, *, rounds: int, seed: int, groups: Ids | None = None
) -> State:
    """What the owner of ``split`` ends with after at most ``rounds``; see the module.

    ``groups`` (U,) are of its examples, as of ``ensemble.gated``.
    """

    @cache
    def after(halvings: int) -> State:
        return ensemble.trained_alone(
            recipe.model,
            split.train,
            users=len(split.test),
            items=items,
            plan=recipe.training.model_dump(mode="json"),
            rounds=rounds >> halvings,
            seed=recipe.seed,
            rng=np.random.default_rng(seed),
        )

    if not isinstance(recipe.data, ExampleData):
        return after(0)
    chosen = ensemble.gated(
        range(1, rounds.bit_length()),
        lambda each: _values(recipe, split, after(int(each))),
        None if groups is None else groups[split.validation >= 0],
    )
    return after(int(chosen))


def _values(recipe: Recipe, split: Split, state: State) -> Floats:
    """(T,) how rightly each validation example is ordered."""
    score = family(recipe.model).scorer(*state, split.known("validation"))
    found = recipe.protocol.evaluate(score, None, split.validation)
    return found.per_user()[recipe.protocol.metric]
