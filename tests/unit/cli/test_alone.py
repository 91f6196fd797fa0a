"""An owner alone learns as long as it helps on validation, where outcomes are predicted."""

import numpy as np
import pytest
import torch

from latecomer.outcomes.examples import UNKNOWN, Examples, OutcomeSplit
from latecomer.recipe import Recipe
from latecomer.recommenders import ensemble
from latecomer.recommenders.families import family
from latecomer_cli.alone import State, alone
from scenes import ITEMS, checkerboard, make_outcome_recipe, make_recipe, make_site

ROUNDS, SEED = 64, 1
EXAMPLES, INPUTS = 300, 12
RECIPE = make_outcome_recipe(hidden=32)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As ``evaluate``: threads that wait for each other take longer than such small batches."""
    torch.set_num_threads(1)


def split(*, wrong: float) -> OutcomeSplit:
    """Outcomes by the first of many inputs; of what is trained on, this share is wrong."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((EXAMPLES, INPUTS)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    validation = np.where(np.arange(EXAMPLES) % 3 == 0, labels, UNKNOWN)
    flipped = (validation == UNKNOWN) & (rng.random(EXAMPLES) < wrong)
    known = Examples(inputs, np.where(flipped, 1 - labels, labels))
    return OutcomeSplit(validation, np.full(EXAMPLES, UNKNOWN), known)


def to_the_end(of: OutcomeSplit, rounds: int) -> State:
    return ensemble.trained_alone(
        RECIPE.model,
        of.train,
        users=len(of.test),
        items=INPUTS,
        plan=RECIPE.training.model_dump(mode="json"),
        rounds=rounds,
        seed=RECIPE.seed,
        rng=np.random.default_rng(SEED),
    )


def auc(of: OutcomeSplit, state: State) -> float:
    score = family(RECIPE.model).scorer(*state, of.known("validation"))
    return RECIPE.protocol.evaluate(score, None, of.validation).means()["auc"]


def same(one: State, other: State) -> bool:
    return all(np.array_equal(one[0][name], other[0][name]) for name in one[0])


def test_what_is_wrong_is_not_learned_by_heart() -> None:
    """Of rounds it is the half, quarter, … that orders the others best."""
    few = split(wrong=0.3)
    stopped = alone(RECIPE, [few], INPUTS, rounds=ROUNDS, seed=SEED)
    found = {rounds: to_the_end(few, rounds) for rounds in (64, 32, 16, 8, 4, 2, 1)}
    best = max(found, key=lambda rounds: auc(few, found[rounds]))
    assert best < ROUNDS
    assert same(stopped, found[best])
    assert auc(few, stopped) > auc(few, found[ROUNDS]) + 0.05


def wards() -> list[OutcomeSplit]:
    """Two of them: at four examples of five, what comes about is known by the ward alone."""
    splits = []
    for ward in (0, 1):
        rng = np.random.default_rng(2 + ward)
        inputs = rng.standard_normal((EXAMPLES, INPUTS)).astype(np.float32)
        inputs[:, -1] = ward
        labels = np.where(rng.random(EXAMPLES) < 0.8, ward, inputs[:, 0] > 0).astype(np.int64)
        validation = np.where(np.arange(EXAMPLES) % 3 == 0, labels, UNKNOWN)
        flipped = (validation == UNKNOWN) & (rng.random(EXAMPLES) < 0.3)
        known = Examples(inputs, np.where(flipped, 1 - labels, labels))
        splits.append(OutcomeSplit(validation, np.full(EXAMPLES, UNKNOWN), known))
    return splits


def test_with_all_data_in_one_place_outcomes_are_ordered_within_each_site() -> None:
    """As when it is tested: to know which ward is which is no reason to learn for longer."""
    both = wards()
    everything = OutcomeSplit.pooled(both)
    found = {rounds: to_the_end(everything, rounds) for rounds in (64, 32, 16, 8, 4, 2, 1)}
    pooled = max(found, key=lambda rounds: auc(everything, found[rounds]))
    within = max(found, key=lambda rounds: sum(auc(ward, found[rounds]) for ward in both))
    assert (pooled, within) == (4, 1)
    assert same(alone(RECIPE, both, INPUTS, rounds=ROUNDS, seed=SEED), found[within])


def test_examples_of_one_person_are_not_certain_of_anything() -> None:
    few, one = split(wrong=0.3), np.zeros(EXAMPLES, np.int64)
    stopped = alone(RECIPE, [few], INPUTS, rounds=ROUNDS, seed=SEED, groups=one)
    assert same(stopped, to_the_end(few, ROUNDS))


def test_what_does_no_harm_is_learned_to_the_end() -> None:
    law = split(wrong=0.0)
    assert same(alone(RECIPE, [law], INPUTS, rounds=ROUNDS, seed=SEED), to_the_end(law, ROUNDS))


@pytest.mark.parametrize("rounds", [0, 1])
def test_there_is_no_half_of_one_round(rounds: int) -> None:
    few = split(wrong=0.3)
    assert same(alone(RECIPE, [few], INPUTS, rounds=rounds, seed=SEED), to_the_end(few, 1))


def test_what_ranks_items_is_learned_to_the_end() -> None:
    """Only of outcomes is it known that examples are learned by heart."""
    body = make_recipe().model_dump(mode="json")
    als = {"model": {"family": "als", "dimension": 4}, "training": {"family": "als"}}
    recipe = Recipe.model_validate(body | als)
    split = make_site(checkerboard(6)).split
    learned = alone(recipe, [split], ITEMS, rounds=4, seed=SEED)
    expected = ensemble.trained_alone(
        recipe.model,
        split.train,
        users=6,
        items=ITEMS,
        plan=recipe.training.model_dump(mode="json"),
        rounds=4,
        seed=recipe.seed,
        rng=np.random.default_rng(SEED),
    )
    assert same(learned, expected)


def test_with_nothing_to_validate_on_all_rounds_are_learned() -> None:
    few = split(wrong=0.3)
    few.validation[:] = UNKNOWN
    assert same(alone(RECIPE, [few], INPUTS, rounds=8, seed=SEED), to_the_end(few, 8))
