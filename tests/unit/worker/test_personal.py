"""A site that knows better than the federation is served by what it knows, and only there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latecomer.recipe import Recipe, Social
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
    served = PersonalTrainer(recipe, site, state, ITEMS).scorer(model)(np.array([3]))[0]
    expected = own.scorer(model, private, None, weight=weight)(np.array([3]))[0]
    np.testing.assert_array_equal(served, expected)
    # Of what is not bought yet, the items of the own colour come first.
    white = np.arange(ITEMS) % 2 == 1
    assert served[white].mean() > served[~white].max()


def test_who_are_one_person_do_not_vouch_for_each_other(recipe: Recipe, site: Site) -> None:
    model, private = nothing_learned(recipe), family(recipe.model).initial_private(40)
    one = replace(site, groups=("somebody",) * 40)
    assert Personal(recipe, one, ITEMS).weight(model, private) == 0.0


def test_a_site_that_the_federation_knows_as_well_as_itself_stays_with_it(
    recipe: Recipe, site: Site, state: WorkerState
) -> None:
    own = Personal(recipe, site, ITEMS)
    model, private = own.own
    assert own.weight(model, private) == 0.0
    plain = Trainer(family(recipe.model), site, recipe.protocol, state)
    np.testing.assert_array_equal(
        PersonalTrainer(recipe, site, state, ITEMS).scorer(model)(np.array([0]))[0],
        plain.scorer(model)(np.array([0]))[0],
    )


@pytest.mark.parametrize(("errors", "weight"), [(1.5, 0.0), (2.5, 0.5)])
def test_what_one_site_of_six_gains_by_luck_changes_nothing(
    recipe: Recipe, site: Site, monkeypatch: pytest.MonkeyPatch, errors: float, weight: float
) -> None:
    luck = np.array([1.0, -1.0] * 20)
    gains = luck + errors * luck.std(ddof=1) / len(luck) ** 0.5
    own = Personal(recipe, site, ITEMS)
    monkeypatch.setattr(own, "_values", lambda _model, _private, weight: gains * bool(weight))
    assert own.weight({}, {}) == weight


def test_where_negatives_are_given_the_weight_is_chosen_among_them(
    recipe: Recipe, site: Site
) -> None:
    among = recipe.evaluation.model_copy(update={"candidates": "given"})
    chosen = recipe.model_copy(update={"evaluation": among})
    model, private = nothing_learned(recipe), family(recipe.model).initial_private(40)
    # Every item of the other colour competes, and only the site's own model knows of colours.
    others = np.array([np.arange(ITEMS)[np.arange(ITEMS) % 2 != user % 2] for user in range(40)])
    assert Personal(chosen, replace(site, given=others), ITEMS).weight(model, private) > 0


def test_a_version_is_reported_as_it_is_without_the_sites_own_model(
    recipe: Recipe, site: Site, state: WorkerState
) -> None:
    model = nothing_learned(recipe)
    plain = Trainer(family(recipe.model), site, recipe.protocol, state)
    assert PersonalTrainer(recipe, site, state, ITEMS).sums(model) == plain.sums(model)


def test_what_is_popular_at_the_site_weighs_in_before_two_models_are_mixed(
    recipe: Recipe, site: Site
) -> None:
    local = recipe.model_copy(update={"social": Social(popularity=3.0)})
    plain, weighed = (Personal(each, site, ITEMS) for each in (recipe, local))
    model, private = nothing_learned(recipe), family(recipe.model).initial_private(40)
    train, users = site.split.train, np.arange(40)
    has = np.zeros((40, ITEMS), np.float32)
    has[train.user, train.items] = 1
    # Of the version alone, and of the site's own model alone, whose scale does not matter.
    for weight in (0.0, 1.0):
        before, after = (
            each.scorer(model, private, "validation", weight=weight)(users)
            for each in (plain, weighed)
        )
        assert (np.argsort(before) != np.argsort(after)).any()
    shared = family(recipe.model).scorer(model, private, train)(users)
    found = weighed.scorer(model, private, "validation", weight=0.0)(users)
    np.testing.assert_allclose(found, shared + 3.0 * has.mean(axis=0), rtol=1e-5)
