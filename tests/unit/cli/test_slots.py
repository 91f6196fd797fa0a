"""A slot is a worker of its own in every command that plays a fleet, and tests nobody twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from deployment import write_scene
from latecomer.errors import ExitCode
from latecomer.fleet import FleetWorker
from latecomer.recipe import load_recipe
from latecomer_cli import app, demo, sites
from scenes import ITEM_CATALOGUE, checkerboard

#: Of ``write_scene``.
CUSTOMERS = 60

DEMO = "[demo]\nversions = 2\nlimit_s = 20\nround_s = 0.01\n"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three shops that share all customers; phones of the same customers are added by tests."""
    monkeypatch.chdir(tmp_path)
    write_scene(tmp_path, "small", max_staleness=20)
    return tmp_path / "recipe.toml"


def with_phones(recipe: Path, slots: int) -> Path:
    phones = f'[[fleet.workers]]\nname = "phone"\nslots = {slots}\nlabel = "phones"\n'
    recipe.write_text(f"{recipe.read_text()}\n{phones}{DEMO}")
    return recipe


def phones_alone(recipe: Path, slots: int) -> Path:
    shops = recipe.read_text().split("[[fleet.workers]]")[0]
    recipe.write_text(shops)
    return with_phones(recipe, slots)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert app.run([*arguments, "--format", "json"]) == ExitCode.OK
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


def test_slots_divide_the_customers_of_their_entry() -> None:
    board = checkerboard(60)
    phone = FleetWorker(name="phone", shard="1/2", slots=3)
    parts = [sites.part(board, each) for each in phone.members()]
    found = sites.of_workers(board, parts, ITEM_CATALOGUE, seed=1)
    whole = sites.site(board, phone, ITEM_CATALOGUE, label=None, seed=1)
    assert list(found) == ["phone-1", "phone-2", "phone-3"]
    assert sorted(user for each in found.values() for user in each.users) == sorted(whole.users)
    assert sum(len(each.tested) for each in found.values()) == len(whole.tested)


def test_who_is_at_two_workers_is_tested_at_the_first_and_learned_from_at_both() -> None:
    board = checkerboard(6)
    workers = [FleetWorker(name="shop", cohort="1/2"), FleetWorker(name="phone")]
    parts = [sites.part(board, each) for each in workers]
    shop, phone = sites.of_workers(board, parts, ITEM_CATALOGUE, seed=1).values()
    assert shop.tested.tolist() == [0, 1, 2]
    assert phone.tested.tolist() == [3, 4, 5]
    assert phone.asked("validation")[:3].tolist() == [-1, -1, -1]
    assert phone.split.train.lengths.tolist() == [6] * 6
    # What is held out of him stays held out: nobody may learn it where he is not asked.
    assert phone.split.known("test").lengths.tolist() == [7] * 6
    assert phone.of_user(0).tested.tolist() == []


def test_a_scene_has_each_slot_that_somebody_falls_into(recipe: Path) -> None:
    scene = demo.read(load_recipe(phones_alone(recipe, 200)), recipe.parent)
    held = [user for site in scene.in_order() for user in site.users]
    assert 20 < len(scene.honest()) < 200
    assert len(held) == len(set(held)) == CUSTOMERS


def test_evaluate_tests_each_customer_once(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = told(capsys, "evaluate", str(with_phones(recipe, 4)), "--seeds", "1")
    for system in ("global", "centralised", "local_only", "popularity", "ease"):
        assert body["metrics"][system]["users"] == CUSTOMERS


def test_the_demo_plays_each_slot_and_tests_each_customer_once(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = told(capsys, "demo", str(phones_alone(recipe, 2)))
    assert body["metrics"]["global"]["users"] == CUSTOMERS


def test_simulate_plays_each_slot(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(with_phones(recipe, 4))
    assert told(capsys, "simulate", path, "--updates", "7", "--evaluate-every", "0")["devices"] == 7
