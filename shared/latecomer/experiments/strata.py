"""The users of an experiment, site by site: who shops where was never drawn by lot, arms were.

Compared site by site, arms differ by what was drawn, and not by how different the sites are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Literal

from latecomer.experiments.assignment import Arm
from latecomer.experiments.sums import Sums


@dataclass(frozen=True)
class Stratum:
    """One site: how many users its arms have, and the sums of a metric over them."""

    users: Mapping[Arm, int]
    sums: Mapping[Arm, Sums]

    @property
    def both(self) -> Sums:
        """The sums over everybody."""
        return self.sums["control"] + self.sums["treatment"]


@dataclass(frozen=True)
class Strata:
    """One or several sites, s.

    Attributes:
        sites: (s,).
        shared_ids: Whether a person may be a user of several.
    """

    sites: Sequence[Stratum]
    shared_ids: bool = False

    @property
    def weights(self) -> list[float]:
        """(s,) each site's part of all users."""
        users = [sum(each.users.values()) for each in self.sites]
        return [each / sum(users) for each in users]

    def mean(self, arm: Arm, what: Literal["x", "y"]) -> float:
        """Over the users of an arm, every site having its weight."""
        means: list[float] = [
            getattr(each.sums[arm], what) / each.users[arm] for each in self.sites
        ]
        return sum(weight * mean for weight, mean in zip(self.weights, means, strict=True))

    def together(self, norms: Iterable[float]) -> float:
        """Of (s,) errors, or other roots of sums of squares over users, that over all sites.

        Of other people at each, squares add up. Who shops at several sites may do the same at all:
        then the roots add up at most (Minkowski), and are taken to.
        """
        return sum(norms) if self.shared_ids else hypot(*norms)
