"""MovieLens 100K (Harper and Konstan 2015), as GroupLens publishes it; an interaction is a rating.

Regions are occupations. Somebody rated many films within one second, and ``u.data`` is in random
order: films of one second keep the file's order, as in every published leave-one-out of this data.
Ordered by number instead, the film held out would be the newest and least known of its second, and
all figures about five points lower than what is published.
"""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np

from latecomer.errors import BadData
from latecomer.interactions.schema import Catalogue, Interactions, Report

HINT = (
    "download ml-100k.zip from https://files.grouplens.org/datasets/movielens/ "
    "and give its folder with --data"
)

#: user, item, rating, time.
FIELDS = 4


class MovieLens100K:
    """``u.data``, ``u.item`` and ``u.user``; each may be gzipped."""

    def catalogue(self, folder: Path) -> Catalogue:
        """The films, by number, with their titles."""
        films = dict(_lines(folder, "u.item", "|", least=2))
        return Catalogue(tuple(films), tuple(fields[1] for fields in films.values()))

    def interactions(
        self, folder: Path, catalogue: Catalogue, *, now_s: float
    ) -> tuple[Interactions, Report]:
        """Every rating, whatever its value; a film that somebody rated twice counts once."""
        occupation = {user: fields[3] for user, fields in _lines(folder, "u.user", "|", least=4)}
        report = Report("u.data")
        kept = list(_usable(folder, catalogue, report, now_s))
        if not kept:
            raise BadData(f"{folder}/u.data has no usable rating: {report.summary()}", hint=HINT)
        names = np.array([name for name, _, _ in kept], object)
        item = np.array([row for _, row, _ in kept], np.int64)
        time_s = np.array([at_s for _, _, at_s in kept], np.float64)
        by_time = np.argsort(time_s, kind="stable")
        users = tuple(dict.fromkeys(names[by_time]))
        number = {name: row for row, name in enumerate(users)}
        user = np.array([number[name] for name in names[by_time]], np.int64)
        order = by_time[by_user := np.argsort(user, kind="stable")]
        report.kept = len(order)
        regions = tuple(occupation.get(name, "") for name in users)
        return Interactions(users, regions, user[by_user], item[order], time_s[order]), report


def _usable(
    folder: Path, catalogue: Catalogue, report: Report, now_s: float
) -> Iterator[tuple[str, int, float]]:
    """User, row of the film, and time of what can be used; the rest is counted."""
    seen: set[tuple[str, str]] = set()
    for line, (user, fields) in enumerate(_lines(folder, "u.data", "\t", least=1), start=1):
        report.read += 1
        film, stamp = (fields[1], fields[3]) if len(fields) >= FIELDS else ("", "")
        if not film or not stamp:
            report.drop("missing_value", line, "a line of fewer than four fields")
        elif film not in catalogue.rows:
            report.drop("unknown_item", line, film)
        elif not stamp.isdecimal():
            report.drop("unparsable_time", line, stamp)
        elif float(stamp) > now_s:
            report.drop("time_in_the_future", line, stamp)
        elif (user, film) in seen:
            report.drop("duplicate", line, film)
        else:
            seen.add((user, film))
            yield user, catalogue.rows[film], float(stamp)


def _lines(
    folder: Path, name: str, delimiter: str, *, least: int
) -> Iterator[tuple[str, list[str]]]:
    """The first field, and all fields, of every line that is not blank."""
    with _opened(folder, name) as file:
        for number, line in enumerate(file, start=1):
            fields = line.rstrip("\r\n").split(delimiter)
            if fields == [""]:
                continue
            if len(fields) < least:
                raise BadData(
                    f"{folder}/{name}, line {number}: {len(fields)} of {least} fields", hint=HINT
                )
            yield fields[0], fields


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[TextIO]:
    try:
        with _text(folder, name) as file:
            yield file
    except (OSError, EOFError) as error:
        raise BadData(f"cannot read {folder / name}: {error}", hint=HINT) from error


def _text(folder: Path, name: str) -> TextIO:
    # The publisher's encoding: titles have accents.
    if (zipped := folder / f"{name}.gz").exists():
        return gzip.open(zipped, "rt", encoding="latin-1")
    return (folder / name).open(encoding="latin-1")
