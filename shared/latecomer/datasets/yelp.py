"""Yelp as prepared for HERec: reviews of businesses in many cities, by people with friends.

C. Shi, B. Hu, W. X. Zhao and P. S. Yu (2019), "Heterogeneous Information Network Embedding for
Recommendation", IEEE TKDE 31(2).
"""

from pathlib import Path

from latecomer.datasets import files, untimed
from latecomer.datasets.port import Dataset, Edges
from latecomer.datasets.regions import homes
from latecomer.interactions.schema import Catalogue, Columns
from latecomer.interactions.tables import Table

#: Of 14,284 businesses, 4,019 were reviewed by as many people.
REVIEWERS = 10

_REVIEWS = "user_business.dat"
_CITIES = "business_city.dat"
_FRIENDS = "user_user.dat"


def _reviews(folder: Path) -> list[tuple[int, list[str]]]:
    """Line, and ``user, business, rating`` on it."""
    return list(files.fields(files.path(folder, _REVIEWS), "\t", 3))


def _cities(folder: Path) -> dict[str, str]:
    """Business -> city; a few have none."""
    rows = files.fields(files.path(folder, _CITIES), "\t", 2)
    return {business: f"city {city}" for _, (business, city, *_) in rows}


def _catalogue(folder: Path) -> Catalogue:
    reviews = _reviews(folder)
    found = untimed.widespread(((row[0], row[1]) for _, row in reviews), REVIEWERS)
    cities = _cities(folder)
    described = (f"business {each}, {cities.get(each, 'nowhere')}" for each in found)
    return Catalogue(tuple(found), tuple(described))


def _edges(folder: Path) -> Edges:
    rows = files.fields(files.path(folder, _FRIENDS), "\t", 2)
    return [(user, friend) for _, (user, friend, *_) in rows]


def _table(folder: Path) -> Table:
    """Somebody's region is the city of most of his reviews."""
    reviews, cities = _reviews(folder), _cities(folder)
    visits = ((row[0], cities[row[1]]) for _, row in reviews if row[1] in cities)
    home = homes(visits)
    return Table(
        [line for line, _ in reviews],
        {
            "user": [row[0] for _, row in reviews],
            "item": [row[1] for _, row in reviews],
            "time": untimed.places(len(reviews)),
            "region": [home.get(row[0], "") for _, row in reviews],
        },
    )


YELP = Dataset(
    origin="https://github.com/librahu/HIN-Datasets-for-Recommendation-and-Network-Embedding",
    files=(_REVIEWS, _CITIES, _FRIENDS),
    columns=Columns(user="user", item="business", time="place", region="city"),
    catalogue=_catalogue,
    table=_table,
    order="at random: when a review was written is not published",
    edges=_edges,
)
