"""Interactions as columns, the catalogue they refer to, and an honest report of what was unusable.

N interactions, U users, I items, E edges between users.
"""

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from latecomer.errors import BadData
from latecomer.interactions import tables

#: Examples kept per reason: enough to find the cause, not enough to fill a log.
EXAMPLES_PER_REASON = 3


class Columns(BaseModel):
    """Which column of a source means what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    item: str
    time: str
    region: str | None = None

    def mapped(self) -> dict[str, str]:
        """Meaning -> column, of those that are mapped."""
        return {meaning: name for meaning, name in self if name is not None}


@dataclass(frozen=True)
class Catalogue:
    """The items that a federation agreed on: an item's row in every table is its place here."""

    items: tuple[str, ...]
    descriptions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Item id -> row."""
        return {item: row for row, item in enumerate(self.items)}

    def to_bytes(self) -> bytes:
        """Canonical JSON, as published with version 0."""
        body = {"items": self.items, "descriptions": self.descriptions}
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Catalogue":
        """Inverse of ``to_bytes``."""
        body = json.loads(data)
        return cls(tuple(body["items"]), tuple(body["descriptions"]))

    def row(self, item: str) -> int:
        """The row of an item.

        Raises:
            BadData: It is not in the catalogue; the hint names the closest that is.
        """
        if item not in self.rows:
            close = difflib.get_close_matches(item, self.items, n=1)
            raise BadData(
                f"item {item!r} is not among the {len(self)} items of the catalogue",
                hint=f"did you mean {close[0]!r}?" if close else "",
            )
        return self.rows[item]

    @classmethod
    def read(cls, path: Path, *, delimiter: str = ",") -> "Catalogue":
        """A CSV file with the columns ``item`` and ``description``.

        Raises:
            BadData: The file cannot be read, lacks a column, is empty, lists an item twice, or has
                a line without an item or with a value too many.
        """
        columns = {"item": "item", "description": "description"}
        table = tables.read(path, columns, delimiter=delimiter)
        items, descriptions = (
            tuple(str(value or "").strip() for value in table.values[name])
            for name in ("item", "description")
        )
        if not items:
            raise BadData(f"{path} lists no items")
        if table.surplus:
            place, what = next(iter(table.surplus.items()))
            raise BadData(
                f"{path} has {what} on line {table.lines[place]}",
                hint="put a description that has a delimiter in it into quotes",
            )
        if "" in items:
            raise BadData(f"{path} has no item on line {table.lines[items.index('')]}")
        twice = [item for item, count in Counter(items).items() if count > 1]
        if twice:
            raise BadData(f"{path} lists item {tables.excerpt(twice[0])!r} twice")
        return cls(items, descriptions)


@dataclass
class Report:
    """How many rows were read and kept, and why the others were not.

    After loading, ``read`` is ``kept`` plus all counts of ``reasons``. ``blanked`` counts values of
    kept rows that were taken as missing, ``warnings`` are of kept rows that may not be what they
    seem, or are nobody's. What an example shows ends at a ``delimiter``.
    """

    source: str
    read: int = 0
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    blanked: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    delimiter: str = ","
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, table: tables.Table, source: str) -> "Report":
        """Of what was read and is not judged yet."""
        return cls(
            source,
            read=len(table.lines),
            delimiter=table.delimiter,
            warnings=list(table.warnings),
        )

    def drop(self, reason: str, line: int, value: str) -> None:
        """Count a row, and keep the first few of each reason to look at.

        Examples end up in logs: ``value`` says what was wrong, never who did it.
        """
        self.reasons[reason] += 1
        self._show(reason, line, value)

    def blank(self, field: str, line: int, value: str) -> None:
        """Count a value that its field does not allow."""
        self.blanked[field] += 1
        self._show(field, line, value)

    def _show(self, why: str, line: int, value: str) -> None:
        shown = self.examples.setdefault(why, [])
        if len(shown) < EXAMPLES_PER_REASON:
            shown.append(f"line {line}: {tables.excerpt(value, self.delimiter)!r}")

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "source": self.source,
            "read": self.read,
            "kept": self.kept,
            "dropped": dict(self.reasons),
            **({"taken_as_missing": dict(self.blanked)} if self.blanked else {}),
            "examples": self.examples,
            **({"warnings": self.warnings} if self.warnings else {}),
        }

    @property
    def complete(self) -> bool:
        """Whether everything that was read counts as it is."""
        return not self.reasons and not self.blanked and not self.warnings

    def summary(self) -> str:
        """One line: rows kept, rows dropped for which reason, what they lack, and all warnings."""
        rows = ", ".join([f"{self.kept} of {self.read} rows kept", *self._counted(self.reasons)])
        blanked = ", ".join(self._counted(self.blanked))
        missing = [f"taken as missing: {blanked}"] if blanked else []
        return "; ".join([rows, *missing, *self.warnings])

    def _counted(self, counts: Counter[str]) -> list[str]:
        return [f"{count} {why} ({self.examples[why][0]})" for why, count in counts.most_common()]

    def __str__(self) -> str:
        """A table for people: a reason on each line, the most frequent first, with examples."""
        rows = [
            f"  {count:>9,}  {reason:<18}  {'; '.join(self.examples[reason])}"
            for reason, count in self.reasons.most_common()
        ]
        kept = f"  {self.kept:>9,}  kept"
        return "\n".join([f"{self.source}: {self.read:,} rows read", kept, *rows])


@dataclass(frozen=True)
class Interactions:
    """Who did what when, sorted by user, then time, then by lot, unless a source knows better.

    The lines of one invoice have one timestamp: a model that learned their order, in the file or in
    the catalogue, would have learned how invoices are printed or items numbered.

    Attributes:
        users: (U,) user ids, in order of their first interaction, ties by id.
        regions: (U,) the region of each user's first interaction; empty where none is mapped.
        user: (N,) row of the user.
        item: (N,) row of the item in the catalogue.
        time_s: (N,) seconds since the Unix epoch.
        edges: (E, 2) rows of a user and of somebody he follows, trusts or befriends, sorted.
        given: (U, C) rows of the negatives that were published with each user's test item, -1 where
            there are fewer; or None.
    """

    users: tuple[str, ...]
    regions: tuple[str, ...]
    user: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    time_s: npt.NDArray[np.float64]
    edges: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    given: npt.NDArray[np.int64] | None = None

    def related(self, pairs: Iterable[tuple[str, str]]) -> "Interactions":
        """With these relations, each once; who did nothing here is unknown, and left out."""
        rows = {user: row for row, user in enumerate(self.users)}
        known = {
            (rows[user], rows[other])
            for user, other in pairs
            if user != other and user in rows and other in rows
        }
        return replace(self, edges=np.array(sorted(known), np.int64).reshape(-1, 2))

    def with_negatives(self, published: Mapping[str, Sequence[int]]) -> "Interactions":
        """With each user's ``published`` negatives, rows of the catalogue."""
        most = max((len(items) for items in published.values()), default=0)
        given = np.full((len(self.users), most), -1, np.int64)
        for row, user in enumerate(self.users):
            items = published.get(user, ())
            given[row, : len(items)] = items
        return replace(self, given=given)

    def of_users(self, keep: npt.NDArray[np.bool_]) -> "Interactions":
        """Only the users with ``keep[u]`` and what relates two of them; rows are numbered anew."""
        renumbered = np.cumsum(keep) - 1
        mask = keep[self.user]
        return Interactions(
            tuple(user for user, kept in zip(self.users, keep, strict=True) if kept),
            tuple(region for region, kept in zip(self.regions, keep, strict=True) if kept),
            renumbered[self.user[mask]],
            self.item[mask],
            self.time_s[mask],
            renumbered[self.edges[keep[self.edges].all(axis=1)]],
            None if self.given is None else self.given[keep],
        )
