"""Which part of a data set is whose: by region, by shard, by cohort.

A real data owner's file is his own and needs no selection; scenes that spread one public data set
over several workers do.
"""

from typing import Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from latecomer.errors import BadData, NobodyLeft
from latecomer.interactions import lots

_PART = r"^[1-9][0-9]*/[1-9][0-9]*$"


class Divisible(Protocol):
    """Data of users, each of a region; in order of their debut."""

    @property
    def users(self) -> tuple[str, ...]:
        """(U,) user ids."""
        ...

    @property
    def regions(self) -> tuple[str, ...]:
        """(U,) the region of each."""
        ...

    def of_users(self, keep: npt.NDArray[np.bool_]) -> Self:
        """Only the users with ``keep[u]``."""
        ...


Part = TypeVar("Part", bound=Divisible)


class Selection(BaseModel):
    """Users that satisfy every given condition.

    Attributes:
        regions: Users of these regions.
        except_regions: Users of any region but these.
        shard: ``"2/6"``: the second of six parts by a hash of the user id, alike on any machine.
        cohort: ``"1/3"``: the first of three parts of the users in order of their debut, their
            first interaction. Who came early bought other things than who came late: an uneven
            split by nature.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    regions: tuple[str, ...] | None = None
    except_regions: tuple[str, ...] | None = None
    shard: str | None = Field(None, pattern=_PART)
    cohort: str | None = Field(None, pattern=_PART)

    def takes(self, region: str) -> bool:
        """Whether users of a region may be selected."""
        return (self.regions is None or region in self.regions) and (
            self.except_regions is None or region not in self.except_regions
        )


def select(everything: Part, selection: Selection) -> Part:
    """The selected users' data.

    Raises:
        BadData: As ``selected``.
    """
    return everything.of_users(selected(everything, selection))


def selected(everything: Divisible, selection: Selection) -> npt.NDArray[np.bool_]:
    """(U,) who is selected.

    Raises:
        NobodyLeft: Nobody is selected.
        BadData: A shard or cohort is out of range.
    """
    everyone = len(everything.users)
    keep = np.ones(everyone, dtype=bool)
    regions = np.array(everything.regions, dtype=object)
    if selection.regions is not None:
        keep &= np.isin(regions, np.array(selection.regions, dtype=object))
    if selection.except_regions is not None:
        keep &= ~np.isin(regions, np.array(selection.except_regions, dtype=object))
    if selection.shard is not None:
        part, parts = _part(selection.shard)
        keep &= np.array([lots.part(user, parts) == part - 1 for user in everything.users])
    if selection.cohort is not None:
        keep &= _cohort(everyone, *_part(selection.cohort))
    if not keep.any():
        raise NobodyLeft(
            f"no user is left by {selection.model_dump(exclude_none=True)}",
            hint=f"there are {everyone} users, {_where(everything)}",
        )
    return keep


def _where(everything: Divisible) -> str:
    regions = sorted({region for region in everything.regions if region})
    return f"of regions {', '.join(regions)}" if regions else "of no region: no column is mapped"


def _part(text: str) -> tuple[int, int]:
    part, parts = (int(each) for each in text.split("/"))
    if part > parts:
        raise BadData(f"there is no part {part} of {parts}", hint="parts are 1/n to n/n")
    return part, parts


def _cohort(users: int, part: int, parts: int) -> npt.NDArray[np.bool_]:
    """Users are numbered in order of their first interaction, so a cohort is a range."""
    rows = np.arange(users)
    return (rows >= users * (part - 1) // parts) & (rows < users * part // parts)
