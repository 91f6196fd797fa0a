"""Founding again tells what the federation has, and what it has otherwise than was asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from deployment import write_scene
from latecomer import connect
from latecomer.errors import BadConfiguration, ExitCode
from latecomer.interactions.schema import Catalogue
from latecomer.recipe import Recipe
from latecomer_cli import app, federation
from scenes import FEDERATION, ITEM_CATALOGUE, Federation, make_recipe


@pytest.fixture
def scene() -> Federation:
    scene = Federation()
    scene.found_items()
    return scene


def again(
    scene: Federation, *, catalogue: Catalogue = ITEM_CATALOGUE, **changes: Any
) -> federation.Founding:
    """What founding tells of the same recipe, but for ``changes``."""
    recipe = Recipe.model_validate(make_recipe().model_dump(mode="json") | changes)
    return federation.found(scene.store, recipe, catalogue, scene.clock)


def test_the_same_recipe_differs_in_nothing(scene: Federation) -> None:
    assert again(scene).differs == ()


def test_another_recipe_is_told_apart_and_changes_nothing(scene: Federation) -> None:
    before = scene.manifest()
    found = again(scene, model={"dimension": 64}, aggregation={"updates_per_version": 50}, seed=3)
    assert (found.existed, found.differs) == (True, ("seed", "model", "aggregation"))
    assert found.parameters == before.layout.size
    assert scene.manifest() == before


def test_another_catalogue_is_told_apart(scene: Federation) -> None:
    found = again(scene, catalogue=Catalogue(("one", "two"), ("", "")))
    assert (found.items, found.differs) == (len(ITEM_CATALOGUE), ("catalogue",))


def test_what_everybody_has_a_file_of_his_own_for_may_differ(scene: Federation) -> None:
    assert again(scene, title="Shops", fleet={"workers": [{"name": "w9"}]}).differs == ()


def test_a_new_epoch_has_what_was_asked_for(scene: Federation) -> None:
    recipe = make_recipe(updates_per_version=50)
    found = federation.found(scene.store, recipe, ITEM_CATALOGUE, scene.clock, new_epoch=True)
    assert (found.existed, found.differs) == (False, ())
    assert again(scene).differs == ("aggregation",)


def of_blocks(blocks: int, values: str) -> Recipe:
    body = make_recipe().model_dump(mode="json")
    model = {"family": "sequential", "dimension": 8, "blocks": blocks, "length": 8}
    body |= {"model": model, "training": {}, "compression": {"values": values}}
    return Recipe.model_validate(body)


@pytest.mark.parametrize(("blocks", "values"), [(16, "float32"), (16, "float16"), (9, "int8")])
def test_a_model_whose_updates_can_be_sent_is_founded(blocks: int, values: str) -> None:
    scene = Federation(of_blocks(blocks, values))
    assert scene.found_items() == scene.store.head()


def test_a_model_whose_updates_no_worker_could_send_is_refused() -> None:
    scene = Federation(of_blocks(10, "int8"))
    with pytest.raises(BadConfiguration, match="130 entries in the tensor table exceed 128") as no:
        scene.found_items()
    assert no.value.hint.startswith("take fewer blocks or layers")
    assert scene.store.head() is None


def test_init_says_what_was_not_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Federation()
    monkeypatch.setattr(connect, "broker", lambda *_, **__: scene.login("operator"))
    monkeypatch.setattr(connect, "store", lambda *_, **__: scene.open_store())
    write_scene(tmp_path, FEDERATION, max_staleness=20)
    recipe = tmp_path / "recipe.toml"

    assert app.run(["init", str(recipe)]) == ExitCode.OK
    assert "not applied" not in capsys.readouterr().out
    parameters = scene.manifest().layout.size
    recipe.write_text(recipe.read_text().replace("dimension = 8", "dimension = 64"))
    assert app.run(["init", str(recipe)]) == ExitCode.OK
    said = capsys.readouterr().out
    assert f"40 items, {parameters:,} parameters, 3 workers enrolled" in said
    assert "not applied: the recipe's model, since shop was founded with another" in said
    assert app.run(["init", str(recipe), "--format", "json"]) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["differs"], told["parameters"]) == (["model"], parameters)


def test_who_founds_at_the_same_time_finds_what_the_other_founded() -> None:
    scene = Federation()
    store = scene.open_store()
    acquire, others = store.acquire, list[federation.Founding]()

    def late(*each: Any) -> Any:
        if not others:
            others.append(federation.found(scene.store, make_recipe(), ITEM_CATALOGUE, scene.clock))
        return acquire(*each)

    store.acquire = late  # type: ignore[method-assign,assignment]
    found = federation.found(store, make_recipe(), ITEM_CATALOGUE, scene.clock)
    assert (found.existed, found.head) == (True, others[0].head)
    assert scene.store.holder() is None
