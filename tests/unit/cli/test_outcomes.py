"""A recipe that predicts outcomes, through the commands; no field tells the outcome alone."""

import csv
import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from latecomer.errors import BadData, ExitCode
from latecomer.evaluation.outcomes import OutcomeProtocol
from latecomer.events import Version
from latecomer.recipe import load_recipe
from latecomer.recommenders.families import family
from latecomer_cli import app, demo, lists, sites
from latecomer_cli.lists import Served
from latecomer_cli.output import Format, Output
from latecomer_cli.recommend import show_everybody
from latecomer_worker.site import together
from latecomer_worker.state import WorkerState
from scenes import noise

RECIPE = """
federation = "wards"
[data]
format = "examples"
source = "data/patients.csv"
[data.columns]
user = "id"
region = "ward"
[data.outcome]
column = "ill"
positive = ["yes"]
[[data.fields]]
name = "cough"
values = ["no", "yes"]
[[data.fields]]
name = "age"
edges = [0, 50, 100]
[model]
family = "mlp"
hidden = [16]
[training]
passes = 20
learning_rate = 0.02
[aggregation]
updates_per_version = 2
max_wait_s = 0.5
[demo]
versions = 8
limit_s = 60.0
round_s = 0.01
[[fleet.workers]]
name = "north"
regions = ["north"]
[[fleet.workers]]
name = "south"
regions = ["south"]
pace = "slow"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Who coughs is ill below fifty, and who does not is ill above."""
    (tmp_path / "data").mkdir()
    with (tmp_path / "data/patients.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "ward", "cough", "age", "ill"))
        kinds = product(range(50), ("north", "south"), ("no", "yes"), (30, 70))
        for number, (_, ward, cough, age) in enumerate(kinds):
            rows.writerow(
                (f"p{number}", ward, cough, age, ("no", "yes")[(cough == "yes") != (age > 50)])
            )
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_what_needs_both_fields_is_learned_by_the_federation_and_reported_as_outcomes(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["evaluate", str(recipe), "--seeds", "2", "--format", "json"]) == ExitCode.OK
    body = json.loads(capsys.readouterr().out)
    ours, popular = body["metrics"]["global"], body["metrics"]["popularity"]
    assert ours.keys() == {"users", *OutcomeProtocol().measured}
    assert ours["auc"] == ours["accuracy"] == 1.0
    assert popular["auc"] == 0.5
    assert ours["log_loss"] < 0.2 < popular["log_loss"]
    assert body["regions"].keys() == {"north", "south"}
    assert 0 < ours["ece"] < 0.2
    assert 0 < body["regions"]["north"]["global"]["ece"] < 0.2
    # Each seed holds out a fifth of its own, whatever the recipe's is.
    assert "outcomes of a held-out fifth (seeds 1, 2)" in body["protocol"]


@pytest.mark.parametrize(("stays", "groups"), [(1, None), (4, 100)])
def test_examples_of_one_id_are_lucky_together_also_where_no_column_groups_them(
    recipe: Path, stays: int, groups: int | None
) -> None:
    table = recipe.parent / "data/patients.csv"
    header, *rows = table.read_text().splitlines()
    patients = [
        re.sub(r"\d+", str(number // stays), row, count=1) for number, row in enumerate(rows)
    ]
    table.write_text("\n".join([header, *patients]))
    read = load_recipe(recipe)
    fields = sites.read_catalogue(read, recipe.parent)
    data, _ = sites.read_data(read, recipe.parent, fields)
    site = sites.site(data, None, fields, label=None, seed=1)
    found = site.groups
    assert (found if found is None else len(set(found))) == groups
    # Trained on are those of whom nothing is held out: all examples of one are, or none.
    assert site.people * stays == site.split.train.size < len(site.users)


def test_a_region_called_all_is_refused_before_anything_is_trained(recipe: Path) -> None:
    for path in (recipe, recipe.parent / "data/patients.csv"):
        path.write_text(path.read_text().replace("north", "all"))
    with pytest.raises(BadData, match="a region is called 'all'"):
        demo.read(load_recipe(recipe), recipe.parent)


@pytest.mark.parametrize("option", [("--full-ranking",), ("--protocol", "pfedrec-compat")])
def test_what_is_about_ranking_is_refused(
    recipe: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, ...]
) -> None:
    assert app.run(["evaluate", str(recipe), *option]) == ExitCode.BAD_USAGE
    assert f"{option[0]} is about ranking" in capsys.readouterr().err


def test_the_demo_shows_examples_with_what_is_expected_of_them(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recipe.parent)
    assert app.run(["demo", str(recipe)]) == ExitCode.OK
    said = capsys.readouterr().out
    assert "auc global minus popularity" in said
    assert "ill: probability" in said


def test_another_seed_holds_out_others(recipe: Path) -> None:
    scene = demo.read(load_recipe(recipe), recipe.parent)
    first, again, other = (scene.seeded(seed).sites["north"].split.test for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_an_evaluation_may_train_on_what_was_chosen_by(recipe: Path) -> None:
    recipe.write_text(RECIPE + "[evaluation]\ntrain_on_validation = true\n")
    scene = demo.read(load_recipe(recipe), recipe.parent)
    chosen, judged = scene.sites["north"].split, scene.seeded(1).sites["north"].split
    assert judged.test.tolist() == chosen.test.tolist()
    assert judged.train.size > chosen.train.size


def test_of_an_example_its_fields_and_the_probability_are_told(
    recipe: Path, tmp_path: Path
) -> None:
    chosen = load_recipe(recipe)
    scene = demo.read(chosen, recipe.parent)
    state = WorkerState(tmp_path / "state.sqlite")
    inputs = len(scene.catalogue)
    trainer = lists.trainer(chosen, scene.sites["north"], state, items=inputs)
    model = family(chosen.model).initial(inputs, seed=1)
    ((_, (only,)),) = Served(Version(1, 1), 0.0, model, trainer, scene.catalogue).to(["p1"], 5)
    assert (only.item, only.description, only.score) == ("ill", "ill: probability 0.500", 0.5)
    who = lists.introduced(scene.sites["north"], scene.catalogue, "p1", 3)
    assert who == "p1: cough no, age 50 to 100"
    with pytest.raises(BadData, match="an outcome is predicted of an example"):
        Served(Version(1, 1), 0.0, model, trainer, scene.catalogue).to_anybody(5)
    state.close()


def test_of_an_id_that_several_examples_share_each_of_them_is_answered(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = recipe.parent / "data/patients.csv"
    table.write_text(re.sub(r"^p(1|3|4),", "p0,", table.read_text(), flags=re.MULTILINE))
    chosen = load_recipe(recipe)
    scene = demo.read(chosen, recipe.parent)
    state = WorkerState(tmp_path / "state.sqlite")
    inputs = len(scene.catalogue)
    trainer = lists.trainer(chosen, scene.sites["north"], state, items=inputs)
    model = noise(family(chosen.model).initial(inputs, seed=1))
    ((_, found),) = Served(Version(1, 1), 0.0, model, trainer, scene.catalogue).to(["p0"], 1)
    # Four stays: at 30 and at 70 without a cough, at 70 with one; p4 is at the other ward.
    assert [each.description.partition(", ")[2] for each in found] == [
        "example 1 of 3 (cough no, age 0 to 50)",
        "example 2 of 3 (cough no, age 50 to 100)",
        "example 3 of 3 (cough yes, age 50 to 100)",
    ]
    assert [each.score for each in found] == trainer.scorer(model)(np.array([0, 1, 3])).tolist()
    assert len({each.score for each in found}) == 3
    show_everybody(
        Output(Format.TABLE), Served(Version(1, 1), 0.0, model, trainer, scene.catalogue), 1
    )
    first = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("p0"))
    assert first == "  ".join(["p0", *(each.description for each in found)])
    state.close()


def test_examples_of_a_region_that_no_worker_names_are_counted(recipe: Path) -> None:
    recipe.write_text(RECIPE.partition('[[fleet.workers]]\nname = "south"')[0])
    (said,) = demo.read(load_recipe(recipe), recipe.parent).reading.warnings
    assert said == "at no worker, because none names their region: 200 examples ('south' 200)"


def test_a_factorisation_machine_takes_its_fields_from_the_data(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace('family = "mlp"', 'family = "deepfm"\ndimension = 4'))
    chosen = load_recipe(recipe)
    assert family(chosen.model).layout(6)["input.vectors"].shape == (6, 4)
    assert type(chosen).from_bytes(chosen.to_bytes()) == chosen


def test_a_factorisation_machine_is_federated_like_a_network(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(RECIPE.replace('family = "mlp"', 'family = "deepfm"\ndimension = 4'))
    assert app.run(["evaluate", str(recipe), "--seeds", "1", "--format", "json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["metrics"]["global"]["auc"] == 1.0


def test_data_and_family_have_to_suit_each_other(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(
        RECIPE.replace('family = "mlp"\nhidden = [16]', 'family = "gram"').replace(
            "[training]\npasses = 20\nlearning_rate = 0.02\n", ""
        )
    )
    assert app.run(["evaluate", str(recipe)]) == ExitCode.BAD_USAGE
    said = "model.family 'gram' learns from interactions, and data.format is 'examples'"
    assert said in capsys.readouterr().err


def test_a_file_is_found_in_the_folder_that_is_given_or_in_that_of_all_data_sets(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = recipe.parent / "data/patients.csv"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    source.rename(elsewhere / "patients.csv")
    chosen = load_recipe(recipe)
    assert demo.read(chosen, recipe.parent, data=elsewhere).sites
    monkeypatch.setenv("LATECOMER_DATA", str(elsewhere))
    assert demo.read(chosen, recipe.parent).sites


def test_who_was_at_two_wards_is_one_person_to_an_interval(recipe: Path) -> None:
    text = RECIPE.replace('user = "id"', 'user = "id"\ngroup = "patient"')
    recipe.write_text(text)
    path = recipe.parent / "data/patients.csv"
    first, *rows = path.read_text().splitlines()
    both = [f"{row},{at // 8}-{at % 4}" for at, row in enumerate(rows)]
    path.write_text("\n".join([f"{first},patient", *both]) + "\n")
    read = demo.read(load_recipe(recipe), recipe.parent).in_order()
    assert [len(set(site.groups or ())) for site in read] == [len(rows) // 2] * 2
    groups = together(read)
    assert groups is not None
    assert np.bincount(groups).tolist() == [2] * (len(rows) // 2)


def test_where_a_seed_tests_nothing_it_is_said(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe.parent / "data/patients.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:4]) + "\n")
    alone, _ = RECIPE.split("[[fleet.workers]]", maxsplit=1)
    recipe.write_text(alone + '[[fleet.workers]]\nname = "both"\n')
    code = app.run(["evaluate", str(recipe), "--seeds", "4"])
    assert code == ExitCode.BAD_USAGE
    assert "nothing is tested under seed" in capsys.readouterr().err


def test_stays_of_one_patient_are_drawn_together_for_an_interval(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each row is there four times, as the stays of one patient: nobody new is known of."""
    rows = (recipe.parent / "data/patients.csv").read_text().splitlines()
    stays = [f"{row},{n}" for row in rows[1:81] for n in range(4)]
    noisy = [
        stay[:-2].replace(",yes", ",no") + stay[-2:] if at % 28 < 4 else stay
        for at, stay in enumerate(stays)
    ]
    (recipe.parent / "data/patients.csv").write_text("\n".join([f"{rows[0]},stay", *noisy]) + "\n")
    text = RECIPE.replace('user = "id"\n', "").replace("passes = 20", "passes = 1")
    widths = []
    for columns in ("", 'group = "id"\n'):
        recipe.write_text(text.replace("[data.columns]\n", f"[data.columns]\n{columns}"))
        assert app.run(["evaluate", str(recipe), "--seeds", "1", "--format", "json"]) == ExitCode.OK
        low, high = json.loads(capsys.readouterr().out)["intervals"]["global"]
        widths.append(high - low)
    assert widths[1] > 1.5 * widths[0]
