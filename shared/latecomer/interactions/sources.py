"""Reading interactions: mapped, checked row by row, put in order, and accounted for.

R rows of a source, K usable ones, U users, I items.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from latecomer.errors import BadData
from latecomer.interactions import lots, tables, times
from latecomer.interactions.schema import Catalogue, Columns, Interactions, Report
from latecomer.interactions.tables import MISSING_IDS, Table, one_line, text

Value = TypeVar("Value")
Texts = npt.NDArray[np.object_]
Ids = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

#: What orders interactions of one user at one time.
Ties = Literal["drawn", "file"]

_REQUIRED = ("user", "item", "time")

#: The column that an example shows: what is wrong, and nothing else about who did it. A missing
#: value is shown by the name of its column.
_SHOWN = {
    "unknown_item": "item",
    "unparsable_time": "time",
    "time_in_the_future": "time",
}


def load(
    path: Path,
    columns: Columns,
    catalogue: Catalogue,
    *,
    now_s: float,
    delimiter: str = ",",
    time_format: str | None = None,
) -> tuple[Interactions, Report]:
    """Read a source; the first interaction of a user with an item is kept, repeats are counted.

    Every row that is read is either kept or counted under one reason, the first that applies of
    ``missing_value``, ``unknown_item``, ``unparsable_time``, ``time_in_the_future``,
    ``duplicate``. An id that is one of ``MISSING_IDS`` is missing; but what
    the catalogue lists is an item.

    Args:
        path: ``.csv``, ``.csv.gz`` or ``.parquet``.
        columns: Which column means what.
        catalogue: Items that are not in it are counted as ``unknown_item``.
        now_s: Interactions after this are counted as ``time_in_the_future``.
        delimiter: Of CSV files.
        time_format: For ``strptime``; without it ISO 8601, Unix seconds and milliseconds are read.

    Raises:
        BadData: The file cannot be read, a mapped column is missing, or no row is usable.
        BadConfiguration: Parquet without the ``data`` extra.
    """
    table = tables.read(path, columns.mapped(), delimiter=delimiter)
    return from_table(table, path, columns, catalogue, now_s=now_s, time_format=time_format)


def from_table(
    table: Table,
    path: Path,
    columns: Columns,
    catalogue: Catalogue,
    *,
    now_s: float,
    time_format: str | None = None,
    ties: Ties = "drawn",
) -> tuple[Interactions, Report]:
    """As ``load``, of a table that was read from ``path`` by other means.

    ``ties``: what one user did at one time is in an order that is drawn by lot, so that nothing is
    learned from how a file was printed; or in the ``file``'s, where that is known to be random.

    Raises:
        BadData: No row is usable.
    """
    for name in ("user", "item"):
        tables.check_ids(path, getattr(columns, name), table.values[name])
    report = Report.of(table, path.name)
    rows = _usable(_parsed(table, catalogue, time_format), table, columns, now_s, report)
    tables.check_rows(path, table)
    if not len(rows.line):
        raise BadData(
            f"{path} has no usable interaction: {report.summary()}",
            hint="compare these examples with the columns, the time format and the catalogue",
        )
    return _ordered(rows, catalogue, report, ties), report


@dataclass(frozen=True)
class _Rows:
    """Parsed columns of (R,) or (K,) rows, in the file's order.

    An item that is unknown is -1; a time that is none is NaN; a text that is missing "".
    """

    line: Ids
    user: Texts
    item: Ids
    time_s: Numbers
    region: Texts

    def __getitem__(self, chosen: npt.NDArray[np.bool_] | Ids) -> "_Rows":
        return _Rows(*(column[chosen] for column in vars(self).values()))


def _parsed(table: Table, catalogue: Catalogue, time_format: str | None) -> _Rows:
    blank = [""] * len(table.lines)
    values = table.values
    return _Rows(
        np.array(table.lines, np.int64),
        _column(text, values["user"], object),
        _column(lambda item: catalogue.rows.get(text(item), -1), values["item"], np.int64),
        _column(times.parser(time_format), values["time"], np.float64),
        # A region's name leaves this machine with its users' results.
        _column(lambda region: one_line(text(region)), values.get("region", blank), object),
    )


def _column(convert: Callable[[object], Value], values: Sequence[object], dtype: Any) -> Any:
    # Times, users and items repeat on many rows; each distinct one is converted once.
    converted = {value: convert(value) for value in set(values)}
    return np.array([converted[value] for value in values], dtype)


def _usable(rows: _Rows, table: Table, columns: Columns, now_s: float, report: Report) -> _Rows:
    """The rows that can be used; all others are counted under the first reason that applies."""
    missing = _missing(rows, table)
    faults = {
        "too_many_values": np.isin(np.arange(len(rows.line)), [*table.surplus]),
        "missing_value": np.any(list(missing.values()), axis=0),
        "unknown_item": rows.item < 0,
        "unparsable_time": np.isnan(rows.time_s),
        "time_in_the_future": rows.time_s > now_s + times.EASTERNMOST_S,
    }
    usable = np.ones(len(rows.line), dtype=bool)
    for reason, faulty in faults.items():
        for at in np.flatnonzero(usable & faulty).tolist():
            absent = [getattr(columns, name) for name in _REQUIRED if missing[name][at]]
            report.drop(reason, table.lines[at], absent[0] if absent else _shown(table, reason, at))
        usable &= ~faulty
    return rows[usable]


def _shown(table: Table, reason: str, at: int) -> str:
    if reason == "too_many_values":
        return table.surplus[at]
    return text(table.values[_SHOWN[reason]][at])


def _missing(rows: _Rows, table: Table) -> dict[str, npt.NDArray[np.bool_]]:
    """(R,) per column that has to say something, where it does not."""
    nameless = {
        name: _column(lambda v: text(v) in MISSING_IDS, table.values[name], bool)
        for name in ("user", "item")
    }
    return {
        "user": nameless["user"],
        "item": nameless["item"] & (rows.item < 0),
        "time": _column(lambda v: not text(v), table.values["time"], bool),
    }


def _ordered(rows: _Rows, catalogue: Catalogue, report: Report, ties: Ties) -> Interactions:
    """Usable rows without repeats, in the order that ``Interactions`` promises."""
    ids = sorted(set(rows.user))
    place = {user: at for at, user in enumerate(ids)}
    code = np.array([place[user] for user in rows.user], np.int64)  # (K,)
    last_key = (_lots(rows, catalogue),) if ties == "drawn" else ()
    by_time = np.lexsort((*last_key, code, rows.time_s))  # (K,); what is equal stays in file order
    rows, code = rows[by_time], code[by_time]
    debut = np.unique(code, return_index=True)[1]  # (U,)
    newcomers = np.argsort(debut)  # (U,) codes in order of the first interaction
    number = np.argsort(newcomers)  # (U,) the place of each code in it
    first = _first_of_each_pair(rows, code * len(catalogue) + rows.item, catalogue, report)
    kept = first[np.argsort(number[code[first]], kind="stable")]
    report.kept = len(kept)
    return Interactions(
        tuple(ids[at] for at in newcomers),
        tuple(rows.region[debut[newcomers]]),
        number[code[kept]],
        rows.item[kept],
        rows.time_s[kept],
    )


def _lots(rows: _Rows, catalogue: Catalogue) -> npt.NDArray[np.uint64]:
    """(K,) a hash of user and item: an order of one basket that no file and no catalogue has.

    It stays the same when rows are added. Ordered by the catalogue, the item held out would always
    be the last one there of its basket: the best-known, the newest, whatever the catalogue goes by.
    """
    pairs = zip(rows.user, rows.item, strict=True)
    drawn = [lots.lot(f"{user}\0{catalogue.items[item]}") for user, item in pairs]
    return np.frombuffer(b"".join(drawn), "<u8")


def _first_of_each_pair(rows: _Rows, pair: Ids, catalogue: Catalogue, report: Report) -> Ids:
    """Where each (user, item) pair comes first; the others are counted, in the file's order."""
    first = np.sort(np.unique(pair, return_index=True)[1])
    repeats = np.setdiff1d(np.arange(len(pair)), first, assume_unique=True)
    for at in repeats[np.argsort(rows.line[repeats])]:
        report.drop("duplicate", int(rows.line[at]), catalogue.items[rows.item[at]])
    return first
