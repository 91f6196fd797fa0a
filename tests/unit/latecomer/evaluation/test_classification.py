from collections.abc import Callable
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.errors import BadData, NotFinite
from latecomer.evaluation.classification import (
    accuracy,
    auc,
    expected_calibration_error,
    log_loss,
)

LABELS = np.array([1, 0, 1, 0])
ALL: list[Callable[..., float]] = [accuracy, auc, log_loss, expected_calibration_error]
OF_PROBABILITIES = [accuracy, log_loss, expected_calibration_error]


def test_accuracy_counts_the_threshold_itself_as_a_one() -> None:
    assert accuracy(LABELS, np.array([0.5, 0.4, 0.1, 0.9])) == 0.5
    assert accuracy(LABELS, np.array([0.5, 0.4, 0.1, 0.9]), threshold=0.1) == 0.5
    assert accuracy(LABELS.astype(np.bool_), np.array([0.6, 0.4, 0.5, 0.0])) == 1.0


def test_auc_of_one_inversion_in_four_pairs() -> None:
    assert auc(LABELS, np.array([0.9, 0.2, 0.4, 0.6])) == 0.75


def test_auc_of_ties_is_a_coin_toss() -> None:
    assert auc(LABELS, np.zeros(4)) == 0.5
    assert auc(LABELS, np.array([1.0, 0.0, 0.0, -3.0])) == 0.875


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(pairs: list[tuple[bool, int]]) -> None:
    ones = [score for label, score in pairs if label]
    zeros = [score for label, score in pairs if not label]
    labels, scores = (np.array(column) for column in zip(*pairs, strict=True))
    if not ones or not zeros:
        with pytest.raises(BadData, match="two classes"):
            auc(labels, scores)
        return
    wins = [(one > zero) + 0.5 * (one == zero) for one in ones for zero in zeros]
    assert auc(labels, scores.astype(np.float32)) == pytest.approx(np.mean(wins))


def test_log_loss_by_hand() -> None:
    expected = -(log(0.8) + log(0.5)) / 2
    assert log_loss(np.array([1, 0]), np.array([0.8, 0.5])) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sure_mistake_costs_no_more_than_the_clip_allows(dtype: type[np.floating]) -> None:
    assert log_loss(np.array([1]), np.array([0.0], dtype)) == pytest.approx(-log(1e-7))
    assert log_loss(np.array([0]), np.array([1.0], dtype)) == pytest.approx(-log(1e-7))
    assert log_loss(np.array([1]), np.array([1.0], dtype)) == pytest.approx(0.0, abs=1e-6)


def test_calibration_error_weighs_each_bins_gap_by_its_size() -> None:
    labels = np.array([1, 0, 1, 1])
    probability = np.array([0.25, 0.25, 0.75, 1.0])
    # Lower half: mean label 1/2 against 1/4, two of four; upper half: 1 against 7/8.
    by_hand = 2 / 4 * 1 / 4 + 2 / 4 * 1 / 8
    assert expected_calibration_error(labels, probability, bins=2) == pytest.approx(by_hand)


def test_the_last_bin_includes_certainty() -> None:
    # One bin from 1/2 to 1: mean label 1/2 against 3/4.
    assert expected_calibration_error(np.array([1, 0]), np.array([0.5, 1.0]), bins=2) == 0.25


def test_frequencies_that_match_are_calibrated() -> None:
    labels = np.array([1, 0, 0, 0, 1, 1])
    probability = np.array([0.25, 0.25, 0.25, 0.25, 1.0, 1.0])
    assert expected_calibration_error(labels, probability) == pytest.approx(0.0)


@pytest.mark.parametrize("metric", ALL)
def test_nothing_predicted_is_bad_data(metric: Callable[..., float]) -> None:
    with pytest.raises(BadData):
        metric(np.empty(0, np.int64), np.empty(0))


@pytest.mark.parametrize("metric", ALL)
def test_labels_and_predictions_pair_up(metric: Callable[..., float]) -> None:
    with pytest.raises(BadData, match="predictions"):
        metric(LABELS, np.zeros(3))


@pytest.mark.parametrize("metric", ALL)
def test_labels_are_zero_or_one(metric: Callable[..., float]) -> None:
    with pytest.raises(BadData, match="0 or 1"):
        metric(np.array([-1, 1]), np.zeros(2))


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_prediction_that_is_no_number_is_an_error(
    metric: Callable[..., float], broken: float
) -> None:
    with pytest.raises(NotFinite, match="prediction 2"):
        metric(LABELS, np.array([0.1, 0.2, broken, 0.3]))


@pytest.mark.parametrize("metric", OF_PROBABILITIES)
def test_logits_are_not_probabilities(metric: Callable[..., float]) -> None:
    with pytest.raises(BadData, match="not probabilities"):
        metric(LABELS, np.array([2.0, 0.2, 0.3, 0.3]))
