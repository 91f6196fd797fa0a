import gzip
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from latecomer.errors import BadConfiguration, BadData, NobodyLeft
from latecomer.interactions.schema import Catalogue, Columns, Interactions
from latecomer.interactions.sources import load
from unit.latecomer.interactions.csv_files import write

CATALOGUE = Catalogue(("tea", "cup", "pot"), ("Tea", "Cup", "Pot"))
COLUMNS = Columns(user="who", item="what", time="when")
EVERYTHING = Columns(user="who", item="what", time="when", region="city")
NOW_S = 1_000.0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "purchases.csv"


def triples(interactions: Interactions) -> list[tuple[str, str, float]]:
    return [
        (interactions.users[user], CATALOGUE.items[item], time_s)
        for user, item, time_s in zip(
            interactions.user, interactions.item, interactions.time_s.tolist(), strict=True
        )
    ]


def test_users_come_in_order_of_their_first_interaction_and_each_user_in_order_of_time(
    source: Path,
) -> None:
    write(source, "who,what,when", "late,tea,30", "early,cup,40", "early,pot,10", "late,cup,20")
    interactions, report = load(source, COLUMNS, CATALOGUE, now_s=NOW_S)
    assert interactions.users == ("early", "late")
    assert triples(interactions) == [
        ("early", "pot", 10.0),
        ("early", "cup", 40.0),
        ("late", "cup", 20.0),
        ("late", "tea", 30.0),
    ]
    assert (report.read, report.kept, report.reasons) == (4, 4, {})


def test_ties_in_time_go_by_user_id_and_by_lot_whatever_the_order_of_file_and_catalogue(
    source: Path,
) -> None:
    rows = ["b,pot,5", "b,tea,5", "a,cup,5"]
    write(source, "who,what,when", *rows)
    one, _ = load(source, COLUMNS, CATALOGUE, now_s=NOW_S)
    write(source, "who,what,when", *reversed(rows))
    other, _ = load(source, COLUMNS, CATALOGUE, now_s=NOW_S)
    reversed_ = Catalogue(CATALOGUE.items[::-1], CATALOGUE.descriptions[::-1])
    third, _ = load(source, COLUMNS, reversed_, now_s=NOW_S)
    expected = triples(one)
    assert [user for user, _, _ in expected] == ["a", "b", "b"]
    assert triples(other) == expected
    assert [reversed_.items[item] for item in third.item] == [item for _, item, _ in expected]


def test_of_many_baskets_either_of_two_items_comes_first(source: Path) -> None:
    rows = [f"u{user},{item},5" for user in range(200) for item in ("pot", "tea")]
    write(source, "who,what,when", *rows)
    found, _ = load(source, COLUMNS, CATALOGUE, now_s=NOW_S)
    first = [item for _, item, _ in triples(found)][::2]
    assert 70 < first.count("pot") < 130


def test_the_first_interaction_of_a_user_with_an_item_is_kept_and_repeats_are_counted(
    source: Path,
) -> None:
    write(source, "who,what,when", "a,tea,30", "a,tea,10", "a,tea,20", "b,tea,40")
    interactions, report = load(source, COLUMNS, CATALOGUE, now_s=NOW_S)
    assert triples(interactions) == [("a", "tea", 10.0), ("b", "tea", 40.0)]
    assert report.reasons == {"duplicate": 2}
    assert report.examples == {"duplicate": ["line 2: 'tea'", "line 4: 'tea'"]}


def test_of_repeats_at_the_same_time_the_first_in_the_file_is_kept(source: Path) -> None:
    write(source, "who,what,when,city", "a,tea,10,Rome", "a,tea,10,Oslo")
    interactions, report = load(source, EVERYTHING, CATALOGUE, now_s=NOW_S)
    assert interactions.regions == ("Rome",)
    assert report.examples == {"duplicate": ["line 3: 'tea'"]}


def test_a_user_s_region_is_that_of_the_first_interaction(source: Path) -> None:
    write(source, "who,what,when,city", "z,tea,20,Rome", "z,cup,10,Oslo", "b,tea,30,Rome")
    columns = Columns(user="who", item="what", time="when", region="city")
    interactions, _ = load(source, columns, CATALOGUE, now_s=NOW_S)
    assert interactions.users == ("z", "b")
    assert interactions.regions == ("Oslo", "Rome")


