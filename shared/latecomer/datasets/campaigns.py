"""The Complete Journey's campaigns: who redeems a coupon of a campaign that was sent to him?

An example is a campaign that a household received. What is known of it is from before the campaign
began: the campaign itself, what the household bought in the eight weeks before, and what it made of
earlier campaigns.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from latecomer.datasets import files
from latecomer.datasets.port import ExampleSet
from latecomer.datasets.regions import homes
from latecomer.interactions.tables import Table

#: What a household bought in so long before a campaign is known of it.
KNOWN = timedelta(weeks=8)

#: Most of 130 stores have fewer than a hundred examples. Neighbours by number are one region, for
#: nothing else is published of where they are; above the last block numbers are far apart.
BLOCK, LAST = 20, 460

_CAMPAIGNS = "campaigns.csv"
_DESCRIPTIONS = "campaign_descriptions.csv"
_COUPONS = "coupons.csv"
_REDEMPTIONS = "coupon_redemptions.csv"
_DEMOGRAPHICS = "demographics.csv"
_TRANSACTIONS = "transactions.csv"

#: What is known of who answered: of eight examples in ten.
_PERSON = ("age", "income", "household_size", "kids_count")

_OF_CAMPAIGN = ("type", "days", "offered")
_OF_HOUSEHOLD = ("baskets", "spend", "couponed", "offered_baskets", "received", "redeemed_before")
_COLUMNS = ("exposure", "household", "region", "redeemed", *_OF_CAMPAIGN, *_OF_HOUSEHOLD, *_PERSON)


@dataclass(frozen=True)
class Campaign:
    """Coupons for some products, valid between two days; days are text, which sorts like dates."""

    number: str
    kind: str
    begins: str
    ends: str
    products: frozenset[str]

    def known(self) -> Iterator[object]:
        """What is known of it, in the order of ``_OF_CAMPAIGN``."""
        yield self.kind
        yield (date.fromisoformat(self.ends) - date.fromisoformat(self.begins)).days
        yield len(self.products)


class Purchase(NamedTuple):
    """One product in a basket; there are over a million."""

    day: str
    basket: str
    product: str
    spent: float
    couponed: bool


@dataclass(frozen=True)
class Household:
    """What a year's files say of one.

    Attributes:
        region: Of the store of most of its baskets.
        received: All campaigns.
        redeemed: Of each campaign that it redeemed a coupon of, the first day it did.
        person: What it answered.
    """

    region: str
    purchases: Sequence[Purchase]
    received: Sequence[Campaign]
    redeemed: Mapping[str, str]
    person: Sequence[str]

    def known(self, campaign: Campaign) -> Iterator[object]:
        """What is known of it when the campaign begins, in the order of ``_OF_HOUSEHOLD``."""
        since = (date.fromisoformat(campaign.begins) - KNOWN).isoformat()
        before = [each for each in self.purchases if since <= each.day < campaign.begins]
        yield len({each.basket for each in before})
        yield round(sum(each.spent for each in before), 2)
        yield len({each.basket for each in before if each.couponed})
        yield len({each.basket for each in before if each.product in campaign.products})
        yield sum(each.begins < campaign.begins for each in self.received)
        yield sum(day < campaign.begins for day in self.redeemed.values())


def _table(folder: Path) -> Table:
    households = _households(folder)
    rows = [
        (
            f"{name}-{campaign.number}",
            name,
            household.region,
            int(campaign.number in household.redeemed),
            *campaign.known(),
            *household.known(campaign),
            *household.person,
        )
        for name, household in households.items()
        for campaign in household.received
    ]
    return files.table(range(1, len(rows) + 1), rows, _COLUMNS)


def _households(folder: Path) -> dict[str, Household]:
    """Those that received a campaign."""
    purchases, home = _purchases(folder)
    redeemed = _redeemed(folder)
    answers = _rows(folder, _DEMOGRAPHICS, "household_id", *_PERSON)
    people = {household: person for household, *person in answers}
    return {
        household: Household(
            region=home.get(household, ""),
            purchases=purchases[household],
            received=received,
            redeemed=redeemed[household],
            person=people.get(household, [""] * len(_PERSON)),
        )
        for household, received in _received(folder).items()
    }


def _received(folder: Path) -> Mapping[str, list[Campaign]]:
    offered = defaultdict(set)
    for number, product in _rows(folder, _COUPONS, "campaign_id", "product_id"):
        offered[number].add(product)
    names = ("campaign_id", "campaign_type", "start_date", "end_date")
    campaigns = {
        number: Campaign(number, kind, begins, ends, frozenset(offered[number]))
        for number, kind, begins, ends in _rows(folder, _DESCRIPTIONS, *names)
    }
    found = defaultdict(list)
    for household, number in _rows(folder, _CAMPAIGNS, "household_id", "campaign_id"):
        found[household].append(campaigns[number])
    return found


def _purchases(folder: Path) -> tuple[Mapping[str, list[Purchase]], Mapping[str, str]]:
    """By household, what it bought, and its region."""
    names = ("household_id", "store_id", "transaction_timestamp", "basket_id", "product_id")
    found, visits = defaultdict(list), set()
    for household, store, time, basket, product, spent, coupon in _rows(
        folder, _TRANSACTIONS, *names, "sales_value", "coupon_disc"
    ):
        purchase = Purchase(time[:10], basket, product, float(spent), float(coupon) > 0)
        found[household].append(purchase)
        visits.add((household, store, basket))
    stores = homes((household, store) for household, store, _ in visits)
    return found, {household: region(store) for household, store in stores.items()}


def _redeemed(folder: Path) -> Mapping[str, Mapping[str, str]]:
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    names = ("redemption_date", "household_id", "campaign_id")
    for day, household, number in sorted(_rows(folder, _REDEMPTIONS, *names)):
        found[household].setdefault(number, day)
    return found


def region(store: str) -> str:
    """The block of numbers that a store's is in."""
    first = int(store) // BLOCK * BLOCK
    return f"stores {first}-{first + BLOCK - 1}" if first < LAST else f"stores from {LAST}"


def _rows(folder: Path, name: str, *names: str) -> Iterator[tuple[str, ...]]:
    return zip(*files.columns(files.path(folder, name), names), strict=True)


CAMPAIGNS = ExampleSet(
    origin="https://www.84.51.com/area51/source-files",
    folder="complete-journey",
    files=(_CAMPAIGNS, _DESCRIPTIONS, _COUPONS, _REDEMPTIONS, _DEMOGRAPHICS, _TRANSACTIONS),
    columns=_COLUMNS,
    outcome="redeemed",
    user="exposure",
    region="region",
    group="household",
    table=_table,
)
