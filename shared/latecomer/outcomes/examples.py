"""Examples as inputs and outcomes, which of them are whose, and what of them is held out.

N examples, D inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latecomer.interactions.splits import Target
from latecomer.tensors import Array

Ids = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int64]

#: The outcome of an example whose outcome is not to be known.
UNKNOWN = -1


@dataclass(frozen=True)
class Examples:
    """What is known of some examples.

    Attributes:
        inputs: (N, D), see ``fields``.
        labels: (N,) 1 where something came of it, 0 where nothing did, ``UNKNOWN`` where held out.
    """

    inputs: Array
    labels: Labels

    @property
    def size(self) -> int:
        """Examples to learn from."""
        return int(self.learners.sum())

    @property
    def learners(self) -> npt.NDArray[np.bool_]:
        """(N,) which are there to learn from."""
        return np.asarray(self.labels != UNKNOWN)

    @property
    def known(self) -> "Examples":
        """Those to learn from alone."""
        return self[self.learners]

    def __getitem__(self, rows: npt.NDArray[np.bool_] | Ids | slice) -> "Examples":
        return Examples(self.inputs[rows], self.labels[rows])


@dataclass(frozen=True)
class Cohort:
    """All that an owner's source says.

    Attributes:
        users: (N,) ids of the examples.
        regions: (N,) where each comes from; empty where no column says so.
        groups: (N,) what must not be divided by a split: the examples of one patient.
        examples: Their inputs and outcomes, none unknown.
    """

    users: tuple[str, ...]
    regions: tuple[str, ...]
    groups: tuple[str, ...]
    examples: Examples

    def of_users(self, keep: npt.NDArray[np.bool_]) -> "Cohort":
        """Only the examples with ``keep[n]``."""
        users, regions, groups = (
            tuple(each for each, kept in zip(every, keep, strict=True) if kept)
            for every in (self.users, self.regions, self.groups)
        )
        return Cohort(users, regions, groups, self.examples[keep])


@dataclass(frozen=True)
class OutcomeSplit:
    """Examples of which some are held out. All arrays have one entry per example.

    Attributes:
        validation, test: (N,) held-out outcomes, ``UNKNOWN`` where an example is not in it.
    """

    validation: Labels
    test: Labels
    _all: Examples

    @property
    def train(self) -> Examples:
        """Everything, with the outcomes of validation and test unknown."""
        held_out = (self.validation != UNKNOWN) | (self.test != UNKNOWN)
        return Examples(self._all.inputs, np.where(held_out, UNKNOWN, self._all.labels))

    def known(self, target: Target) -> Examples:
        """What is known when ``target`` is to be predicted: a test hides its own outcomes only."""
        if target == "validation":
            return self.train
        return Examples(self._all.inputs, np.where(self.test != UNKNOWN, UNKNOWN, self._all.labels))

    def everything(self) -> Examples:
        """All of it, to serve from."""
        return self._all

    def of_user(self, user: int) -> "OutcomeSplit":
        """One example alone."""
        own = slice(user, user + 1)
        return OutcomeSplit(self.validation[own], self.test[own], self._all[own])

    def without(self, users: npt.NDArray[np.bool_]) -> "OutcomeSplit":
        """The same examples, and of these (N,) no outcome."""
        return OutcomeSplit(
            np.where(users, UNKNOWN, self.validation),
            np.where(users, UNKNOWN, self.test),
            Examples(self._all.inputs, np.where(users, UNKNOWN, self._all.labels)),
        )

    @classmethod
    def pooled(cls, splits: Sequence["OutcomeSplit"]) -> "OutcomeSplit":
        """Everybody's examples one after another, as if they lay in one place."""
        everything = [each.everything() for each in splits]
        return cls(
            np.concatenate([each.validation for each in splits]),
            np.concatenate([each.test for each in splits]),
            Examples(
                np.concatenate([each.inputs for each in everything]),
                np.concatenate([each.labels for each in everything]),
            ),
        )
