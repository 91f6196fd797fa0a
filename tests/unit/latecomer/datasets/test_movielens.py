"""MovieLens as GroupLens ships it, in a tiny hand-made copy of each format."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from latecomer.datasets.registry import dataset, load, read_catalogue
from latecomer.errors import BadConfiguration, BadData
from latecomer.interactions.schema import Interactions

NOW_S = 1e9


def hundred_k(folder: Path) -> Path:
    (folder / "u.item").write_bytes(b"7|Am\xe9lie (2001)|01-Jan-2001||url|0\n9|Heat (1995)||||1\n")
    (folder / "u.user").write_text("1|24|M|writer|85711\n2|53|F|other|94043\n")
    rows = "2 7 3 300,1 9 5 200,1 7 1 100,1 7 2 400,1 8 4 500,2 9 4 2000000000"
    body = rows.replace(" ", "\t").replace(",", "\n")
    (folder / "u.data.gz").write_bytes(gzip.compress(body.encode()))
    return folder


def one_m(folder: Path) -> Path:
    (folder / "movies.dat").write_bytes(b"7::Am\xe9lie (2001)::Comedy\n9::Heat (1995)::Action\n")
    (folder / "users.dat").write_text("1::F::1::20::48067\n2::M::56::10::70072\n")
    return folder


def triples(found: Interactions) -> list[tuple[str, int, float]]:
    return [
        (found.users[user], item, time_s)
        for user, item, time_s in zip(
            found.user.tolist(), found.item.tolist(), found.time_s.tolist(), strict=True
        )
    ]


def test_100k_is_read_by_time_with_occupations_as_regions(tmp_path: Path) -> None:
    catalogue = read_catalogue("ml-100k", hundred_k(tmp_path))
    assert catalogue.items == ("7", "9")
    assert catalogue.descriptions == ("Amélie (2001)", "Heat (1995)")
    found, report = load("ml-100k", tmp_path, catalogue, now_s=NOW_S)
    assert triples(found) == [("1", 0, 100.0), ("1", 1, 200.0), ("2", 0, 300.0)]
    assert found.regions == ("writer", "other")
    assert report.reasons == {"duplicate": 1, "unknown_item": 1, "time_in_the_future": 1}
    assert (report.read, report.kept) == (6, 3)


def test_films_of_one_second_keep_the_order_of_the_file(tmp_path: Path) -> None:
    body = "1\t9\t5\t200\n1\t7\t1\t200\n"
    (hundred_k(tmp_path) / "u.data.gz").write_bytes(gzip.compress(body.encode()))
    found, _ = load("ml-100k", tmp_path, read_catalogue("ml-100k", tmp_path), now_s=NOW_S)
    assert triples(found) == [("1", 1, 200.0), ("1", 0, 200.0)]


def test_1m_is_read_by_time_where_ratings_dat_is_there(tmp_path: Path) -> None:
    (one_m(tmp_path) / "ratings.dat").write_text("1::9::5::200\n1::7::3::100\n2::7::4::50\n")
    catalogue = read_catalogue("ml-1m", tmp_path)
    found, _ = load("ml-1m", tmp_path, catalogue, now_s=NOW_S)
    assert triples(found) == [("2", 0, 50.0), ("1", 0, 100.0), ("1", 1, 200.0)]
    assert found.regions == ("K-12 student", "writer")


def test_1m_without_times_ends_with_the_test_item_of_ncf(tmp_path: Path) -> None:
    body = "user,item,rating,ncf_item\n1,9,5,0\n1,7,3,1\n2,9,4,0\n2,7,4,1\n"
    (one_m(tmp_path) / "ratings_no_timestamp.csv").write_text(body)
    (tmp_path / "ncf.ml-1m.test.rating").write_text("0\t0\t5\t978824351\n1\t1\t3\t978300174\n")
    catalogue = read_catalogue("ml-1m", tmp_path)
    found, _ = load("ml-1m", tmp_path, catalogue, now_s=2e9)
    last = {user: item for user, item, _ in triples(found)}
    assert last == {"1": 1, "2": 0}


def ncf(folder: Path) -> Path:
    body = "user,item,rating,ncf_item\n1,9,5,0\n1,7,3,1\n2,9,4,0\n2,7,4,1\n"
    (one_m(folder) / "ratings_no_timestamp.csv").write_text(body)
    (folder / "ncf.ml-1m.test.rating").write_text("0\t0\t5\t978824351\n1\t1\t3\t978300174\n")
    (folder / "ncf.ml-1m.test.negative").write_text("(1,1)\t0\t1\n(0,0)\t1\n")
    return folder


def test_the_negatives_of_ncf_are_films_of_the_catalogue(tmp_path: Path) -> None:
    catalogue = read_catalogue("ml-1m", ncf(tmp_path))
    found, _ = load("ml-1m", tmp_path, catalogue, now_s=2e9)
    assert found.users == ("1", "2")
    assert found.given is not None
    assert found.given.tolist() == [[0, -1], [1, 0]]
    second = found.of_users(np.array([False, True]))
    assert second.given is not None
    assert second.given.tolist() == [[1, 0]]


def test_the_negatives_of_ncf_are_read_beside_ratings_dat_as_well(tmp_path: Path) -> None:
    (ncf(tmp_path) / "ratings.dat").write_text("1::9::5::200\n1::7::3::100\n2::7::4::50\n")
    found, _ = load("ml-1m", tmp_path, read_catalogue("ml-1m", tmp_path), now_s=2e9)
    assert found.given is not None
    assert dict(zip(found.users, found.given.tolist(), strict=True)) == {"1": [0, -1], "2": [1, 0]}


def test_without_their_file_there_are_no_negatives_at_all(tmp_path: Path) -> None:
    (ncf(tmp_path) / "ncf.ml-1m.test.negative").unlink()
    found, _ = load("ml-1m", tmp_path, read_catalogue("ml-1m", tmp_path), now_s=2e9)
    assert found.given is None


@pytest.mark.parametrize(
    ("line", "said"), [("(0,0)\t5", "film '5' on line 1"), ("x\t1", "no user on line 1: 'x'")]
)
def test_negatives_that_cannot_be_are_named(tmp_path: Path, line: str, said: str) -> None:
    (ncf(tmp_path) / "ncf.ml-1m.test.negative").write_text(line)
    with pytest.raises(BadData, match=said):
        load("ml-1m", tmp_path, read_catalogue("ml-1m", tmp_path), now_s=2e9)


def test_a_missing_file_is_named_with_where_it_is_published(tmp_path: Path) -> None:
    (hundred_k(tmp_path) / "u.user").unlink()
    with pytest.raises(BadData, match=r"u\.user missing") as caught:
        read_catalogue("ml-100k", tmp_path)
    assert "https://grouplens.org/datasets/movielens/100k/" in caught.value.hint


def test_1m_without_any_ratings_says_what_to_download(tmp_path: Path) -> None:
    catalogue = read_catalogue("ml-1m", one_m(tmp_path))
    with pytest.raises(BadData, match=r"ratings\.dat missing") as caught:
        load("ml-1m", tmp_path, catalogue, now_s=NOW_S)
    assert "https://grouplens.org/datasets/movielens/1m/" in caught.value.hint


def test_a_line_with_too_few_fields_is_named(tmp_path: Path) -> None:
    (one_m(tmp_path) / "ratings.dat").write_text("1::9::5::200\n1::7\n")
    catalogue = read_catalogue("ml-1m", tmp_path)
    with pytest.raises(BadData, match="2 fields on line 2"):
        load("ml-1m", tmp_path, catalogue, now_s=NOW_S)


def test_an_occupation_that_1m_does_not_know_is_named(tmp_path: Path) -> None:
    (one_m(tmp_path) / "users.dat").write_text("1::F::1::21::48067\n")
    (tmp_path / "ratings.dat").write_text("1::9::5::200\n")
    with pytest.raises(BadData, match="occupation '21' on line 1"):
        load("ml-1m", tmp_path, read_catalogue("ml-1m", tmp_path), now_s=NOW_S)


def test_a_data_set_that_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(BadConfiguration, match=r"'ml-2m'.*ml-100k, ml-1m"):
        dataset("ml-2m")


def test_a_file_that_is_another_one_is_named_as_such(tmp_path: Path) -> None:
    folder = one_m(tmp_path)
    (folder / "ratings_no_timestamp.csv").write_text("user,item,rating,ncf_item\n1,7,5,0\n")
    (folder / "ncf.ml-1m.test.rating").write_text("user\titem\trating\n")
    catalogue = read_catalogue("ml-1m", folder)
    with pytest.raises(BadData, match=r"are not those of ml-1m: .*'user'"):
        load("ml-1m", folder, catalogue, now_s=NOW_S)
