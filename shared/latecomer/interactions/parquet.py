"""Columns of a Parquet file as values of Python; polars, which is an extra, is imported here only.

R rows of a file.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from latecomer.errors import BadData

#: The first and the last year that Python's dates have, as Unix milliseconds.
_YEAR_1_MS, _YEAR_9999_MS = -62_135_596_800_000, 253_402_300_799_999

#: Stands for a typed time in another year, such as PostgreSQL's ``infinity``: text, and no time.
_NO_YEAR = "not in the years 1 to 9999"

#: Whole floats from here on are not exact: of 64 bits, and of 32.
_EXACT_BELOW, _EXACT_BELOW_32 = 2.0**53, 2.0**24


def names(path: Path) -> list[str]:
    """What the file calls its columns.

    Raises:
        BadData: It cannot be read.
    """
    with _readable(str(path)):
        return pl.scan_parquet(path, glob=False).collect_schema().names()


def read(path: Path, wanted: Sequence[str]) -> dict[str, list[object]]:
    """The (R,) values of each wanted column; None where a row has none, NaN among floats included.

    A whole number is an int in columns of floats, too: that is how spreadsheets and data frames
    write ids as soon as one is missing. Times are in UTC, without a zone; what is in no year of
    Python's is text.

    Raises:
        BadData: The file cannot be read, or a column holds bytes or more than one value a row.
    """
    with _readable(str(path)):
        frame = pl.scan_parquet(path, glob=False).select(wanted).collect()
    return {name: _values(path, frame[name]) for name in wanted}


def _values(path: Path, column: pl.Series) -> list[object]:
    kind = column.dtype
    if kind.is_nested() or kind == pl.Binary:
        expected = "one value a row" if kind.is_nested() else "text, numbers or times"
        raise BadData(f"column {column.name!r} of {path} holds {kind}, not {expected}")
    with _readable(f"column {column.name!r} of {path}"):
        if kind in (pl.Date, pl.Datetime):
            return _times(column)
        if kind.is_float():
            below = _EXACT_BELOW if kind == pl.Float64 else _EXACT_BELOW_32
            return [_whole(each, below) for each in column.fill_nan(None).to_list()]
        return column.to_list()


def _times(column: pl.Series) -> list[object]:
    # In UTC before Python sees them: not every machine knows every zone.
    if getattr(column.dtype, "time_zone", None):
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    inside = column.dt.timestamp("ms").is_between(_YEAR_1_MS, _YEAR_9999_MS)
    values = column.zip_with(inside, pl.Series([None], dtype=column.dtype)).to_list()
    for row in (~inside).arg_true():
        values[row] = _NO_YEAR
    return values


def _whole(number: float | None, below: float) -> float | None:
    if number is None or not number.is_integer() or abs(number) >= below:
        return number
    return int(number)


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Whatever polars makes of what is broken ends as ``BadData``, a panic of its core included."""
    try:
        yield
    except (
        OSError,
        ValueError,
        OverflowError,
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
    ) as error:
        raise BadData(f"cannot read {what}: {error}") from error
