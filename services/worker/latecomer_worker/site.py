"""A data owner's side of the federation: users, their interactions, and what is held out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from latecomer.evaluation.ranking import Ids
from latecomer.interactions.splits import Target


class Split(Protocol):
    """What is trained on and what is held out; histories are whatever the family learns from."""

    @property
    def train(self) -> Any:
        """What is trained on."""
        ...

    @property
    def validation(self) -> npt.NDArray[np.int64]:
        """(U,) what is held out of each user to choose by, -1 for nothing."""
        ...

    @property
    def test(self) -> npt.NDArray[np.int64]:
        """(U,) what is held out of each user to judge by, -1 for nothing."""
        ...

    def known(self, target: Target) -> Any:
        """What is known when ``target`` is to be predicted."""
        ...

    def everything(self) -> Any:
        """All of it, to serve from."""
        ...

    def of_user(self, user: int) -> Self:
        """What one user alone holds."""
        ...

    def without(self, users: npt.NDArray[np.bool_]) -> Self:
        """The same users, and of these (U,) nothing that they did."""
        ...

    @classmethod
    def pooled(cls, splits: Sequence[Any]) -> Self:
        """Everybody's users one after another, as if their data lay in one place."""
        ...


@dataclass(frozen=True)
class Site:
    """One worker's data. U users, E edges between them.

    Attributes:
        users: (U,) user ids.
        regions: (U,) the region that each user is reported under.
        split: What is trained on, and what is held out.
        catalogue: Digest of the catalogue that item rows refer to.
        edges: (E, 2) rows of a user and of a friend at the same site, sorted; never sent.
        given: (U, C) published negatives of each user's test item, -1 where there are fewer.
        elsewhere: (U,) who is tested at another site of one scene, and therefore not here; None
            for nobody. Real owners do not know whom they share.
        groups: (U,) who is behind each example, where several are of one: they are held out, and
            drawn for intervals, together. None where everybody is one of his own.
    """

    users: tuple[str, ...]
    regions: tuple[str, ...]
    split: Split
    catalogue: str
    edges: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    given: npt.NDArray[np.int64] | None = None
    elsewhere: npt.NDArray[np.bool_] | None = None
    groups: tuple[str, ...] | None = None

    def of_user(self, row: int) -> "Site":
        """What one of the users alone holds: nobody else is known there."""
        own = slice(row, row + 1)
        return Site(
            self.users[own],
            self.regions[own],
            self.split.of_user(row),
            self.catalogue,
            given=None if self.given is None else self.given[own],
            elsewhere=None if self.elsewhere is None else self.elsewhere[own],
            groups=None if self.groups is None else self.groups[own],
        )

    def asked(self, target: Target) -> npt.NDArray[np.int64]:
        """(U,) what is held out of each user who is tested here, -1 for nothing."""
        held_out = self.split.validation if target == "validation" else self.split.test
        return held_out if self.elsewhere is None else np.where(self.elsewhere, -1, held_out)

    @property
    def tested(self) -> npt.NDArray[np.int64]:
        """Rows of the users who are tested here."""
        return np.flatnonzero(self.asked("test") >= 0)

    @property
    def people(self) -> int:
        """How many people are trained on; one, where several examples are of one."""
        names = np.array(self.groups or self.users, dtype=object)
        return len({*names[self.split.train.learners]})


def together(sites: Sequence[Site], places: Ids | slice = slice(None)) -> Ids | None:
    """Which group each of everybody's users is of, or those at ``places``; None without groups.

    Who is behind examples of several sites is one and the same at all of them.
    """
    if not any(site.groups for site in sites):
        return None
    names = [name for site in sites for name in site.groups or site.users]
    return np.asarray(np.unique(names, return_inverse=True)[1][places], np.int64)
