import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from latecomer.errors import BadData
from latecomer.interactions.schema import Catalogue, Columns, Interactions, Report

CATALOGUE = Catalogue(("tea", "cup"), ("Green tea", "Cup, “large”"))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_an_unknown_meaning_of_a_column_is_refused() -> None:
    with pytest.raises(ValidationError, match="customer"):
        Columns.model_validate({"user": "a", "item": "b", "time": "c", "customer": "d"})


def test_a_catalogue_comes_from_two_columns_in_any_order_among_others(tmp_path: Path) -> None:
    path = write(tmp_path / "items.csv", "price,description,item\n1, Green tea ,tea\n2,,cup\n")
    assert Catalogue.read(path) == Catalogue(("tea", "cup"), ("Green tea", ""))


def test_a_catalogue_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "items.csv", "\ufeffitem,description\r\ntea,Tea\r\n")
    assert Catalogue.read(path).items == ("tea",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("item,description\n", "lists no items"),
        ("item,descr\ntea,Tea\n", "no column 'description' .*; it has item, descr"),
        ("item,description\ntea,Tea\ntea,Tea\n", "lists item 'tea' twice"),
        ("item,description\ntea,Tea\n,Cup\n", "no item on line 3"),
        ("item,description\ntea,Tea\ncup,Cup, white\n", "3 values for 2 columns on line 3"),
    ],
)
def test_a_catalogue_that_cannot_be_used_says_why(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(BadData, match=problem):
        Catalogue.read(write(tmp_path / "items.csv", text))


def test_a_catalogue_survives_its_bytes_and_equal_ones_have_equal_bytes() -> None:
    data = CATALOGUE.to_bytes()
    assert Catalogue.from_bytes(data) == CATALOGUE
    assert Catalogue.from_bytes(data).to_bytes() == data
    assert data.decode() == json.dumps(json.loads(data), separators=(",", ":"), ensure_ascii=False)


def test_an_item_s_row_is_its_place_in_the_catalogue() -> None:
    assert [CATALOGUE.row(item) for item in CATALOGUE.items] == [0, 1]
    assert len(CATALOGUE) == 2


def test_an_unknown_item_is_refused_with_the_closest_known() -> None:
    with pytest.raises(BadData, match="item 'cupp' is not among the 2 items") as caught:
        CATALOGUE.row("cupp")
    assert caught.value.hint == "did you mean 'cup'?"


@pytest.fixture
def report() -> Report:
    made = Report("purchases.csv", read=1_000, kept=995)
    for line in range(2, 6):
        made.drop("unknown_item", line, "mug")
    made.drop("unparsable_time", 9, "noon")
    return made


def test_a_report_is_a_table_for_people_with_the_first_examples(report: Report) -> None:
    assert str(report).splitlines() == [
        "purchases.csv: 1,000 rows read",
        "        995  kept",
        "          4  unknown_item        line 2: 'mug'; line 3: 'mug'; line 4: 'mug'",
        "          1  unparsable_time     line 9: 'noon'",
    ]


def test_a_summary_says_what_was_dropped_and_what_was_taken_as_missing(report: Report) -> None:
    rows = (
        "995 of 1000 rows kept, 4 unknown_item (line 2: 'mug'), 1 unparsable_time (line 9: 'noon')"
    )
    assert report.summary() == rows
    report.blank("age", 7, "150")
    assert report.summary() == f"{rows}; taken as missing: 1 age (line 7: '150')"
    report.warnings += ["all of it is of 1970", "nobody's"]
    assert report.summary().endswith("(line 7: '150'); all of it is of 1970; nobody's")
    assert report.as_dict()["warnings"] == ["all of it is of 1970", "nobody's"]


def test_data_is_complete_until_a_row_is_dropped_or_a_value_taken_as_missing() -> None:
    dropped, blanked, doubted = (Report(f"{name}.csv", read=1) for name in "abc")
    assert dropped.complete
    dropped.drop("duplicate", 2, "mug")
    blanked.blank("age", 2, "150")
    assert not dropped.complete
    assert not blanked.complete
    doubted.warnings.append("all of it is of 1970")
    assert not doubted.complete


def test_a_report_is_json_for_machines(report: Report) -> None:
    assert json.loads(json.dumps(report.as_dict())) == {
        "source": "purchases.csv",
        "read": 1_000,
        "kept": 995,
        "dropped": {"unknown_item": 4, "unparsable_time": 1},
        "examples": {
            "unknown_item": ["line 2: 'mug'", "line 3: 'mug'", "line 4: 'mug'"],
            "unparsable_time": ["line 9: 'noon'"],
        },
    }


def test_keeping_some_users_numbers_them_anew_and_keeps_their_rows_together() -> None:
    everybody = Interactions(
        users=("a", "b", "c"),
        regions=("Rome", "Oslo", "Rome"),
        user=np.array([0, 0, 1, 2]),
        item=np.array([5, 6, 7, 8]),
        time_s=np.array([1.0, 2.0, 3.0, 4.0]),
    )
    some = everybody.of_users(np.array([True, False, True]))
    assert (some.users, some.regions) == (("a", "c"), ("Rome", "Rome"))
    assert some.user.tolist() == [0, 0, 1]
    assert some.item.tolist() == [5, 6, 8]
    assert some.time_s.tolist() == [1.0, 2.0, 4.0]
