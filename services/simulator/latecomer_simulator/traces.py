"""Availability as somebody measured it: a CSV of windows instead of distributions."""

import csv
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from latecomer.errors import BadData

#: When a device is online: from, until, in seconds of the run; in order, without overlap.
Window = tuple[float, float]

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
        with path.open(encoding="utf-8", newline="") as file:
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
    found: dict[str, Trace] = {}
    for where, row in rows:
        name = row["worker"]
        if name not in workers:
            known = ", ".join(sorted(workers)[:5])
            raise BadData(f"{where}: there is no worker {name!r}", hint=f"there are {known}, …")
        found[name] = _added(found.get(name), row, where)
    return found


def _added(before: Trace | None, row: Mapping[str, str], where: str) -> Trace:
    window = (_number(row, "online_from_s", where), _number(row, "online_until_s", where))
    if not 0 <= window[0] < window[1]:
        raise BadData(f"{where}: a window from {window[0]} until {window[1]} is none")
    speed = _number(row, SPEED, where) if row.get(SPEED) else None
    if speed is not None and not 0 < speed < math.inf:
        raise BadData(f"{where}: a speed of {speed} is none", hint="1 is the usual one")
    if before is None:
        return Trace((window,), speed)
    if speed is not None and before.speed not in (None, speed):
        raise BadData(f"{where}: this worker had speed {before.speed} before")
    windows = tuple(sorted((*before.windows, window)))
    if any(a[1] > b[0] for a, b in pairwise(windows)):
        raise BadData(f"{where}: this window overlaps another one of the same worker")
    return Trace(windows, before.speed if speed is None else speed)


def _number(row: Mapping[str, str | None], column: str, where: str) -> float:
    try:
        number = float(row[column] or "")
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise BadData(f"{where}: {column} is {row[column]!r}, no number")
    return number
