"""Taobao as prepared for EHCF: what people bought, and what they put into their carts.

C. Chen et al. (2020), "Efficient Heterogeneous Collaborative Filtering without Negative Sampling
for Recommendation", AAAI. Page views are not read.
"""

from itertools import chain
from pathlib import Path

from latecomer.datasets import files, untimed
from latecomer.datasets.port import Dataset
from latecomer.interactions.schema import Catalogue, Columns
from latecomer.interactions.tables import Table

#: Of 39,493 items, 4,540 were bought or put into carts by as many people.
USERS = 20

_BOUGHT = "buy.train.txt"
_TEST = "buy.test.txt"
_CARTED = "cart.csv"

Pairs = list[tuple[str, str]]


def _pairs(folder: Path, name: str) -> Pairs:
    path = files.path(folder, name)
    return list(zip(*files.columns(path, ("uid", "sid"), delimiter="\t"), strict=True))


def _catalogue(folder: Path) -> Catalogue:
    pairs = chain.from_iterable(_pairs(folder, name) for name in (_BOUGHT, _TEST, _CARTED))
    items = untimed.widespread(pairs, USERS)
    return Catalogue(tuple(items), tuple(f"item {item}" for item in items))


def _table(folder: Path) -> Table:
    """Carts before purchases, and the published test purchase last.

    What was put into a cart and bought counts once, as the purchase: in the cart, an item that is
    held out would be known. The cart comes after it and is counted as a repeat.
    """
    carted, bought, test = (_pairs(folder, name) for name in (_CARTED, _BOUGHT, _TEST))
    purchases = {*bought, *test}
    rank = [3 * (pair in purchases) for pair in carted] + [1] * len(bought) + [2] * len(test)
    rows = [*carted, *bought, *test]
    places = map(int, untimed.places(len(rows)))
    lines = (range(2, len(each) + 2) for each in (carted, bought, test))
    return Table(
        [*chain.from_iterable(lines)],  # the first line of each file names the columns
        {
            "user": [user for user, _ in rows],
            "item": [item for _, item in rows],
            "time": [
                str(place + each * len(rows)) for place, each in zip(places, rank, strict=True)
            ],
        },
    )


TAOBAO = Dataset(
    origin="https://github.com/chenchongthu/EHCF",
    files=(_BOUGHT, _TEST, _CARTED),
    columns=Columns(user="uid", item="sid", time="place"),
    catalogue=_catalogue,
    table=_table,
    order="the published test purchase, where its item is kept; before it, at random",
)
