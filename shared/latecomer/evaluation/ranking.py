"""From scores to ranks and lists, and what a list is worth: ties hurt, and NaN never wins.

B users of a batch, I items, K list length, U users.

The metrics of one list follow trec_eval with binary relevance, so that they can be compared with
anybody's: ``ranked`` holds distinct items, best first; h_j = [ranked_j in relevant] for j = 1..K;
R = relevant items. A list shorter than k counts as filled up with misses, and a user without
relevant items scores 0.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import numpy.typing as npt

from latecomer.errors import NotFinite

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating[Any]]
Ranked = Sequence[int] | Ids

#: What fills a list whose user has fewer than k items left to be shown.
NO_ITEM = -1


def recall(ranked: Ranked, relevant: AbstractSet[int], k: int) -> float:
    """The share of the relevant items that the list shows: sum_j h_j / |R|."""
    return float(_hits(ranked, relevant, k).sum()) / max(len(relevant), 1)


def precision(ranked: Ranked, relevant: AbstractSet[int], k: int) -> float:
    """The share of the k places that show something relevant: sum_j h_j / k."""
    return float(_hits(ranked, relevant, k).sum()) / k


def f1(ranked: Ranked, relevant: AbstractSet[int], k: int) -> float:
    """Harmonic mean of precision and recall: 2 sum_j h_j / (k + |R|)."""
    return 2.0 * float(_hits(ranked, relevant, k).sum()) / (k + len(relevant))


def ndcg(ranked: Ranked, relevant: AbstractSet[int], k: int) -> float:
    """Gain discounted by place, as a share of the best list's: DCG / IDCG.

    DCG = sum_j h_j / log2(j + 1) and IDCG = sum over j = 1..min(k, |R|) of 1 / log2(j + 1)
    (Järvelin & Kekäläinen, 2002).
    """
    discount = 1.0 / np.log2(np.arange(k) + 2.0)  # (K,)
    ideal = float(discount[: len(relevant)].sum())
    return float(_hits(ranked, relevant, k) @ discount) / ideal if relevant else 0.0


def hit_rate(ranked: Ranked, relevant: AbstractSet[int], k: int) -> float:
    """Whether the list shows anything relevant: max_j h_j."""
    return float(_hits(ranked, relevant, k).any())


def average_precision(ranked: Ranked, relevant: AbstractSet[int], k: int) -> float:
    """Precision averaged over the places of relevant items: sum_j h_j P@j / |R|.

    The denominator is |R| as in trec_eval, not min(k, |R|): a list too short to show every
    relevant item cannot reach 1.
    """
    hits = _hits(ranked, relevant, k)
    precisions = np.cumsum(hits) / (np.arange(k) + 1.0)  # (K,)
    return float(hits @ precisions) / max(len(relevant), 1)


def reciprocal_rank(ranked: Ranked, relevant: AbstractSet[int], k: int) -> float:
    """1 / the first place that shows something relevant; 0 if none of the k does."""
    places = np.flatnonzero(_hits(ranked, relevant, k)) + 1
    return 1.0 / float(places[0]) if len(places) else 0.0


def _hits(ranked: Ranked, relevant: AbstractSet[int], k: int) -> Floats:
    hits = np.zeros(k)
    shown = ranked[:k]
    hits[: len(shown)] = [item in relevant for item in shown]
    return hits


def of_held_out(rank: Ids, k: int) -> dict[str, Floats]:
    """Every metric above for users with a single relevant item each, from its rank r alone.

    With hit = [r <= k]: recall = hit rate = hit, precision = hit / k, F1 = 2 hit / (k + 1),
    NDCG = hit / log2(r + 1), average precision = reciprocal rank = hit / r.

    Args:
        rank: (U,) ranks, 1 is best.
        k: Places that count.

    Returns:
        The metric's name to its (U,) values.
    """
    hit = (rank <= k).astype(np.float64)
    return {
        "recall": hit,
        "precision": hit / k,
        "f1": 2.0 * hit / (k + 1),
        "ndcg": hit / np.log2(rank + 1.0),
        "hit_rate": hit,
        "average_precision": hit / rank,
        "reciprocal_rank": hit / rank,
    }


def rank_of(scores: Scores, positive: Ids, excluded: Mask) -> Ids:
    """1 + the number of other candidates that score at least as high as the positive: ties hurt.

    A constant scorer thus ranks every positive last. The positive is always a candidate.

    Args:
        scores: (B, I); what excluded items score does not matter, they may be NaN.
        positive: (B,) the item whose rank is asked.
        excluded: (B, I), true where an item does not compete.

    Returns:
        (B,) ranks, 1 is best.

    Raises:
        NotFinite: A candidate scores NaN or infinity; NaN compares false, and would rank it first.
    """
    row = np.arange(len(positive))
    compete = ~excluded
    compete[row, positive] = True
    _check_finite(scores, compete)
    own = scores[row, positive][:, np.newaxis]  # (B, 1)
    # The positive scores at least as high as itself: counting it supplies the 1.
    rank: Ids = np.count_nonzero(compete & (scores >= own), axis=1)  # (B,)
    return rank


def top_k(scores: Scores, excluded: Mask, k: int) -> Ids:
    """The k best items of each row, best first; of equal scores the lower item comes first.

    Args:
        scores: (B, I); what excluded items score does not matter.
        excluded: (B, I), true where an item must not be shown.
        k: List length K.

    Returns:
        (B, K) items, filled up with ``NO_ITEM`` where a row has fewer candidates.

    Raises:
        NotFinite: A candidate scores NaN or infinity.
    """
    _check_finite(scores, ~excluded)
    masked = np.where(excluded, -np.inf, scores)
    items = _best_unordered(masked, min(k, scores.shape[1]))  # (B, min(K, I))
    values = np.take_along_axis(masked, items, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    # A row with too few candidates is filled up with excluded items, which must not show.
    shown = np.where(values > -np.inf, items, NO_ITEM)
    best = np.take_along_axis(shown, order, axis=1)
    return np.pad(best, ((0, 0), (0, k - best.shape[1])), constant_values=NO_ITEM)  # (B, K)


def _best_unordered(scores: Scores, k: int) -> Ids:
    # A partition is linear in I where a sort is not, but leaves ties at the border in any order.
    border = np.partition(scores, -k, axis=1)[:, -k, np.newaxis]  # (B, 1)
    above, tied = scores > border, scores == border
    vacant = k - np.count_nonzero(above, axis=1, keepdims=True)  # (B, 1)
    chosen = above | (tied & (np.cumsum(tied, axis=1, dtype=np.int32) <= vacant))
    return np.nonzero(chosen)[1].reshape(len(scores), k)  # (B, K)


def _check_finite(scores: Scores, compete: Mask) -> None:
    broken = compete & ~np.isfinite(scores)
    if broken.any():
        row, item = np.argwhere(broken)[0]
        raise NotFinite(f"item {item} of row {row} scores {scores[row, item]}")
