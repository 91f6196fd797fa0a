"""A file that its owner goes on writing: who is in it now is learned, and who is not is gone.

Read by the command's own code, with a worker's agent around it.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from latecomer.errors import BadData, NobodyLeft
from latecomer.fleet import FleetWorker
from latecomer.interactions.schema import Interactions
from latecomer.recipe import Recipe
from latecomer.recommenders import gram
from latecomer.recommenders.settings import GramModel
from latecomer_cli.reading import Reading
from latecomer_worker.fetch import Snapshot
from latecomer_worker.home import Home
from latecomer_worker.trainer import Trainer
from scenes import (
    DAY_S,
    ITEM_CATALOGUE,
    Device,
    Federation,
    checkerboard,
    make_recipe,
    step,
)

Row = tuple[str, str, float, str]


def rows_of(everything: Interactions) -> list[Row]:
    return [
        (everything.users[user], ITEM_CATALOGUE.items[item], time_s, everything.regions[user])
        for user, item, time_s in zip(
            everything.user, everything.item, everything.time_s, strict=True
        )
    ]


def write(folder: Path, rows: Sequence[Row]) -> None:
    """Beside the former file, then over it."""
    new = folder / "new.csv"
    with new.open("w", newline="") as file:
        csv.writer(file).writerows([("u", "i", "t", "r"), *rows])
    new.replace(folder / "own.csv")


def recipe_of(family: str, folder: Path) -> Recipe:
    body = make_recipe(updates_per_version=1, max_update_norm=1e4).model_dump(mode="json")
    body["data"] = {
        "source": str(folder / "own.csv"),
        "catalogue": str(folder / "catalogue.csv"),
        "columns": {"user": "u", "item": "i", "time": "t", "region": "r"},
    }
    if family == "gram":
        body |= {"model": GramModel(l2=1.0).model_dump(), "training": {}}
    return Recipe.model_validate(body)


class FileDevice(Device):
    """A device that reads a file as ``latecomer worker`` does."""

    def __init__(self, scene: Federation, folder: Path, entry: FleetWorker | None) -> None:
        self._entry, self._files = entry, folder
        super().__init__(scene, "w1", folder)

    def _start(self) -> None:
        super()._start()
        self._reading = Reading(self._scene.recipe, self._files, self._entry, None)
        self.agent._home = Home(self._reading.look, self._scene.clock)

    def _open(self, snapshot: Snapshot) -> Trainer:
        return self._reading.trainer(snapshot, self.state)


class Shop:
    """A device over six customers' rows, whose first round counts."""

    def __init__(self, family: str, folder: Path, entry: FleetWorker | None = None) -> None:
        self.folder = folder
        self.rows = rows_of(checkerboard(6))
        write(folder, self.rows)
        self.scene = Federation(recipe_of(family, folder))
        self.scene.found_items()
        self._coordinator = self.scene.coordinator()
        step(self._coordinator, 2)
        self.device = FileDevice(self.scene, folder, entry)
        assert self.device.step()
        self.goes_on(DAY_S)

    def goes_on(self, for_s: float) -> None:
        """Ten looks, rounds and versions, in so much time."""
        for _ in range(10):
            self.scene.clock.advance(for_s / 10)
            self.device.step()
            step(self._coordinator, 2)

    @property
    def people(self) -> set[str]:
        return self.device.state.private.users()

    @property
    def pairs(self) -> float:
        return float(self.scene.model()[gram.PAIRS].sum())


#: Six customers' pairs: each has six items to be trained on, and with itself an item is one too.
ALL_PAIRS = 6 * 21.0


