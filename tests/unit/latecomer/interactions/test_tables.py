"""What a CSV file may look like, and how much of it is shown to whom."""

import gzip
from pathlib import Path

import pytest

from latecomer.errors import BadData
from latecomer.interactions.schema import Catalogue, Columns, Interactions, Report
from latecomer.interactions.sources import load
from latecomer.interactions.tables import MISSING_IDS, excerpt, read
from unit.latecomer.interactions.csv_files import write

COLUMNS = Columns(user="who", item="what", time="when", region="city")
CATALOGUE = Catalogue(("tea", "cup"), ("Tea", "Cup"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "purchases.csv"


def loaded(path: Path, delimiter: str = ",") -> tuple[Interactions, Report]:
    return load(path, COLUMNS, CATALOGUE, now_s=1_000.0, delimiter=delimiter)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", ""),
        ("mug", "mug"),
        ("x" * 40, "x" * 40),
        ("x" * 41, "x" * 40 + "…"),
        ("mug\njane", "mug…"),
        ("mug\r", "mug…"),
        ("mug\u2028jane", "mug…"),
        ("\njane", "…"),
        ("mug;jane", "mug…"),
        ("mug, large", "mug, large"),
    ],
)
def test_an_excerpt_ends_with_its_line_its_column_or_after_forty_characters(
    value: str, shown: str
) -> None:
    assert excerpt(value, ";") == shown


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_of_rows_that_a_stray_quote_swallows_nobody_is_shown(source: Path, delimiter: str) -> None:
    write(
        source,
        *(
            line.replace(",", delimiter)
            for line in (
                "what,who,when,city",
                "tea,a,1,Rome",
                '"mug,jane.doe@mail.example,2,Rome',
                "tea,john.doe@mail.example,3,Rome",
                'cup",joe,4,Rome',
            )
        ),
    )
    _, report = loaded(source, delimiter)
    assert report.examples == {"unknown_item": ["line 5: 'mug…'"]}
    assert "doe" not in report.summary() + str(report) + str(report.as_dict())


def test_a_row_with_a_value_too_many_is_none_because_nobody_can_tell_which(source: Path) -> None:
    """A decimal comma, or a description that should have been quoted; empty ones are no values."""
    write(source, "who,when,what,city", "a,1,5,tea,Rome", "b,2,tea,Rome,, ", "c,3,cup,Rome")
    interactions, report = loaded(source)
    assert interactions.users == ("b", "c")
    assert report.reasons == {"too_many_values": 1}
    assert report.examples == {"too_many_values": ["line 2: '5 values for 4 columns'"]}


def test_rows_that_take_several_lines_are_told_of_and_read(source: Path) -> None:
    note = '"left at the\ndoor,\nplease"'
    write(source, "who,what,when,city,note", f"a,tea,1,Rome,{note}", 'b,cup,2,Oslo,"a\nb"')
    interactions, report = loaded(source)
    assert interactions.users == ("a", "b")
    assert report.warnings == [
        "rows that take several lines: 2 (the longest is lines 2 to 4); are all quotes meant?"
    ]
    assert not report.complete
    assert report.warnings[0] in report.summary()
    assert report.as_dict()["warnings"] == report.warnings


@pytest.mark.parametrize("ending", ["\n", ""])
def test_a_quote_that_is_never_closed_is_refused_with_the_line_of_its_row(
    source: Path, ending: str
) -> None:
    source.write_text('who,what,when,city\na,tea,1,Rome\nb,"tea,2,Rome\nc,cup,3,Rome' + ending)
    with pytest.raises(BadData, match="ends inside quotes that are opened on line 3 or later"):
        loaded(source)


def test_rows_that_a_stray_quote_swallows_are_not_in_the_message_about_columns(
    source: Path,
) -> None:
    write(source, 'whom,what,"when', "jane.doe,tea,1", "john.doe,cup,2")
    with pytest.raises(BadData, match=r"it has whom, what, when…$"):
        loaded(source)


def test_a_region_of_several_lines_is_a_stray_quote_s_and_nobody_is_reported_under_it(
    source: Path,
) -> None:
    write(source, "who,what,when,city", 'a,tea,1,"Rome', 'jane.doe,tea,2,Rome"', "b,tea,3,Oslo")
    interactions, _ = loaded(source)
    assert interactions.users == ("a", "b")
    assert interactions.regions == ("", "Oslo")


@pytest.mark.parametrize("nothing", sorted(MISSING_IDS))
def test_who_has_no_id_is_not_one_customer_with_everybody_else_who_has_none(
    source: Path, nothing: str
) -> None:
    write(source, "who,what,when,city", f"{nothing},tea,1,", f"{nothing},cup,2,", "a,tea,3,")
    interactions, report = loaded(source)
    assert interactions.users == ("a",)
    assert report.examples == {"missing_value": ["line 2: 'who'", "line 3: 'who'"]}


def test_what_could_be_somebody_s_id_is_one(source: Path) -> None:
    write(source, "who,what,when,city", "NA,tea,1,", "na,tea,2,", "0,tea,3,", "Null,tea,4,")
    assert loaded(source)[0].users == ("NA", "na", "0", "Null")


def test_an_item_called_like_nothing_is_missing_unless_the_catalogue_lists_it(
    source: Path,
) -> None:
    write(source, "who,what,when,city", "a,NULL,1,", "a,None,2,")
    catalogue = Catalogue(("None",), ("No topping",))
    interactions, report = load(source, COLUMNS, catalogue, now_s=1_000.0)
    assert interactions.item.tolist() == [0]
    assert report.examples == {"missing_value": ["line 2: 'what'"]}


def test_a_column_that_is_there_twice_is_refused_if_it_is_wanted(source: Path) -> None:
    write(source, "who,what,when,who", "a,tea,1,b")
    assert read(source, {"item": "what"}).values["item"] == ["tea"]
    with pytest.raises(BadData, match=r"has 2 columns 'who' \(for user\)"):
        read(source, {"user": "who", "item": "what"})


@pytest.mark.parametrize("blank", ["", "  ", ",,,"])
def test_a_first_line_that_names_nothing_is_called_so(source: Path, blank: str) -> None:
    write(source, blank, "who,what,when,city", "a,tea,1,")
    with pytest.raises(BadData, match=r"the first line of .* is blank"):
        loaded(source)


def test_the_ending_of_a_name_may_be_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "SALES.CSV.GZ"
    path.write_bytes(gzip.compress(b"who,what,when,city\na,tea,1,\n"))
    assert loaded(path)[1].kept == 1


@pytest.mark.parametrize("name", ["a\0b.csv", "a\0b.parquet", "x" * 300 + ".csv"])
def test_a_name_that_no_file_can_have_is_an_error_for_people(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadData, match="cannot read"):
        loaded(tmp_path / name)
