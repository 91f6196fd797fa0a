"""An owner alone learns as long as it helps on validation, where outcomes are predicted."""

import math

import numpy as np
import pytest

from latecomer.outcomes.examples import UNKNOWN, Examples, OutcomeSplit
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer_worker.alone import State, alone, candidates

ROUNDS = 64
INPUTS = 12
RECIPE = Recipe.model_validate(
    {
        "federation": "wards",
        "data": {
            "format": "examples",
            "source": "patients.csv",
            "outcome": {"column": "ill", "positive": ["yes"]},
            "fields": [{"name": "age", "low": 0, "high": 100}],
        },
        "model": {"family": "mlp", "hidden": [32]},
        "training": {"learning_rate": 0.02, "examples_per_batch": 16},
    }
)


def split(*, noise: bool, validation: bool = True) -> OutcomeSplit:
    """Outcomes by the first of many inputs, or by a coin; of three examples, two to learn from."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((120, INPUTS)).astype(np.float32)
    labels = rng.integers(0, 2, 120) if noise else (inputs[:, 0] > 0).astype(np.int64)
    part = np.arange(120) % 3
    held_out = np.where((part == 0) & validation, labels, UNKNOWN)
    return OutcomeSplit(held_out, np.full(120, UNKNOWN), Examples(inputs, labels))


def loss(of: OutcomeSplit, state: State) -> float:
    score = family(RECIPE.model).scorer(*state, of.known("validation"))
    return RECIPE.protocol.evaluate(score, None, of.validation).means()["log_loss"]


def same(one: State, other: State) -> bool:
    return all(np.array_equal(one[0][name], other[0][name]) for name in one[0])


def test_fewer_rounds_are_tried_as_well() -> None:
    assert candidates(10) == [10, 8, 4, 2, 1]
    assert candidates(8) == [8, 4, 2, 1]
    assert candidates(1) == candidates(0) == [1]


def test_coins_are_not_learned_by_heart() -> None:
    """Of coins nothing can be known: ln 2 is the least loss."""
    coins = split(noise=True)
    stopped = alone(RECIPE, coins, INPUTS, rounds=ROUNDS, seed=1)
    went_on = alone(RECIPE, split(noise=True, validation=False), INPUTS, rounds=ROUNDS, seed=1)
    assert loss(coins, stopped) == pytest.approx(math.log(2), abs=0.2)
    assert same(stopped, alone(RECIPE, coins, INPUTS, rounds=1, seed=1))
    assert not same(stopped, went_on)


def test_what_can_be_learned_is_learned_for_longer() -> None:
    law = split(noise=False)
    found = alone(RECIPE, law, INPUTS, rounds=ROUNDS, seed=1)
    assert loss(law, found) < 0.3 < loss(law, alone(RECIPE, law, INPUTS, rounds=1, seed=1))


def test_with_nothing_to_validate_on_all_rounds_are_learned() -> None:
    everything = split(noise=True, validation=False)
    first = alone(RECIPE, everything, INPUTS, rounds=8, seed=1)
    assert not same(first, alone(RECIPE, everything, INPUTS, rounds=4, seed=1))
