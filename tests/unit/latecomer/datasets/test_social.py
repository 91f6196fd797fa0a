"""Last.FM and FilmTrust as published, in a tiny hand-made copy of each."""

from pathlib import Path

import numpy as np
import pytest

from latecomer.datasets import untimed
from latecomer.datasets.registry import load, read_catalogue
from latecomer.errors import BadData
from latecomer.interactions.schema import Interactions

NOW_S = 1e9


def lastfm(folder: Path) -> Path:
    heard = ["\t".join((str(user), "51", "9")) for user in range(2, 7)]
    rows = ["userID\tartistID\tweight", *heard, "2\t51\t4", *["2\t52\t3"] * 5]
    (folder / "user_artists.dat").write_text("\n".join(rows) + "\n")
    (folder / "user_friends.dat").write_text("userID\tfriendID\r\n2\t3\r\n3\t2\r\n2\t99\r\n")
    (folder / "artists.dat").write_text("id\tname\turl\tpictureURL\n51\tDuran Duran\t\t\n")
    return folder


def filmtrust(folder: Path) -> Path:
    (folder / "ratings.txt").write_text("1 10 2\n1 9 4\n2 9 3.5\n1 9 1\n\n")
    (folder / "trust.txt").write_text("2 1 1\r\n2 1 1\r\n5 1 1\r\n")
    return folder


def friends(found: Interactions) -> list[tuple[str, str]]:
    return [(found.users[user], found.users[friend]) for user, friend in found.edges]


def test_artists_with_too_few_listeners_are_counted_as_unknown(tmp_path: Path) -> None:
    catalogue = read_catalogue("lastfm-2k", lastfm(tmp_path))
    assert catalogue.items == ("51",)
    assert catalogue.descriptions == ("Duran Duran",)
    found, report = load("lastfm-2k", tmp_path, catalogue, now_s=NOW_S)
    assert sorted(found.users) == ["2", "3", "4", "5", "6"]
    assert report.reasons == {"unknown_item": 5, "duplicate": 1}
    assert report.examples["unknown_item"][0] == "line 8: '52'"


def test_friendships_count_between_those_who_listened(tmp_path: Path) -> None:
    catalogue = read_catalogue("lastfm-2k", lastfm(tmp_path))
    found, _ = load("lastfm-2k", tmp_path, catalogue, now_s=NOW_S)
    assert sorted(friends(found)) == [("2", "3"), ("3", "2")]


def test_trust_goes_one_way_and_counts_once(tmp_path: Path) -> None:
    catalogue = read_catalogue("filmtrust", filmtrust(tmp_path))
    assert catalogue.items == ("9", "10")
    found, report = load("filmtrust", tmp_path, catalogue, now_s=NOW_S)
    assert friends(found) == [("2", "1")]
    assert (report.kept, report.reasons) == (3, {"duplicate": 1})


def test_a_friend_at_another_site_is_unknown_there(tmp_path: Path) -> None:
    catalogue = read_catalogue("lastfm-2k", lastfm(tmp_path))
    found, _ = load("lastfm-2k", tmp_path, catalogue, now_s=NOW_S)
    together = found.of_users(np.isin(found.users, ["2", "3", "4"]))
    assert sorted(friends(together)) == [("2", "3"), ("3", "2")]
    assert friends(found.of_users(np.isin(found.users, ["2", "4", "5"]))) == []


def test_what_is_held_out_is_at_random_and_the_same_each_time() -> None:
    places = untimed.places(1000)
    assert sorted(map(int, places)) == list(range(1, 1001))
    assert places == untimed.places(1000)
    assert sum(int(place) > 500 for place in places[:500]) == pytest.approx(250, abs=50)


def test_a_missing_file_of_friends_is_named_with_where_it_is_published(tmp_path: Path) -> None:
    (filmtrust(tmp_path) / "trust.txt").unlink()
    with pytest.raises(BadData, match=r"trust\.txt missing") as caught:
        read_catalogue("filmtrust", tmp_path)
    assert "librec" in caught.value.hint


def test_a_line_without_a_rating_is_named(tmp_path: Path) -> None:
    (filmtrust(tmp_path) / "ratings.txt").write_text("1 10 2\n1 9\n")
    with pytest.raises(BadData, match="2 fields on line 2"):
        read_catalogue("filmtrust", tmp_path)
