"""Histories as sequences of groups: what was done together stands at one place, without an order.

A group is a basket. To learn from, each basket of two or more items is cut in two at random, as
if one part had been done before the other: so the rest of a basket can be predicted from its
beginning, and the order in which an invoice was printed is never learned.

U users, B sequences, L places of a sequence, G groups of all sequences, M items of all groups.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latecomer.interactions.baskets import Baskets
from latecomer.interactions.negatives import of_users, ranges
from latecomer.interactions.splits import History

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sequences:
    """Groups one after another, sequence after sequence, oldest first.

    Attributes:
        users: (B,) rows of the users.
        lengths: (B,) groups of each sequence.
        items: (M,) group after group.
        offsets: (G,) where each group starts in ``items``.
    """

    users: Ids
    lengths: Ids
    items: Ids
    offsets: Ids

    @property
    def sequence(self) -> Ids:
        """(G,) the sequence of each group."""
        return np.repeat(np.arange(len(self.users)), self.lengths)

    @property
    def place(self) -> Ids:
        """(G,) how many groups of its sequence are before each."""
        return ranges(np.zeros_like(self.lengths), self.lengths)

    def next_items(self, rng: np.random.Generator) -> Ids:
        """(G,) an item of the group after each, at random; -1 after the last of a sequence."""
        sizes = np.diff(np.append(self.offsets, len(self.items)))
        drawn = self.items[self.offsets + (rng.random(len(sizes)) * sizes).astype(np.int64)]
        found = np.append(drawn[1:], -1)[: len(drawn)]
        found[np.cumsum(self.lengths)[self.lengths > 0] - 1] = -1
        return np.asarray(found)

    def without_last(self) -> "Sequences":
        """Each sequence less its last group, which nothing comes after."""
        kept = self.place < self.lengths[self.sequence] - 1
        sizes = np.diff(np.append(self.offsets, len(self.items)))
        offsets = np.cumsum(sizes[kept]) - sizes[kept]
        return Sequences(self.users, self.lengths - 1, self.items[np.repeat(kept, sizes)], offsets)


def everything(history: History, users: Ids, length: int) -> Sequences:
    """The last ``length`` baskets of ``users`` (B,), to score from."""
    at, user = of_users(history.indptr, users)
    basket = Baskets(history, decay=0.0).of[at]
    return _window(history, users, at, user, basket, length, None)


def cut(history: History, users: Ids, length: int, rng: np.random.Generator) -> Sequences:
    """Up to ``length`` consecutive groups of each of ``users`` (B,), from a random place."""
    at, user = of_users(history.indptr, users)
    basket = Baskets(history, decay=0.0).of[at]
    shuffled = np.lexsort((rng.random(len(at)), basket, user))
    at, basket = at[shuffled], basket[shuffled]
    first = _starts(basket, user)
    sizes = np.diff(np.append(first, len(at)))
    # Between 1 and size - 1 items come first; the rest is a group of its own.
    before = 1 + (rng.random(len(sizes)) * (sizes - 1)).astype(np.int64)
    second = ranges(np.zeros_like(sizes), sizes) >= np.repeat(before, sizes)
    return _window(history, users, at, user, 2 * basket + second, length, rng)


def _starts(group: Ids, user: Ids) -> Ids:
    """(G,) where another group begins."""
    first = np.ones(len(group), dtype=bool)
    first[1:] = (group[1:] != group[:-1]) | (user[1:] != user[:-1])
    return np.flatnonzero(first)


def _window(
    history: History,
    users: Ids,
    at: Ids,
    user: Ids,
    group: Ids,
    length: int,
    rng: np.random.Generator | None,
) -> Sequences:
    """Of every user ``length`` groups: the last, or with ``rng`` from a random place."""
    starts = _starts(group, user)
    sizes = np.diff(np.append(starts, len(at)))
    counts = np.bincount(user[starts], minlength=len(users))
    spare = np.maximum(counts - length, 0)
    skipped = spare if rng is None else (rng.random(len(users)) * (spare + 1)).astype(np.int64)
    lengths = np.minimum(counts, length)
    kept = ranges(np.cumsum(counts) - counts + skipped, lengths)
    own = ranges(starts[kept], sizes[kept])
    offsets = np.cumsum(sizes[kept]) - sizes[kept]
    return Sequences(users, lengths, history.items[at[own]], offsets)
