"""What of the data was not used is shown by every command that reads it and prints a result."""

import json
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from deployment import write_scene
from latecomer.errors import BadData, ExitCode
from latecomer.recipe import Recipe, load_recipe
from latecomer_cli import app, demo, simulation, sites

RECIPES = Path(__file__).parents[3] / "recipes"

#: Of sixty customers with ten purchases each, and one of an item that nobody knows.
SAID = "purchases.csv: 600 of 601 rows kept, 1 unknown_item (line 602: 'item-x')"

COMMANDS = {
    "demo": (),
    "evaluate": ("--seeds", "2"),
    "simulate": ("--updates", "2", "--evaluate-every", "0"),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(tmp_path, "small", max_staleness=20)
    with (tmp_path / "recipe.toml").open("a") as recipe:
        recipe.write("\n[demo]\nversions = 2\nlimit_s = 20\nround_s = 0.01\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LATECOMER_LOG_LEVEL", raising=False)


@pytest.fixture
def _flawed(_here: None) -> None:
    with Path("purchases.csv").open("a") as rows:
        rows.write("c1,item-x,2024-01-11\n")


def run(command: str, *options: str) -> int:
    return app.run([command, "recipe.toml", *COMMANDS[command], *options])


@pytest.mark.usefixtures("_flawed")
@pytest.mark.parametrize("command", COMMANDS)
def test_dropped_rows_are_told_once_with_their_reason(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == ExitCode.OK
    told = capsys.readouterr()
    assert told.out.splitlines().count(SAID) == 1
    assert "data.read" not in told.err


@pytest.mark.usefixtures("_flawed")
@pytest.mark.parametrize("command", COMMANDS)
def test_machines_are_told_as_well(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--format", "json") == ExitCode.OK
    data = json.loads(capsys.readouterr().out)["data"]
    assert (data["read"], data["kept"], data["dropped"]) == (601, 600, {"unknown_item": 1})


@pytest.mark.parametrize("command", COMMANDS)
def test_where_every_row_is_used_nothing_is_said(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == ExitCode.OK
    assert "rows kept" not in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_log_level_that_is_set_is_kept(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATECOMER_LOG_LEVEL", "info")
    assert run(command) == ExitCode.OK
    assert "data.read" in capsys.readouterr().err


def test_a_file_that_was_written_or_replaced_looks_like_another() -> None:
    recipe, here = load_recipe(Path("recipe.toml")), Path.cwd()
    looks = [sites.look(recipe, here)]
    assert sites.look(recipe, here) == looks[0]
    rows = Path("purchases.csv")
    facts = rows.stat()
    copy = Path("copy.csv")
    copy.write_bytes(rows.read_bytes())
    os.utime(copy, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    copy.replace(rows)
    looks.append(sites.look(recipe, here))
    with rows.open("a") as more:
        more.write("c1,item-1,2024-01-11\n")
    looks.append(sites.look(recipe, here))
    rows.unlink()
    looks.append(sites.look(recipe, here))
    assert len(set(looks)) == 4


def test_a_folder_of_published_files_looks_like_another_once_one_of_them_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATECOMER_DATA", str(tmp_path))
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    (folder / "u.data").write_text("1\t1\t5\t881250949\n")
    recipe = load_recipe(RECIPES / "ml-100k.toml")
    before = sites.look(recipe, RECIPES)
    (folder / "u.user").write_text("1|24|M|technician|85711\n")
    assert sites.look(recipe, RECIPES) != before


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_a_place_that_cannot_be_looked_at_is_an_error_for_people_that_names_it(name: str) -> None:
    recipe, here = load_recipe(Path("recipe.toml")), Path.cwd()
    catalogue = sites.read_catalogue(recipe, here)
    for source in (here / name, None):
        data = recipe.data.model_copy(update={"source": name})
        lost = recipe.model_copy(update={"data": data})
        assert sites.look(lost, here, source=source) == frozenset()
        with pytest.raises(BadData, match="cannot read .*" + name[-12:]):
            sites.read_data(lost, here, catalogue, source=source)


def test_a_published_data_set_that_cannot_be_looked_at_is_looked_for_by_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATECOMER_DATA", str(tmp_path / ("x" * 300)))
    recipe = load_recipe(RECIPES / "ml-100k.toml")
    assert sites.look(recipe, tmp_path) == frozenset()
    assert sites.published_history("ml-100k") is None
    with pytest.raises(BadData, match=r"ml-100k is not complete in .*data/ml-100k"):
        sites.read_catalogue(recipe, tmp_path)


@pytest.mark.parametrize(
    ("time", "doubted"),
    [
        ("2020", True),
        ("202001", True),
        ("202001011230", True),
        ("43831.5", True),
        ("2020-01-01", False),
    ],
)
def test_times_that_are_all_before_1980_are_doubted(time: str, doubted: bool) -> None:
    Path("purchases.csv").write_text(f"customer,item,time\nc1,item-1,{time}\n")
    recipe, here = load_recipe(Path("recipe.toml")), Path.cwd()
    with capture_logs() as logs:
        _, report = sites.read_data(recipe, here, sites.read_catalogue(recipe, here))
    warned = [each["column"] for each in logs if each["log_level"] == "warning"]
    assert warned == (["time"] if doubted else [])
    assert [each[:54] for each in report.warnings] == (
        ["all times of column 'time' lie before 1980: if these a"] if doubted else []
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_doubt_about_times_is_said_by_who_logs_no_warning(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("purchases.csv")
    path.write_text(path.read_text().replace("2024-01-", "438"))
    assert run(command) == ExitCode.OK
    said = "purchases.csv: 600 of 600 rows kept; all times of column 'time' lie before 1980"
    told = capsys.readouterr()
    assert told.out.count(said) == 1
    assert "data.all_before_1980" not in told.err


def regional(*regions: tuple[str, int], names: tuple[str, ...]) -> Recipe:
    """Users with a purchase each, of these regions; a worker for each of ``names``."""
    rows = [
        f"c{number}-{place},item-1,2024-01-01,{region}"
        for place, (region, count) in enumerate(regions)
        for number in range(count)
    ]
    Path("purchases.csv").write_text("\n".join(["customer,item,time,region", *rows]) + "\n")
    path = Path("recipe.toml")
    (head, _), own = path.read_text().split("[[fleet.workers]]", 1), ""
    for name in names:
        own += f'[[fleet.workers]]\nname = "{name.lower()}"\nregions = ["{name}"]\n'
    path.write_text(head.replace("[data.columns]\n", '[data.columns]\nregion = "region"\n') + own)
    return load_recipe(path)


def test_users_of_regions_that_no_worker_names_are_counted_and_the_largest_regions_told() -> None:
    there = (("Rome", 2), ("Oslo", 1), ("", 3), ("Bern", 4), ("Paris", 1), ("Turku", 2))
    recipe = regional(*there, names=("Rome", "Oslo"))
    said = (
        "at no worker, because none names their region: 10 users "
        "('Bern' 4, no region 3, 'Turku' 2, and 1 more)"
    )
    assert simulation.Scene(recipe, Path(), None).reading.warnings == [said]
    scene = demo.read(recipe, Path())
    assert scene.seeded(2).reading.warnings == [said]
    assert len(scene.reading.summary().split(said)) == 2


def test_where_every_region_is_named_nobody_is_missed() -> None:
    recipe = regional(("Rome", 2), ("Oslo", 1), names=("Rome", "Oslo"))
    assert simulation.Scene(recipe, Path(), None).reading.complete
