import math
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from latecomer.interactions import times

NEW_YEAR_S = 1_293_840_000.0  # 2011-01-01T00:00:00Z


@pytest.mark.parametrize(
    "value",
    [
        "2011-01-01",
        "20110101",
        "2011-01-01T00:00:00",
        "2011-01-01 00:00",
        "20110101T000000",
        "2011-01-01T00:00:00Z",
        "2011-01-01T01:00:00+01:00",
        " 2011-01-01 ",
        "1293840000",
        "1293840000.0",
        "1293840000000",
        1_293_840_000,
        1_293_840_000_000,
        date(2011, 1, 1),
        datetime(2011, 1, 1),  # noqa: DTZ001 - what a file without zones holds
        datetime(2011, 1, 1, tzinfo=UTC),
        datetime(2011, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ],
    ids=repr,
)
def test_one_moment_can_be_written_in_many_ways(value: object) -> None:
    assert times.parser(None)(value) == NEW_YEAR_S


@pytest.mark.parametrize(
    "value", ["", "soon", "nan", "inf", "2011-13-01", "2011-02-30", "99999999", "1e400", None]
)
def test_what_is_no_time_is_nan(value: object) -> None:
    assert math.isnan(times.parser(None)(value))


def test_fractions_of_a_second_are_kept() -> None:
    assert times.parser(None)("2011-01-01T00:00:00.25") == NEW_YEAR_S + 0.25
    assert times.parser(None)("1293840000250") == NEW_YEAR_S + 0.25


def test_a_format_is_followed_and_nothing_else_is_understood() -> None:
    parse = times.parser("%d.%m.%Y")
    assert parse("01.01.2011") == NEW_YEAR_S
    assert math.isnan(parse("2011-01-01"))


@pytest.mark.parametrize("typed", [date(2011, 1, 1), datetime(2011, 1, 1, tzinfo=UTC)])
def test_a_format_is_of_text_and_typed_columns_need_none(typed: date) -> None:
    assert times.parser("%d.%m.%Y")(typed) == NEW_YEAR_S


def test_a_format_with_a_zone_is_not_taken_as_utc() -> None:
    assert times.parser("%Y-%m-%d %H:%M %z")("2011-01-01 01:00 +0100") == NEW_YEAR_S
