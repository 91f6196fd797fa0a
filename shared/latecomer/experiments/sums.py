"""Sums over the users of one arm, which name nobody, and add up across sites.

Of every user u, y_u is a metric summed over what he was served, and x_u what it is divided by: 1,
or how often he was served.

U users of an arm.
"""

from math import isclose, sqrt
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Floats = npt.NDArray[np.float64]

#: Whatever is computed of smaller sums, a float holds.
LARGEST = 1e40

#: How far sums may be off by rounding, as a share of themselves.
ROUNDING = 1e-9

ADDED = ("x", "y", "xx", "xy", "yy", "size")


class Sums(BaseModel):
    """Sums as the module calls them: of x, y, and their products.

    Attributes:
        size: Of all |y|; that of y, where none is below 0.
        beyond: Whether any y was above its x; where none is that or below 0, it is a share of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    x: Annotated[FiniteFloat, Field(gt=0)]
    y: FiniteFloat
    xx: FiniteFloat
    xy: FiniteFloat
    yy: FiniteFloat
    size: FiniteFloat
    beyond: bool

    @classmethod
    def of(cls, x: Floats, y: Floats) -> Self:
        """Of (U,) users."""
        return cls(
            x=x.sum(),
            y=y.sum(),
            xx=x @ x,
            xy=x @ y,
            yy=y @ y,
            size=np.abs(y).sum(),
            beyond=bool((y > x).any()),
        )

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            **{name: getattr(self, name) + getattr(other, name) for name in ADDED},
            beyond=self.beyond or other.beyond,
        )

    @property
    def negative(self) -> bool:
        """Whether any y was below 0."""
        return not _at_most(self.size, self.y)

    @property
    def rest(self) -> "Sums":
        """The same of x - y for y, of a share: what it is not of."""
        return Sums(
            x=self.x,
            y=self.x - self.y,
            size=self.x - self.y,
            xx=self.xx,
            xy=self.xx - self.xy,
            yy=max(self.xx - 2 * self.xy + self.yy, 0.0),
            beyond=self.negative,
        )

    def can_be_of(self, users: int) -> bool:
        """Whether so many users can have such sums: x is at least 1, and Cauchy and Schwarz hold.

        Of any numbers v and w of the users, (sum v w)^2 is at most sum v^2 sum w^2.
        """
        return (
            max(abs(getattr(self, name)) for name in ADDED) <= LARGEST
            and _at_most(users, self.x)
            and _at_most(self.x, self.xx)
            and _at_most(self.x**2, users * self.xx)
            and _at_most(abs(self.y), self.size)
            and _at_most(self.size**2, users * self.yy)
            and _at_most(self.yy, self.size**2)
            and _at_most(self.xy**2, self.xx * self.yy)
            and (self.negative or self.xy >= 0)
            and (self.beyond or _at_most(self.y, self.x))
        )

    def are_per_user(self, users: int) -> bool:
        """Whether every x is 1."""
        ones = all(isclose(each, users, rel_tol=ROUNDING) for each in (self.x, self.xx))
        return ones and abs(self.xy - self.y) <= ROUNDING * sqrt(users * self.yy)


def _at_most(less: float, more: float) -> bool:
    return less <= more + ROUNDING * abs(more)
