"""The status table is for everybody: what one worker reports must not spoil it."""

import json
from pathlib import Path
from typing import Any

import pytest

from latecomer.events import Version
from latecomer.recipe import Recipe
from latecomer.store.port import WorkerRecord
from latecomer_cli import status
from latecomer_cli.demo import Progress
from latecomer_cli.output import Format, Output
from latecomer_cli.status import comparable, of_versions, quality, quantiles, versions
from scenes import EPOCH, Device, Federation, make_recipe, make_update, step

SUMS = {"north": {"users": 1, "ndcg@5": 0.5}}


def record(
    worker: str, sums: dict[str, dict[str, float]], *, epoch: int = 1, version: int = 0
) -> WorkerRecord:
    report = json.dumps({"base": [epoch, version], "sums": sums})
    return WorkerRecord(worker, 1, 0, 0.0, 0, "", report)


def gathered(scene: Federation) -> dict[str, Any]:
    return status.gather(scene.store, scene.recipe.federation, scene.clock)


def shown(found: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    status.show(Output(Format.TABLE), found)
    return capsys.readouterr().out


def live(found: dict[str, Any]) -> Progress:
    progress = Progress("ndcg@5", 0.25)
    progress.update(found, 1.0)
    return progress


def test_means_are_over_the_users_of_all_workers() -> None:
    fleet = [
        record("a", {"north": {"users": 1, "ndcg@10": 1.0}}),
        record("b", {"north": {"users": 3, "ndcg@10": 1.0}}),
    ]
    assert quality(comparable(fleet, 1))["all"] == {"users": 4.0, "ndcg@10": 0.5}


def test_who_reports_other_metrics_than_most_is_left_out() -> None:
    usual = {"users": 1, "ndcg@10": 1.0}
    fleet = [
        record("a", {"north": usual}),
        record("b", {"south": usual}),
        record("odd", {"west": {"users": 9, "applause": 1.0}}),
    ]
    assert quality(comparable(fleet, 1)).keys() == {"north", "south", "all"}


def test_who_reports_fewer_users_than_none_is_left_out() -> None:
    fleet = [
        record("a", {"north": {"users": 5, "ndcg@10": 2.5}}),
        record("odd", {"north": {"users": -5, "ndcg@10": 1.0}}),
    ]
    assert quality(comparable(fleet, 1))["all"] == {"users": 5.0, "ndcg@10": 0.5}


def test_without_users_there_is_no_quality() -> None:
    nobody = {"north": {"users": 0, "ndcg@10": 0.0}}
    assert quality(comparable([record("a", nobody), record("b", nobody)], 1)) == {}


def test_without_reports_there_is_no_quality_and_no_version_that_it_is_of() -> None:
    silent = WorkerRecord("silent", 0, 1, 0.0, None, "too_stale: by 9", "")
    untested = record("untested", {})
    reports = comparable([silent, untested], 1)
    assert (quality(reports), versions(reports)) == ({}, None)
    assert of_versions(None) == "not reported yet"


@pytest.mark.parametrize(
    ("numbers", "told"), [([3], "of version 3"), ([2, 0, 1], "of versions 0 to 2")]
)
def test_the_versions_that_a_mean_is_over_are_told(numbers: list[int], told: str) -> None:
    fleet = [record(f"w{number}", SUMS, version=number) for number in numbers]
    assert of_versions(versions(comparable(fleet, 1))) == told


def test_a_report_of_another_epoch_is_of_another_model() -> None:
    fleet = [record("old", SUMS, epoch=1, version=90), record("new", SUMS, epoch=2, version=4)]
    reports = comparable(fleet, 2)
    assert quality(reports)["all"]["users"] == 1
    assert versions(reports) == {"oldest": 4, "newest": 4}


def test_the_versions_of_who_is_not_averaged_are_not_told() -> None:
    odd = record("odd", {"west": {"users": 9, "applause": 1.0}}, version=7)
    fleet = [record("a", SUMS, version=1), record("b", SUMS, version=2), odd]
    assert versions(comparable(fleet, 1)) == {"oldest": 1, "newest": 2}


def test_many_regions_of_one_worker_have_one_voice() -> None:
    loud = record("loud", {f"r{n}": {"users": 9.0, "zzz": 9.0} for n in range(9)}, version=7)
    fleet = [record("a", SUMS, version=1), record("b", SUMS, version=2), loud]
    assert versions(comparable(fleet, 1)) == {"oldest": 1, "newest": 2}


def test_status_and_demo_say_of_which_versions_the_quality_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scene = Federation(updates_per_version=1)
    scene.found()
    assert live(gathered(scene)).quality().endswith("ndcg@5 not reported yet (popularity 0.2500)")
    coordinator = scene.coordinator()
    for number, worker in enumerate(("w1", "w2", "w3")):
        base = Version(EPOCH, number)
        scene.send(make_update(worker, base=base, sums=SUMS if number else {}))
        step(coordinator, 2)
    found = gathered(scene)
    assert found["number"] == 3
    assert found["quality_of"] == {"oldest": 1, "newest": 2}
    assert [each["quality_of"] for each in found["workers"]] == [None, 1, 2]
    assert "of versions 1 to 2" in shown(found, capsys)
    progress = live(found)
    assert "ndcg@5 0.5000 on validation, of versions 1 to 2" in progress.quality()
    point = {"version": 3, "elapsed_s": 1.0, "ndcg@5": 0.5}
    assert progress.curve == [{**point, "quality_of": {"oldest": 1, "newest": 2}}]


def test_where_each_worker_reports_once_its_number_is_not_shown_as_the_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = make_recipe(updates_per_version=1).model_dump() | {
        "model": {"family": "gram"},
        "training": {},
    }
    scene = Federation(Recipe.model_validate(body))
    scene.found_items()
    Device(scene, "w1", tmp_path).step()
    step(scene.coordinator(), 2)
    found = gathered(scene)
    assert (found["number"], found["reported_once"]) == (1, True)
    assert found["workers"][0]["quality_of"] == 0
    assert (found["quality"], found["quality_of"]) == ({}, None)
    assert "each worker reports once" in shown(found, capsys)
    progress = live(found)
    assert progress.quality().endswith("ndcg@5 measured at the end")
    assert progress.curve == []


@pytest.mark.parametrize(
    ("histogram", "expected"),
    [
        ({}, {"p50": 0, "p95": 0, "max": 0}),
        ({0: 19, 7: 1}, {"p50": 0, "p95": 0, "max": 7}),
        ({0: 1, 1: 1, 2: 2}, {"p50": 1, "p95": 2, "max": 2}),
    ],
)
def test_quantiles_are_the_smallest_value_that_so_many_do_not_exceed(
    histogram: dict[int, int], expected: dict[str, int]
) -> None:
    assert quantiles(histogram) == expected


def test_what_comes_from_elsewhere_is_not_read_as_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output(Format.TABLE).table("Fleet", ("worker", "refusal"), [("a", "[/x] [bold]")])
    assert "[/x] [bold]" in capsys.readouterr().out
