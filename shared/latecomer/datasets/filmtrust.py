"""FilmTrust: ratings of films, and whose taste people trust.

G. Guo, J. Zhang and N. Yorke-Smith (2013), "A novel Bayesian similarity measure for recommender
systems", IJCAI.
"""

from pathlib import Path

from latecomer.datasets import files, untimed
from latecomer.datasets.port import Dataset, Edges
from latecomer.datasets.regions import circles
from latecomer.interactions.schema import Catalogue, Columns
from latecomer.interactions.tables import Table

_RATINGS = "ratings.txt"
_TRUST = "trust.txt"


def _rated(folder: Path) -> list[tuple[int, list[str]]]:
    """Line, and ``user, film, rating`` on it."""
    return list(files.fields(files.path(folder, _RATINGS), " ", 3))


def _catalogue(folder: Path) -> Catalogue:
    films = untimed.widespread(((row[0], row[1]) for _, row in _rated(folder)), 1)
    return Catalogue(tuple(films), tuple(f"film {film}" for film in films))


def _edges(folder: Path) -> Edges:
    rows = files.fields(files.path(folder, _TRUST), " ", 2)
    return [(truster, trustee.strip()) for _, (truster, trustee, *_) in rows]


def _table(folder: Path) -> Table:
    rated = _rated(folder)
    circle = circles({row[0] for _, row in rated}, _edges(folder))
    return Table(
        [line for line, _ in rated],
        {
            "user": [row[0] for _, row in rated],
            "item": [row[1] for _, row in rated],
            "time": untimed.places(len(rated)),
            "region": [circle[row[0]] for _, row in rated],
        },
    )


FILMTRUST = Dataset(
    origin="https://guoguibing.github.io/librec/datasets.html",
    files=(_RATINGS, _TRUST),
    columns=Columns(user="user", item="film", time="place", region="circle"),
    catalogue=_catalogue,
    table=_table,
    order="at random: when a film was rated is not published",
    edges=_edges,
)
