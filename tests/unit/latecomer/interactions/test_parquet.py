"""What Parquet can say and text cannot: types. Whatever is in a file, its reader lives on."""

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from latecomer.errors import BadData
from latecomer.interactions import tables
from latecomer.interactions.schema import Catalogue, Columns, Interactions, Report
from latecomer.interactions.sources import load

GOLDEN = Path(__file__).parents[1] / "golden"
COLUMNS = Columns(user="who", item="what", time="when")
CATALOGUE = Catalogue(("tea", "7"), ("Tea", "Seven"))
NOON_S = 1_577_880_000.0  # 2020-01-01T12:00:00Z


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "purchases.parquet"


def written(path: Path, **columns: object) -> Path:
    row = {"who": ["a"], "what": ["tea"], "when": [NOON_S]}
    pl.DataFrame({**row, **columns}).write_parquet(path)
    return path


def read(path: Path, time_format: str | None = None) -> tuple[Interactions, Report]:
    return load(path, COLUMNS, CATALOGUE, now_s=NOON_S, time_format=time_format)


def moments(unit: str, *numbers: int, zone: str | None = None) -> pl.Series:
    return pl.Series(numbers, dtype=pl.Int64).cast(pl.Datetime(unit, zone))  # type: ignore[arg-type]


@pytest.mark.parametrize("time_format", [None, "%d.%m.%Y"])
@pytest.mark.parametrize(
    "noon",
    [
        moments("ms", 1_577_880_000_000),
        moments("us", 1_577_880_000_000_000),
        moments("ns", 1_577_880_000_000_000_000),
        moments("us", 1_577_880_000_000_000, zone="America/New_York"),
    ],
    ids=lambda series: str(series.dtype),
)
def test_a_typed_time_is_one_moment_in_every_unit_and_zone_whatever_the_format_of_text(
    source: Path, noon: pl.Series, time_format: str | None
) -> None:
    interactions, _ = read(written(source, when=noon), time_format)
    assert interactions.time_s.tolist() == [NOON_S]


def test_a_date_is_its_midnight_in_utc(source: Path) -> None:
    interactions, _ = read(written(source, when=[date(2020, 1, 1)]))
    assert interactions.time_s.tolist() == [NOON_S - 12 * 3600]


@pytest.mark.parametrize(
    "far",
    [
        moments("us", 2**63 - 1, -(2**63), 1_577_880_000_000_000),
        moments("ms", 253_402_300_800_000, -62_135_596_800_001, 1_577_880_000_000),
        pl.Series([2**31 - 1, -(2**31), 18_262], dtype=pl.Int32).cast(pl.Date),
        moments("us", 2**63 - 1, -(2**63), 1_577_880_000_000_000, zone="Asia/Tokyo"),
    ],
    ids=["infinity", "just outside", "dates", "with a zone"],
)
def test_a_typed_time_in_a_year_that_python_does_not_have_is_no_time(
    source: Path, far: pl.Series
) -> None:
    path = written(source, who=["a", "b", "c"], what=["tea"] * 3, when=far)
    interactions, report = read(path)
    assert interactions.users == ("c",)
    assert report.reasons == {"unparsable_time": 2}
    assert report.examples["unparsable_time"][0] == "line 1: 'not in the years 1 to 9999'"


def test_the_first_and_the_last_moment_of_python_are_read(source: Path) -> None:
    first, last = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)  # noqa: DTZ001
    written(source, who=["a", "b"], what=["tea"] * 2, when=[first, last])
    assert tables.read(source, {"time": "when"}).values["time"] == [first, last]


def test_a_missing_time_is_missing(source: Path) -> None:
    noon = datetime.fromtimestamp(NOON_S, UTC)
    _, report = read(written(source, who=["a", "b"], what=["tea"] * 2, when=[noon, None]))
    assert report.examples == {"missing_value": ["line 2: 'when'"]}


def test_ids_that_became_floats_because_one_is_missing_are_whole_numbers_again(
    source: Path,
) -> None:
    path = written(
        source,
        who=[17850.0, None, float("nan"), 17851.0],
        what=[7.0, 7.0, 7.0, float("nan")],
        when=[NOON_S] * 4,
    )
    interactions, report = read(path)
    assert interactions.users == ("17850",)
    assert report.reasons == {"missing_value": 3}
    assert report.examples["missing_value"] == ["line 2: 'who'", "line 3: 'who'", "line 4: 'what'"]


@pytest.mark.parametrize("column", ["who", "what"])
@pytest.mark.parametrize(
    ("kind", "ids"),
    [
        (pl.Float64, [1_718_000_000_000_000_001.0, 1_718_000_000_000_000_002.0]),
        (pl.Float32, [17_000_001.0, 17_000_002.0]),
    ],
)
def test_ids_that_lost_digits_as_floats_are_refused_because_several_people_are_one(
    source: Path, column: str, kind: type[pl.DataType], ids: list[float]
) -> None:
    written(
        source,
        **{"who": ["a"] * 2, "what": ["tea"] * 2, "when": [NOON_S] * 2}
        | {column: pl.Series(ids, dtype=kind)},
    )
    with pytest.raises(BadData, match=f"column '{column}' .* have lost their last digits"):
        read(source)


def test_floats_that_are_no_whole_numbers_or_too_large_to_be_exact_stay_floats(
    source: Path,
) -> None:
    numbers = [1.5, -0.25, 2.0**53, float("inf")]
    written(source, who=numbers, what=["tea"] * 4, when=[NOON_S] * 4)
    assert tables.read(source, {"user": "who"}).values["user"] == numbers
    assert {type(each) for each in tables.read(source, {"user": "who"}).values["user"]} == {float}


def test_bytes_are_no_ids(source: Path) -> None:
    with pytest.raises(BadData, match=r"column 'who' .* holds Binary, not text, numbers or times"):
        read(written(source, who=[b"a"]))


def test_a_flipped_byte_that_makes_polars_panic_is_an_error_for_people(source: Path) -> None:
    shutil.copy(GOLDEN / "one-byte-flipped.parquet", source)
    with pytest.raises(BadData, match=r"cannot read .*purchases\.parquet"):
        read(source)


@pytest.mark.parametrize("name", ["h[1].parquet", "g*.parquet", "SALES.PARQUET"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    _, report = read(written(tmp_path / name))
    assert report.kept == 1
