"""MovieLens 1M as advertisements: a film is shown to a person, and a rating of 4 or 5 is a click.

What is known of an example are the person and the film alone. How active either was before is left
out: without ``ratings.dat`` the order in time is not known, and a mean over all ratings would hold
the one that is to be predicted.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from latecomer.datasets import files, movielens
from latecomer.datasets.port import ExampleSet
from latecomer.errors import BadData
from latecomer.interactions.tables import Table

#: Of five stars; three are neither praise nor blame, and no click.
LIKED = 4.0

_COLUMNS = ("exposure", "person", "occupation", "clicked", "gender", "age", "genres", "year")


def _table(folder: Path) -> Table:
    ratings = movielens.ML_1M.table(folder)
    people, films = _people(folder), _films(folder)
    meanings = ("user", "item", "rating", "region")
    rows = (
        (
            f"{user}-{item}",
            user,
            occupation,
            int(float(str(rating)) >= LIKED),
            *people[str(user)],
            *films[str(item)],
        )
        for user, item, rating, occupation in zip(
            *(ratings.values[meaning] for meaning in meanings), strict=True
        )
    )
    return files.table(ratings.lines, rows, _COLUMNS)


def _people(folder: Path) -> Mapping[str, tuple[str, str]]:
    """By user, gender and the first year of the age band."""
    return {row[0]: (row[1], row[2]) for _, row in _rows(folder, "users.dat", 4)}


def _films(folder: Path) -> Mapping[str, tuple[str, str]]:
    """By film, its genres, and the year that ends its title: ``Toy Story (1995)``."""
    found = {}
    for line, (item, title, genres, *_) in _rows(folder, "movies.dat", 3):
        year = title.rstrip()[-5:-1]
        if not year.isdecimal():
            raise BadData(f"movies.dat has no year at the end of {title!r} on line {line}")
        found[item] = (genres, year)
    return found


def _rows(folder: Path, name: str, width: int) -> Iterator[tuple[int, list[str]]]:
    return files.fields(files.path(folder, name), "::", width, encoding="latin-1")


ML_1M_CLICKS = ExampleSet(
    origin=movielens.ML_1M.origin,
    folder="ml-1m",
    files=movielens.ML_1M.files,
    columns=_COLUMNS,
    outcome="clicked",
    user="exposure",
    region="occupation",
    group="person",
    table=_table,
)
