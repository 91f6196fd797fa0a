"""Scores without training by gradients: what a recommender must beat before it may say anything.

U users, B users of a batch, I items.
"""

from collections.abc import Sequence

import numpy as np

from latecomer.evaluation.candidates import Known, check_items
from latecomer.evaluation.outcomes import Probability
from latecomer.evaluation.protocol import Score
from latecomer.evaluation.ranking import Floats, Ids
from latecomer.outcomes.examples import Examples


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


def prevalence(known: Sequence[Examples]) -> float:
    """How often the outcome came about among all sites' training examples; 1/2 without any."""
    labels = np.concatenate([each.known.labels for each in known])
    return float(labels.mean()) if len(labels) else 0.5


def always(probability: float) -> Probability:
    """The same probability for every example."""
    return lambda rows: np.full(len(rows), probability)


def at_random(n_items: int, seed: int) -> Score:
    """Score uniformly in [0, 1), per user and seed whatever the batch: chance itself.

    Under 99 sampled negatives its hit rate @10 is 0.10, and so must be that of any system whose
    held-out items were replaced by items that the user never touched.
    """

    def score(users: Ids) -> Floats:
        rows = [np.random.default_rng((seed, int(user))).random(n_items) for user in users]
        return np.array(rows).reshape(len(users), n_items)  # (B, I)

    return score


def item_knn(
    known: Known, n_items: int, *, neighbours: int = 100, shrinkage: float = 10.0
) -> Score:
    """Score by the most similar items that a user knows: score(u, j) = sum over i in u of s(i, j).

    s(i, j) = n(i, j) / (sqrt(n(i) n(j)) + shrinkage), the shrunk cosine of Ferrari Dacrema et al.
    (2019), "Are we really making much progress?", with n the users who know an item or both; 0
    except for the ``neighbours`` largest of each j.

    Args:
        known: What the U users were trained on.
        n_items: I; memory is 2 I x I float64.
        neighbours: Kept per item; at least 1.
        shrinkage: Pulls similarities that few users support towards 0.

    Raises:
        BadData: A user knows an item that the catalogue does not have.
    """
    both = _together(known, n_items)  # (I, I)
    alone = np.sqrt(np.diag(both))
    similarity = both / np.maximum(np.outer(alone, alone) + shrinkage, 1e-12)  # 0 / 0 is 0
    np.fill_diagonal(similarity, 0.0)
    if neighbours < n_items:
        least = np.partition(similarity, n_items - neighbours, axis=0)[n_items - neighbours]
        similarity[similarity < least] = 0.0  # what ties with the last of them is kept
    return _linear(known, similarity)


def ease(known: Known, n_items: int, *, regularisation: float = 300.0) -> Score:
    """The closed-form linear autoencoder with zero diagonal: score(u, .) = x(u) B.

    P = (X^T X + regularisation I)^-1, B = I - P diag(1 / diag(P)); Steck (2019), "Embarrassingly
    Shallow Autoencoders for Sparse Data", equation 8. Float64 throughout.

    Args:
        known: What the U users were trained on: X is 1 where a user knows an item.
        n_items: I; memory is 3 I x I float64.
        regularisation: Above 0; lambda.

    Raises:
        BadData: A user knows an item that the catalogue does not have.
    """
    gram = _together(known, n_items)
    gram[np.diag_indices(n_items)] += regularisation
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)  # column j divided by P(j, j)
    np.fill_diagonal(weights, 0.0)
    return _linear(known, weights)


def _together(known: Known, n_items: int) -> Floats:
    """(I, I) X^T X: how many users know both items, user by user since few items are known."""
    check_items(known.items, n_items)
    both = np.zeros((n_items, n_items))
    for user in range(len(known.indptr) - 1):
        own = _owned(known, user)
        both[np.ix_(own, own)] += 1
    return both


def _linear(known: Known, weights: Floats) -> Score:
    """Sums of (I, I) rows: a matrix product would multiply by all the items that nobody has."""
    return lambda users: np.array([weights[_owned(known, user)].sum(axis=0) for user in users])


def _owned(known: Known, user: int) -> Ids:
    """The items that a user knows, each once."""
    return np.unique(known.items[known.indptr[user] : known.indptr[user + 1]])
