"""Minutes of one fault after another: nothing lost, nothing twice, and memory stays flat."""

from itertools import pairwise
from pathlib import Path

import pytest

import soak
from chronicle import Chronicle
from deployment import Pair
from latecomer_simulator.history import Committed, Measured
from latecomer_simulator.invariants import violations

#: Nothing in a soak lasts this long.
STALL_S = 60.0


@pytest.mark.timeout(1200)
def test_one_fault_after_another_is_survived(
    pair: Pair, tmp_path: Path, full: bool, chronicle: Chronicle
) -> None:
    evidence = soak.soak(pair, tmp_path / "soak", soak.FULL if full else soak.SHORT)
    chronicle.tell("soak", evidence)
    assert violations(evidence) == {}
    versions_s = [each.at_s for each in evidence.history.all(Committed)]
    # Faults follow so soon on each other that none of them alone is to blame for a stall.
    assert max(later - earlier for earlier, later in pairwise(versions_s)) < STALL_S
    assert {each.process for each in evidence.history.all(Measured)} >= {"aggregator-a"}
