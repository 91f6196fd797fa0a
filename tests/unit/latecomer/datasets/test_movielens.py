"""MovieLens 100K as downloaded, on a few lines of its three files."""

import gzip
import os
from pathlib import Path

import pytest

from latecomer.datasets.formats import FORMATS
from latecomer.errors import BadData
from latecomer.interactions.schema import Interactions, Report
from latecomer.interactions.splits import temporal_split

LOADER = FORMATS["ml-100k"]

#: After everything that is rated below.
NOW_S = 900_000_000.0

ITEMS = "1|Toy Story (1995)|01-Jan\n2|GoldenEye (1995)|01-Jan\n9|Léon (1994)|01-Jan\n"
USERS = "7|24|M|technician|85711\n8|53|F|writer|94043\n"
#: Somebody rated two films in one second, the one of the higher number first.
RATINGS = "7\t2\t3\t881250949\n8\t1\t5\t881250001\n7\t1\t1\t881250949\n7\t9\t4\t881250000\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "u.item").write_text(ITEMS, encoding="latin-1")
    (tmp_path / "u.user").write_text(USERS, encoding="latin-1")
    (tmp_path / "u.data").write_text(RATINGS, encoding="latin-1")
    return tmp_path


def read(folder: Path) -> tuple[Interactions, Report]:
    return LOADER.interactions(folder, LOADER.catalogue(folder), now_s=NOW_S)


def append(folder: Path, line: str) -> None:
    with (folder / "u.data").open("a", encoding="latin-1") as file:
        file.write(line)


def test_films_are_items_and_titles_their_descriptions(folder: Path) -> None:
    catalogue = LOADER.catalogue(folder)
    assert catalogue.items == ("1", "2", "9")
    assert catalogue.descriptions[2] == "Léon (1994)"


def test_people_come_in_order_of_their_first_rating_with_their_occupation(folder: Path) -> None:
    interactions, report = read(folder)
    assert interactions.users == ("7", "8")
    assert interactions.regions == ("technician", "writer")
    assert interactions.user.tolist() == [0, 0, 0, 1]
    assert (report.read, report.kept) == (4, 4)


def test_films_of_one_second_keep_the_order_of_the_file(folder: Path) -> None:
    interactions, _ = read(folder)
    assert interactions.item.tolist()[:3] == [2, 1, 0]
    assert temporal_split(interactions, min_tested=3).test.tolist() == [0, -1]


def test_gzipped_files_are_read_as_they_are(folder: Path) -> None:
    plain, _ = read(folder)
    for name in ("u.data", "u.item", "u.user"):
        data = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / f"{name}.gz").write_bytes(gzip.compress(data))
    assert read(folder)[0].item.tolist() == plain.item.tolist()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("7\t77\t3\t881250949\n", "unknown_item"),
        ("8\t2\t3\tyesterday\n", "unparsable_time"),
        ("8\t2\t3\t950000000\n", "time_in_the_future"),
        ("8\t2\n", "missing_value"),
        ("7\t9\t1\t881260000\n", "duplicate"),
    ],
)
def test_what_cannot_be_used_is_counted_by_its_reason(folder: Path, line: str, reason: str) -> None:
    append(folder, line)
    interactions, report = read(folder)
    assert dict(report.reasons) == {reason: 1}
    assert report.examples[reason][0].startswith("line 5: ")
    assert len(interactions.item) == 4


def test_a_missing_file_says_where_it_is_to_be_had(folder: Path) -> None:
    (folder / "u.user").unlink()
    with pytest.raises(BadData, match=r"cannot read .*u\.user") as error:
        read(folder)
    assert "files.grouplens.org" in (error.value.hint or "")


def test_a_damaged_list_of_films_is_named_with_its_line(folder: Path) -> None:
    (folder / "u.item").write_text("1|Toy Story\nbroken\n")
    with pytest.raises(BadData, match="line 2: 1 of 2 fields"):
        LOADER.catalogue(folder)


def test_where_nothing_can_be_used_the_report_is_the_answer(folder: Path) -> None:
    (folder / "u.data").write_text("7\t77\t3\t881250949\n")
    with pytest.raises(BadData, match="0 of 1 rows kept, 1 unknown_item"):
        read(folder)


@pytest.mark.skipif(
    "LATECOMER_DATA" not in os.environ, reason="LATECOMER_DATA names no folder of data sets"
)
def test_the_real_data_is_as_large_as_published() -> None:
    interactions, report = read(Path(os.environ["LATECOMER_DATA"]) / "ml-100k")
    assert (report.read, report.kept) == (100_000, 100_000)
    assert len(interactions.users) == 943
    assert len(set(interactions.item.tolist())) == 1682
