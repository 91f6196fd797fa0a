"""A trace says who was there when; what it cannot mean is named with its line."""

from pathlib import Path

import pytest

from latecomer.errors import BadData
from latecomer_simulator.traces import Trace, read

HEAD = "worker,online_from_s,online_until_s,speed\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text)
    return path


def test_windows_are_sorted_and_a_speed_need_be_given_once(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + "a,50,60,\nb,0,inf,2\na,0,10.5,0.5\n")
    assert read(path, ["a", "b"]) == {
        "a": Trace(((0.0, 10.5), (50.0, 60.0)), 0.5),
        "b": Trace(((0.0, float("inf")),), 2.0),
    }


def test_windows_without_a_gap_are_one(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + "a,5,10,\na,0,5,\na,11,12,\n")
    assert read(path, ["a"])["a"].windows == ((0.0, 10.0), (11.0, 12.0))


def test_a_byte_order_mark_and_line_ends_of_a_spreadsheet_are_no_part_of_a_name(
    tmp_path: Path,
) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEAD + "a,0,5,1\n").replace("\n", "\r\n").encode())
    assert read(path, ["a"]) == {"a": Trace(((0.0, 5.0),), 1.0)}


def test_a_long_trace_is_read_in_time_that_grows_with_it(tmp_path: Path) -> None:
    lines = "".join(f"a,{10 * at},{10 * at + 5},\n" for at in range(50_000))
    assert len(read(written(tmp_path, HEAD + lines), ["a"])["a"].windows) == 50_000


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("worker,online_from_s\na,1\n", "no column online_until_s"),
        (HEAD, "no line"),
        (HEAD + "c,0,1,1\n", "line 2: there is no worker 'c'"),
        (HEAD + "a,0,1,1\na,x,1,1\n", "line 3: online_from_s is 'x'"),
        (HEAD + "a,nan,1,1\n", "no number"),
        (HEAD + "a,5\n", "online_until_s is None"),
        (HEAD + "a,5,5,1\n", "a window from 5.0 until 5.0"),
        (HEAD + "a,-5,5,1\n", "a window from -5.0"),
        (HEAD + "a,0,5,0\n", "a speed of 0.0"),
        (HEAD + "a,0,5,1\na,4,6,1\n", "line 3: this window overlaps"),
        (HEAD + "a,0,5,1\na,6,7,2\n", "line 3: this worker had speed 1.0"),
    ],
)
def test_what_a_trace_cannot_mean_is_named(tmp_path: Path, text: str, cause: str) -> None:
    with pytest.raises(BadData, match=cause):
        read(written(tmp_path, text), ["a", "b"])


def test_a_trace_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="cannot read the trace"):
        read(tmp_path / "none.csv", ["a"])
