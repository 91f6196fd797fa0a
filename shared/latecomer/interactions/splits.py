"""Holding out by time: each user's last interaction is the test, the one before it the validation.

U users, N interactions kept, everything in the order of ``Interactions``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from latecomer.interactions.schema import Interactions

#: Who has fewer interactions is trained on and not tested: nothing could be known of them.
MIN_TESTED = 5

#: What lies after a user's training history: validation, then test.
HELD_OUT = 2

Target = Literal["validation", "test"]


@dataclass(frozen=True)
class History:
    """What users did, as compressed sparse rows.

    Attributes:
        indptr: (U + 1,) user u's interactions are [indptr[u], indptr[u + 1]).
        items: (N,) rows in the catalogue.
        time_s: (N,) when; not decreasing within a user. Equal times have no order.
        spared: (U, S) items that are never negatives, -1 for none; see ``Split.leaking``. Else
            None: everything that a user does not have may be one.
    """

    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    time_s: npt.NDArray[np.float64]
    spared: npt.NDArray[np.int64] | None = None

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(U,) interactions per user."""
        return np.diff(self.indptr)

    @property
    def size(self) -> int:
        """N: interactions to learn from."""
        return len(self.items)

    @property
    def learners(self) -> npt.NDArray[np.bool_]:
        """(U,) of whom there is something to learn from."""
        return self.lengths > 0

    @property
    def user(self) -> npt.NDArray[np.int64]:
        """(N,) row of the user of each interaction."""
        return np.repeat(np.arange(len(self.indptr) - 1), self.lengths)

    def of_user(self, user: int) -> "History":
        """One user's alone."""
        start, end = self.indptr[user : user + 2]
        indptr = np.array([0, end - start], np.int64)
        spared = None if self.spared is None else self.spared[user : user + 1]
        return History(indptr, self.items[start:end], self.time_s[start:end], spared)

    def with_nobody(self, count: int) -> "History":
        """The same, and ``count`` users more who did nothing."""
        indptr = np.append(self.indptr, np.full(count, self.indptr[-1], np.int64))
        spared = self.spared
        if spared is not None:
            spared = np.concatenate([spared, np.full((count, spared.shape[1]), -1, np.int64)])
        return History(indptr, self.items, self.time_s, spared)


@dataclass(frozen=True)
class Split:
    """A temporal split. ``validation`` and ``test`` are (U,) items, -1 where a user has none."""

    train: History
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    _all: History

    @property
    def untested(self) -> int:
        """How many users are trained on and not tested: their histories are too short."""
        return int((self.test < 0).sum())

    def known(self, target: Target) -> History:
        """What is known when ``target`` is to be predicted: everything before it."""
        if target == "validation":
            return self.train
        return _first(self._all, self._all.lengths - (self.test >= 0))

    def everything(self) -> History:
        """All of it, to serve from."""
        return self._all

    def of_user(self, user: int) -> "Split":
        """What one user alone holds."""
        own = slice(user, user + 1)
        return Split(
            self.train.of_user(user),
            self.validation[own],
            self.test[own],
            self._all.of_user(user),
        )

    def without(self, users: npt.NDArray[np.bool_]) -> "Split":
        """The same users, and of these (U,) nothing that they did."""
        train = _first(self.train, np.where(users, 0, self.train.lengths))
        return Split(
            replace(train, spared=self.train.spared),
            np.where(users, -1, self.validation),
            np.where(users, -1, self.test),
            _first(self._all, np.where(users, 0, self._all.lengths)),
        )

    def rehearsed(self) -> "Split":
        """As it was before the tests: held out is what then was each tested user's last item.

        That is the validation item, also where a split keeps none: to choose by what is chosen
        once, and not learned.
        """
        before, tested = self.known("test"), self.test >= 0
        train = _first(before, before.lengths - tested)
        test = _from_the_end(before, 1, tested)
        return Split(train, np.full(len(test), -1, np.int64), test, before)

    def leaking(self) -> "Split":
        """What is held out is spared when negatives are drawn, and thereby given away.

        So do published samplers (Zhang et al. 2023, "Dual Personalization on Federated
        Recommendation", in its code): for tables beside their figures, and nothing else.
        """
        held_out = np.stack([self.validation, self.test], axis=1)
        return replace(self, train=replace(self.train, spared=held_out))

    @classmethod
    def pooled(cls, splits: Sequence["Split"]) -> "Split":
        """Everybody's users one after another, as if their data lay in one place."""
        return cls(
            _joined([each.train for each in splits]),
            np.concatenate([each.validation for each in splits]),
            np.concatenate([each.test for each in splits]),
            _joined([each.everything() for each in splits]),
        )


def temporal_split(
    interactions: Interactions, *, min_tested: int = MIN_TESTED, validation: bool = True
) -> Split:
    """Hold out the last two interactions of every user with enough of them.

    Args:
        interactions: Sorted by user, then time.
        min_tested: Who has fewer is trained on and not tested; more than what is held out.
        validation: Without, only the last interaction is held out, and the one before is trained
            on: for a final model whose settings were chosen before.

    Raises:
        ValueError: ``min_tested`` would leave somebody who is tested nothing to be trained on.
    """
    held_out = HELD_OUT if validation else 1
    if min_tested <= held_out:
        raise ValueError("who is tested needs something to be trained on")
    users = len(interactions.users)
    indptr = np.searchsorted(interactions.user, np.arange(users + 1)).astype(np.int64)
    everything = History(indptr, interactions.item, interactions.time_s)
    tested = everything.lengths >= min_tested
    train = _first(everything, everything.lengths - held_out * tested)
    nobody = np.zeros(users, dtype=bool)
    return Split(
        train,
        _from_the_end(everything, 2, tested if validation else nobody),
        _from_the_end(everything, 1, tested),
        everything,
    )


def _joined(histories: Sequence[History]) -> History:
    lengths = np.concatenate([each.lengths for each in histories])
    spared = [each.spared for each in histories if each.spared is not None]
    return History(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([each.items for each in histories]),
        np.concatenate([each.time_s for each in histories]),
        np.concatenate(spared) if spared else None,
    )


def _from_the_end(
    history: History, place: int, users: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """(U,) the ``place``-th last item of each of ``users``, -1 for the others."""
    items = np.full(len(users), -1, np.int64)
    items[users] = history.items[history.indptr[1:][users] - place]
    return items


def _first(history: History, counts: npt.NDArray[np.int64]) -> History:
    """The first ``counts[u]`` interactions of every user."""
    place = np.arange(len(history.items)) - history.indptr[history.user]
    kept = place < counts[history.user]
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return History(indptr, history.items[kept], history.time_s[kept])
