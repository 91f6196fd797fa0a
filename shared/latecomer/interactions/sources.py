"""Reading interactions from CSV and Parquet: mapped, checked row by row, and accounted for."""

import csv
import difflib
import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from latecomer.errors import BadConfiguration, BadData
from latecomer.interactions.schema import Catalogue, Columns, Interactions, Report

#: Unix times above this are milliseconds: as seconds they would lie beyond the year 5000.
MILLISECONDS_FROM = 1e11

Row = Sequence[object]
ParseTime = Callable[[object], float]


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
    report = Report(path.name)
    reader = _parquet if path.suffix == ".parquet" else _csv
    rows = reader(path, columns, delimiter)
    table = _Table(catalogue, report, now_s, _time_parser(time_format))
    for line, row in rows:
        table.add(line, dict(zip(columns.mapped(), row, strict=True)))
    if not report.kept:
        raise BadData(f"no usable interactions; {report}")
    return table.interactions(columns), report


@dataclass
class _Table:
    """Rows that passed, as they come."""

    catalogue: Catalogue
    report: Report
    now_s: float
    parse_time: ParseTime
    rows: list[tuple[str, int, float, str, float, str]] = field(default_factory=list)

    def add(self, line: int, row: dict[str, object]) -> None:
        """Keep a row, or count why not."""
        self.report.read += 1
        user, item, time = (_text(row[name]) for name in ("user", "item", "time"))
        if not (user and item and time):
            self.report.drop("missing_value", line, f"{user},{item},{time}")
        elif item not in self.catalogue.rows:
            self.report.drop("unknown_item", line, item)
        elif (time_s := _parsed(self.parse_time, row["time"])) is None:
            self.report.drop("unparsable_time", line, time)
        elif time_s > self.now_s:
            self.report.drop("time_in_the_future", line, time)
        elif (rating := _parsed(_number, row.get("rating", 1.0))) is None:
            self.report.drop("unparsable_rating", line, _text(row["rating"]))
        else:
            region, behaviour = _text(row.get("region")), _text(row.get("behaviour"))
            self.rows.append((user, self.catalogue.rows[item], time_s, region, rating, behaviour))
            self.report.kept += 1

    def interactions(self, columns: Columns) -> Interactions:
        """As columns, in order, without repeats."""
        self.rows.sort(key=lambda row: (row[2], row[0], row[1]))
        users: dict[str, int] = {}
        regions: list[str] = []
        seen: set[tuple[int, int]] = set()
        kept = []
        for user, item, time_s, region, rating, behaviour in self.rows:
            number = users.setdefault(user, len(users))
            if number == len(regions):
                regions.append(region)
            if (number, item) in seen:
                continue
            seen.add((number, item))
            kept.append((number, item, time_s, rating, behaviour))
        self._count_repeats(len(kept))
        kept.sort(key=lambda row: row[0])
        number_, item_, time_, rating_, behaviour_ = zip(*kept, strict=True)
        return Interactions(
            tuple(users),
            tuple(regions),
            np.array(number_, np.int64),
            np.array(item_, np.int64),
            np.array(time_, np.float64),
            np.array(rating_, np.float64) if columns.rating else None,
            np.array(behaviour_, np.str_) if columns.behaviour else None,
        )

    def _count_repeats(self, kept: int) -> None:
        if repeats := self.report.kept - kept:
            self.report.reasons["duplicate"] += repeats
            self.report.examples.setdefault("duplicate", ["the first of each pair is kept"])
            self.report.kept = kept


def _csv(path: Path, columns: Columns, delimiter: str) -> Iterator[tuple[int, Row]]:
    try:
        opened = (
            gzip.open(path, "rt", encoding="utf-8", newline="")
            if path.suffix == ".gz"
            else (path.open(encoding="utf-8-sig", newline=""))
        )
        with opened as file:
            reader = csv.reader(file, delimiter=delimiter)
            header = next(reader, [])
            places = _places(path, columns, header)
            for row in reader:
                yield reader.line_num, [row[at] if at < len(row) else None for at in places]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"cannot read {path}: {error}") from error


def _parquet(path: Path, columns: Columns, _delimiter: str) -> Iterator[tuple[int, Row]]:
    try:
        import polars as pl  # noqa: PLC0415 - an extra that only Parquet needs
    except ImportError as error:
        raise BadConfiguration(
            f"{path} is Parquet, and the reader for it is not installed",
            hint="pip install 'latecomer[data]'",
        ) from error
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadData(f"cannot read {path}: {error}") from error
    places = _places(path, columns, frame.columns)
    yield from enumerate((tuple(row[at] for at in places) for row in frame.iter_rows()), start=1)


def _places(path: Path, columns: Columns, header: Sequence[str]) -> list[int]:
    for meaning, name in columns.mapped().items():
        if name not in header:
            close = difflib.get_close_matches(name, header, n=1)
            raise BadData(
                f"{path} has no column {name!r} (for {meaning}); it has {', '.join(header)}",
                hint=f"did you mean {close[0]!r}?" if close else "see [data.columns] in the recipe",
            )
    return [header.index(name) for name in columns.mapped().values()]


def _time_parser(time_format: str | None) -> ParseTime:
    if time_format is None:
        return _time
    return lambda value: _seconds(datetime.strptime(_text(value), time_format))  # noqa: DTZ007 - the zone is dealt with next


def _time(value: object) -> float:
    """ISO 8601, Unix seconds or milliseconds, or what Parquet had as a time."""
    if isinstance(value, datetime):
        return _seconds(value)
    text = _text(value)
    if text[4:5] != "-":
        number = float(text)
        return number / 1000.0 if abs(number) >= MILLISECONDS_FROM else number
    return _seconds(datetime.fromisoformat(text))


def _seconds(moment: datetime) -> float:
    """Times without a zone are UTC: one site's files agree with themselves either way."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(value: object) -> float:
    return float(_text(value))


def _parsed(parse: Callable[[object], float], value: object) -> float | None:
    try:
        number = parse(value)
    except (ValueError, OverflowError):
        return None
    return number if np.isfinite(number) else None


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
