"""What a command prints.

A table for people or JSON for machines on stdout, one line of cause on stderr, and the next command
to try last.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from latecomer.errors import LatecomerError
from latecomer.interactions.schema import Report

#: Control characters: what a terminal would obey.
NOT_PRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f]")

#: Wide enough for the demo's table.
PIPE_COLUMNS = 120


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


class Output:
    """stdout in the chosen format."""

    def __init__(self, chosen: Format) -> None:
        self.format = chosen
        if chosen is Format.JSON and isinstance(sys.stdout, TextIOWrapper):
            # RFC 8259, section 8.1; as "???" two people would be one.
            sys.stdout.reconfigure(encoding="utf-8")
        # A pipe has no width; one that fits the widest table reads best in a log.
        width = None if sys.stdout.isatty() else PIPE_COLUMNS
        self.console = Console(file=sys.stdout, highlight=False, soft_wrap=True, width=width)

    @property
    def for_people(self) -> bool:
        """Whether tables and hints are wanted."""
        return self.format is Format.TABLE

    def result(self, body: dict[str, Any]) -> None:
        """The whole result, for machines.

        Raises:
            LatecomerError: There is no more room for it.
        """
        if not self.for_people:
            # JSON knows no NaN, and strict readers refuse what Python writes for it.
            _write([to_json(body, indent=2, inf_nan_mode="null").decode()])

    def say(self, text: str) -> None:
        """A line for people."""
        if self.for_people:
            self.console.print(text, markup=False)

    def lines(self, lines: Iterable[str]) -> None:
        """Many lines, as they are: for people, and for the next command of a pipe.

        Raises:
            LatecomerError: There is no more room for them.
        """
        if self.for_people:
            _write(lines)

    def each(self, results: Iterable[tuple[dict[str, Any], str]]) -> None:
        """One result after the other: a line of JSON for machines, of text for people.

        Raises:
            LatecomerError: There is no more room for it.
        """
        for body, text in results:
            if self.for_people:
                _write([_printed(text)])
            else:
                _write([to_json(body, inf_nan_mode="null").decode()])

    def read(self, report: Report) -> None:
        """What of the data was not used, for people; nothing where all of it was."""
        if not report.complete:
            self.say(f"{report.source}: {report.summary()}")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table for people; numbers align right."""
        if self.for_people:
            self.console.print(render(title, columns, rows))

    def next(self, command: str) -> None:
        """What to try next, as the last line."""
        self.say(f"next: {command}")


def any_stdout() -> None:
    """A terminal without our letters, or none at all, is no reason to lose what was computed."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process lives
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


@contextmanager
def watched(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr for whoever waits at a terminal; give it (done, all)."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def render(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table; the first column is text, the others are numbers or short."""
    table = Table(title=Text(title, style="bold"), title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(_cell(column), justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def complain(error: LatecomerError) -> None:
    """One line of cause on stderr, and how to fix it."""
    cause = f"latecomer: {error}".replace("\n", " ")
    sys.stderr.write(f"{cause}; {error.hint}\n" if error.hint else f"{cause}\n")


def _write(lines: Iterable[str]) -> None:
    """To stdout, at once: what a full disk does not take is said while it can be."""
    try:
        sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # whoever reads has enough of it
    except OSError as error:
        with suppress(OSError):  # nor is it tried again at the end of the process
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise LatecomerError(
            f"the result cannot be written: {error.strerror}", hint="is the disk full?"
        ) from error


def _printed(text: str) -> str:
    """As it is, but for what would command a terminal."""
    return NOT_PRINTED.sub("\N{REPLACEMENT CHARACTER}", text)


def _cell(value: object) -> Text:
    """As it is: what comes from elsewhere must not be read as markup, nor command a terminal."""
    match value:
        case None:
            return Text("-")
        case float():
            return Text(f"{value:.4f}")
        case _:
            return Text(_printed(str(value)))
