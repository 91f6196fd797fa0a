"""What lists show apart from hits: how much of the catalogue, how varied, how new, how personal.

U users, K list length, I items, D dimensions of an item's vector.

Lists are (U, K) arrays of items, distinct within a row, filled up with ``NO_ITEM``. What shows
nothing, or nothing to compare, scores 0.
"""

import numpy as np

from latecomer.evaluation.ranking import NO_ITEM, Floats, Ids, Scores


def exposure(lists: Ids, n_items: int) -> Ids:
    """How many lists show each item: (I,) counts c_i."""
    return np.bincount(lists[lists != NO_ITEM], minlength=n_items)


def catalogue_coverage(lists: Ids, n_items: int) -> float:
    """The share of the catalogue that anybody is shown: #(i with c_i > 0) / I."""
    return float(np.count_nonzero(exposure(lists, n_items))) / max(n_items, 1)


def exposure_gini(lists: Ids, n_items: int) -> float:
    """How unequally items are shown: 0 if all alike, 1 - 1/I if always the same single one.

    G = sum_j (2j - I - 1) c_(j) / (I sum_j c_(j)), with c_(1) <= … <= c_(I) the sorted exposures.
    """
    count = np.sort(exposure(lists, n_items))
    weight = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float(weight @ count) / max(n_items * int(count.sum()), 1)


def intra_list_diversity(lists: Ids, vectors: Scores) -> Floats:
    """How unlike each other the items of one list are: 1 - mean cosine over its pairs.

    With unit vectors e_i, the n (n - 1) ordered pairs sum to |sum_i e_i|^2 - sum_i |e_i|^2, so
    that no pair is visited. A zero vector has cosine 0 with everything. The complement of
    intra-list similarity (Ziegler et al., 2005).

    Args:
        lists: (U, K).
        vectors: (I, D), of any length.

    Returns:
        (U,).
    """
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1.0)
    total = np.zeros((len(lists), vectors.shape[1]))  # (U, D)
    alone = np.zeros(len(lists))
    # One place at a time: U x K x D would not fit where U x D does.
    for place in lists.T:
        there = place != NO_ITEM
        total[there] += unit[place[there]]
        alone[there] += length[place[there], 0] > 0
    n_shown = np.count_nonzero(lists != NO_ITEM, axis=1)
    n_pairs = n_shown * (n_shown - 1)
    cosine = (np.square(total).sum(axis=1) - alone) / np.maximum(n_pairs, 1)
    diversity: Floats = np.where(n_pairs > 0, 1.0 - cosine, 0.0)
    return diversity


def novelty(lists: Ids, popularity: Floats, n_users: int) -> Floats:
    """How little known the shown items are, in bits: mean over a list of -log2 p(i).

    p(i) = how many users know i / how many users there are (Zhou et al., 2010). An item that nobody
    knows counts as known by one, since its self-information would be infinite.

    Args:
        lists: (U, K).
        popularity: (I,) how many users know each item.
        n_users: How many were counted.

    Returns:
        (U,).
    """
    information = -np.log2(np.maximum(popularity, 1.0) / n_users)  # (I,)
    shown = lists != NO_ITEM
    # A list's filler indexes the last item, and the mask takes that out again.
    bits = np.where(shown, information[lists], 0.0).sum(axis=1)
    mean: Floats = bits / np.maximum(np.count_nonzero(shown, axis=1), 1)  # (U,)
    return mean


def personalisation(lists: Ids, n_items: int) -> float:
    """How unlike each other the lists of two users are: 1 - mean over pairs of |L_u & L_v| / K.

    An item is in the intersection of just those pairs whose lists both show it, c_i (c_i - 1) / 2
    of U (U - 1) / 2. Hence 1 - sum_i c_i (c_i - 1) / (K U (U - 1)): O(UK), no pair is visited.
    """
    n_users, k = lists.shape
    count = exposure(lists, n_items)
    n_pairs = n_users * (n_users - 1)
    shared = float(count @ (count - 1))
    return 1.0 - shared / (k * n_pairs) if k * n_pairs else 0.0
