"""What items have in common in a few directions, from the same sums as item-item weights.

The leading eigenvectors of G = X'X are the right singular vectors of X, so that whoever has the
counts has every recommender that projects a user on them, with nothing more sent: PureSVD
(Cremonesi et al. 2010, "Performance of recommender algorithms on top-N recommendation tasks"), and,
with counts divided by powers of their items' popularity, as in the ideal low-pass filter of GF-CF
(Shen et al. 2021, "How powerful is graph convolution for recommendation?"),

    s(u) = weight x(u) D^-e V V',  V the leading eigenvectors of D^-e G D^-e,  D = diag(G).

GF-CF multiplies by D^e in the end, which gives back to popular items what was taken from them; here
that is left out, and scores favour the rare as much as is popular in them. Exact weights know best
which item is first, a projection which items are at all near: ``head_first`` has each decide what
it knows. A user's scores stay a sum over his items, and counts are whole numbers, so that the same
counts give the same projection, whoever added them.

Numpy only: the aggregator computes it. I items, K directions, B users of a batch.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from latecomer.tensors import Array

Floats = npt.NDArray[np.float64]

#: Of subspace iteration. What lies beyond 2 K + 8 directions fades in each step by its eigenvalue
#: over the K-th: where these are 7 to 10, as in MovieLens 1M with 64, to a hundredth. Thirty steps
#: take 14 s there instead of 6, and move no figure by more than 0.0001.
STEPS = 12

#: Directions with less of the largest eigenvalue are rounding: the counts do not have so many.
TINY = 1e-9


def projection(
    counts: Floats,
    *,
    rank: int,
    weight: float,
    exponent: float,
    between: Callable[[], object] = lambda: None,
) -> tuple[Array, Array]:
    """What a user's items are multiplied by, one matrix after the other: the module's equation.

    Args:
        counts: (I, I) G; of items that nobody has, rows are 0, and so are their scores.
        rank: K; directions that the counts do not have are 0.
        weight: As in the equation.
        exponent: e; PureSVD has 0, GF-CF 1/2.
        between: Called after every step, which is two products of counts with (I, 2 K + 8).

    Returns:
        D^-e V and weight V, both (I, K).
    """
    scale = np.maximum(np.diag(counts), 1.0)[:, None] ** -exponent  # (I, 1)

    def times(block: Floats) -> Floats:
        # Scaled counts would be another (I, I).
        return np.asarray(scale * (counts @ (scale * block)))

    vectors = _leading(times, len(counts), rank, between)
    return (scale * vectors).astype(np.float32), (weight * vectors).astype(np.float32)


def _leading(
    times: Callable[[Floats], Floats], items: int, rank: int, between: Callable[[], object]
) -> Floats:
    """(I, K) eigenvectors of a symmetric positive semidefinite matrix, the largest first.

    Subspace iteration with a Rayleigh-Ritz step at its end (Halko et al. 2011, "Finding structure
    with randomness", algorithm 4.4), from a start that is always the same.
    """
    width = min(items, 2 * rank + 8)
    block = np.random.default_rng(0).standard_normal((items, width))
    for _ in range(STEPS):
        block, _ = np.linalg.qr(times(block))
        between()
    values, rotation = np.linalg.eigh(block.T @ times(block))  # increasing
    largest = slice(None, -rank - 1, -1)
    there = values[largest] > TINY * max(values[-1], 1.0)
    return np.asarray((block @ rotation[:, largest]) * there)


def head_first(rough: Array, exact: Array, has: npt.NDArray[np.bool_], places: int) -> Array:
    """``rough`` scores, of which the best are put in ``exact``'s order, above all others.

    Two stages, as of Covington et al. 2016, "Deep neural networks for YouTube recommendations",
    section 2: one finds who competes, the other who wins.

    Args:
        rough: (B, I).
        exact: (B, I).
        has: (B, I) what a user has takes none of the places.
        places: So many are ordered anew; 0 for none.

    Returns:
        (B, I) scores; where all are alike they stay so, and ties still hurt.
    """
    if not places:
        return rough
    last = min(places, rough.shape[1]) - 1
    best = np.argpartition(np.where(has, np.inf, -rough), last, axis=1)[:, : last + 1]
    order = np.take_along_axis(exact, best, axis=1)  # (B, places)
    above = rough.max(axis=1, keepdims=True) + order - order.min(axis=1, keepdims=True)
    scores = rough.copy()
    np.put_along_axis(scores, best, above, axis=1)
    return scores
