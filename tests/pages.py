"""What the project's pages tell people to type."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer

from latecomer_cli import app


def commands(page: str) -> Iterator[str]:
    """Every command of ours on a page, in one line, with what a shell makes of it."""
    for block in re.findall(r"^```\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        yield from re.findall(r"latecomer .*", block.replace("\\\n", " "))


def options(command: str) -> dict[str, Any]:
    """What a command is asked with; fails where it has no such option."""
    _, name, *arguments = shlex.split(re.split(" [<>] ", command)[0])
    known = typer.main.get_command(app.app).commands[name]  # type: ignore[attr-defined]
    found: dict[str, Any] = known.make_context(name, arguments).params
    return found
