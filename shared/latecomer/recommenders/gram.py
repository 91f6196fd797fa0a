"""Item-item weights in closed form from statistics that add up: EASE, federated exactly.

With X the (users, items) matrix of who has what, G = X'X counts for every two items the users who
have both. G is a sum over users, so each worker adds its own users' counts once, and whenever what
they have is another the difference; in whatever order that arrives, the sum is the same. The
aggregator solves for the weights of Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse
Data", equation 8:

    P = (G + D)^-1,  B_ij = -P_ij / P_jj,  B_jj = 0,

with D = l2 I, or, for weights that have to do without a random part p of what a user has,
D = l2 I + p / (1 - p) diag(G) (Steck 2020, "Autoencoders that don't overfit towards the Identity",
the theorem of the emphasized denoising autoencoder). It publishes for every item j the sources i
with the largest |B_ij|. A user's score of j is the sum of B_ij over his own items i, each weighted
by how recent its basket is: (1 + baskets ago)^-decay. Where there are factors, a projection of the
same items is added, as ``spectral`` says. Counts are whole numbers, exact in float32 up to 2^24
users, so the result equals the centralised one bit for bit.

Numpy only: the aggregator solves. U users, I items, C = I (I + 1) / 2 pairs, K sources per item,
F factors, B users of a batch, W words of a set of items.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt

from latecomer.errors import BadConfiguration, Unsolvable
from latecomer.interactions.baskets import Baskets
from latecomer.interactions.splits import History
from latecomer.recommenders import pairs, spectral
from latecomer.recommenders.port import Plan, Scorer, Trained
from latecomer.recommenders.settings import GramModel, GramTraining, checked
from latecomer.tensors import Array, Kind, Layout, State, TensorSpec

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint16]

PAIRS = "item.pairs"
SOURCES = "item.sources"
WEIGHTS = "item.weights"
ENTRANCES = "item.entrances"
EXITS = "item.exits"
COUNTED = "user.items_counted"

#: Beyond, the aggregator would need more than half a gigabyte to solve, and longer than a minute.
#: Item numbers are exact in float32 by far.
MAX_ITEMS = 8192

#: Rows eliminated at a time: enough for fast products, little enough to be back in a second.
BLOCK = 256

#: A set of items is kept as words of so many bits, which a float32 holds exactly; of so many words
#: whatever the catalogue, 2 kB per user.
BITS = 16
WORDS = MAX_ITEMS // BITS


class Gram:
    """The family with its settings bound; see the module for the model."""

    def __init__(self, settings: GramModel) -> None:
        self._settings = settings

    def layout(self, items: int) -> Layout:
        """The pairs (C, 1), every item's sources and weights (I, K), both ends of factors (I, F).

        Raises:
            BadConfiguration: The catalogue is too large to be solved in a leader's time.
        """
        if items > MAX_ITEMS:
            raise BadConfiguration(
                f"model.family 'gram' takes up to {MAX_ITEMS} items, this catalogue has {items}",
                hint="use 'two_tower', or keep the items that are bought most",
            )
        sources = min(self._settings.sources, items)
        factors = min(self._settings.factors, items)
        projection = (ENTRANCES, EXITS) if factors else ()
        return Layout(
            (
                TensorSpec(PAIRS, Kind.SUM, (pairs.size(items), 1)),
                TensorSpec(SOURCES, Kind.DERIVED, (items, sources)),
                TensorSpec(WEIGHTS, Kind.DERIVED, (items, sources)),
                *(TensorSpec(name, Kind.DERIVED, (items, factors)) for name in projection),
            )
        )

    def initial(self, items: int, *, seed: int) -> dict[str, Array]:
        """Nobody has anything yet; nothing is drawn."""
        del seed
        return self.layout(items).zeros()

    def initial_private(self, users: int) -> dict[str, Array]:
        """Which of each user's items are counted already, (U, W)."""
        return {COUNTED: np.zeros((users, WORDS), np.float32)}

    def train(
        self,
        model: State,
        private: Mapping[str, Array],
        history: History,
        *,
        plan: Plan,
        rng: np.random.Generator,
        should_stop: Callable[[], bool],
    ) -> Trained:
        """Count what changed: a user's pairs now, less the pairs that were counted before.

        Most have more; who had an item taken back, or one put before others, has another set.
        """
        del rng
        checked(GramTraining, plan)
        items = len(model[SOURCES])
        before = private[COUNTED].astype(np.uint16)  # (U, W)
        now = _words(history)
        change = pairs.Change(items)
        counted, examples = before.copy(), 0
        for user in np.flatnonzero((now != before).any(axis=1)):
            if should_stop():
                break
            change.add(_items(now[user]), 1)
            change.add(_items(before[user]), -1)
            counted[user] = now[user]
            examples += len(_items(now[user] ^ before[user]))
        additions = {PAIRS: change.delta()} if examples else {}
        own = {COUNTED: counted.astype(np.float32)}
        return Trained({}, own, examples, int(bool(examples)), math.nan, additions)

    def scorer(self, model: State, private: Mapping[str, Array], history: History) -> Scorer:
        """Scores from everything in ``history``."""
        del private
        items = len(model[SOURCES])

        @cache
        def weights() -> Array:  # a device without a test never asks for it
            dense = np.zeros((items, items), np.float32)  # (I, I), target by source
            np.put_along_axis(dense, model[SOURCES].astype(np.int64), model[WEIGHTS], axis=1)
            return dense

        baskets = Baskets(history, self._settings.decay)

        def score(users: Ids) -> Array:
            contexts = baskets.everything(users)
            lengths = np.diff(np.append(contexts.offsets, len(contexts.items)))
            owned = np.zeros((len(users), items), np.float32)  # (B, I)
            owned[np.repeat(np.arange(len(users)), lengths), contexts.items] = contexts.weights
            exact = np.asarray(owned @ weights().T)  # (B, I)
            if ENTRANCES not in model:
                return exact
            rough = np.asarray(exact + (owned @ model[ENTRANCES]) @ model[EXITS].T, np.float32)
            return spectral.head_first(rough, exact, owned > 0, self._settings.head)

        return score


