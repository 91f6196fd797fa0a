"""``latecomer simulate``: JSON that parses, files where asked, devices that share nobody."""

import json
import re
import shlex
from pathlib import Path

import pytest

from deployment import write_scene
from latecomer.errors import BadConfiguration, ExitCode
from latecomer.fleet import Fleet, FleetWorker, Simulation
from latecomer.interactions.selection import select
from latecomer.recipe import load_recipe
from latecomer_cli import app, simulation, sites
from scenes import checkerboard, make_site

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    write_scene(tmp_path / "data", "small", max_staleness=20)
    path = tmp_path / "recipe.toml"
    (tmp_path / "data" / "recipe.toml").rename(path)
    return str(path)


def test_a_run_prints_json_and_leaves_timeline_and_report(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--data", str(tmp_path / "data"), "--out", str(out), "--format", "json"]
    code = app.run(["simulate", recipe, "--updates", "6", "--mode", "sync", *options])
    body = json.loads(capsys.readouterr().out)
    assert code == ExitCode.OK
    assert body["mode"] == "sync"
    assert body["protocol"] == "full ranking, leave-one-out, k=10"
    assert body["trained"] == 6
    events = [json.loads(line) for line in (out / "timeline.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "trained" for event in events) == 6
    assert (out / "report.html").exists()


def test_of_more_places_than_workers_none_is_waited_for(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three workers fill three places of a version, however many there are."""
    path = Path(recipe)
    roomy = path.read_text().replace("updates_per_version = 2", "updates_per_version = 1000")
    path.write_text(roomy + "[demo]\nversions = 2\n")
    options = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert app.run(["simulate", recipe, *options, "--format", "json"]) == ExitCode.OK
    body = json.loads(capsys.readouterr().out)
    assert (body["versions"], body["trained"]) == (2, 6)


def test_what_is_proposed_next_is_the_same_fleet(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(Path(recipe).rename(tmp_path / "a recipe.toml"))
    options = ["--data", str(tmp_path / "data"), "--devices", "4", "--seed", "0"]
    out = ["--out", str(tmp_path / "out"), "--evaluate-every", "0"]
    assert app.run(["simulate", recipe, "--updates", "6", *options, *out]) == ExitCode.OK
    proposed = shlex.split(capsys.readouterr().out.split("next: ")[1])
    assert proposed[:3] == ["latecomer", "simulate", recipe]
    given = {*zip(options[::2], options[1::2], strict=True), ("--evaluate-every", "0")}
    assert given <= {tuple(each.split("=", 1)) for each in proposed[3:]}


def test_a_bad_trace_is_bad_usage(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(tmp_path / "data"), "--trace", str(tmp_path / "none.csv")]
    assert app.run(["simulate", recipe, *options]) == ExitCode.BAD_USAGE
    assert "cannot read the trace" in capsys.readouterr().err


def test_devices_share_an_entrys_users_and_nobody_belongs_to_two() -> None:
    everybody = checkerboard(60)
    workers = [FleetWorker(name=f"uk-{part}", shard=f"{part}/2") for part in (1, 2)]
    devices = simulation.split(workers, everybody, 12)
    users = [user for each in devices for user in select(everybody, each).users]
    assert sorted(users) == sorted(everybody.users)
    assert 8 <= len(devices) <= 12
    assert devices[0].name == "uk-1-1"


def test_fewer_devices_than_workers_or_more_than_users_are_refused() -> None:
    workers = [FleetWorker(name=f"uk-{part}", shard=f"{part}/2") for part in (1, 2)]
    for devices in (1, 61):
        with pytest.raises(BadConfiguration, match="cannot be"):
            simulation.split(workers, checkerboard(60), devices)


def test_no_two_devices_are_called_the_same() -> None:
    workers = [FleetWorker(name="uk"), FleetWorker(name="uk-1", shard="1/20")]
    with pytest.raises(BadConfiguration, match="2 of the 3 devices would be called 'uk-1'"):
        simulation.split(workers, checkerboard(60), 3)


def test_a_device_whose_name_would_be_too_long_is_refused_before_anything_is_trained() -> None:
    (long,) = [FleetWorker(name="w" * 39)]
    with pytest.raises(BadConfiguration, match="more than 40 characters"):
        simulation.split([long], checkerboard(60), 20)
    with pytest.raises(BadConfiguration, match="more than 40 characters"):
        sites.of_each_user(long.name, make_site(checkerboard(1)))


def test_a_run_that_is_cut_short_says_why(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(recipe)
    path.write_text(path.read_text() + "[simulation]\nlifetime_s = 0.001\n")
    options = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    app.run(["simulate", recipe, "--updates", "600", *options])
    said = capsys.readouterr().out
    assert re.search(r"ended after \d+ of 600 trainings: every device has nothing more", said)


def test_the_folder_of_a_published_data_set_is_given_as_to_evaluate(tmp_path: Path) -> None:
    """It is the data set's own, not the one that a recipe's paths start in."""
    folder = tmp_path / "films"
    folder.mkdir()
    rows = [f"{user}\t{film}\t5\t{film}" for user in range(1, 9) for film in range(1, 7)]
    (folder / "u.data").write_text("\n".join(rows) + "\n")
    films = [f"{film}|Film {film}|01-Jan-1995||url" for film in range(1, 9)]
    (folder / "u.item").write_text("\n".join(films) + "\n")
    people = [f"{user}|24|M|student|1" for user in range(1, 9)]
    (folder / "u.user").write_text("\n".join(people) + "\n")
    recipe = load_recipe(RECIPES / "ml-100k.toml")
    students = Fleet(workers=[recipe.fleet.workers[0]])
    recipe = recipe.model_copy(update={"fleet": students})
    of_each = simulation.Scene(recipe, RECIPES, None, source=folder).sites
    assert {name: site.users for name, site in of_each.items()} == {
        f"students-{user}": (str(user),) for user in range(1, 9)
    }
    assert len(simulation.Scene(recipe, RECIPES, 2, source=folder).sites) == 2
    told = recipe.model_copy(update={"simulation": Simulation()})
    (whole,) = simulation.Scene(told.leaking(), RECIPES, None, source=folder).sites.values()
    assert len(whole.users) == 8
    assert whole.split.train.spared is not None
