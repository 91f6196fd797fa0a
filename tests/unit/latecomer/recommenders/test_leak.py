"""Who is asked for an item that has nothing to do with him can only guess.

The data are the first customers of the shipped purchases. Published systems that spare the held-out
item when they draw negatives score far above chance here.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from latecomer.data import Data
from latecomer.evaluation.protocol import RankingProtocol
from latecomer.interactions.negatives import mask as membership
from latecomer.interactions.schema import Catalogue
from latecomer.interactions.selection import Selection, select
from latecomer.interactions.sources import load
from latecomer.interactions.splits import History, Split, temporal_split
from latecomer.recipe import Recipe, load_recipe
from latecomer.recommenders.port import Scorer
from unit.latecomer.recommenders.families_under_test import FAMILIES, Family

RECIPE = Path(__file__).parents[4] / "recipes" / "retail.toml"

#: Chance: one in ten of a held-out item and 99 others.
CHANCE = 0.10
MARGIN = 0.02

#: Ten thousand seconds into 2026: after all purchases.
NOW_S = 1_767_235_600.0


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(RECIPE)


@pytest.fixture(scope="module")
def data(recipe: Recipe) -> Data:
    assert isinstance(recipe.data, Data)
    return recipe.data


@pytest.fixture(scope="module")
def catalogue(data: Data) -> Catalogue:
    return Catalogue.read(RECIPE.parent / data.catalogue)


@pytest.fixture(scope="module")
def split(data: Data, catalogue: Catalogue) -> Split:
    path = RECIPE.parent / data.source
    interactions, _ = load(path, data.columns, catalogue, now_s=NOW_S)
    return temporal_split(select(interactions, Selection(cohort="1/4")))


@pytest.fixture(params=FAMILIES, ids=lambda each: each.name)
def family(request: pytest.FixtureRequest) -> Family:
    assert isinstance(request.param, Family)
    return request.param


def trained_on(train: History, shown: History, family: Family, items: int) -> Scorer:
    recommender = family.make()
    users = len(train.lengths)
    plan = {**family.plans[0], **family.real}
    base = recommender.initial(items, seed=1)
    trained = recommender.train(
        base,
        recommender.initial_private(users),
        train,
        plan=plan,
        rng=np.random.default_rng(0),
        should_stop=lambda: False,
    )
    return recommender.scorer(family.next_model(base, trained), trained.private, shown)


def untouched(split: Split, items: int, seed: int) -> npt.NDArray[np.int64]:
    """(U,) for each tested user an item that the user never had, at random."""
    rng = np.random.default_rng(seed)
    draws = rng.random((len(split.test), items))
    draws[membership(split.everything(), np.arange(len(split.test)), items)] = -1.0
    return np.where(split.test >= 0, draws.argmax(axis=1), -1)


def hit_rate(score: Scorer, known: History, target: npt.NDArray[np.int64], seed: int) -> float:
    protocol = RankingProtocol(k=10, candidates="sampled-99", seed=seed)
    return protocol.evaluate(score, known, target).means()["recall@10"]


def test_a_random_untouched_item_is_found_no_more_often_than_by_chance(
    split: Split, catalogue: Catalogue, family: Family
) -> None:
    known = split.known("test")
    score = trained_on(split.train, known, family, len(catalogue))
    rates = [
        hit_rate(score, known, untouched(split, len(catalogue), seed), seed) for seed in range(3)
    ]
    assert np.mean(rates) == pytest.approx(CHANCE, abs=MARGIN)
    # And it is not that nothing was learned: the items that were bought are found.
    assert hit_rate(score, known, split.test, 0) > 3 * CHANCE


def test_the_leak_test_notices_a_leak(split: Split, catalogue: Catalogue, family: Family) -> None:
    target = untouched(split, len(catalogue), 0)
    everything = split.everything()
    items = everything.items.copy()
    tested = target >= 0
    items[everything.indptr[1:][tested] - 1] = target[tested]
    leaked = History(everything.indptr, items, everything.time_s)
    score = trained_on(leaked, leaked, family, len(catalogue))
    assert hit_rate(score, split.known("test"), target, 0) > CHANCE + 2 * MARGIN
