"""HetRec 2011 Last.FM: which artists people listen to, and who is whose friend.

I. Cantador, P. Brusilovsky and T. Kuflik (2011), "2nd Workshop on Information Heterogeneity and
Fusion in Recommender Systems (HetRec 2011)", RecSys.
"""

from pathlib import Path

from latecomer.datasets import files, untimed
from latecomer.datasets.port import Dataset, Edges
from latecomer.datasets.regions import circles
from latecomer.interactions.schema import Catalogue, Columns
from latecomer.interactions.tables import Table

#: Of 17,632 artists, 2,828 have as many listeners; the others were heard by hardly anybody else.
LISTENERS = 5

_LISTENED = "user_artists.dat"
_FRIENDS = "user_friends.dat"
_ARTISTS = "artists.dat"


def _listened(folder: Path) -> list[list[str]]:
    """Users and artists."""
    path = files.path(folder, _LISTENED)
    return files.columns(path, ("userID", "artistID"), delimiter="\t")


def _catalogue(folder: Path) -> Catalogue:
    # Names have quotes in them that mean nothing.
    artists = files.fields(files.path(folder, _ARTISTS), "\t", 2)
    names = {row[0]: row[1] for _, row in artists}
    users, items = _listened(folder)
    heard = untimed.widespread(zip(users, items, strict=True), LISTENERS)
    return Catalogue(tuple(heard), tuple(names.get(item, f"artist {item}") for item in heard))


def _edges(folder: Path) -> Edges:
    path = files.path(folder, _FRIENDS)
    return list(zip(*files.columns(path, ("userID", "friendID"), delimiter="\t"), strict=True))


def _table(folder: Path) -> Table:
    users, items = _listened(folder)
    circle = circles(set(users), _edges(folder))
    return Table(
        range(2, len(users) + 2),  # the first line names the columns
        {
            "user": users,
            "item": items,
            "time": untimed.places(len(users)),
            "region": [circle[user] for user in users],
        },
    )


LASTFM_2K = Dataset(
    origin="https://grouplens.org/datasets/hetrec-2011/",
    files=(_LISTENED, _FRIENDS, _ARTISTS),
    columns=Columns(user="userID", item="artistID", time="place", region="circle"),
    catalogue=_catalogue,
    table=_table,
    order="at random: when somebody listened is not published",
    edges=_edges,
)
