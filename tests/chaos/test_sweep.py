"""SIGKILL at every arrow of the flow, on real servers: nothing is lost, nothing counts twice."""

from pathlib import Path

import pytest

import sweep
from chronicle import Chronicle
from deployment import Pair


@pytest.mark.timeout(900)
def test_a_process_may_die_at_any_arrow_of_the_flow(
    pair: Pair, tmp_path: Path, full: bool, chronicle: Chronicle
) -> None:
    crashes = list(sweep.crashes(full=full))
    assert len({(each.victim, each.point) for each in crashes}) >= 14
    outcomes = sweep.sweep(pair, tmp_path, crashes)
    chronicle.add(
        "sweep",
        runs=len(outcomes),
        tally=sweep.total(outcomes),
        recoveries_s=[each for one in outcomes for each in one.recoveries_s],
    )
    assert [each.problem for each in outcomes if each.problem] == []
