"""``latecomer simulate``: JSON that parses, files where asked, devices that share nobody."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deployment import write_scene
from latecomer.errors import BadConfiguration, ExitCode
from latecomer.fleet import Fleet, FleetWorker, Simulation
from latecomer.interactions.schema import Interactions
from latecomer.outcomes.examples import Cohort, Examples
from latecomer.recipe import load_recipe
from latecomer_cli import app, simulation, sites
from latecomer_cli.sites import Part
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
    # What is printed is what settings may be chosen by, and is called so.
    assert 0 <= body["ndcg@10 on validation"] <= 1
    assert "ndcg@10" not in body
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
    assert {"--mode=sync", f"--out={tmp_path / 'out'}-sync"} <= {*proposed}


def test_beside_a_synchronous_run_another_mode_is_proposed(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--mode", "sync"]
    assert app.run(["simulate", recipe, "--updates", "6", *options]) == ExitCode.OK
    proposed = shlex.split(capsys.readouterr().out.split("next: ")[1])
    assert {"--mode=fedbuff", f"--out={tmp_path / 'out'}-fedbuff"} <= {*proposed}


def test_a_bad_trace_is_bad_usage(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(tmp_path / "data"), "--trace", str(tmp_path / "none.csv")]
    assert app.run(["simulate", recipe, *options]) == ExitCode.BAD_USAGE
    assert "cannot read the trace" in capsys.readouterr().err


def parts(board: Interactions, *workers: FleetWorker) -> list[Part]:
    return [sites.part(board, each) for each in workers]


@pytest.mark.parametrize("devices", [2, 3, 12, 41, 59, 60])
def test_there_are_as_many_devices_as_asked_for_and_nobody_belongs_to_two(devices: int) -> None:
    everybody = checkerboard(60)
    halves = parts(everybody, *(FleetWorker(name=f"uk-{n}", shard=f"{n}/2") for n in (1, 2)))
    found = simulation.split(halves, everybody, devices)
    assert len(found) == devices
    assert all(len(each.rows) for each in found)
    assert sorted(np.concatenate([each.rows for each in found])) == [*range(60)]
    for each in halves:
        own = [len(part.rows) for part in found if part.name.startswith(each.name)]
        assert max(own) - min(own) <= 1


@pytest.mark.parametrize(
    ("devices", "expected"),
    [(3, (1, 1, 1)), (6, (3, 2, 1)), (7, (4, 2, 1)), (32, (21, 10, 1)), (60, (40, 19, 1))],
)
def test_who_has_more_users_has_more_devices_and_everybody_has_one(
    devices: int, expected: tuple[int, ...]
) -> None:
    everybody = checkerboard(60)
    regions = ("large",) * 40 + ("middle",) * 19 + ("small",)
    three = [FleetWorker(name=each, regions=(each,)) for each in dict.fromkeys(regions)]
    placed = replace(everybody, regions=regions)
    found = simulation.split(parts(placed, *three), placed, devices)
    assert tuple(sum(part.name.startswith(each.name) for part in found) for each in three) == (
        expected
    )


def test_a_device_has_its_users_by_lot_whatever_the_order_of_the_file() -> None:
    everybody = checkerboard(60)
    shuffled = replace(everybody, users=everybody.users[::-1])
    first, second = (
        [
            {board.users[row] for row in each.rows}
            for each in simulation.split(parts(board, FleetWorker(name="uk")), board, 7)
        ]
        for board in (everybody, shuffled)
    )
    assert first == second
    assert first[0] != set(everybody.users[: len(first[0])])


def test_examples_of_one_id_are_at_one_device() -> None:
    ids = tuple("aabbbcdd")
    cohort = Cohort(ids, ("",) * 8, ids, Examples(np.zeros((8, 1), np.float32), np.zeros(8, int)))
    found = simulation.split([sites.part(cohort, FleetWorker(name="ward"))], cohort, 4)
    together = sorted("".join(ids[row] for row in each.rows) for each in found)
    assert together == ["aa", "bbb", "c", "dd"]
    with pytest.raises(BadConfiguration, match="4 users of 1 workers cannot be 5 devices"):
        simulation.split([sites.part(cohort, FleetWorker(name="ward"))], cohort, 5)


def test_fewer_devices_than_workers_or_more_than_users_are_refused() -> None:
    workers = [FleetWorker(name=f"uk-{part}", shard=f"{part}/2") for part in (1, 2)]
    everybody = checkerboard(60)
    for devices in (1, 61):
        with pytest.raises(BadConfiguration, match="cannot be") as caught:
            simulation.split(parts(everybody, *workers), everybody, devices)
        assert caught.value.hint == "give --devices of 2 to 60"


def test_no_two_devices_are_called_the_same() -> None:
    workers = [FleetWorker(name="uk"), FleetWorker(name="uk-1", shard="1/20")]
    everybody = checkerboard(60)
    with pytest.raises(BadConfiguration, match="2 of the 3 devices would be called 'uk-1'"):
        simulation.split(parts(everybody, *workers), everybody, 3)


def test_a_device_whose_name_would_be_too_long_is_refused_before_anything_is_trained() -> None:
    long, everybody = FleetWorker(name="w" * 39), checkerboard(60)
    with pytest.raises(BadConfiguration, match="more than 40 characters"):
        simulation.split(parts(everybody, long), everybody, 20)
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
