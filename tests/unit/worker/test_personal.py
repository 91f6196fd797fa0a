"""A site that knows better than the federation is served by what it knows, and only there."""

from pathlib import Path

import numpy as np
import pytest

from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer_worker.personal import Personal, PersonalTrainer
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer
from scenes import ITEMS, checkerboard, make_recipe, make_site


@pytest.fixture
def recipe() -> Recipe:
    body = make_recipe().model_dump(mode="json")
    body |= {"model": {"family": "gram", "l2": 1.0}, "training": {}}
    return Recipe.model_validate({**body, "personal": {"weights": [0.5, 1.0]}})


@pytest.fixture
def site() -> Site:
    return make_site(checkerboard(40))


@pytest.fixture
def state(tmp_path: Path) -> WorkerState:
    return WorkerState(tmp_path / "state.sqlite")


def nothing_learned(recipe: Recipe) -> dict[str, np.ndarray]:
    chosen = family(recipe.model)
    initial = chosen.initial(ITEMS, seed=1)
    return {spec.name: initial[spec.name] for spec in chosen.layout(ITEMS).held}


def test_a_site_beside_a_federation_that_learned_nothing_uses_its_own_model(
    recipe: Recipe, site: Site, state: WorkerState
) -> None:
    model, private = nothing_learned(recipe), family(recipe.model).initial_private(40)
    own = Personal(recipe, site, ITEMS)
    weight = own.weight(model, private)
    assert weight > 0
    served = PersonalTrainer(recipe, site, state, ITEMS).scores(model, 3)
    expected = own.scorer(model, private, None, weight=weight)(np.array([3]))[0]
    np.testing.assert_array_equal(served, expected)
    # Of what is not bought yet, the items of the own colour come first.
    white = np.arange(ITEMS) % 2 == 1
    assert served[white].mean() > served[~white].max()


def test_a_site_that_the_federation_knows_as_well_as_itself_stays_with_it(
    recipe: Recipe, site: Site, state: WorkerState
) -> None:
    own = Personal(recipe, site, ITEMS)
    model, private = own.own
    assert own.weight(model, private) == 0.0
    plain = Trainer(family(recipe.model), site, recipe.protocol, state)
    np.testing.assert_array_equal(
        PersonalTrainer(recipe, site, state, ITEMS).scores(model, 0), plain.scores(model, 0)
    )


def test_a_version_is_reported_as_it_is_without_the_sites_own_model(
    recipe: Recipe, site: Site, state: WorkerState
) -> None:
    model = nothing_learned(recipe)
    plain = Trainer(family(recipe.model), site, recipe.protocol, state)
    assert PersonalTrainer(recipe, site, state, ITEMS).sums(model) == plain.sums(model)
