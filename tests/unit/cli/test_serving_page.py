"""What docs/serving.md writes down can be typed in."""

import re
from pathlib import Path

import pytest

from latecomer import connect
from latecomer.clock import SystemClock
from latecomer.errors import NothingLearned
from latecomer.recipe import load_recipe
from latecomer.store.redis import RedisStore, embedded
from latecomer_cli import federation, sites
from pages import commands, options

PAGE = (Path(__file__).parents[3] / "docs" / "serving.md").read_text(encoding="utf-8")

RECIPE = """
federation = "mine"
[data]
source = "purchases.csv"
catalogue = "items.csv"
[data.columns]
user = "customer"
item = "item"
time = "time"
[model]
family = "gram"
[[fleet.workers]]
name = "beijing"
"""


def test_its_commands_have_options_that_there_are() -> None:
    found = [options(each) for each in commands(PAGE)]
    assert len(found) == 3
    assert [each["everybody"] for each in found] == [False, True, True]
    assert {each["name"] for each in found} == {"beijing"}


def test_its_python_serves_what_has_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipes").mkdir()
    Path("recipes/mine.toml").write_text(RECIPE)
    Path("recipes/items.csv").write_text("item,description\na,\nb,\nc,\n")
    rows = [f"{user},{item},2024-01-01" for user in ("17850", "13047") for item in "ab"]
    Path("purchases.csv").write_text("\n".join(["customer,item,time", *rows]))
    client = embedded()
    store = RedisStore(client, federation="mine", clock=SystemClock())
    monkeypatch.setattr(connect, "store", lambda *_, **__: store)
    recipe = load_recipe(Path("recipes/mine.toml"))
    catalogue = sites.read_catalogue(recipe, Path("recipes"))
    federation.found(store, recipe, catalogue, SystemClock(), new_epoch=True)
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    with pytest.raises(NothingLearned):
        exec(code, {})
    learned = code.replace(
        "for user, items in served.to(",
        "from dataclasses import replace\n"
        "served = replace(served, version=served.version._replace(number=1))\n"
        "for user, items in served.to(",
    )
    said: dict[str, object] = {}
    exec(learned, said)
    assert said["somebody_new"]
    assert capsys.readouterr().out.splitlines()[-2].startswith("17850 ")
    client.close()
