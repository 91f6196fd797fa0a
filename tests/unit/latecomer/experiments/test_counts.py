"""What a site says of an experiment: sums by arm, of enough people, and nothing uncounted."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from latecomer.errors import BadData
from latecomer.experiments.assignment import ARMS, Arm, arm
from latecomer.experiments.counts import MIN_USERS, Counts, Per, counted
from latecomer.experiments.sums import Sums


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


def sums(*added: float, size: float | None = None, beyond: bool = False) -> Sums:
    """Of x, y and their products; of y alone where none is below 0."""
    named = dict(zip(("x", "y", "xx", "xy", "yy"), added, strict=True))
    return Sums(**named, size=named["y"] if size is None else size, beyond=beyond)


def test_a_users_rows_are_added_up_before_anything_else(tmp_path: Path) -> None:
    path = log(tmp_path / "served.csv", [*everybody(), f"{TREATMENT[0]},1,5"])
    found = count(path)
    assert found.users == {"control": 10, "treatment": 10}
    assert found.sums["bought"]["control"] == sums(10, 0, 10, 0, 0)
    # Nine have bought once and one twice.
    assert found.sums["bought"]["treatment"] == sums(10, 11, 10, 11, 9 + 4, beyond=True)
    assert found.sums["paid"]["treatment"] == sums(10, 25, 10, 25, 9 * 4 + 49, beyond=True)


def test_per_row_it_counts_how_often_somebody_was_served(tmp_path: Path) -> None:
    path = log(tmp_path / "served.csv", [*everybody(), f"{TREATMENT[0]},0,0"])
    found = count(path, Per.ROW)
    assert found.sums["bought"]["treatment"] == sums(11, 10, 9 + 4, 9 + 2, 10)


def test_a_user_is_one_whatever_stands_around_his_id(tmp_path: Path) -> None:
    path = log(tmp_path / "served.csv", [*everybody(), f" {TREATMENT[0]} , 1 ,5"])
    assert count(path).users == {"control": 10, "treatment": 10}


def test_what_was_not_counted_is_told_with_what_was(tmp_path: Path) -> None:
    found = count(log(tmp_path / "served.csv", [*everybody(), ",1,1", "c1,yes,1", "c2,yes,1"]))
    assert (found.rows, found.dropped) == (23, {"missing_user": 1, "not_a_number": 2})
    assert found.sums == count(log(tmp_path / "clean.csv", everybody())).sums


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
    with pytest.raises(BadData, match=r"9 of 20 rows .* line \d+: 'treatment' of one in the contr"):
        count_arms(share=0.1)
    arms.insert(0, f"{TREATMENT[0]},,0")
    with pytest.raises(
        BadData, match=r"1 of 21 rows .* line 2: '' of one in the treatment"
    ) as caught:
        count_arms(share=0.5)
    for cause in ("another name or site", "share raised", "ids written otherwise here (13047.0)"):
        assert cause in caught.value.hint
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
        ({"rows": 19}, "more users than rows"),
        ({"rows": 25, "dropped": {"missing_user": 6}}, "more users than rows"),
        ({"sums": {}}, "sums: Dictionary should have at least 1"),
        ({"secret": "17850"}, "secret: Extra inputs"),
    ],
)
def test_what_is_no_count_says_so(tmp_path: Path, change: dict[str, object], why: str) -> None:
    right = Counts(
        experiment="spring",
        site="beijing",
        share=0.5,
        shared_ids=False,
        per=Per.USER,
        users=dict.fromkeys(ARMS, 10),
        rows=20,
        dropped={},
        sums={"bought": dict.fromkeys(ARMS, sums(10, 1, 10, 1, 1))},
    )
    path = tmp_path / "beijing.json"
    path.write_text(right.model_copy(update=change).model_dump_json(warnings=False))
    if "secret" in change:
        path.write_text(right.model_dump_json()[:-1] + ',"secret":"17850"}')
    with pytest.raises(BadData, match=why):
        Counts.read(path)


@pytest.mark.parametrize(
    ("per", "impossible"),
    [
        (Per.USER, sums(9, 1, 9, 1, 1)),  # who was not served is none of them
        (Per.USER, sums(11, 1, 13, 1, 1)),  # per user, every x is 1
        (Per.USER, sums(10, 1, 10, 3, 9)),
        (Per.USER, sums(10, 3, 10, 3, 0)),  # as if nobody differed from anybody
        (Per.USER, sums(10, -3, 10, -3, 9)),  # and yet nothing was negative
        (Per.USER, sums(10, -3, 10, -3, 9, size=2)),  # it was, and by more than that
        (Per.USER, sums(10, 1, 10, 1, 9, size=1)),  # nobody is above all together
        (Per.USER, sums(10, 20, 10, 20, 50)),  # nor more than 1
        (Per.USER, sums(10, 1e200, 10, 1e200, 1e300, beyond=True)),
        (Per.ROW, sums(20, 5, 20, 5, 5)),  # ten users of twenty rows have more squares
        (Per.ROW, sums(20, 5, -60, 5, 5)),
        (Per.ROW, sums(20, 5, 60, 20, 5)),  # no two columns have more in common than each alone
    ],
)
def test_sums_of_nobody_are_refused(tmp_path: Path, per: Per, impossible: Sums) -> None:
    rows = [*everybody(), *(everybody() if per is Per.ROW else ())]
    right = count(log(tmp_path / "served.csv", rows), per)
    by_arm = {"control": right.sums["bought"]["control"], "treatment": impossible}
    path = tmp_path / "beijing.json"
    path.write_text(right.model_copy(update={"sums": {"bought": by_arm}}).model_dump_json())
    with pytest.raises(
        BadData, match=r"beijing\.json .* experiment: no 10 users have such sums of bought"
    ):
        Counts.read(path)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"cannot read .*none\.json: No such file"):
        Counts.read(tmp_path / "none.json")
