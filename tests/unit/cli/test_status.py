"""The status table is for everybody: what one worker reports must not spoil it."""

import json

import pytest

from latecomer.store.port import WorkerRecord
from latecomer_cli.output import Format, Output
from latecomer_cli.status import quality, quantiles


def record(worker: str, sums: dict[str, dict[str, float]]) -> WorkerRecord:
    return WorkerRecord(worker, 1, 0, 0.0, 0, "", json.dumps({"sums": sums}))


def test_means_are_over_the_users_of_all_workers() -> None:
    fleet = [
        record("a", {"north": {"users": 1, "ndcg@10": 1.0}}),
        record("b", {"north": {"users": 3, "ndcg@10": 1.0}}),
    ]
    assert quality(fleet)["all"] == {"users": 4.0, "ndcg@10": 0.5}


def test_who_reports_other_metrics_than_most_is_left_out() -> None:
    usual = {"users": 1, "ndcg@10": 1.0}
    fleet = [
        record("a", {"north": usual}),
        record("b", {"south": usual}),
        record("odd", {"west": {"users": 9, "applause": 1.0}}),
    ]
    assert quality(fleet).keys() == {"north", "south", "all"}


def test_who_reports_fewer_users_than_none_is_left_out() -> None:
    fleet = [
        record("a", {"north": {"users": 5, "ndcg@10": 2.5}}),
        record("odd", {"north": {"users": -5, "ndcg@10": 1.0}}),
    ]
    assert quality(fleet)["all"] == {"users": 5.0, "ndcg@10": 0.5}


def test_without_users_there_is_no_quality() -> None:
    nobody = {"north": {"users": 0, "ndcg@10": 0.0}}
    assert quality([record("a", nobody), record("b", nobody)]) == {}


def test_without_reports_there_is_no_quality() -> None:
    assert quality([]) == {}


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
