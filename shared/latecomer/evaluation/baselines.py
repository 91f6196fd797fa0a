"""Scores without learning: what a recommender must beat before it may say anything.

U users, B users of a batch, I items.
"""

import numpy as np

from latecomer.evaluation.candidates import Known, check_items
from latecomer.evaluation.protocol import Score
from latecomer.evaluation.ranking import Floats, Ids


def popularity(known: Known, n_items: int) -> Floats:
    """How often each item was trained on: score(u, i) = #(u', i) in train.

    Args:
        known: What the U users were trained on; held-out items are not in it.
        n_items: I.

    Returns:
        (I,) counts.

    Raises:
        BadData: A user knows an item that the catalogue does not have.
    """
    check_items(known.items, n_items)
    return np.bincount(known.items, minlength=n_items).astype(np.float64)


def same_for_all(scores: Floats) -> Score:
    """Score every user by the same (I,) scores; no user's row is a copy."""
    return lambda users: np.broadcast_to(scores, (len(users), len(scores)))  # (I,) to (B, I)


def at_random(n_items: int, seed: int) -> Score:
    """Score uniformly in [0, 1), per user and seed whatever the batch: chance itself.

    Under 99 sampled negatives its hit rate @10 is 0.10, and so must be that of any system whose
    held-out items were replaced by items that the user never touched.
    """

    def score(users: Ids) -> Floats:
        rows = [np.random.default_rng((seed, int(user))).random(n_items) for user in users]
        return np.array(rows).reshape(len(users), n_items)  # (B, I)

    return score
