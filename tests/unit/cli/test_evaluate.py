"""A recipe run to its end, on data whose right answer is obvious: colours of a checkerboard."""

import csv
import json
from pathlib import Path

import pytest

from latecomer.errors import ExitCode
from latecomer.evaluation.protocol import RankingProtocol
from latecomer.recipe import load_recipe
from latecomer_cli import app, demo
from latecomer_cli import evaluate as evaluate_
from scenes import ITEM_CATALOGUE, checkerboard

RECIPE = """
federation = "board"
[data]
source = "bought.csv"
catalogue = "items.csv"
[data.columns]
user = "user"
item = "item"
time = "time"
region = "region"
[model]
family = "gram"
l2 = 1.0
[aggregation]
updates_per_version = 2
max_wait_s = 0.5
[evaluation]
k = 5
candidates = "{candidates}"
[evaluation.reach]
"hr@5" = {reach}
[demo]
limit_s = 60.0
round_s = 0.01
[[fleet.workers]]
name = "first"
shard = "1/2"
[[fleet.workers]]
name = "second"
shard = "2/2"
pace = "slow"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    board = checkerboard(80)
    with (tmp_path / "bought.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("user", "item", "time", "region"))
        for user, item, time_s in zip(board.user, board.item, board.time_s, strict=True):
            name = ITEM_CATALOGUE.items[item]
            rows.writerow((board.users[user], name, int(time_s), board.regions[user]))
    with (tmp_path / "items.csv").open("w", newline="") as file:
        items = csv.writer(file)
        items.writerow(("item", "description"))
        items.writerows(zip(ITEM_CATALOGUE.items, ITEM_CATALOGUE.descriptions, strict=True))
    return tmp_path


def evaluate(
    folder: Path, *options: str, reach: float = 0.2, more: str = "", candidates: str = "full"
) -> int:
    recipe = folder / "recipe.toml"
    body = RECIPE.replace("{reach}", str(reach)).replace("{candidates}", candidates)
    recipe.write_text(body + more)
    return app.run(["evaluate", str(recipe), "--seeds", "2", "--format", "json", *options])


def test_a_federation_that_counts_equals_the_same_family_in_one_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folder) == ExitCode.OK
    body = json.loads(capsys.readouterr().out)
    assert (body["recipe"], body["family"], body["seeds"]) == ("board", "gram", [1, 2])
    assert body["metrics"]["global"] == pytest.approx(body["metrics"]["centralised"])
    assert body["metrics"]["global"].keys() == {"users", *RankingProtocol(k=5).measured}
    assert body["metrics"]["global"]["hr@5"] == body["metrics"]["global"]["recall@5"]
    # A closed form is the same with every seed; other customers would be served otherwise.
    low, high = body["intervals"]["global"]
    assert low < body["metrics"]["global"]["ndcg@5"] < high
    assert body["intervals"]["global_over_seeds"] is None
    assert body["metrics"]["global"]["users"] == 80
    # Only items of the own colour are right, and popularity does not know of colours.
    assert body["metrics"]["global"]["hr@5"] > 1.5 * body["metrics"]["popularity"]["hr@5"]
    # Two closed forms with everybody's data, as bars; what falls short of them is not a failure.
    for bar in ("item_knn", "ease"):
        assert body["metrics"][bar]["users"] == 80
        assert body["metrics"][bar]["hr@5"] > 1.5 * body["metrics"]["popularity"]["hr@5"]
        assert body["regions"]["black"][bar]["users"] == 40
    assert body["tuned"].keys() == {"item_knn", "ease"}
    assert body["tuned"]["item_knn"].keys() == {"neighbours", "shrinkage"}
    assert not any("ease" in each["criterion"] for each in body["standing"])
    assert body["regions"].keys() == {"black", "white"}
    ours, popular = body["variety"]["global"], body["variety"]["popularity"]
    assert ours.keys() == {
        f"{name}@5" for name in ("coverage", "gini", "diversity", "novelty", "personalisation")
    }
    # Two colours are two kinds of lists, and what is popular is nearly one.
    assert ours["personalisation@5"] > popular["personalisation@5"]
    assert ours["diversity@5"] < popular["diversity@5"]
    # Everybody has bought ten items, of which one is held out.
    assert body["cold_start"]["users"] == 80
    assert body["cold_start"]["global"] == pytest.approx(body["metrics"]["global"]["ndcg@5"])
    assert body["bytes_sent"] > 0
    assert body["versions"] >= 1


def test_what_falls_short_ends_with_1_only_where_it_is_required(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folder, reach=1.01) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["standing"][0]["ok"] is False
    assert evaluate(folder, "--require", reach=1.01) == ExitCode.JOB_FAILED
    assert "falls short: hr@5" in capsys.readouterr().err


def test_ranked_in_full_a_recipe_has_to_reach_its_bars_for_that(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = "[evaluation.full_reach]\n'ndcg@5' = 0.01\n"
    assert evaluate(folder, "--full-ranking", more=bar, candidates="sampled-99") == ExitCode.OK
    body = json.loads(capsys.readouterr().out)
    assert body["full_ranking"]
    assert body["protocol"] == "full ranking, leave-one-out, k=5"
    first = body["standing"][0]
    assert (first["criterion"], first["rule"], first["bound"]) == ("ndcg@5", "at least", 0.01)


def test_under_pfedrecs_protocol_it_says_that_it_leaks_and_asks_for_nothing_of_ours(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compat = ("--protocol", "pfedrec-compat", "--full-ranking")
    assert evaluate(folder, *compat, reach=1.01) == ExitCode.OK
    body = json.loads(capsys.readouterr().out)
    assert body["leaky"]
    assert "LEAKY (pfedrec-compat)" in body["protocol"]
    assert not any(each["criterion"] == "hr@5" for each in body["standing"])


def test_a_region_that_one_seed_has_nothing_to_test_of_is_judged_by_the_others() -> None:
    tiny = {"users": 1.0, "auc": 0.7}
    every = {"users": 100.0, "auc": 0.8}
    expected = {"all": every, "tiny": tiny}
    assert evaluate_._mean([{"all": every}, {"all": every, "tiny": tiny}]) == expected
    assert evaluate_._mean([{"all": every, "tiny": tiny}, {"all": every}]) == expected


def test_where_no_update_is_admitted_there_is_nothing_to_judge_and_the_job_failed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admits = "max_update_norm = 0.001\n[evaluation]"
    text = RECIPE.replace("{reach}", "0.2").replace("{candidates}", "full")
    recipe = folder / "recipe.toml"
    recipe.write_text(text.replace("[evaluation]", admits))
    assert app.run(["evaluate", str(recipe)]) == ExitCode.JOB_FAILED
    said = "board made no version at all, seed 1: 2 trainings, 2 refused as too_large_norm"
    assert said in capsys.readouterr().err


def test_with_models_of_the_sites_own_those_are_judged_beside_the_global_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folder, more="[personal]\nweights = [0.5]\n") == ExitCode.OK
    body = json.loads(capsys.readouterr().out)
    assert body["served"] == "personalised"
    assert body["metrics"]["personalised"]["users"] == body["metrics"]["global"]["users"] == 80
    assert body["regions"]["black"]["personalised"]["users"] == 40
    assert body["intervals"].keys() == {
        "personalised",
        "personalised_over_seeds",
        "personalised_minus_local_only",
        "personalised_minus_popularity",
    }


def test_a_recipe_that_is_labelled_as_leaky_leaks_whichever_command_runs_it(folder: Path) -> None:
    recipe = folder / "recipe.toml"
    body = RECIPE.replace("{reach}", "0.2").replace("{candidates}", "full")
    recipe.write_text(body.replace("k = 5", 'k = 5\nprotocol = "pfedrec-compat"'))
    scene = demo.read(load_recipe(recipe), folder)
    assert "LEAKY" in scene.recipe.protocol.label()
    for site in (*scene.in_order(), *scene.seeded(2).in_order()):
        assert site.split.train.spared is not None
