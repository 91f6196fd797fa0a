"""What ``latecomer recommend`` prints: one list, or one line for each user of a worker."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latecomer.errors import BadData
from latecomer.outcomes.fields import Fields
from latecomer_cli.lists import NOBODY, Served, Suggestion
from latecomer_cli.output import Output


def ids(path: Path) -> list[str]:
    """Of items, one a line.

    Raises:
        BadData: The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not UTF-8", hint="one id a line, as text") from error
    return [line.strip() for line in lines if line.strip()]


def show(output: Output, served: Served, user: str | None, k: int) -> None:
    """The list of a user, or without one what most users have."""
    if user is None:
        found = served.to_anybody(k)
    else:
        ((_, found),) = served.to([user], k)
    output.result(_body(served, user, found))
    output.table(
        f"For {user}, from version {served.version}"
        if user
        else "For anybody: how many here have it",
        ("item", "description", "score"),
        ((each.item, each.description, each.score) for each in found),
    )


def show_everybody(output: Output, served: Served, k: int) -> None:
    """A line for each user, as soon as it is known: a shop of millions has no room for all.

    Raises:
        BadData: There is nobody: an empty table would replace the one of yesterday.
    """
    users = served.everybody()
    if not users:
        raise BadData("this worker has no users", hint=NOBODY)
    output.each(
        (_body(served, user, found), "  ".join([user, *_told(served, found)]))
        for user, found in served.to(users, k)
    )


def _told(served: Served, found: Sequence[Suggestion]) -> list[str]:
    """Items by their ids; of an outcome, which is always the same, how probable it is."""
    if isinstance(served.catalogue, Fields):
        return [each.description for each in found]
    return [each.item for each in found]


def _body(served: Served, user: str | None, found: Sequence[Suggestion]) -> dict[str, Any]:
    return {
        "user": user,
        "version": str(served.version),
        "made_at_s": served.made_at_s,
        "items": [
            {"item": each.item, "description": each.description, "score": each.score}
            for each in found
        ],
    }
