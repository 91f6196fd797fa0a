"""The log of an experiment at one site: a row for everything that somebody was served.

R rows that can be used, U users.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from latecomer.errors import BadConfiguration, BadData
from latecomer.experiments.sums import Floats
from latecomer.interactions import tables
from latecomer.interactions.schema import Report
from latecomer.interactions.tables import MISSING_IDS, Table

#: What columns mean, beside the metrics.
USER, ARM = "user", "arm"

TRUE_AND_FALSE = {"true": 1.0, "false": 0.0}

#: What files say where a metric has no value, in capitals.
NO_VALUE = frozenset(each.upper() for each in MISSING_IDS) | {"NA", "N/A"}

#: More than anybody pays; the squares of larger ones, added up, are no numbers in the end.
LARGEST = 1e12

#: What to do where no row can be used, by what is wrong with the first.
REMEDIES = {
    "missing_user": "does --user name the column that tells who was served?",
    "not_a_number": "a metric is a column of numbers: 1 for a click and 0 for none, what was paid",
    "too_many_values": "is the --delimiter right?",
}


#: Whose it is, and the value of each metric.
_Row = tuple[str, Sequence[float]]


@dataclass(frozen=True)
class Log:
    """The rows that can be used.

    Attributes:
        path: Where they are.
        lines: (R,) where a person finds each.
        users: (U,) sorted: rows come in any order, and sums of floats depend on it.
        user: (R,) whose row it is, as a place among the users.
        values: (R, metrics).
        arms: (R,) whose recommendations were served; empty where the log does not say.
    """

    path: Path
    lines: Sequence[int]
    users: Sequence[str]
    user: npt.NDArray[np.intp]
    values: Floats
    arms: Sequence[str]

    @classmethod
    def read(
        cls, path: Path, *, user: str, metrics: Sequence[str], arm: str | None, delimiter: str
    ) -> tuple[Self, Report]:
        """A log, and how many of its rows cannot be used.

        A row without a user is dropped and counted as ``missing_user``; without a number for each
        metric as ``not_a_number``; with more values than there are columns as ``too_many_values``.
        One without a value is refused: to drop it would be to choose by what came of it.

        Args:
            path: CSV or Parquet, as ``tables.read`` reads it.
            user: The column that tells who was served.
            metrics: Columns of numbers, or of true and false.
            arm: The column that tells which arm's recommendations were served, if there is one.
            delimiter: Of CSV files.

        Raises:
            BadConfiguration: A metric is a column that means something else.
            BadData: The file cannot be read, lacks a column or a value, or has no row of use.
        """
        told = {USER: user} if arm is None else {USER: user, ARM: arm}
        _check_metrics(metrics, told)
        columns = {f"metric {name}": name for name in metrics}
        table = tables.read(path, told | columns, delimiter=delimiter)
        tables.check_rows(path, table)
        tables.check_ids(path, user, table.values[USER])
        report = Report.of(table, path.name)
        return cls._of(path, table, _usable(table, columns, path, report)), report

    @classmethod
    def _of(cls, path: Path, table: Table, kept: Mapping[int, _Row]) -> Self:
        """Of rows, by their places in the table."""
        whose = [user for user, _ in kept.values()]
        users = sorted(set(whose))
        place = {user: at for at, user in enumerate(users)}
        return cls(
            path,
            lines=[table.lines[row] for row in kept],
            users=users,
            user=np.array([place[each] for each in whose], np.intp),
            values=np.array([values for _, values in kept.values()], np.float64),
            arms=[tables.text(table.values[ARM][row]) for row in kept if ARM in table.values],
        )

    def times_served(self) -> Floats:
        """(U,) how many rows everybody has."""
        return np.bincount(self.user).astype(np.float64)

    def added_up(self) -> Iterator[Floats]:
        """Of each metric (U,) everybody's values, summed in an order that is not that of rows."""
        for values in self.values.T:
            order = np.lexsort((values, self.user))
            yield np.bincount(self.user[order], values[order]).astype(np.float64)


def _check_metrics(metrics: Sequence[str], told: Mapping[str, str]) -> None:
    for meaning, column in told.items():
        if column in metrics:
            raise BadConfiguration(
                f"column {column!r} cannot be a metric: it tells the {meaning}",
                hint="a metric is a column of numbers that say what came of it",
            )


def _usable(
    table: Table, metrics: Mapping[str, str], path: Path, report: Report
) -> Mapping[int, _Row]:
    """Every row that can be used, by its place in the table."""
    kept = {}
    for row, line in enumerate(table.lines):
        user = tables.text(table.values[USER][row])
        if row in table.surplus:
            report.drop("too_many_values", line, table.surplus[row])
        elif user in MISSING_IDS:
            report.drop("missing_user", line, user)
        else:
            said = {name: tables.text(table.values[of][row]) for of, name in metrics.items()}
            values = [_number(each, name, path, line) for name, each in said.items()]
            wrong = [
                each for each, value in zip(said.values(), values, strict=True) if isnan(value)
            ]
            if wrong:
                report.drop("not_a_number", line, wrong[0])
            else:
                kept[row] = (user, values)
    report.kept = len(kept)
    if not kept:
        raise _useless(path, report)
    return kept


def _number(text: str, metric: str, path: Path, line: int) -> float:
    """A value of a metric, NaN where it is no number.

    Raises:
        BadData: There is none, or one that somebody meant otherwise than it would count.
    """
    number = _parsed(text)
    if text.upper() in NO_VALUE:
        what, hint = "no value", "write 0 where nothing came of it, or leave the row out"
    elif "," in text and any(isfinite(_parsed(text.replace(",", by))) for by in (".", "")):
        what, hint = tables.excerpt(text), "write a point, and nothing between thousands: 1234.50"
    elif abs(number) > LARGEST:
        what, hint = tables.excerpt(text), f"sums hold {LARGEST:.0e}; is it in another unit?"
    else:
        return number
    raise BadData(f"column {metric!r} has {what} on line {line} of {path}", hint=hint)


def _parsed(text: str) -> float:
    known = TRUE_AND_FALSE.get(text.lower())
    try:
        number = float(text) if known is None else known
    except ValueError:
        return nan
    return number if isfinite(number) else nan


def _useless(path: Path, report: Report) -> BadData:
    first = next(iter(report.examples))
    return BadData(
        f"no row of {path} can be used: {report.summary()}",
        hint=f"{report.examples[first][0]}: {REMEDIES[first]}",
    )
