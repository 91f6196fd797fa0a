"""A data owner's side of the federation: users, their interactions, and what is held out."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from latecomer.interactions.splits import Split


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
    """

    users: tuple[str, ...]
    regions: tuple[str, ...]
    split: Split
    catalogue: str
    edges: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    given: npt.NDArray[np.int64] | None = None

    def of_user(self, row: int) -> "Site":
        """What one of the users alone holds: nobody else is known there."""
        own = slice(row, row + 1)
        return Site(
            self.users[own],
            self.regions[own],
            self.split.of_user(row),
            self.catalogue,
            given=None if self.given is None else self.given[own],
        )

    @property
    def tested(self) -> npt.NDArray[np.int64]:
        """Rows of the users with a held-out item."""
        return np.flatnonzero(self.split.test >= 0)
