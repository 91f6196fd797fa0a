"""What one owner's data come to alone, or everybody's in one place, with the same family.

Who learns from few examples for long learns them by heart. A predictor of outcomes is therefore as
it was after a half, a quarter, … of its rounds, where that predicted validation examples better for
certain (early stopping, Prechelt 1998, by the rule of ``ensemble.gated`` and the metric by which
systems are compared): fewer rounds are the beginning of more. The federation's own model is never
chosen so; it is its last version.
"""

from collections.abc import Sequence
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
    recipe: Recipe,
    splits: Sequence[Split],
    items: int,
    *,
    rounds: int,
    seed: int,
    groups: Ids | None = None,
) -> State:
    """What who has all of ``splits`` ends with after at most ``rounds``; see the module.

    Each of them is a site's, whose outcomes are ordered among themselves, as when it is tested.
    ``groups`` (U,) are of all examples one after another, as of ``ensemble.gated``.
    """
    everything = type(splits[0]).pooled(splits)

    @cache
    def after(halvings: int) -> State:
        return ensemble.trained_alone(
            recipe.model,
            everything.train,
            users=len(everything.test),
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
        lambda each: _values(recipe, splits, after(int(each))),
        None if groups is None else groups[everything.validation >= 0],
    )
    return after(int(chosen))


def _values(recipe: Recipe, splits: Sequence[Split], state: State) -> Floats:
    """(T,) how rightly each validation example is ordered among those of its site."""
    values = []
    for split in splits:
        score = family(recipe.model).scorer(*state, split.known("validation"))
        found = recipe.protocol.evaluate(score, None, split.validation)
        values.append(found.per_user()[recipe.protocol.metric])
    return np.concatenate(values)
