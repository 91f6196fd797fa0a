"""Minutes of one fault after another: nothing lost, nothing twice, and memory stays flat."""

from pathlib import Path

import pytest

import soak
from chronicle import Chronicle
from deployment import Pair
from latecomer_simulator.invariants import violations


@pytest.mark.timeout(1200)
def test_one_fault_after_another_is_survived(
    pair: Pair, tmp_path: Path, full: bool, chronicle: Chronicle
) -> None:
    evidence = soak.soak(pair, tmp_path / "soak", soak.FULL if full else soak.SHORT)
    chronicle.tell("soak", evidence)
    assert violations(evidence) == {}
