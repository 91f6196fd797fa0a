"""The real data that the project ships, and the script that derived it."""

import csv
import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from latecomer.interactions.schema import Catalogue, Columns, Interactions, Report
from latecomer.interactions.selection import Selection, select
from latecomer.interactions.sources import load
from latecomer.interactions.splits import temporal_split

FOLDER = Path(__file__).parents[4] / "recipes" / "data" / "online-retail"
COLUMNS = Columns(user="customer", item="item", time="time", region="country")

#: 10 December 2011: the day after the last purchase.
NOW_S = 1_323_475_200.0

#: Where gzip would write when it packed.
NO_DATE = bytes(4)

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.read(FOLDER / "items.csv")


@pytest.fixture(scope="module")
def loaded(catalogue: Catalogue) -> tuple[Interactions, Report]:
    return load(FOLDER / "purchases.csv.gz", COLUMNS, catalogue, now_s=NOW_S)


def test_the_shipped_counts_are_those_of_the_readme(
    catalogue: Catalogue, loaded: tuple[Interactions, Report]
) -> None:
    interactions, report = loaded
    assert (report.read, report.kept, report.reasons) == (266_226, 266_226, {})
    assert len(interactions.users) == 4_335
    assert len(catalogue) == 3_659 == len(np.unique(interactions.item))
    assert len(set(interactions.regions)) == 37
    lengths = np.bincount(interactions.user)
    assert [(lengths >= least).sum() for least in (3, 5)] == [4_189, 4_076]
    assert [int(np.median(lengths)), int(lengths.max())] == [35, 1_785]
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for stated in ("266,226", "3,659", "4,335", "37 countries", "4,189", "4,076", "1,785"):
        assert stated in readme


def test_the_shipped_file_is_sorted_by_time_and_packed_without_a_date() -> None:
    packed = (FOLDER / "purchases.csv.gz").read_bytes()
    with gzip.open(FOLDER / "purchases.csv.gz", "rt", encoding="utf-8", newline="") as file:
        times = [row["time"] for row in csv.DictReader(file)]
    assert times == sorted(times)
    assert packed[4:8] == NO_DATE


def test_every_shipped_item_has_a_tidy_description(catalogue: Catalogue) -> None:
    for text in catalogue.descriptions:
        assert text == " ".join(text.split()).strip(" ,.")
        assert text[0] == text[0].upper()


def test_the_customers_who_are_tested_are_those_with_five_items(
    loaded: tuple[Interactions, Report],
) -> None:
    split = temporal_split(loaded[0])
    assert (split.test >= 0).sum() == 4_076
    assert split.untested == 4_335 - 4_076


def test_six_shards_of_the_large_country_are_of_like_size(
    loaded: tuple[Interactions, Report],
) -> None:
    britain = select(loaded[0], Selection(regions=("United Kingdom",)))
    sizes = [len(select(britain, Selection(shard=f"{part}/6")).users) for part in range(1, 7)]
    assert sum(sizes) == len(britain.users) == 3_917
    assert max(sizes) < 1.2 * min(sizes)


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(text.splitlines()))[1:]


def derive(folder: Path, *lines: str) -> tuple[list[list[str]], list[list[str]]]:
    """The rows of purchases.csv.gz and items.csv that the script makes of ``lines``."""
    source = folder / "source.csv.gz"
    source.write_bytes(gzip.compress("\n".join([HEADER, *lines]).encode()))
    subprocess.run([sys.executable, FOLDER / "derive.py", source, folder], check=True)
    purchases = gzip.decompress((folder / "purchases.csv.gz").read_bytes()).decode()
    return rows(purchases), rows((folder / "items.csv").read_text(encoding="utf-8"))


BOUGHT = "1,10001,RED CUP,1,2011-01-01 10:00:00,2.5,77.0,France"


@pytest.mark.parametrize(
    "line",
    [
        "2,10002,BLUE CUP,1,2011-01-01 10:00:00,2.5,,France",
        "C2,10002,BLUE CUP,1,2011-01-01 10:00:00,2.5,77.0,France",
        "2,POST,POSTAGE,1,2011-01-01 10:00:00,2.5,77.0,France",
        "2,C2,CARRIAGE,1,2011-01-01 10:00:00,2.5,77.0,France",
        "2,1000,CHEQUE,1,2011-01-01 10:00:00,2.5,77.0,France",
        "2,10002,BLUE CUP,0,2011-01-01 10:00:00,2.5,77.0,France",
        "2,10002,BLUE CUP,-4,2011-01-01 10:00:00,2.5,77.0,France",
    ],
    ids=["no customer", "cancelled", "postage", "carriage", "short code", "none", "negative"],
)
def test_what_is_no_purchase_of_a_product_is_removed(tmp_path: Path, line: str) -> None:
    purchases, items = derive(tmp_path, BOUGHT, line)
    assert purchases == [["77", "10001", "2011-01-01T10:00:00", "France"]]
    assert items == [["10001", "Red cup"]]


def test_the_first_purchase_of_each_item_stays_sorted_by_time_then_by_line(tmp_path: Path) -> None:
    purchases, _ = derive(
        tmp_path,
        "3,10003A,POT,1,2011-01-03 09:00:00,1,77.0,France",
        "1,10002,CUP,1,2011-01-01 10:00:00,1,77.0,France",
        "1,10001,TEA,1,2011-01-01 10:00:00,1,88.0,Spain",
        "2,10002,CUP,1,2011-01-02 10:00:00,1,77.0,France",
    )
    assert [row[:2] for row in purchases] == [["77", "10002"], ["88", "10001"], ["77", "10003A"]]


def test_a_customer_of_two_countries_is_of_the_first(tmp_path: Path) -> None:
    purchases, _ = derive(
        tmp_path,
        "2,10002,CUP,1,2011-01-02 10:00:00,1,77.0,Spain",
        "1,10001,TEA,1,2011-01-01 10:00:00,1,77.0,France",
    )
    assert [row[3] for row in purchases] == ["France", "France"]


def test_an_item_is_described_as_it_was_most_often_and_tidily(tmp_path: Path) -> None:
    _, items = derive(
        tmp_path,
        '1,10001,"  RED   CUP ,LARGE. ",1,2011-01-01 10:00:00,1,77.0,France',
        '2,10001,"red cup, large",1,2011-01-02 10:00:00,1,77.0,France',
        "3,10001,DAMAGED,1,2011-01-03 10:00:00,1,77.0,France",
        "4,10002,ZINC POT,1,2011-01-03 10:00:00,1,77.0,France",
        "5,10002,ALUMINIUM POT,1,2011-01-03 10:00:00,1,77.0,France",
    )
    assert items == [["10001", "Red cup, large"], ["10002", "Aluminium pot"]]


def test_deriving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    derive(tmp_path, BOUGHT)
    first = (tmp_path / "purchases.csv.gz").read_bytes()
    derive(tmp_path, BOUGHT)
    assert (tmp_path / "purchases.csv.gz").read_bytes() == first
    assert first[4:8] == NO_DATE
    assert gzip.decompress(first) == (
        b"customer,item,time,country\n77,10001,2011-01-01T10:00:00,France\n"
    )


def test_without_a_source_the_script_says_how_to_use_it() -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "derive.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Usage: python derive.py" in done.stderr
