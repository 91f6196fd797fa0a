"""What is told of runs that never reached the target: bounds, and no intervals around them."""

from typing import Any

import pytest

from latecomer_bench import bounds
from latecomer_cli import bench

OURS: dict[str, Any] = {"mode": "fedbuff", "k": 3, "concurrency": 20}
ROUNDS: dict[str, Any] = {"mode": "sync", "k": 20, "concurrency": 20}
PATIENT: dict[str, Any] = {"mode": "sync", "k": 15, "concurrency": 20}


def spread(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 1.0, "high": mean + 1.0}


def ran(mean_s: float, times: float, reached: str) -> dict[str, Any]:
    return {"seconds": spread(mean_s), "speedup": spread(times), "reached": reached}


def told(ours: str, rounds: str, peer: str) -> dict[str, Any]:
    """Ours takes 10 s, rounds 20 s, more patient ones 30 s, a peer 40 s, so often to the target."""
    flower = {"at_once": 20, **ran(40.0, 4.0, peer)}
    ways = {"async": OURS, "baseline": ROUNDS, "barrier": ROUNDS, "over_selection": PATIENT}
    return bounds.marked(
        {
            **ways,
            "rows": [
                {**OURS, **ran(10.0, 2.0, ours)},
                {**ROUNDS, **ran(20.0, 1.0, rounds)},
                {**PATIENT, **ran(30.0, 0.5, "0/5")},
            ],
            "peers": {"flower": flower},
            "peer_rows": [flower],
            "async_s": 10.0,
            "sync_s": 20.0,
            "speedup": spread(2.0),
            "speedup_over_barrier": spread(2.0),
            "speedup_over_selected": spread(3.0),
        }
    )


def test_what_all_runs_reached_has_its_interval() -> None:
    found = told("5/5", "5/5", "5/5")
    ours = found["rows"][0]
    assert (ours["seconds"], ours["speedup"]) == (spread(10.0), spread(2.0))
    assert found["speedup"] == spread(2.0)
    assert found["peers"]["flower"]["speedup"] == spread(4.0)
    assert (found["async_s"], found["sync_s"]) == (spread(10.0), spread(20.0))
    assert ours["reached"] == "5 of 5"


def test_a_time_of_which_one_run_was_cut_off_is_a_lower_bound() -> None:
    found = told("5/5", "4/5", "5/5")
    assert found["rows"][1]["seconds"] == found["sync_s"] == {"mean": 20.0, "bound": "≥"}
    assert found["rows"][1]["reached"] == "4 of 5"


@pytest.mark.parametrize(
    ("ours", "theirs", "sign"), [("5/5", "0/5", "≥"), ("4/5", "5/5", "≤"), ("0/5", "0/5", "?")]
)
def test_a_ratio_is_at_least_or_at_most_what_was_measured(
    ours: str, theirs: str, sign: str
) -> None:
    found = told(ours, theirs, theirs)
    assert found["speedup"] == found["speedup_over_barrier"] == {"mean": 2.0, "bound": sign}
    assert found["rows"][0]["speedup"] == {"mean": 2.0, "bound": sign}
    for peer in (found["peers"]["flower"], *found["peer_rows"]):
        assert peer["speedup"] == {"mean": 4.0, "bound": sign}


def test_rounds_that_were_cut_off_are_compared_with_those_that_were_not() -> None:
    found = told("5/5", "5/5", "5/5")
    assert found["rows"][2]["speedup"] == {"mean": 0.5, "bound": "≤"}
    assert found["speedup_over_selected"] == {"mean": 3.0, "bound": "≥"}


def test_a_bound_is_printed_without_an_interval() -> None:
    assert bench._spread({"mean": 1986.7, "bound": "≥"}) == "≥ 1986.7"
    assert bench._spread(spread(2.0)) == "2.0 [1.0, 3.0]"
