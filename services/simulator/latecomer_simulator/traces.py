"""Availability as somebody measured it: a CSV of windows instead of distributions."""

import csv
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from latecomer.errors import BadData

#: When a device is online: from, until, in seconds of the run; in order, without overlap.
Window = tuple[float, float]

#: One as it is read, with its line.
Placed = tuple[float, float, str]

REQUIRED = ("worker", "online_from_s", "online_until_s")

#: Relative to a device of slowness 1; 0.5 takes twice as long.
SPEED = "speed"

HINT = f"the columns are {', '.join(REQUIRED)} and, if you like, {SPEED}"


@dataclass(frozen=True)
class Trace:
    """One worker's windows in order, and its speed if the file names one."""

    windows: tuple[Window, ...]
    speed: float | None


def read(path: Path, workers: Collection[str]) -> dict[str, Trace]:
    """Read a trace; a worker that it does not name is never online.

    Raises:
        BadData: The file cannot be read, lacks a column, names an unknown worker, or has a value
            that is no number, a window that ends before it begins, two that overlap, or two speeds
            of one worker; the line is named.
    """
    try:
        # Spreadsheets put a byte order mark before the first column's name; utf-8-sig takes it off.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [each for each in REQUIRED if each not in (reader.fieldnames or ())]
            if missing:
                raise BadData(f"{path} has no column {', '.join(missing)}", hint=HINT)
            rows = [(f"{path}, line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"cannot read the trace {path}: {error}", hint=HINT) from error
    if not rows:
        raise BadData(f"{path} has no line", hint=HINT)
    return _traces(rows, workers)


def _traces(rows: list[tuple[str, dict[str, str]]], workers: Collection[str]) -> dict[str, Trace]:
    windows: dict[str, list[Placed]] = {}
    speeds: dict[str, float] = {}
    for where, row in rows:
        name = row["worker"]
        if name not in workers:
            known = ", ".join(sorted(workers)[:5])
            raise BadData(f"{where}: there is no worker {name!r}", hint=f"there are {known}, …")
        windows.setdefault(name, []).append((*_window(row, where), where))
        speed = _speed(row, where)
        if speed is not None and speeds.setdefault(name, speed) != speed:
            raise BadData(f"{where}: this worker had speed {speeds[name]} before")
    return {name: Trace(_joined(found), speeds.get(name)) for name, found in windows.items()}


def _joined(found: list[Placed]) -> tuple[Window, ...]:
    """In order; who is online from the very moment at which a window ends never left."""
    joined: list[Window] = []
    for from_s, until_s, where in sorted(found, key=lambda each: each[:2]):
        if joined and from_s < joined[-1][1]:
            raise BadData(f"{where}: this window overlaps another one of the same worker")
        if joined and from_s == joined[-1][1]:
            joined[-1] = (joined[-1][0], until_s)
        else:
            joined.append((from_s, until_s))
    return tuple(joined)


def _window(row: Mapping[str, str | None], where: str) -> Window:
    window = (_number(row, "online_from_s", where), _number(row, "online_until_s", where))
    if not 0 <= window[0] < window[1]:
        raise BadData(f"{where}: a window from {window[0]} until {window[1]} is none")
    return window


def _speed(row: Mapping[str, str | None], where: str) -> float | None:
    speed = _number(row, SPEED, where) if row.get(SPEED) else None
    if speed is not None and not 0 < speed < math.inf:
        raise BadData(f"{where}: a speed of {speed} is none", hint="1 is the usual one")
    return speed


def _number(row: Mapping[str, str | None], column: str, where: str) -> float:
    try:
        number = float(row[column] or "")
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise BadData(f"{where}: {column} is {row[column]!r}, no number")
    return number