def test_what_is_not_mapped_is_not_there(source: Path) -> None:
    write(source, "who,what,when,city", "a,tea,1,Rome")
    interactions, report = load(source, COLUMNS, CATALOGUE, now_s=NOW_S)
    assert interactions.regions == ("",)
    assert report.kept == 1


def test_every_bad_row_is_counted_under_the_first_reason_that_applies(source: Path) -> None:
    write(
        source,
        "who,what,when,city",
        "a,tea,10,Rome",
        "a,mug,10,Rome",
        "a,,10,Rome",
        " ,tea,10,Rome",
        "a,mug,never,Rome",
        "a,tea,never,Rome",
        "a,tea,51401,Rome",
        "a,cup",
        "a,tea,11,Rome",
    )
    _, report = load(source, EVERYTHING, CATALOGUE, now_s=NOW_S)
    assert report.reasons == {
        "unknown_item": 2,
        "missing_value": 3,
        "unparsable_time": 1,
        "time_in_the_future": 1,
        "duplicate": 1,
    }
    assert report.examples == {
        "unknown_item": ["line 3: 'mug'", "line 6: 'mug'"],
        "missing_value": ["line 4: 'what'", "line 5: 'who'", "line 9: 'when'"],
        "unparsable_time": ["line 7: 'never'"],
        "time_in_the_future": ["line 8: '51401'"],
        "duplicate": ["line 10: 'tea'"],
    }
    assert report.read == 9 == report.kept + sum(report.reasons.values())


@pytest.mark.parametrize(("local", "kept"), [("14:00:00", 2), ("14:00:01", 1)])
def test_now_is_not_the_future_wherever_the_clock_hangs_that_it_was_read_from(
    source: Path, local: str, kept: int
) -> None:
    write(source, "who,what,when", "a,cup,2024-04-30", f"a,tea,2024-05-01T{local}")
    midnight_utc_s = 1_714_521_600.0
    assert load(source, COLUMNS, CATALOGUE, now_s=midnight_utc_s)[1].kept == kept


def test_a_line_number_is_where_an_editor_finds_the_row(source: Path) -> None:
    write(source, "who,what,when", '"a', 'b",tea,1', "", "c,mug,2")
    _, report = load(source, COLUMNS, CATALOGUE, now_s=NOW_S)
    assert report.read == 2
    assert report.examples == {"unknown_item": ["line 5: 'mug'"]}


def test_spaces_around_values_mean_nothing(source: Path) -> None:
    write(source, "who,what,when", " a , tea , 1 ")
    interactions, _ = load(source, COLUMNS, CATALOGUE, now_s=NOW_S)
    assert triples(interactions) == [("a", "tea", 1.0)]


def test_a_source_without_a_usable_row_says_why_with_examples(source: Path) -> None:
    write(source, "who,what,when", "a,mug,1", "a,jar,2", "a,tea,noon")
    with pytest.raises(BadData) as caught:
        load(source, COLUMNS, CATALOGUE, now_s=NOW_S)
    assert str(caught.value) == (
        f"{source} has no usable interaction: 0 of 3 rows kept, "
        "2 unknown_item (line 2: 'mug'), 1 unparsable_time (line 4: 'noon')"
    )


def test_a_source_with_a_header_only_has_no_rows(source: Path) -> None:
    write(source, "who,what,when")
    with pytest.raises(NobodyLeft, match="has no rows"):
        load(source, COLUMNS, CATALOGUE, now_s=NOW_S)


def test_a_missing_column_is_named_with_those_there_are_and_the_closest(source: Path) -> None:
    write(source, "whom,what,when", "a,tea,1")
    with pytest.raises(BadData) as caught:
        load(source, COLUMNS, CATALOGUE, now_s=NOW_S)
    assert str(caught.value) == f"{source} has no column 'who' (for user); it has whom, what, when"
    assert caught.value.hint == "did you mean 'whom'?"


def test_the_delimiter_can_be_another(source: Path) -> None:
    write(source, "who;what;when", "a;tea;1")
    assert load(source, COLUMNS, CATALOGUE, now_s=NOW_S, delimiter=";")[1].kept == 1
    with pytest.raises(BadData) as caught:
        load(source, COLUMNS, CATALOGUE, now_s=NOW_S)
    assert caught.value.hint == "is the delimiter right?"


@pytest.mark.parametrize("name", ["purchases.csv", "purchases.csv.gz", "purchases.parquet"])
def test_a_file_that_is_not_there_is_an_error_for_people(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadData, match=f"cannot read .*{name}"):
        load(tmp_path / name, COLUMNS, CATALOGUE, now_s=NOW_S)


