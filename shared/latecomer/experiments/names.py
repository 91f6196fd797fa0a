"""What experiments, sites and metrics are called: a line each, the same wherever it is written."""

import reprlib
from typing import Annotated

from pydantic import AfterValidator, StringConstraints, TypeAdapter, ValidationError

from latecomer.errors import BadConfiguration
from latecomer.events import ALL_REGIONS

#: What all sites together are called.
ALL = ALL_REGIONS

#: Others read it on a terminal, which obeys control characters. What stands around it nobody sees.
ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,200}$"


def _is_one(site: str) -> str:
    if site == ALL:
        raise ValueError(f"{ALL!r} stands for all sites together")
    return site


Name = Annotated[str, StringConstraints(strip_whitespace=True, pattern=ONE_LINE)]
Site = Annotated[Name, AfterValidator(_is_one)]

_NAME, _SITE = TypeAdapter[str](Name), TypeAdapter[str](Site)


def named(what: str, text: str) -> str:
    """The name of an experiment or a metric, as all who write it mean it.

    Raises:
        BadConfiguration: It is blank, too long or of several lines.
    """
    return _checked(_NAME, what, text)


def site_named(text: str) -> str:
    """The name of a site.

    Raises:
        BadConfiguration: It is no name, or stands for all sites.
    """
    return _checked(_SITE, "a site", text)


def _checked(names: TypeAdapter[str], what: str, text: str) -> str:
    try:
        return names.validate_python(text)
    except ValidationError as error:
        raise BadConfiguration(
            f"this is no name of {what}: {reprlib.repr(text)}",
            hint=f"1 to 200 characters in one line, and not {ALL!r} for a site",
        ) from error
