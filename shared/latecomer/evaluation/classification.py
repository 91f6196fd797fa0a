"""Predicting one outcome, such as a click: right or wrong, in which order, and how sure.

N predictions. Labels are 0 or 1; y_n is the label and p_n the predicted probability of a 1.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from latecomer.errors import BadData, NotFinite
from latecomer.evaluation.ranking import Scores

Labels = npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]

#: Probabilities are clipped to [CLIP, 1 - CLIP]: near 1, float32 knows nothing finer.
CLIP = 1e-7


def accuracy(labels: Labels, probability: Scores, *, threshold: float = 0.5) -> float:
    """The share of predictions on the right side: mean of [[p_n >= threshold] = y_n].

    Raises:
        BadData: No predictions, or no labels or probabilities.
        NotFinite: A probability is NaN or infinite.
    """
    _check_probabilities(labels, probability)
    return float(np.mean((probability >= threshold) == (labels == 1)))


def auc(labels: Labels, scores: Scores) -> float:
    """How probably a positive scores above a negative; a tie counts half (Mann & Whitney, 1947).

    (sum of the positives' ranks - P (P + 1) / 2) / (P Q) for P positives and Q negatives, where
    equal scores share the mean of their ranks. Any scores will do.

    Raises:
        BadData: No predictions, no labels, or one class only.
        NotFinite: A score is NaN or infinite.
    """
    _check(labels, scores)
    positive = labels == 1
    n_positive = int(np.count_nonzero(positive))
    n_negative = len(labels) - n_positive
    if not n_positive * n_negative:
        raise BadData(f"AUC compares two classes; here are {n_positive} of {len(labels)} positive")
    _, place, n_tied = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(n_tied) - (n_tied - 1) / 2.0)[place]  # (N,)
    wins = float(rank[positive].sum()) - n_positive * (n_positive + 1) / 2.0
    return wins / (n_positive * n_negative)


def log_loss(labels: Labels, probability: Scores) -> float:
    """Mean surprise in nats: -mean of y_n ln p_n + (1 - y_n) ln(1 - p_n).

    Probabilities are clipped to [1e-7, 1 - 1e-7], so that one sure mistake costs at most 16.1.

    Raises:
        BadData: No predictions, or no labels or probabilities.
        NotFinite: A probability is NaN or infinite.
    """
    _check_probabilities(labels, probability)
    clipped = np.clip(probability.astype(np.float64), CLIP, 1.0 - CLIP)
    return float(-np.mean(np.log(np.where(labels == 1, clipped, 1.0 - clipped))))


def expected_calibration_error(labels: Labels, probability: Scores, *, bins: int = 10) -> float:
    """How far probabilities are from frequencies: sum_b (n_b / N) |mean y - mean p| in bin b.

    Bins have equal width: [b / bins, (b + 1) / bins), the last one with its right end (Naeini et
    al., 2015, for the binary case).

    Raises:
        BadData: No predictions, or no labels or probabilities.
        NotFinite: A probability is NaN or infinite.
    """
    _check_probabilities(labels, probability)
    of_bin = np.minimum((probability * bins).astype(np.int64), bins - 1)  # (N,)
    gap = np.bincount(of_bin, weights=labels - probability.astype(np.float64))  # (bins,)
    return float(np.abs(gap).sum()) / len(labels)


def _check_probabilities(labels: Labels, probability: Scores) -> None:
    _check(labels, probability)
    if probability.min() < 0.0 or probability.max() > 1.0:
        raise BadData(f"{probability.min()} to {probability.max()} are not probabilities")


def _check(labels: Labels, scores: Scores) -> None:
    if not len(labels) or labels.shape != scores.shape:
        raise BadData(f"{labels.shape} labels for {scores.shape} predictions")
    if not np.isin(labels, (0, 1)).all():
        raise BadData("labels are not all 0 or 1")
    if not np.isfinite(scores).all():
        raise NotFinite(f"prediction {np.flatnonzero(~np.isfinite(scores))[0]} is no number")