def test_an_empty_file_is_an_error_for_people(source: Path) -> None:
    source.touch()
    with pytest.raises(BadData, match="is empty"):
        load(source, COLUMNS, CATALOGUE, now_s=NOW_S)


def damaged(packed: bytes) -> bytes:
    return packed[:12] + bytes(each ^ 0xFF for each in packed[12:20]) + packed[20:]


@pytest.mark.parametrize(
    "content",
    [
        b"who,what,when\na,tea,1\n",
        gzip.compress(b"who,what,when\na,tea,1\n" * 1000)[:-12],
        damaged(gzip.compress(b"who,what,when\na,tea,1\n" * 1000)),
        gzip.compress("who,what,when\nJosé,tea,1\n".encode("latin-1")),
    ],
    ids=["not gzip", "cut short", "damaged", "not UTF-8"],
)
def test_a_file_that_cannot_be_decoded_is_an_error_for_people(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "purchases.csv.gz"
    path.write_bytes(content)
    with pytest.raises(BadData, match="cannot read"):
        load(path, COLUMNS, CATALOGUE, now_s=NOW_S)


@pytest.mark.parametrize("packed", [False, True])
def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path, packed: bool) -> None:
    content = "\ufeffwho,what,when\na,tea,1\n".encode()
    path = tmp_path / ("purchases.csv.gz" if packed else "purchases.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    assert load(path, COLUMNS, CATALOGUE, now_s=NOW_S)[1].kept == 1


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "ignored": [0, 0, 0, 0, 0],
            "who": [7, 7, 8, None, 8],
            "what": ["tea", "cup", "mug", "tea", "pot"],
            "when": [
                datetime(1970, 1, 1, 0, 1, second, tzinfo=UTC) for second in (30, 10, 20, 20, 40)
            ],
            "city": ["Rome", "Oslo", "Rome", "Rome", None],
        }
    )
    frame.write_parquet(tmp_path / "purchases.parquet")
    frame.with_columns(pl.col("when").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_csv(
        tmp_path / "purchases.csv"
    )
    parquet, from_parquet = load(tmp_path / "purchases.parquet", EVERYTHING, CATALOGUE, now_s=NOW_S)
    text, from_text = load(tmp_path / "purchases.csv", EVERYTHING, CATALOGUE, now_s=NOW_S)
    for one, other in zip(vars(parquet).values(), vars(text).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert parquet.users == ("7", "8")
    assert from_parquet.reasons == from_text.reasons == {"unknown_item": 1, "missing_value": 1}


def test_parquet_that_is_not_parquet_lacks_a_column_or_nests_is_an_error_for_people(
    tmp_path: Path,
) -> None:
    path = tmp_path / "purchases.parquet"
    path.write_bytes(b"who,what,when\na,tea,1\n")
    with pytest.raises(BadData, match="cannot read"):
        load(path, COLUMNS, CATALOGUE, now_s=NOW_S)
    pl.DataFrame({"who": ["a"], "what": ["tea"]}).write_parquet(path)
    with pytest.raises(BadData, match="no column 'when'"):
        load(path, COLUMNS, CATALOGUE, now_s=NOW_S)
    pl.DataFrame({"who": [["a"]], "what": ["tea"], "when": [1]}).write_parquet(path)
    with pytest.raises(BadData, match=r"column 'who' .* not one value a row"):
        load(path, COLUMNS, CATALOGUE, now_s=NOW_S)


def test_parquet_without_its_reader_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(BadConfiguration) as caught:
        load(tmp_path / "purchases.parquet", COLUMNS, CATALOGUE, now_s=NOW_S)
    assert caught.value.hint == "pip install latecomer[data]"


def test_a_quarter_of_a_million_rows_are_read_in_seconds(source: Path) -> None:
    items = [f"i{number}" for number in range(3_000)]
    rows = [f"u{row % 4_000},{items[row * 7 % 3_000]},{row}" for row in range(266_000)]
    write(source, "who,what,when", *rows)
    started_s = time.process_time()
    _, report = load(source, COLUMNS, Catalogue(tuple(items), tuple(items)), now_s=1e9)
    # About one second where this was written; the limit leaves room for slower machines.
    assert time.process_time() - started_s < 5
    assert report.read == 266_000 == report.kept + report.reasons["duplicate"]
