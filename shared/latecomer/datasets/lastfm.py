"""HetRec 2011 Last.FM: which artists people listen to, and who is whose friend.

I. Cantador, P. Brusilovsky and T. Kuflik (2011), "2nd Workshop on Information Heterogeneity and
Fusion in Recommender Systems (HetRec 2011)", RecSys.
"""

from pathlib import Path

from latecomer.datasets import files, untimed
from latecomer.datasets.circles import circles
from latecomer.datasets.port import Dataset, Edges
from latecomer.interactions.schema import Catalogue, Columns
from latecomer.interactions.tables import Table

#: Of 17,632 artists, 2,828 have as many listeners; the others were heard by hardly anybody else.
LISTENERS = 5

_LISTENED = "user_artists.dat"
_FRIENDS = "user_friends.dat"
_ARTISTS = "artists.dat"


def _listened(folder: Path) -> list[tuple[int, list[str]]]:
    """Line, and ``userID, artistID, weight`` on it."""
    return list(files.fields(files.path(folder, _LISTENED), "\t", 3))[1:]


def _catalogue(folder: Path) -> Catalogue:
    artists = list(files.fields(files.path(folder, _ARTISTS), "\t", 2))[1:]
    names = {row[0]: row[1] for _, row in artists}
    heard = untimed.widespread(((row[0], row[1]) for _, row in _listened(folder)), LISTENERS)
    return Catalogue(tuple(heard), tuple(names.get(item, f"artist {item}") for item in heard))


def _edges(folder: Path) -> Edges:
    rows = list(files.fields(files.path(folder, _FRIENDS), "\t", 2))[1:]
    return [(row[0], row[1].strip()) for _, row in rows]


def _table(folder: Path) -> Table:
    listened = _listened(folder)
    circle = circles({row[0] for _, row in listened}, _edges(folder))
    rows = [
        (row[0], row[1], place, row[2], circle[row[0]])
        for (_, row), place in zip(listened, untimed.places(len(listened)), strict=True)
    ]
    meanings = ("user", "item", "time", "rating", "region")
    return files.table([line for line, _ in listened], rows, meanings)


#: The rating is how often somebody listened, in plays.
LASTFM_2K = Dataset(
    origin="https://grouplens.org/datasets/hetrec-2011/",
    files=(_LISTENED, _FRIENDS, _ARTISTS),
    columns=Columns(user="userID", item="artistID", time="place", rating="weight", region="circle"),
    catalogue=_catalogue,
    table=_table,
    order="at random: when somebody listened is not published",
    edges=_edges,
)
