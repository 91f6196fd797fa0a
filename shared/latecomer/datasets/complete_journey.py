"""The Complete Journey: what 2,469 households bought in a year at the stores of one retailer.

84.51°/dunnhumby (2018), "The Complete Journey", as in the packages ``completejourney``.
"""

from pathlib import Path

from latecomer.datasets import files, untimed
from latecomer.datasets.port import Dataset
from latecomer.datasets.regions import homes
from latecomer.interactions.schema import Catalogue, Columns
from latecomer.interactions.tables import Table

#: Of 68,509 products, 3,887 were bought by as many households.
HOUSEHOLDS = 50

_TRANSACTIONS = "transactions.csv"
_PRODUCTS = "products.csv"


def _catalogue(folder: Path) -> Catalogue:
    bought = files.columns(files.path(folder, _TRANSACTIONS), ("household_id", "product_id"))
    items = untimed.widespread(zip(*bought, strict=True), HOUSEHOLDS)
    columns = ("product_id", "brand", "product_type", "package_size")
    products = files.columns(files.path(folder, _PRODUCTS), columns)
    names = {number: ", ".join(filter(None, rest)) for number, *rest in zip(*products, strict=True)}
    return Catalogue(tuple(items), tuple(names.get(item) or f"product {item}" for item in items))


def _table(folder: Path) -> Table:
    """A household's region is the store of most of its baskets."""
    names = ("household_id", "product_id", "transaction_timestamp", "store_id", "basket_id")
    users, items, times, stores, baskets = files.columns(files.path(folder, _TRANSACTIONS), names)
    visits = set(zip(users, stores, baskets, strict=True))
    home = homes((user, f"store {store}") for user, store, _ in visits)
    return Table(
        range(2, len(users) + 2),  # the first line names the columns
        {"user": users, "item": items, "time": times, "region": [home[user] for user in users]},
    )


COMPLETE_JOURNEY = Dataset(
    origin="https://www.84.51.com/area51/source-files",
    files=(_TRANSACTIONS, _PRODUCTS),
    columns=Columns(
        user="household_id",
        item="product_id",
        time="transaction_timestamp",
        region="store_id",
    ),
    catalogue=_catalogue,
    table=_table,
    order="by time; of one basket at random",
)
