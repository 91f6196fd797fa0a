"""Arms are as large as a lot makes them, and how likely that is is as a textbook says."""

import pytest

from latecomer.experiments.sizes import mismatch


@pytest.mark.parametrize(
    ("control", "treatment", "share"), [(500, 500, 0.5), (5000, 5400, 0.5), (900, 85, 0.1)]
)
def test_a_mismatch_is_as_likely_as_pearson_says(
    control: int, treatment: int, share: float
) -> None:
    stats = pytest.importorskip("scipy.stats")
    everybody = control + treatment
    known = stats.chisquare([control, treatment], [everybody * (1 - share), everybody * share])
    found = mismatch({"control": control, "treatment": treatment}, share)
    assert found == pytest.approx(known.pvalue)
