"""``latecomer bench faults``: what the report says, and when it ends with a failure."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from latecomer.errors import ExitCode
from latecomer_bench import faults as bench
from latecomer_bench.faults import Outcome, body, kept
from latecomer_cli import app
from latecomer_simulator.plants import PLANTS
from latecomer_simulator.tally import Tally

#: As documented, in this order.
KEYS = [
    "seeds",
    "attempted",
    "acknowledged",
    "lost",
    "duplicated",
    "unexpected",
    "recovered",
    "median_recovery_s",
    "longest_recovery_s",
    "faults",
    "planted_caught",
    "planted_total",
    "planted",
    "violations",
]

CAUGHT: dict[str, int | None] = {"no ledger": 3, "ack before commit": 1}

GOOD = Outcome(4, Tally(10, 9, 0, 0, 0, 1), (1.0, 2.0, 4.004))


def test_the_report_counts_over_all_seeds() -> None:
    quiet = Outcome(5, Tally(5, 5, 0, 0, 0, 0), ())
    assert body([GOOD, quiet], {**CAUGHT, "no fence": None}) == {
        "seeds": 2,
        "attempted": 15,
        "acknowledged": 14,
        "lost": 0,
        "duplicated": 0,
        "unexpected": 0,
        "recovered": 1,
        "median_recovery_s": 2.0,
        "longest_recovery_s": 4.0,
        "faults": 3,
        "planted_caught": 2,
        "planted_total": 3,
        "planted": {"no ledger": 3, "ack before commit": 1, "no fence": None},
        "violations": {},
    }


def test_where_nothing_went_wrong_nothing_recovered() -> None:
    report = body([Outcome(1, Tally(5, 5, 0, 0, 0, 0), ())], CAUGHT)
    assert (report["median_recovery_s"], report["longest_recovery_s"]) == (None, None)
    assert report["faults"] == 0


def test_a_violation_is_reported_with_its_seed() -> None:
    broken = Outcome(77, GOOD.tally, (), {"memory_is_bounded": ["a held 33 deliveries"]})
    assert body([GOOD, broken], CAUGHT)["violations"] == {
        "77": {"memory_is_bounded": ["a held 33 deliveries"]}
    }


def test_promises_are_kept_if_nothing_is_wrong_and_every_plant_was_found() -> None:
    assert kept(body([GOOD], CAUGHT))


@pytest.mark.parametrize(
    "counts",
    [Tally(10, 9, 1, 0, 0, 0), Tally(10, 9, 0, 1, 0, 0), Tally(10, 9, 0, 0, 1, 0)],
    ids=["lost", "duplicated", "unexpected"],
)
def test_a_single_update_that_went_wrong_is_a_broken_promise(counts: Tally) -> None:
    assert not kept(body([GOOD, Outcome(5, counts, ())], CAUGHT))


def test_a_violation_is_a_broken_promise_though_the_counts_are_right() -> None:
    assert not kept(body([Outcome(5, GOOD.tally, (), {"weights_follow_staleness": ["x"]})], CAUGHT))


def test_a_plant_that_nobody_caught_is_a_broken_promise() -> None:
    assert not kept(body([GOOD], {**CAUGHT, "no fence": None}))


def test_what_was_sent_in_vain_or_recovered_breaks_no_promise() -> None:
    assert kept(body([Outcome(5, Tally(20, 9, 0, 0, 0, 8), (29.0,))], CAUGHT))


def test_one_seed_comes_to_what_its_run_came_to() -> None:
    found = bench.outcome(2)
    assert found.seed == 2
    assert found.violations == {}
    assert found.tally.attempted == found.tally.acknowledged > 0
    assert found.tally.lost == found.tally.duplicated == found.tally.unexpected == 0


@pytest.mark.timeout(300)
def test_two_seeds_on_the_command_line_print_the_documented_keys_and_end_with_0(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = app.run(["bench", "faults", "--seeds", "2", "--first", "40", "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    assert code == ExitCode.OK
    assert list(report) == KEYS
    assert report["seeds"] == 2
    assert report["planted_caught"] == report["planted_total"] == len(PLANTS)
    assert report["planted"].keys() == PLANTS.keys()
    assert report["violations"] == {}


def measured(report: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """What was measured before, with a bug in the production code."""
    return lambda _seeds, _progress: report


@pytest.fixture(scope="module")
def with_a_bug() -> dict[str, Any]:
    """The report of two seeds of a system that has no ledger; seed 4 shows it."""
    with PLANTS["no ledger"].planted():
        return body([bench.outcome(seed) for seed in (1, 4)], CAUGHT)


def test_a_broken_promise_ends_with_1_and_names_the_seed_and_how_to_replay_it(
    with_a_bug: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bench, "measure", measured(with_a_bug))
    code = app.run(["bench", "faults", "--seeds", "4", "--format", "json"])
    printed = capsys.readouterr()
    assert code == ExitCode.JOB_FAILED
    assert "promises were broken: seeds ['4']" in printed.err
    assert "latecomer bench faults --seeds 1 --first SEED" in printed.err
    assert printed.err.count("\n") == 1
    report = json.loads(printed.out)
    assert report["duplicated"] > 0
    assert "no_update_is_in_two_versions" in report["violations"]["4"]


def test_a_plant_that_nobody_caught_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "measure", measured(body([GOOD], {**CAUGHT, "no fence": None})))
    assert app.run(["bench", "faults", "--seeds", "1"]) == ExitCode.JOB_FAILED
    assert "plants ['no fence'] not caught" in capsys.readouterr().err


def test_a_person_reads_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "measure", measured(body([GOOD], CAUGHT)))
    assert app.run(["bench", "faults", "--seeds", "1", "--first", "4"]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "1 seeds from 4, 3 faults, in virtual time" in printed
    assert "2/2" in printed


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--first", "-1"], ["--format", "xml"]])
def test_a_measurement_that_makes_no_sense_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["bench", "faults", *arguments]) == ExitCode.BAD_USAGE
    assert capsys.readouterr().err.startswith("latecomer: ")
