"""A history grouped by basket: everything that one user did at one time, without an order inside.

The lines of an invoice, the clicks of one page view and the prescriptions of one visit share a
timestamp; their order in a file says how it was printed. Whatever is built here does not depend on
it.

U users, N interactions, G baskets, B contexts, M items of all contexts, T targets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latecomer.interactions.negatives import ranges
from latecomer.interactions.splits import History

Items = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Contexts:
    """What is known of some users, as bags of items weighted by how long ago their basket was.

    Attributes:
        users: (B,) rows of the users; one may appear several times.
        items: (M,) bag after bag.
        weights: (M,) (1 + baskets ago)^-decay.
        offsets: (B,) where each bag starts.
        totals: (B,) sum of each bag's weights.
    """

    users: Items
    items: Items
    weights: Weights
    offsets: Items
    totals: Weights


@dataclass(frozen=True)
class Targets:
    """What a batch learns to rank first.

    Attributes:
        context: (T,) place of its context in the batch.
        item: (T,)
        own_weight: (T,) what the target itself weighs in its context, and must be taken out.
    """

    context: Items
    item: Items
    own_weight: Weights


class Baskets:
    """A history's baskets, with ``decay``: how fast older baskets lose weight."""

    def __init__(self, history: History, decay: float) -> None:
        self._history = history
        self._decay = decay
        user, time_s = history.user, history.time_s
        first = np.ones(len(user), dtype=bool)
        first[1:] = (user[1:] != user[:-1]) | (time_s[1:] != time_s[:-1])
        #: (N,) number of the basket of each interaction.
        self.of = np.cumsum(first) - 1
        #: (G + 1,) where each basket starts.
        self._starts = np.append(np.flatnonzero(first), len(user)).astype(np.int64)

    def everything(self, users: Items) -> Contexts:
        """All that is known of ``users`` (B,), to score from."""
        return self._contexts(users, self._history.indptr[users + 1])

    def batches(
        self, *, contexts: int, targets: int, rng: np.random.Generator
    ) -> Iterator[tuple[Contexts, Targets]]:
        """One pass over the users in random order, ``contexts`` of them per batch.

        For each, a random interaction picks a basket; up to ``targets`` items of it are targets,
        and the context is all up to and including that basket, less the target. A target that is
        alone in its basket is predicted from the baskets before.
        """
        lengths = self._history.lengths
        users = rng.permutation(np.flatnonzero(lengths >= 2))  # noqa: PLR2004 - a target and something known
        for start in range(0, len(users), contexts):
            chosen = users[start : start + contexts]
            at = self._history.indptr[chosen] + (rng.random(len(chosen)) * lengths[chosen]).astype(
                np.int64
            )
            basket = self.of[at]
            size = self._starts[basket + 1] - self._starts[basket]
            useful = (size > 1) | (self._starts[basket] > self._history.indptr[chosen])
            if useful.any():
                yield self._batch(chosen[useful], basket[useful], targets, rng)

    def _batch(
        self, users: Items, basket: Items, targets: int, rng: np.random.Generator
    ) -> tuple[Contexts, Targets]:
        starts, ends = self._starts[basket], self._starts[basket + 1]
        sizes = ends - starts
        alone = sizes == 1
        counts = np.minimum(sizes, targets)
        context = np.repeat(np.arange(len(users)), counts)
        # A run around the basket from a random place: every item is equally likely to be in it.
        place = (rng.random(len(users)) * sizes).astype(np.int64)[context]
        run = ranges(np.zeros_like(counts), counts)
        item = self._history.items[starts[context] + (place + run) % sizes[context]]
        own_weight = (~alone).astype(np.float32)[context]
        known_until = np.where(alone, starts, ends)
        return self._contexts(users, known_until), Targets(context, item, own_weight)

    def _contexts(self, users: Items, ends: Items) -> Contexts:
        """The history of each user up to ``ends``."""
        starts = self._history.indptr[users]
        lengths = ends - starts
        at = ranges(starts, lengths)
        newest = np.repeat(self.of[np.maximum(ends - 1, 0)], lengths) if len(at) else at
        ago = newest - self.of[at]
        weights = ((1.0 + ago) ** -self._decay).astype(np.float32)
        offsets = np.cumsum(lengths) - lengths
        totals = np.zeros(len(users), np.float32)
        np.add.at(totals, np.repeat(np.arange(len(users)), lengths), weights)
        return Contexts(users, self._history.items[at], weights, offsets, totals)