@pytest.fixture(params=["gram", "two_tower"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    return Shop(request.param, tmp_path)


def assert_nobody(shop: Shop) -> None:
    assert shop.people == set()
    if shop.scene.recipe.model.family == "gram":
        assert shop.pairs == 0


def test_the_last_people_can_be_deleted_while_a_worker_runs(shop: Shop) -> None:
    assert len(shop.people) == 6
    write(shop.folder, [])
    with capture_logs() as logs:
        shop.goes_on(3 * DAY_S)
    assert "data.nobody_left" in [each["event"] for each in logs]
    assert_nobody(shop)


def test_the_last_people_can_be_deleted_while_it_does_not_run(shop: Shop) -> None:
    write(shop.folder, [])
    shop.device.restart()
    shop.goes_on(3 * DAY_S)
    assert_nobody(shop)


def test_who_comes_after_everybody_left_is_learned_from(shop: Shop) -> None:
    write(shop.folder, [])
    shop.goes_on(3 * DAY_S)
    write(shop.folder, shop.rows)
    shop.goes_on(3 * DAY_S)
    assert len(shop.people) == 6


def test_of_a_region_whose_people_are_gone_nobody_stays(tmp_path: Path) -> None:
    white = FleetWorker(name="w1", regions=("white",))
    shop = Shop("gram", tmp_path, white)
    assert shop.pairs == ALL_PAIRS / 2
    write(tmp_path, [row for row in shop.rows if row[3] != "white"])
    shop.goes_on(3 * DAY_S)
    assert_nobody(shop)


def test_a_recipe_that_names_another_region_deletes_nobody(tmp_path: Path) -> None:
    shop = Shop("gram", tmp_path, FleetWorker(name="w1", regions=("white",)))
    shop.device._entry = FleetWorker(name="w1", regions=("wihte",))
    shop.device.restart()
    with pytest.raises(NobodyLeft, match=r"no user is left by .*wihte"):
        shop.goes_on(DAY_S)
    assert len(shop.people) == 3


@pytest.mark.parametrize("how", ["removed", "empty", "other columns"])
def test_a_file_that_is_away_or_another_deletes_nobody(tmp_path: Path, how: str) -> None:
    shop = Shop("gram", tmp_path)
    own = tmp_path / "own.csv"
    match how:
        case "removed":
            own.unlink()
        case "empty":
            own.write_text("")
        case "other columns":
            own.write_text("customer,item\n")
    shop.goes_on(3 * DAY_S)
    assert (len(shop.people), shop.pairs) == (6, ALL_PAIRS)
    shop.device.restart()
    with pytest.raises(BadData):
        shop.goes_on(DAY_S)


def test_of_who_left_nothing_stays_though_there_is_nothing_to_learn(tmp_path: Path) -> None:
    shop = Shop("two_tower", tmp_path)
    write(tmp_path, [row for row in shop.rows if row[0] == "customer-0"][:1])
    shop.goes_on(3 * DAY_S)
    assert shop.people == {"customer-0"}


def test_a_device_that_does_not_know_the_date_takes_nobody_out(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are of the hours before the version, and its clock says that this is 1970."""
    made_s = shop.scene.manifest().at_s
    write(shop.folder, [(user, item, made_s - 60.0, r) for user, item, _, r in shop.rows])
    shop.goes_on(DAY_S)
    monkeypatch.setattr("time.time", lambda: 60.0)
    shop.device.restart()
    shop.goes_on(DAY_S)
    assert len(shop.people) == 6
    if shop.scene.recipe.model.family == "gram":
        assert shop.pairs == ALL_PAIRS


def test_what_was_in_the_future_is_read_once_it_has_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or once a clock that was wrong is right: nobody writes the file for it."""
    shop = Shop("gram", tmp_path)
    now_s = [2e9]
    monkeypatch.setattr("time.time", lambda: now_s[0])
    later = rows_of(checkerboard(1, first=6))
    write(tmp_path, [*shop.rows, *((user, item, 2e9 + DAY_S, r) for user, item, _, r in later)])
    shop.goes_on(DAY_S)
    assert len(shop.people) == 6
    now_s[0] += DAY_S
    shop.goes_on(DAY_S)
    assert (len(shop.people), shop.pairs) == (7, ALL_PAIRS + 21)
