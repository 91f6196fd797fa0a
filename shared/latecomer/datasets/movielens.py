"""MovieLens 100K and 1M: ratings of films, by people whose occupation is known.

F. M. Harper and J. A. Konstan (2015), "The MovieLens Datasets: History and Context", ACM TiiS 5(4).
"""

from pathlib import Path

from latecomer.datasets import files
from latecomer.datasets.port import Dataset
from latecomer.errors import BadData
from latecomer.interactions import tables
from latecomer.interactions.schema import Catalogue, Columns
from latecomer.interactions.tables import Table

_MEANINGS = ("user", "item", "time", "rating", "region")
_COLUMNS = Columns(user="user", item="item", time="timestamp", region="occupation")

#: Occupations of ML-1M by their number in users.dat, as its README lists them.
OCCUPATIONS = (
    "other", "educator", "artist", "clerical", "college student", "customer service", "doctor",
    "executive", "farmer", "homemaker", "K-12 student", "lawyer", "programmer", "retired",
    "sales", "scientist", "self-employed", "technician", "tradesman", "unemployed", "writer",
)  # fmt: skip

#: Added to the place of a rating that is known to be a user's latest: after all other places.
LATEST = 1_000_000_000


def _films(folder: Path, name: str, separator: str) -> Catalogue:
    rows = [
        row for _, row in files.fields(files.path(folder, name), separator, 2, encoding="latin-1")
    ]
    return Catalogue(tuple(row[0] for row in rows), tuple(row[1] for row in rows))


def _ratings(path: Path, separator: str, regions: dict[str, str]) -> Table:
    """``user, item, rating, Unix seconds`` per line."""
    lines, rows = [], []
    for line, (user, item, rating, time_s, *_) in files.fields(path, separator, 4):
        lines.append(line)
        rows.append((user, item, time_s, rating, regions.get(user, "")))
    return files.table(lines, rows, _MEANINGS)


def _table_100k(folder: Path) -> Table:
    people = files.fields(files.path(folder, "u.user"), "|", 4)
    return _ratings(files.path(folder, "u.data"), "\t", {row[0]: row[3] for _, row in people})


def _occupations(folder: Path) -> dict[str, str]:
    path = files.path(folder, "users.dat")
    found = {}
    for line, row in files.fields(path, "::", 4, encoding="latin-1"):
        number = row[3]
        if not number.isdecimal() or int(number) >= len(OCCUPATIONS):
            raise BadData(f"{path} has an unknown occupation {number!r} on line {line}")
        found[row[0]] = OCCUPATIONS[int(number)]
    return found


def _table_1m(folder: Path) -> Table:
    regions = _occupations(folder)
    published = files.find(folder, "ratings.dat")
    if published is not None:
        return _ratings(published, "::", regions)
    return _untimed(folder, regions)


def _untimed(folder: Path, regions: dict[str, str]) -> Table:
    """Ratings in the publisher's order, where only each user's latest is known (NCF's test)."""
    source = files.find(folder, "ratings_no_timestamp.csv")
    if source is None:
        raise BadData(f"ml-1m is not complete in {folder}: ratings.dat missing", hint=_HINT_1M)
    read = tables.read(
        source, {"user": "user", "item": "item", "rating": "rating", "ncf_item": "ncf_item"}
    )
    latest = {
        (str(int(row[0]) + 1), row[1])
        for _, row in files.fields(files.path(folder, "ncf.ml-1m.test.rating"), "\t", 2)
    }
    pairs = zip(read.values["user"], read.values["ncf_item"], strict=True)
    time_s = [str(place + LATEST * (pair in latest)) for place, pair in enumerate(pairs, start=1)]
    region = [regions.get(str(user), "") for user in read.values["user"]]
    values = {name: read.values[name] for name in ("user", "item", "rating")}
    return Table(read.lines, {**values, "time": time_s, "region": region})


def _first_met(folder: Path) -> list[str]:
    """Films as NCF numbers them: in the order in which the publisher's file first names them."""
    source = files.find(folder, "ratings.dat")
    if source is not None:
        return list(dict.fromkeys(row[1] for _, row in files.fields(source, "::", 4)))
    (items,) = files.columns(files.path(folder, "ratings_no_timestamp.csv"), ("item",))
    return list(dict.fromkeys(items))


def _negatives(folder: Path, catalogue: Catalogue) -> dict[str, list[int]]:
    """Of every user, NCF's 99 films; with 156 of them, one is the film that is held out."""
    published = files.find(folder, "ncf.ml-1m.test.negative")
    if published is None:
        return {}
    rows = {str(number): catalogue.row(item) for number, item in enumerate(_first_met(folder))}
    found = {}
    for line, (pair, *negatives) in files.fields(published, "\t", 2):
        unknown = [number for number in negatives if number not in rows]
        if unknown:
            raise BadData(f"{published} has an unknown film {unknown[0]!r} on line {line}")
        user, _, _ = pair.strip("()").partition(",")
        if not user.isdecimal():
            raise BadData(f"{published} names no user on line {line}: {pair!r}")
        found[str(int(user) + 1)] = [rows[number] for number in negatives]
    return found


#: People rated many films within one second. Ordered by number, the film held out would be the
#: newest and least known of its second, and all figures some six points below what is published.
ML_100K = Dataset(
    origin="https://grouplens.org/datasets/movielens/100k/",
    files=("u.data", "u.item", "u.user"),
    columns=_COLUMNS,
    catalogue=lambda folder: _films(folder, "u.item", "|"),
    table=_table_100k,
    order="by time; of one second, as in the file, which is in random order",
    ties="file",
)

_ORIGIN_1M = "https://grouplens.org/datasets/movielens/1m/"
_HINT_1M = f"download it from {_ORIGIN_1M} and unpack ratings.dat, movies.dat, users.dat there"

#: Without ``ratings.dat``, ``ratings_no_timestamp.csv`` and NCF's test file are read instead: the
#: last is then NCF's test item, and everything before it is in the file's order, not in time's.
ML_1M = Dataset(
    origin=_ORIGIN_1M,
    files=("movies.dat", "users.dat"),
    columns=_COLUMNS,
    catalogue=lambda folder: _films(folder, "movies.dat", "::"),
    table=_table_1m,
    order="by time; without ratings.dat, NCF's test item last and the others in the file's order",
    negatives=_negatives,
)
