"""The shipped recipes and the shipped data fit each other."""

from pathlib import Path

import numpy as np
import pytest

from latecomer.data import Data
from latecomer.errors import BadData
from latecomer.evaluation.baselines import popularity, same_for_all
from latecomer.evaluation.protocol import RankingProtocol
from latecomer.fleet import Fleet
from latecomer.interactions.schema import Catalogue, Interactions
from latecomer.interactions.selection import Selection, select
from latecomer.interactions.sources import load
from latecomer.interactions.splits import temporal_split
from latecomer.recipe import load_recipe

RECIPES = Path(__file__).parents[3] / "recipes"

#: Somewhere in 2026: after all purchases.
NOW_S = 1_767_235_600.0


@pytest.fixture(scope="module")
def data() -> Data:
    data = load_recipe(RECIPES / "retail.toml").data
    assert isinstance(data, Data)
    return data


@pytest.fixture(scope="module")
def catalogue(data: Data) -> Catalogue:
    return Catalogue.read(RECIPES / data.catalogue)


@pytest.fixture(scope="module")
def purchases(data: Data, catalogue: Catalogue) -> Interactions:
    return load(RECIPES / data.source, data.columns, catalogue, now_s=NOW_S)[0]


def fleet(name: str) -> Fleet:
    return load_recipe(RECIPES / f"{name}.toml").fleet


def users_of(purchases: Interactions, fleet: Fleet, name: str) -> list[str]:
    entry = fleet.find(name)
    assert entry is not None
    wanted = Selection(**{field: getattr(entry, field) for field in Selection.model_fields})
    return list(select(purchases, wanted).users)


@pytest.mark.parametrize("order", ["as it is", "reversed", "best-selling first"])
def test_popularity_is_worth_the_same_whatever_the_order_of_the_catalogue(
    data: Data, catalogue: Catalogue, purchases: Interactions, order: str
) -> None:
    sold = np.argsort(-np.bincount(purchases.item, minlength=len(catalogue)), kind="stable")
    given = np.arange(len(sold))
    rows = {"as it is": given, "reversed": given[::-1], "best-selling first": sold}[order]
    ordered = Catalogue(
        tuple(catalogue.items[row] for row in rows),
        tuple(catalogue.descriptions[row] for row in rows),
    )
    again, _ = load(RECIPES / data.source, data.columns, ordered, now_s=NOW_S)
    split = temporal_split(again)
    known = split.known("test")
    counts = popularity(known, len(ordered))
    means = RankingProtocol(k=10).evaluate(same_for_all(counts), known, split.test).means()
    assert means["users"] == 4076
    assert means["ndcg@10"] == pytest.approx(0.0134, abs=0.0001)


def test_every_customer_of_the_main_scene_has_exactly_one_shop(purchases: Interactions) -> None:
    retail = fleet("retail")
    honest = [each.name for each in retail.workers if each.pace != "misbehaving"]
    owned = [user for name in honest for user in users_of(purchases, retail, name)]
    mallory = set(users_of(purchases, retail, "mallory"))
    assert len(owned) == len(set(owned))
    assert set(owned) == set(purchases.users)
    assert mallory <= set(owned)


def test_three_cities_share_all_customers_by_when_they_first_came(
    purchases: Interactions,
) -> None:
    cities = [
        users_of(purchases, fleet("three-cities"), name)
        for name in ("beijing", "shanghai", "guangzhou")
    ]
    assert [user for city in cities for user in city] == list(purchases.users)
    assert [len(city) for city in cities] == [1445, 1445, 1445]


def test_twenty_devices_share_all_customers(purchases: Interactions) -> None:
    cities = fleet("three-cities")
    devices = [users_of(purchases, cities, f"device-{slot}") for slot in range(1, 21)]
    assert sorted(user for device in devices for user in device) == sorted(purchases.users)


def test_a_device_beyond_the_last_has_no_data(purchases: Interactions) -> None:
    assert fleet("three-cities").find("device-21") is None
    with pytest.raises(BadData, match="no part 21 of 20"):
        select(purchases, Selection(shard="21/20"))


def test_the_item_that_is_tested_is_any_of_the_last_invoice(purchases: Interactions) -> None:
    split = temporal_split(purchases)
    places = []
    for user in range(0, len(purchases.users), 50):
        mine = purchases.user == user
        items, times = purchases.item[mine], purchases.time_s[mine]
        if len(items) >= 5:
            basket = np.sort(items[times == times.max()])
            assert split.test[user] in basket
            places.append(np.searchsorted(basket, split.test[user]) / max(1, len(basket) - 1))
    assert 0.4 < np.mean(places) < 0.6
    assert np.array_equal(split.everything().items, purchases.item)
