"""Columns out of CSV and Parquet files, as they are written there: nothing is parsed yet.

R rows of a file.
"""

import csv
import difflib
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

from latecomer.errors import BadConfiguration, BadData, NobodyLeft

#: What files say where they know nothing, of whatever kind.
MISSING = frozenset({"", "?", "NULL", "null", "NaN", "nan", "<NA>", "#N/A", r"\N"})

#: The same where an id is expected. NA is none of them: it may be somebody's initials.
MISSING_IDS = MISSING | {"None"}

#: Behind the last line: a row of its own, unless a quote is open still.
_END = "\x04"

#: Enough of a value to see what is wrong with it.
SHOWN_CHARACTERS = 40


@dataclass(frozen=True)
class Table:
    """Some columns of a file.

    Attributes:
        lines: (R,) where a person finds a row: the line it ends on in CSV, its number in Parquet.
        values: Meaning -> (R,) values; None where a row has none.
        delimiter: What separates values of one row.
        surplus: Of rows with more values than there are columns, by their places among the R, how
            many they have: one of them stands in another one's place, and nobody can tell which.
        warnings: What may be wrong with the file as a whole.
    """

    lines: Sequence[int]
    values: Mapping[str, Sequence[object]]
    delimiter: str = ","
    surplus: Mapping[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read(path: Path, wanted: Mapping[str, str], *, delimiter: str = ",") -> Table:
    """The ``wanted`` columns, given as meaning -> column name, of all rows that are not blank.

    Args:
        path: ``.parquet``; anything else is CSV in UTF-8, gzipped if it ends in ``.gz``; the
            case of these endings does not matter.
        wanted: At least one column.
        delimiter: Of CSV files.

    Raises:
        BadData: The file cannot be read, lacks a column or has it twice, or ends inside quotes.
        BadConfiguration: Parquet without the ``data`` extra.
    """
    if path.suffix.lower() == ".parquet":
        return _parquet(path, wanted)
    try:
        with _opened(path) as file:
            return _csv(path, file, wanted, delimiter)
    except (OSError, EOFError, zlib.error, ValueError, csv.Error) as error:
        raise BadData(
            f"cannot read {path}: {error}", hint="it has to be CSV in UTF-8, or Parquet"
        ) from error


def check_ids(path: Path, name: str, values: Sequence[object]) -> None:
    """Refuse a column of ids that cannot tell people or items apart any more.

    A data frame makes floats of whole numbers as soon as one is missing. Those that a float holds
    exactly are whole numbers again here (see ``parquet``); of the others, several are one.

    Raises:
        BadData: There are such among ``values``.
    """
    lost = next((each for each in values if isinstance(each, float) and each.is_integer()), None)
    if lost is not None:
        raise BadData(
            f"column {name!r} of {path} holds floats like {lost:.0f}, which have lost their last "
            "digits: several ids are one",
            hint="write ids as text, or as whole numbers of 64 bits",
        )


def check_rows(path: Path, table: Table) -> None:
    """Refuse a file in which nobody is: its columns are named, and it has no row.

    Raises:
        NobodyLeft: It is such a file.
    """
    if not table.lines:
        raise NobodyLeft(f"{path} has no rows", hint="is it the right file?", no_rows=True)


def text(value: object) -> str:
    """A value as people compare it: without what stands around it, "" where a row has none."""
    return "" if value is None else str(value).strip()


def excerpt(value: str, delimiter: str = "\n") -> str:
    """The start of ``value`` for messages and logs, with "…" where more follows.

    Nothing behind a line break or a ``delimiter`` is shown: one stray quote makes a single value of
    the rest of its row and of the rows that follow, which are other people's.
    """
    first_line = "".join(value.splitlines()[:1])
    start = first_line.partition(delimiter)[0][:SHOWN_CHARACTERS]
    return start if start == value else f"{start}…"


def one_line(text: str) -> str:
    """``text``, or nothing where it has several lines: then a stray quote put rows into it."""
    return text if len(text.splitlines()) == 1 else ""


def _opened(path: Path) -> TextIO:
    # Spreadsheets put a byte order mark before the first column's name; utf-8-sig takes it off.
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _csv(path: Path, file: TextIO, wanted: Mapping[str, str], delimiter: str) -> Table:
    reader = csv.reader(chain(file, [_END]), delimiter=delimiter)
    header = next(reader)
    if not "".join(header).strip():
        raise BadData(f"the first line of {path} is blank", hint="it has to name the columns")
    _check_columns(path, wanted, [] if header == [_END] else header)
    places = [header.index(name) for name in wanted.values()]
    pick, width = itemgetter(*places), max(places) + 1
    lines: list[int] = []
    rows, surplus, several = [], {}, []
    for first, row in _rows(reader, path):
        if reader.line_num > first:
            several.append((first, reader.line_num))
        if len(row) > len(header) and any(map(str.strip, row[len(header) :])):
            surplus[len(lines)] = f"{len(row)} values for {len(header)} columns"
        lines.append(reader.line_num)
        rows.append(pick(row) if len(row) >= width else pick(row + [None] * width))
    one = len(places) == 1
    values = {name: rows if one else [row[at] for row in rows] for at, name in enumerate(wanted)}
    return Table(lines, values, delimiter, surplus, _over_several_lines(several))


def _rows(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, up to the end, each with the line that it begins on.

    Raises:
        BadData: The end is within quotes.
    """
    begun, first = 1, reader.line_num + 1
    for row in reader:
        if row == [_END]:
            return
        if row:
            yield first, row
        begun, first = first, reader.line_num + 1
    raise BadData(
        f"{path} ends inside quotes that are opened on line {begun} or later",
        hint="close them; a quote that is part of a value is doubled, and the value quoted",
    )


def _over_several_lines(rows: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """A value may have line breaks; or a stray quote made one of many rows, which nobody counts."""
    if not rows:
        return ()
    first, last = max(rows, key=lambda row: row[1] - row[0])
    longest = f"the longest is lines {first} to {last}"
    return (f"rows that take several lines: {len(rows)} ({longest}); are all quotes meant?",)


def _parquet(path: Path, wanted: Mapping[str, str]) -> Table:
    try:
        import polars as pl  # noqa: F401, PLC0415 - an extra that only Parquet needs
    except ImportError as error:
        raise BadConfiguration(
            f"{path} is Parquet, and the reader for it is not installed",
            hint="pip install latecomer[data]",
        ) from error
    from latecomer.interactions import parquet  # noqa: PLC0415 - it imports polars

    _check_columns(path, wanted, parquet.names(path))
    columns = parquet.read(path, sorted(set(wanted.values())))
    values = {meaning: columns[name] for meaning, name in wanted.items()}
    return Table(range(1, len(next(iter(values.values()))) + 1), values)


def _check_columns(path: Path, wanted: Mapping[str, str], header: Sequence[str]) -> None:
    if not header:
        raise BadData(f"{path} is empty", hint="its first line has to name the columns")
    for meaning, name in wanted.items():
        if name not in header:
            close = difflib.get_close_matches(name, header, n=1)
            raise BadData(
                f"{path} has no column {name!r} (for {meaning}); "
                f"it has {', '.join(map(excerpt, header))}",
                hint=f"did you mean {excerpt(close[0])!r}?" if close else "is the delimiter right?",
            )
        if header.count(name) > 1:
            raise BadData(
                f"{path} has {header.count(name)} columns {name!r} (for {meaning})",
                hint="rename those that are not meant",
            )
