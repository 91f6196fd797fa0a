"""Recipes of published data sets, on the real files where they are: none is shipped here."""

import os
from pathlib import Path

import pytest

from latecomer.data import Data
from latecomer.recipe import load_recipe
from latecomer_cli import demo, sites

RECIPES = Path(__file__).parents[3] / "recipes"
WHERE = os.environ.get(sites.DATA_VARIABLE, "")

#: Users, items of the catalogue and interactions: as published, but of catalogues that are cut to
#: what enough people have, counted here; an interaction that is published twice counts once.
PUBLISHED = {
    "complete-journey": (2_443, 3_887, 445_603),
    "filmtrust": (1_508, 2_071, 35_494),
    "lastfm-2k": (1_881, 2_828, 71_426),
    "mimic": (94, 590, 3_711),
    "ml-100k": (943, 1_682, 100_000),
    "ml-1m": (6_040, 3_883, 1_000_209),
    "taobao": (45_268, 4_540, 175_047),
    "yelp": (15_453, 4_019, 165_038),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_real_data_set_has_the_published_counts_and_every_site_has_users(name: str) -> None:
    recipe = load_recipe(RECIPES / f"{name}.toml")
    folder = recipe.data.format
    if not (Path(WHERE) / folder).is_dir() or not WHERE:
        pytest.skip(f"{sites.DATA_VARIABLE} names no folder with {folder} in it; see docs/data.md")
    scene = demo.read(recipe, RECIPES)
    users, items, interactions = PUBLISHED[name]
    assert len(scene.catalogue) == items
    assert sum(len(site.users) for site in scene.sites.values()) == users
    found = sum(len(site.split.everything().items) for site in scene.sites.values())
    assert found == interactions


def test_the_real_campaigns_are_as_many_as_published_and_every_site_has_some() -> None:
    recipe = load_recipe(RECIPES / "complete-journey-campaigns.toml")
    if not (Path(WHERE) / "complete-journey").is_dir() or not WHERE:
        pytest.skip(f"{sites.DATA_VARIABLE} names no folder with complete-journey in it")
    received = [len(site.users) for site in demo.read(recipe, RECIPES).sites.values()]
    assert sum(received) == 6_589
    assert min(received) > 400


def test_the_real_ratings_are_clicks_as_often_as_published_and_every_occupation_has_some() -> None:
    recipe = load_recipe(RECIPES / "ml-1m-clicks.toml")
    if not (Path(WHERE) / "ml-1m").is_dir() or not WHERE:
        pytest.skip(f"{sites.DATA_VARIABLE} names no folder with ml-1m in it")
    labels = [site.split.everything().labels for site in demo.read(recipe, RECIPES).sites.values()]
    assert sum(map(len, labels)) == 1_000_209
    # Of four stars 348,971 and of five 226,310.
    assert sum(int(each.sum()) for each in labels) == 575_281
    assert min(map(len, labels)) > 2_000


def test_a_recipe_finds_its_data_set_under_the_variable_before_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_recipe(RECIPES / "ml-100k.toml").data
    assert isinstance(data, Data)
    monkeypatch.setenv(sites.DATA_VARIABLE, str(tmp_path))
    assert sites.published(data, RECIPES) == RECIPES / "data/ml-100k"
    (tmp_path / "ml-100k").mkdir()
    assert sites.published(data, RECIPES) == tmp_path / "ml-100k"
