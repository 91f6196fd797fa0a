"""What a site says of an experiment: sums by arm, of enough people, and nothing uncounted."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from latecomer.errors import BadData
from latecomer.experiments.assignment import ARMS, Arm, arm
from latecomer.experiments.counts import MIN_USERS, Counts, Per, Sums, counted


def members(which: Arm, count: int = MIN_USERS) -> list[str]:
    """The first so many customers of an arm."""
    users = [f"c{number}" for number in range(200)]
    return [each for each in users if arm("spring", each, site="beijing") == which][:count]


CONTROL, TREATMENT = members("control"), members("treatment")


def log(path: Path, rows: Iterable[str]) -> Path:
    """A file of what was served."""
    path.write_text("\n".join(["customer,bought,paid", *rows, ""]), encoding="utf-8")
    return path


def everybody() -> list[str]:
    """One row each: nobody buys in the control, everybody for 2 in the treatment."""
    return [f"{user},0,0" for user in CONTROL] + [f"{user},1,2" for user in TREATMENT]


def count(path: Path, per: Per = Per.USER) -> Counts:
    return counted(
        path,
        experiment="spring",
        site="beijing",
        user="customer",
        metrics=("bought", "paid"),
        per=per,
    )[0]


def test_a_users_rows_are_added_up_before_anything_else(tmp_path: Path) -> None:
    path = log(tmp_path / "served.csv", [*everybody(), f"{TREATMENT[0]},1,5"])
    found = count(path)
    assert found.users == {"control": 10, "treatment": 10}
    assert found.sums["bought"]["control"] == Sums(x=10, y=0, xx=10, xy=0, yy=0)
    # Nine have bought once and one twice.
    assert found.sums["bought"]["treatment"] == Sums(x=10, y=11, xx=10, xy=11, yy=9 + 4)
    assert found.sums["paid"]["treatment"] == Sums(x=10, y=25, xx=10, xy=25, yy=9 * 4 + 49)


def test_per_row_it_counts_how_often_somebody_was_served(tmp_path: Path) -> None:
    path = log(tmp_path / "served.csv", [*everybody(), f"{TREATMENT[0]},0,0"])
    found = count(path, Per.ROW)
    assert found.sums["bought"]["treatment"] == Sums(x=11, y=10, xx=9 + 4, xy=9 + 2, yy=10)


def test_a_user_is_one_whatever_stands_around_his_id(tmp_path: Path) -> None:
    path = log(tmp_path / "served.csv", [*everybody(), f" {TREATMENT[0]} , 1 ,5"])
    assert count(path).users == {"control": 10, "treatment": 10}


def test_of_parquet_true_is_1_and_ids_without_their_last_digits_are_refused(
    tmp_path: Path,
) -> None:
    polars = pytest.importorskip("polars")
    columns = {"customer": [*CONTROL, *TREATMENT], "bought": [False] * 10 + [True] * 10}
    path = tmp_path / "served.parquet"
    polars.DataFrame(columns | {"paid": [0.5] * 20}).write_parquet(path)
    found = count(path)
    assert found.sums["bought"]["treatment"].y == 10
    assert found.sums["paid"]["control"].y == 5
    lost = {"customer": [2.0**60 + 2**10 * number for number in range(20)]}
    polars.DataFrame(columns | lost | {"paid": [0.5] * 20}).write_parquet(path)
    with pytest.raises(BadData, match="have lost their last digits"):
        count(path)


def test_what_cannot_be_used_is_counted_by_reason(tmp_path: Path) -> None:
    bad = [",1,1", "c1,,1", "c1,yes,1", "c1,1,inf", "c1,1,2,50"]
    found, report = counted(
        log(tmp_path / "served.csv", [*everybody(), *bad]),
        experiment="spring",
        site="beijing",
        user="customer",
        metrics=["bought", "paid"],
    )
    assert report.reasons == {
        "missing_user": 1,
        "missing_value": 1,
        "not_a_number": 2,
        "too_many_values": 1,
    }
    assert (report.read, report.kept) == (25, 20)
    assert found == count(log(tmp_path / "clean.csv", everybody()))


def test_sums_of_too_few_people_are_not_made(tmp_path: Path) -> None:
    rows = [row for row in everybody() if not row.startswith(f"{CONTROL[0]},")]
    with pytest.raises(BadData, match="has 9 users in the control") as caught:
        count(log(tmp_path / "served.csv", rows))
    assert "fewer than 10 people tell of each" in caught.value.hint


def test_who_was_served_the_other_arm_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "served.csv"
    arms = [f"{user},control,0" for user in CONTROL] + [f"{user},treatment,1" for user in TREATMENT]

    def count_arms(*, share: float) -> Counts:
        path.write_text("\n".join(["customer,arm,bought", *arms]), encoding="utf-8")
        return counted(
            path,
            experiment="spring",
            site="beijing",
            user="customer",
            metrics=["bought"],
            share=share,
            served="arm",
        )[0]

    assert count_arms(share=0.5).sums["bought"]["treatment"].y == 10
    with pytest.raises(BadData, match="of the arm 'treatment', and the user is in the control"):
        count_arms(share=0.1)
    arms.insert(0, f"{TREATMENT[0]},,0")
    with pytest.raises(BadData, match="on line 2 of the arm ''"):
        count_arms(share=0.5)
    arms[0] = ",control,0"  # nobody's
    assert count_arms(share=0.5).users == {"control": 10, "treatment": 10}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = count(log(tmp_path / "served.csv", everybody()))
    path = tmp_path / "beijing.json"
    path.write_text(found.model_dump_json(), encoding="utf-8")
    assert Counts.read(path) == found
    assert not any(user in path.read_text(encoding="utf-8") for user in (*CONTROL, *TREATMENT))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"users": {"control": 10}}, "has to be there for control and treatment"),
        ({"users": {"control": 9, "treatment": 10}}, "greater than or equal to 10"),
        ({"site": "bei\x1b[2Jjing"}, "site: String should match"),
        ({"site": "all"}, "'all' stands for all sites together"),
        ({"share": 1.0}, "share: Input should be less than 1"),
        ({"sums": {}}, "sums: Dictionary should have at least 1"),
        ({"secret": "17850"}, "secret: Extra inputs"),
    ],
)
def test_what_is_no_count_says_so(tmp_path: Path, change: dict[str, object], why: str) -> None:
    sums = Sums(x=10, y=1, xx=10, xy=1, yy=1)
    right = Counts(
        experiment="spring",
        site="beijing",
        share=0.5,
        shared_ids=False,
        per=Per.USER,
        users=dict.fromkeys(ARMS, 10),
        sums={"bought": dict.fromkeys(ARMS, sums)},
    )
    path = tmp_path / "beijing.json"
    path.write_text(right.model_copy(update=change).model_dump_json(warnings=False))
    if "secret" in change:
        path.write_text(right.model_dump_json()[:-1] + ',"secret":"17850"}')
    with pytest.raises(BadData, match=why):
        Counts.read(path)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"cannot read .*none\.json: No such file"):
        Counts.read(tmp_path / "none.json")
