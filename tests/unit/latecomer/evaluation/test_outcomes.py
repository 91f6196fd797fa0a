"""Outcome predictions, example by example, add up to the metrics that everybody knows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.errors import LayoutMismatch, NotFinite
from latecomer.evaluation import classification
from latecomer.evaluation.intervals import bootstrap
from latecomer.evaluation.outcomes import OutcomeProtocol, OutcomeResult, linearised, placements
from latecomer.evaluation.protocol import mean_of_sums
from latecomer.evaluation.ranking import Floats, Ids

PROTOCOL = OutcomeProtocol()


def result(labels: list[int], probability: list[float]) -> OutcomeResult:
    target = np.array(labels, np.int64)
    scores = np.array(probability)
    return PROTOCOL.evaluate(lambda rows: scores[rows], None, target)


def test_each_placement_is_the_share_of_the_other_outcome_that_is_ordered_rightly() -> None:
    found = placements(np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.4, 0.1]))
    assert found.tolist() == [1.0, 0.75, 0.75, 1.0]


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=40).filter(
        lambda pairs: len({label for label, _ in pairs}) == 2
    )
)
def test_the_mean_placement_is_the_auc(pairs: list[tuple[int, int]]) -> None:
    labels = np.array([label for label, _ in pairs])
    scores = np.array([score / 5 for _, score in pairs])
    assert placements(labels, scores).mean() == pytest.approx(classification.auc(labels, scores))


def test_means_are_those_of_the_classification_metrics() -> None:
    labels, p = np.array([1, 0, 1, 0, 0]), np.array([0.8, 0.3, 0.4, 0.6, 0.0])
    means = result(labels.tolist(), p.tolist()).means()
    assert means["accuracy"] == classification.accuracy(labels, p)
    assert means["log_loss"] == pytest.approx(classification.log_loss(labels, p))
    assert means["auc"] == pytest.approx(classification.auc(labels, p))
    assert means["brier"] == pytest.approx(float(np.mean((p - labels) ** 2)))
    assert means["users"] == 5


def test_where_all_came_to_the_same_the_auc_is_that_of_chance() -> None:
    assert result([1, 1], [0.9, 0.1]).means()["auc"] == 0.5


def test_knowing_which_site_sees_sicker_patients_gains_nothing() -> None:
    """Constant within each of two sites: pooled, the AUC would be 0.9."""
    sick, well = result([1] * 9 + [0], [0.9] * 10), result([0] * 9 + [1], [0.1] * 10)
    sums = [sick.sums(["sick"] * 10), well.sums(["well"] * 10)]
    means = mean_of_sums(sums)
    assert means["all"]["auc"] == 0.5
    assert means["all"]["accuracy"] == pytest.approx(0.9)
    assert {region: means[region]["users"] for region in ("sick", "well", "all")} == {
        "sick": 10,
        "well": 10,
        "all": 20,
    }


def test_only_held_out_outcomes_are_asked_for() -> None:
    asked: list[list[int]] = []

    def score(rows: Ids) -> Floats:
        asked.append(rows.tolist())
        return np.full(len(rows), 0.5)

    found = PROTOCOL.evaluate(score, None, np.array([-1, 1, -1, 0]))
    assert asked == [[1, 3]]
    assert found.users.tolist() == [1, 3]


def test_nobody_tested_is_an_empty_result() -> None:
    found = result([-1, -1], [0.5, 0.5])
    assert found.means() == {}
    assert found.sums(["a", "b"]) == {}


def test_a_probability_that_is_no_number_is_an_error() -> None:
    with pytest.raises(NotFinite, match="example 2"):
        result([1, 0, 1], [0.5, 0.5, np.nan])


def test_a_predictor_has_to_answer_for_every_example() -> None:
    with pytest.raises(LayoutMismatch, match="2 examples have shape"):
        PROTOCOL.evaluate(lambda rows: np.zeros((len(rows), 3)), None, np.array([1, 0]))


def test_the_spread_of_an_auc_is_delongs() -> None:
    """V10 and V01 by hand: two positives that rank 1 and 1/2, three negatives."""
    labels, scores = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.4, 0.5, 0.3, 0.4])
    of_positives, of_negatives = np.array([1.0, 0.5]), np.array([0.5, 1.0, 0.75])
    values = linearised(labels, placements(labels, scores))
    assert values.mean() == pytest.approx(0.75)
    variance = of_positives.var() / 2 + of_negatives.var() / 3
    assert values.var() / len(values) == pytest.approx(variance)
    assert result(labels.tolist(), scores.tolist()).per_user()["auc"].tolist() == values.tolist()


def test_an_interval_of_an_auc_covers_it_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(1), 0
    labels = (np.arange(300) < 30).astype(int)
    for draw in range(100):
        scores = rng.standard_normal(300) + labels  # of two normals one apart: Phi(1 / sqrt 2)
        values = linearised(labels, placements(labels, scores))
        covered += not bootstrap(values, seed=draw, n_resamples=300).excludes(0.76025)
    assert covered >= 88
