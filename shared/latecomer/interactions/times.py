"""Times as data owners write them, as seconds since the Unix epoch.

Times without a zone are taken as UTC: one site's files agree with themselves either way, and only
the order of a user's interactions is learned from. What happens now seems to lie in the future
then, east of Greenwich, by up to ``EASTERNMOST_S``.
"""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import partial

#: Unix times from here on are milliseconds: as seconds they would lie beyond the year 5000.
MILLISECONDS_FROM = 1e11

#: The Line Islands' clocks are this far ahead of UTC, and nobody's are further.
EASTERNMOST_S = 14 * 3600

#: YYYYMMDD. As Unix seconds, eight digits would lie between 1970 and 1973.
DIGITS_OF_A_DATE = 8


def parser(time_format: str | None) -> Callable[[object], float]:
    """What turns a value into seconds, NaN where it is no time.

    Args:
        time_format: For ``strptime``, of text. Without it, ISO 8601 dates and times (basic or
            extended), Unix seconds and Unix milliseconds are understood.
    """
    if time_format is None:
        return partial(_or_nan, _unformatted)
    return partial(_or_nan, partial(_formatted, time_format))


def _formatted(time_format: str, value: object) -> float:
    if isinstance(value, date):
        return _unformatted(value)  # a typed column is read as it is
    return _seconds(datetime.strptime(str(value).strip(), time_format))  # noqa: DTZ007 - the zone is dealt with next


def _unformatted(value: object) -> float:
    if isinstance(value, datetime):
        return _seconds(value)
    if isinstance(value, date):
        return _seconds(datetime.combine(value, time()))
    text = str(value).strip()
    if _is_iso(text):
        return _seconds(datetime.fromisoformat(text))
    seconds = float(text)
    return seconds / 1000.0 if abs(seconds) >= MILLISECONDS_FROM else seconds


def _is_iso(text: str) -> bool:
    return text[4:5] == "-" or "T" in text or (len(text) == DIGITS_OF_A_DATE and text.isdecimal())


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _or_nan(parse: Callable[[object], float], value: object) -> float:
    try:
        parsed = parse(value)
    except (ValueError, OverflowError):
        return math.nan
    return parsed if math.isfinite(parsed) else math.nan
