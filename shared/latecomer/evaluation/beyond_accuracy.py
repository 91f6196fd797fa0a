"""What lists show apart from hits: how much of the catalogue, how varied, how new, how personal.

U users, K list length, I items, P pairs of items.

Lists are (U, K) arrays of items, distinct within a row, filled up with ``NO_ITEM``. What shows
nothing, or nothing to compare, scores 0.
"""

from collections.abc import Callable

import numpy as np

from latecomer.evaluation.ranking import NO_ITEM, Floats, Ids
from latecomer.interactions.negatives import ranges


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


def intra_list_diversity(lists: Ids, cosine: Callable[[Ids, Ids], Floats]) -> Floats:
    """How unlike each other the items of one list are: 1 - mean cosine over its pairs.

    The complement of intra-list similarity (Ziegler et al., 2005).

    Args:
        lists: (U, K).
        cosine: (P,) of the items of so many pairs, ``acquaintance`` say.

    Returns:
        (U,).
    """
    first, second = np.triu_indices(lists.shape[1], 1)
    one, other = lists[:, first], lists[:, second]  # (U, K (K - 1) / 2)
    pair = (one != NO_ITEM) & (other != NO_ITEM)
    alike = np.zeros(pair.shape)
    alike[pair] = cosine(one[pair], other[pair])
    n_pairs = np.count_nonzero(pair, axis=1)
    diversity: Floats = np.where(n_pairs > 0, 1.0 - alike.sum(axis=1) / np.maximum(n_pairs, 1), 0.0)
    return diversity


def acquaintance(users: Ids, items: Ids, n_items: int) -> Callable[[Ids, Ids], Floats]:
    """Two items are alike as far as the same users know them: c_ij / sqrt(c_i c_j).

    c_ij users know both i and j, c_i know i. An item that nobody knows has cosine 0 with all.

    Args:
        users: (N,) who knows
        items: (N,) what; a pair that is there twice counts once.
        n_items: I.
    """
    user, item = np.divmod(np.unique(users * n_items + items), n_items)
    of_user = np.append(0, np.cumsum(np.bincount(user)))
    of_item = np.append(0, np.cumsum(np.bincount(item, minlength=n_items)))
    knows = user[np.argsort(item, kind="stable")]  # users, item by item
    known = np.diff(of_item)  # (I,) c_i

    def cosine(one: Ids, other: Ids) -> Floats:
        rare = np.where(known[one] <= known[other], one, other)
        both = np.zeros(len(rare))
        order = np.argsort(rare, kind="stable")
        for place in np.split(order, np.flatnonzero(np.diff(rare[order])) + 1) if len(rare) else ():
            i = rare[place[0]]
            who = knows[of_item[i] : of_item[i + 1]]
            theirs = item[ranges(of_user[who], of_user[who + 1] - of_user[who])]
            together = np.bincount(theirs, minlength=n_items)  # (I,) c_ij
            both[place] = together[one[place] + other[place] - i]
        either = np.sqrt(known[one].astype(np.float64) * known[other])
        return np.asarray(both / np.maximum(either, 1.0))

    return cosine


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
