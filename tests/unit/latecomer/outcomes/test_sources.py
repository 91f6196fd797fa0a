"""Examples are read as declared; what is unusable is counted, named, and does not stop anybody."""

from pathlib import Path

import pytest

from latecomer.errors import BadData
from latecomer.outcomes.examples import Cohort
from latecomer.outcomes.fields import Field, Fields
from latecomer.outcomes.sources import ExampleSource, Outcome, Owners

FIELDS = Fields(
    (Field(name="age", low=0, high=100), Field(name="sex", values=("f", "m"))), "outcome"
)
ILL = Outcome(column="outcome", positive=("1", "2"), negative=("0",))
OWNERS = Owners(user="id", region="ward", group="patient")

SMALL = """id;ward;patient;age;sex;outcome
a;north;p1;50;f;0
b;north;p1;150;m;1
c;south;p2;?;x;2
d;south;p3;20;f;
e;south;p3;20;f;9
"""


def written(folder: Path, text: str = SMALL) -> Path:
    path = folder / "examples.csv"
    path.write_text(text, encoding="utf-8")
    return path


def load(path: Path, outcome: Outcome = ILL, owners: Owners = OWNERS) -> tuple[Cohort, object]:
    return ExampleSource(outcome, owners, ";").load(path, FIELDS)


def test_examples_are_read_with_their_owners_and_outcomes(tmp_path: Path) -> None:
    cohort, _ = load(written(tmp_path))
    assert cohort.users == ("a", "b", "c")
    assert cohort.regions == ("north", "north", "south")
    assert cohort.groups == ("p1", "p1", "p2")
    assert cohort.examples.labels.tolist() == [0, 1, 1]
    assert cohort.examples.inputs.tolist() == [
        [0.5, 0, 1, 0, 0],
        [0, 1, 0, 1, 0],
        [0, 1, 0, 0, 1],
    ]


def test_rows_without_an_outcome_and_values_out_of_range_are_counted_and_named(
    tmp_path: Path,
) -> None:
    _, report = load(written(tmp_path))
    assert report.as_dict() == {  # type: ignore[attr-defined]
        "source": "examples.csv",
        "read": 5,
        "kept": 3,
        "dropped": {"missing_outcome": 1, "unknown_outcome": 1},
        "taken_as_missing": {"age": 1, "sex": 1},
        "examples": {
            "missing_outcome": ["line 5: 'outcome'"],
            "unknown_outcome": ["line 6: '9'"],
            "age": ["line 3: '150'"],
            "sex": ["line 4: 'x'"],
        },
    }


def test_a_decimal_comma_puts_no_value_in_another_one_s_column(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL + "f;north;p4;20;5;f;1\n")
    cohort, report = load(path)
    assert cohort.users == ("a", "b", "c")
    assert report.reasons["too_many_values"] == 1  # type: ignore[attr-defined]


def test_where_no_negative_is_declared_every_other_outcome_is_one(tmp_path: Path) -> None:
    cohort, _ = load(written(tmp_path), Outcome(column="outcome", positive=("1",)))
    assert cohort.examples.labels.tolist() == [0, 1, 0, 0]


def test_examples_without_ids_are_called_by_their_row(tmp_path: Path) -> None:
    cohort, _ = load(written(tmp_path), owners=Owners())
    assert cohort.users == ("row-1", "row-2", "row-3")
    assert cohort.groups == cohort.users
    assert cohort.regions == ("", "", "")


def test_who_has_no_id_is_a_person_of_his_own_and_counted(tmp_path: Path) -> None:
    nameless = SMALL.replace("a;north;p1", ";north;").replace("c;south;p2", "c;south;?")
    cohort, report = load(written(tmp_path, nameless))
    assert cohort.users == ("row-1", "b", "c")
    assert cohort.groups == ("row-1", "p1", "row-3")
    said = report.as_dict()  # type: ignore[attr-defined]
    assert said["kept"] == 3
    assert said["taken_as_missing"] == {
        "age": 1,
        "sex": 1,
        "missing_user": 1,
        "missing_group": 2,
    }
    assert said["examples"]["missing_group"] == ["line 2: ''", "line 4: '?'"]


def test_a_missing_column_is_named_with_what_there_is(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL.replace(";sex;", ";gender;"))
    with pytest.raises(BadData, match=r"no column 'sex'.*it has id, ward, patient, age, gender"):
        load(path)


def test_a_source_without_any_usable_example_says_why(tmp_path: Path) -> None:
    path = written(tmp_path, "id;ward;patient;age;sex;outcome\nd;south;p3;20;f;\n")
    with pytest.raises(BadData, match=r"no usable example: 0 of 1 rows kept, 1 missing_outcome"):
        load(path)


@pytest.mark.parametrize("nothing", ["NULL", "nan", "None", r"\N", "NA"])
def test_what_stands_for_no_id_is_nobody_s(tmp_path: Path, nothing: str) -> None:
    nameless = SMALL.replace("a;north;p1", f"{nothing};north;{nothing}")
    cohort, _ = load(written(tmp_path, nameless.replace("c;", f"{nothing};")))
    assert cohort.users == ("row-1", "b", "row-3")
    assert cohort.groups == ("row-1", "p1", "p2")


def test_an_outcome_may_be_called_none_and_not_null(tmp_path: Path) -> None:
    rows = "id;ward;patient;age;sex;outcome\na;n;p;1;f;None\nb;n;p;1;f;NULL\n"
    cohort, report = load(written(tmp_path, rows), Outcome(column="outcome", positive=("1",)))
    assert cohort.examples.labels.tolist() == [0]
    assert report.reasons == {"missing_outcome": 1}  # type: ignore[attr-defined]


def test_of_rows_that_a_stray_quote_swallows_nobody_is_shown_or_reported_as_a_region(
    tmp_path: Path,
) -> None:
    rows = [
        "id;ward;patient;age;sex;outcome",
        "a;north;p1;50;f;0",
        'b;"north;jane.doe;50;f;0',
        'north";p1;50;"f;jane.doe',
        'f";1',
        'c;north;p1;50;f;"9;jane.doe',
        '"',
    ]
    cohort, report = load(written(tmp_path, "\n".join(rows) + "\n"))
    assert cohort.regions == ("north", "")
    assert "doe" not in report.summary()  # type: ignore[attr-defined]
    assert report.examples == {  # type: ignore[attr-defined]
        "unknown_outcome": ["line 7: '9…'"],
        "sex": ["line 5: 'f…'"],
    }
