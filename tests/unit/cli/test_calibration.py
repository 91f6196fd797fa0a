"""How far probabilities are from frequencies is asked of all sites' examples together."""

import numpy as np
import pytest

from latecomer.evaluation.outcomes import OutcomeProtocol, OutcomeResult
from latecomer_cli.calibration import calibration
from latecomer_worker.site import Site
from scenes import checkerboard, make_site

PROTOCOL = OutcomeProtocol()


def result(labels: list[int], probability: list[float]) -> OutcomeResult:
    scores = np.array(probability)
    return PROTOCOL.evaluate(lambda rows: scores[rows], None, np.array(labels))


def site(*regions: str) -> Site:
    board = make_site(checkerboard(len(regions)))
    return Site(board.users, regions, board.split, board.catalogue)


def test_a_region_is_pooled_over_sites_before_frequencies_are_counted() -> None:
    """Of four probabilities of 1/2 two came true: alone, either site would be off by 1/2."""
    sure, never = result([1, 1], [0.5, 0.5]), result([0, 0], [0.5, 0.5])
    assert calibration([sure, never], [site("a", "a"), site("a", "a")]) == {"a": 0.0, "all": 0.0}
    assert calibration([sure, never], [site("a", "a"), site("b", "b")]) == {
        "a": 0.5,
        "b": 0.5,
        "all": 0.0,
    }


def test_it_is_the_mean_gap_of_bins_over_the_tested_examples_alone() -> None:
    """Bins of two examples at 0.1 and one at 0.8: (|1 - 0.2| + |1 - 0.8|) / 3."""
    found = calibration([result([-1, 1, 0, 1], [0.9, 0.1, 0.1, 0.8])], [site(*"qrrr")])
    assert found.keys() == {"r", "all"}
    assert found["r"] == found["all"] == pytest.approx(1.0 / 3)


def test_each_site_has_its_own_outcomes_and_probabilities() -> None:
    right = [result([1, 1], [1.0, 1.0]), result([0, 0, 0], [0.0, 0.0, 0.0])]
    assert calibration(right, [site("a", "a"), site("b", "b", "b")]) == {"a": 0, "b": 0, "all": 0}


def test_a_site_where_nobody_is_tested_takes_nothing_from_the_others() -> None:
    nobody, right = result([-1], [0.5]), result([1, 0], [1.0, 0.0])
    found = calibration([nobody, right], [site("a"), site("b", "b")])
    assert found == {"b": 0.0, "all": 0.0}


def test_where_nobody_is_tested_or_items_are_ranked_there_is_none() -> None:
    assert calibration([result([-1], [0.5])], [site("a")]) == {}
    assert calibration([], []) == {}