def solved(
    settings: GramModel, model: State, between: Callable[[], object] = lambda: None
) -> dict[str, Array]:
    """The sources of every item, their weights, and the projection, from the pairs.

    Args:
        settings: What the ridge is of; the number of sources is that of ``model``'s shapes.
        model: Its pairs are new.
        between: Called once in a while: solving takes longer than a leader may be silent.

    Raises:
        Unsolvable: The pairs are not those of anybody's items.
    """
    items, sources = model[SOURCES].shape
    weights = pairs.square(model[PAIRS][:, 0], items)  # (I, I), and in its place what it becomes
    projection = _projection(settings, model, weights, between)
    _ridge(weights, settings)
    _invert(weights, between)
    weights /= -np.diag(weights)[:, None].copy()  # by symmetry, row j for target j
    np.fill_diagonal(weights, 0.0)
    kept = _largest(weights, sources)  # (I, K)
    return {
        SOURCES: kept.astype(np.float32),
        WEIGHTS: np.take_along_axis(weights, kept, axis=1).astype(np.float32),
        **projection,
    }


def _projection(
    settings: GramModel, model: State, counts: Floats, between: Callable[[], object]
) -> dict[str, Array]:
    """What leads in and out, both (I, F); nothing where the model has no factors."""
    if ENTRANCES not in model:
        return {}
    entrances, exits = spectral.projection(
        counts,
        rank=model[ENTRANCES].shape[1],
        weight=settings.factor_weight,
        exponent=settings.factor_exponent,
        between=between,
    )
    return {ENTRANCES: entrances, EXITS: exits}


def _ridge(counts: Floats, settings: GramModel) -> None:
    """Add D to (I, I) counts."""
    diagonal = np.diag_indices(len(counts))
    counts[diagonal] *= 1 + settings.dropout / (1 - settings.dropout)
    counts[diagonal] += settings.l2


def _invert(matrix: Floats, between: Callable[[], object]) -> None:
    """Invert a symmetric positive definite (I, I) matrix in place, block by block.

    Gauss-Jordan elimination, which needs no pivoting where the matrix is positive definite (Golub
    and Van Loan 2013, section 4.2): for the rows and columns b of a block and all others o,
    A_bb <- A_bb^-1; A_bo <- A_bb A_bo; A_oo <- A_oo - A_ob A_bo; A_ob <- -A_ob A_bb.

    Raises:
        Unsolvable: It is not positive definite; what is left of one always is.
    """
    for b in _blocks(len(matrix)):
        pivot = _inverse(matrix[b, b])
        column = matrix[:, b].copy()
        column[b] = 0
        row = pivot @ matrix[b]
        for some in _blocks(len(matrix)):  # the whole product would be another (I, I)
            matrix[some] -= column[some] @ row
        matrix[:, b] = -column @ pivot
        matrix[b] = row
        matrix[b, b] = pivot
        between()


def _inverse(block: Floats) -> Floats:
    try:
        np.linalg.cholesky(block)
        return np.asarray(np.linalg.inv(block))
    except np.linalg.LinAlgError as error:
        raise Unsolvable("nobody's items make such pairs: not positive definite") from error


def _largest(weights: Floats, sources: int) -> Ids:
    """(I, K) columns of every row's largest, increasing.

    Of equally large weights, whichever the partition puts first: it depends on the values alone.
    """
    items = len(weights)
    kept = np.empty((items, sources), np.int64)
    for some in _blocks(items):
        order = np.argpartition(-np.abs(weights[some]), min(sources, items - 1), axis=1)
        kept[some] = np.sort(order[:, :sources], axis=1)
    return kept


def _blocks(items: int) -> Iterator[slice]:
    for start in range(0, items, BLOCK):
        yield slice(start, min(start + BLOCK, items))


def _words(history: History) -> Words:
    """(U, W) each user's set of items."""
    words = np.zeros((len(history.lengths), WORDS), np.uint16)
    user = np.repeat(np.arange(len(history.lengths)), history.lengths)
    bits = np.left_shift(1, history.items % BITS).astype(np.uint16)
    np.bitwise_or.at(words, (user, history.items // BITS), bits)
    return words


def _items(words: Words) -> Ids:
    """The items of one set (W,), increasing."""
    return np.flatnonzero(np.unpackbits(words.astype("<u2").view(np.uint8), bitorder="little"))
