"""Taobao, Yelp, The Complete Journey and MIMIC as published, in a tiny hand-made copy of each."""

import gzip
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from latecomer.datasets.registry import load, read_catalogue
from latecomer.errors import BadData
from latecomer.interactions.schema import Catalogue, Interactions, Report

NOW_S = 1.7e9


def write(folder: Path, name: str, rows: Iterable[str], separator: str = "\t") -> None:
    body = "\n".join(row.replace(" ", separator) for row in rows) + "\n"
    (folder / f"{name}.gz").write_bytes(gzip.compress(body.encode()))


def write_taobao(folder: Path) -> None:
    """Users 1 to 20 bought item 5; user 1 carted and bought much more."""
    write(folder, "buy.train.txt", ["uid sid", *(f"{user} 5" for user in range(1, 21)), "1 6"])
    write(folder, "buy.test.txt", ["uid sid", "1 7"])
    carts = [f"{user} {item}" for item in (6, 7, 8) for user in range(1, 21)]
    write(folder, "cart.csv", ["uid sid 3", *(f"{pair} cart" for pair in carts), "1 9 cart"])


def write_yelp(folder: Path) -> None:
    """Ten people reviewed businesses 3 and 4; the first reviewed 5 in the city of 4 as well."""
    reviews = [f"{user} {business} 5" for user in range(1, 11) for business in (3, 4)]
    write(folder, "user_business.dat", [*reviews, "1 5 1"])
    write(folder, "business_city.dat", ["3 31 1", "4 35 1", "5 35 1"])
    write(folder, "user_user.dat", ["1 2 1", "2 1 1", "2 77 1"])


def write_complete_journey(folder: Path) -> None:
    """Fifty households buy product 10; the first is mostly at store 8, and buys 11 too."""
    header = (
        "household_id,store_id,basket_id,product_id,quantity,sales_value,week,transaction_timestamp"
    )
    rows = [f"{house},7,{house},10,1,1.0,1,2017-01-01 11:53:26" for house in range(1, 51)]
    more = [f"1,8,{basket},10,1,1.0,1,2017-01-02 11:53:26" for basket in (100, 101)]
    rare = "1,8,101,11,1,1.0,1,2017-01-02 11:53:26"
    write(folder, "transactions.csv", [header, *rows, *more, rare], " ")
    write(
        folder,
        "products.csv",
        ["product_id,brand,product_type,package_size", "10,National,MILK,22 LB"],
        " ",
    )


def write_mimic(folder: Path) -> None:
    """One patient, two drugs, one of them twice; no drug's name is missing but once."""
    rows = ["9,Heparin,2146-07-22 00:00:00", "9,Insulin,2146-07-21 00:00:00"]
    more = ["9,Heparin,2146-07-21 00:00:00", "9,,2146-07-21 00:00:00"]
    write(folder, "PRESCRIPTIONS.csv", ["SUBJECT_ID,DRUG,STARTDATE", *rows, *more], " ")
    stays = ["9,Private", "9,Medicare", "9,Medicare"]
    write(folder, "ADMISSIONS.csv", ["SUBJECT_ID,INSURANCE", *stays], " ")


def read(name: str, folder: Path) -> tuple[Catalogue, Interactions, Report]:
    catalogue = read_catalogue(name, folder)
    return (catalogue, *load(name, folder, catalogue, now_s=NOW_S))


def history(catalogue: Catalogue, found: Interactions, user: str) -> list[str]:
    own = found.item[found.user == found.users.index(user)]
    return [catalogue.items[item] for item in own]


def test_taobaos_test_purchase_is_last_and_no_longer_in_the_cart(tmp_path: Path) -> None:
    write_taobao(tmp_path)
    catalogue, found, report = read("taobao-ehcf", tmp_path)
    assert catalogue.items == ("5", "6", "7", "8")
    assert history(catalogue, found, "1")[-1] == "7"
    assert report.reasons == {"unknown_item": 1, "duplicate": 2}
    carted, *bought = history(catalogue, found, "1")
    assert carted == "8"
    assert sorted(bought) == ["5", "6", "7"]


def test_yelps_reviewers_live_where_they_review_most(tmp_path: Path) -> None:
    write_yelp(tmp_path)
    catalogue, found, report = read("yelp-hin", tmp_path)
    assert catalogue.items == ("3", "4")
    assert catalogue.descriptions == ("business 3, city 31", "business 4, city 35")
    assert found.regions[found.users.index("1")] == "city 35"
    assert found.regions[found.users.index("2")] == "city 31"
    assert report.reasons == {"unknown_item": 1}
    friends = [(found.users[user], found.users[friend]) for user, friend in found.edges]
    assert sorted(friends) == [("1", "2"), ("2", "1")]


def test_a_household_belongs_to_the_store_of_most_of_its_baskets(tmp_path: Path) -> None:
    write_complete_journey(tmp_path)
    catalogue, found, report = read("complete-journey", tmp_path)
    assert catalogue.items == ("10",)
    assert catalogue.descriptions == ("National, MILK, 22 LB",)
    assert found.regions[found.users.index("1")] == "store 8"
    assert found.regions[found.users.index("2")] == "store 7"
    assert report.reasons == {"duplicate": 2, "unknown_item": 1}


def test_mimics_days_lie_in_the_future_and_order_what_is_given(tmp_path: Path) -> None:
    write_mimic(tmp_path)
    catalogue, found, report = read("mimic-iii-demo", tmp_path)
    assert sorted(catalogue.items) == ["Heparin", "Insulin"]
    assert found.regions == ("Medicare",)
    assert len(set(found.time_s.tolist())) == 1  # Heparin counts when it was first given
    assert report.reasons == {"duplicate": 1, "missing_value": 1}


@pytest.mark.parametrize(
    ("name", "writes", "file"),
    [
        ("taobao-ehcf", write_taobao, "cart.csv"),
        ("yelp-hin", write_yelp, "business_city.dat"),
        ("complete-journey", write_complete_journey, "products.csv"),
        ("mimic-iii-demo", write_mimic, "ADMISSIONS.csv"),
    ],
)
def test_a_file_that_is_missing_is_named(
    tmp_path: Path, name: str, writes: Callable[[Path], None], file: str
) -> None:
    writes(tmp_path)
    (tmp_path / f"{file}.gz").unlink()
    with pytest.raises(BadData, match=f"{file} missing"):
        read_catalogue(name, tmp_path)


def test_a_column_that_is_missing_is_named_with_those_there_are(tmp_path: Path) -> None:
    write_taobao(tmp_path)
    write(tmp_path, "buy.train.txt", ["user sid", "1 5"])
    with pytest.raises(BadData, match=r"no column 'uid'.*it has user, sid"):
        read_catalogue("taobao-ehcf", tmp_path)
