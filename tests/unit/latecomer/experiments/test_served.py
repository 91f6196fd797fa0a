"""A log says what it means, or it is refused: nothing is left out by what came of it."""

import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from latecomer.errors import BadConfiguration, BadData
from latecomer.experiments.served import Log
from latecomer.interactions.schema import Report


def written(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["customer,bought,paid", *rows, ""]), encoding="utf-8")
    return path


def read(path: Path, metrics: Iterable[str] = ("bought", "paid")) -> tuple[Log, Report]:
    return Log.read(path, user="customer", metrics=list(metrics), arm=None, delimiter=",")


def test_everybodys_rows_are_added_up(tmp_path: Path) -> None:
    log, report = read(written(tmp_path / "served.csv", "c2,1,9.5", "c1,0,0", "c2,1,2"))
    assert (log.users, log.user.tolist(), log.lines) == (["c1", "c2"], [1, 0, 1], [2, 3, 4])
    assert [each.tolist() for each in log.added_up()] == [[0.0, 2.0], [0.0, 11.5]]
    assert log.times_served().tolist() == [1.0, 2.0]
    assert (report.read, report.kept, report.complete) == (3, 3, True)


def test_what_cannot_be_used_is_counted_by_reason(tmp_path: Path) -> None:
    bad = [",1,1", "c1,yes,1", "c1,1,inf", "c1,1,2,50", "nan,,"]
    log, report = read(written(tmp_path / "served.csv", "c2,1,1", *bad))
    assert report.reasons == {"missing_user": 2, "not_a_number": 2, "too_many_values": 1}
    assert (report.read, report.kept, log.users) == (6, 1, ["c2"])


@pytest.mark.parametrize(
    "nothing", ["", " ", "NULL", "nan", "NaN", "NAN", "None", "NA", "n/a", "?"]
)
def test_an_outcome_that_is_not_there_is_refused(tmp_path: Path, nothing: str) -> None:
    # Were it left out, and only who paid has a number, everybody left would have paid.
    path = written(tmp_path / "served.csv", "c1,1,9.5", f"c2,0,{nothing}")
    with pytest.raises(BadData, match="'paid' has no value on line 3") as caught:
        read(path)
    assert caught.value.hint == "write 0 where nothing came of it, or leave the row out"


def test_an_outcome_that_a_row_is_too_short_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="'paid' has no value on line 2"):
        read(written(tmp_path / "served.csv", "c1,1"))


@pytest.mark.parametrize("price", ["9,50", "1,234.50", "-0,5"])
def test_a_price_with_a_comma_is_refused(tmp_path: Path, price: str) -> None:
    # Those who paid nothing have no comma, and would be all that is left.
    with pytest.raises(BadData, match=f"'paid' has {price} on line 3") as caught:
        read(written(tmp_path / "served.csv", "c1,0,0", f'c2,1,"{price}"'))
    assert "write a point" in caught.value.hint


@pytest.mark.parametrize("price", ["1e200", "-1e13"])
def test_what_nobody_pays_is_refused(tmp_path: Path, price: str) -> None:
    with pytest.raises(BadData, match=f"'paid' has {price} on line 2") as caught:
        read(written(tmp_path / "served.csv", f"c1,1,{price}"))
    assert "1e+12" in caught.value.hint


def test_true_is_1_and_false_is_0(tmp_path: Path) -> None:
    rows = ["c1,True,1", "c2,false,1", "c3,TRUE,1", "c4,0,1"]
    log, _ = read(written(tmp_path / "served.csv", *rows))
    assert log.values[:, 0].tolist() == [1.0, 0.0, 1.0, 0.0]


def test_of_parquet_true_is_1_and_ids_without_their_last_digits_are_refused(
    tmp_path: Path,
) -> None:
    polars = pytest.importorskip("polars")
    columns = {"customer": ["c1", "c2"], "bought": [False, True], "paid": [0.5, 0.5]}
    path = tmp_path / "served.parquet"
    polars.DataFrame(columns).write_parquet(path)
    assert read(path)[0].values.tolist() == [[0.0, 0.5], [1.0, 0.5]]
    lost = {"customer": [2.0**60 + 2**10 * number for number in range(2)]}
    polars.DataFrame(columns | lost).write_parquet(path)
    with pytest.raises(BadData, match="have lost their last digits"):
        read(path)
    polars.DataFrame(columns | {"paid": [0.5, None]}).write_parquet(path)
    with pytest.raises(BadData, match="'paid' has no value on line 2"):
        read(path)


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        (",1,1", "line 2: '': does --user name the column"),
        ("c1,2026-03-01,1", "line 2: '2026-03-01': a metric is a column of numbers"),
        ("c1,1,2,3", "line 2: '4 values for 3 columns': is the --delimiter right?"),
    ],
)
def test_where_no_row_is_of_use_it_says_what_is_wrong_with_the_first(
    tmp_path: Path, row: str, hint: str
) -> None:
    with pytest.raises(BadData, match=r"no row of .* can be used: 0 of 2 rows kept") as caught:
        read(written(tmp_path / "served.csv", row, ",no,1"))
    assert caught.value.hint.startswith(hint)


def test_a_log_without_a_row_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="has no rows"):
        read(written(tmp_path / "served.csv"))


def test_a_column_means_one_thing(tmp_path: Path) -> None:
    path = written(tmp_path / "served.csv", "1,1,1")
    with pytest.raises(BadConfiguration, match="'customer' cannot be a metric: it tells the user"):
        read(path, ["bought", "customer"])
    with pytest.raises(BadConfiguration, match="'paid' cannot be a metric: it tells the arm"):
        Log.read(path, user="customer", metrics=["paid"], arm="paid", delimiter=",")


def test_an_id_takes_as_much_memory_as_it_is_long_and_not_as_there_are_rows(
    tmp_path: Path,
) -> None:
    rows = [f"c{number},1,1" for number in range(1000)]
    path = written(tmp_path / "served.csv", f"{'x' * 100_000},1,1", *rows)
    tracemalloc.start()
    try:
        log, _ = read(path)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(log.users) == 1001
    assert used < 10 * 2**20  # a thousand times the long one are 400


def test_sums_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    # To the last bit: 0.1 + 0.2 + 0.3 is another float than 0.3 + 0.2 + 0.1.
    rows = [f"c{user},1,{paid}" for user in range(9) for paid in (0.1, 0.2, 0.3)]
    there, back = (
        read(written(tmp_path / "served.csv", *each))[0] for each in (rows, reversed(rows))
    )
    assert there.users == back.users
    for ours, theirs in zip(there.added_up(), back.added_up(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
