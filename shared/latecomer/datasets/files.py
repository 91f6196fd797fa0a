"""Files of a published data set: found in a folder, and cut into fields.

R rows of a file.
"""

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from latecomer.errors import BadData
from latecomer.interactions import tables
from latecomer.interactions.tables import Table

#: As unpacked, gzipped, or converted to Parquet.
_FORMS = ("", ".gz", ".parquet")


def find(folder: Path, name: str) -> Path | None:
    """``name`` in ``folder``, plain, gzipped or as Parquet; None where it is in no form."""
    stem = name.removesuffix(".csv")
    forms = [folder / (name + form) for form in _FORMS] + [folder / f"{stem}.parquet"]
    return next((path for path in forms if is_file(path)), None)


def is_file(path: Path) -> bool:
    """Whether a file is there; what cannot be looked at is not, and who reads it says why."""
    # Path.is_file raises where a folder may not be entered, or a mount has gone.
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """The same of a folder."""
    return os.path.isdir(path)  # noqa: PTH112


def path(folder: Path, name: str) -> Path:
    """``name`` in ``folder``, in any form.

    Raises:
        BadData: It is in none.
    """
    found = find(folder, name)
    if found is None:
        raise BadData(f"{folder} has no {name}", hint="see docs/data.md")
    return found


def fields(
    path: Path, separator: str, width: int, *, encoding: str = "utf-8"
) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every line that is not blank.

    Args:
        path: Text, gzipped if it ends in ``.gz``; quotes have no meaning in it.
        separator: Between fields.
        width: At least so many fields are on every line.
        encoding: Of the text.

    Raises:
        BadData: The file cannot be read, or a line has fewer fields; the message names the line.
    """
    for number, line in enumerate(_lines(path, encoding), start=1):
        if not line.strip():
            continue
        row = line.rstrip("\r").split(separator)
        if len(row) < width:
            raise BadData(
                f"{path} has {len(row)} fields on line {number}, and {width} are needed",
                hint=f"fields are separated by {separator!r}",
            )
        yield number, row


def _lines(path: Path, encoding: str) -> Iterable[str]:
    try:
        body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return body.decode(encoding).split("\n")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise BadData(f"cannot read {path}: {error}", hint="download it again") from error


def columns(path: Path, names: Sequence[str], *, delimiter: str = ",") -> list[list[str]]:
    """The columns of these names, of a file whose first line names them; "" where one is missing.

    Raises:
        BadData: The file cannot be read, or lacks a column; the message names it.
    """
    read = tables.read(path, {name: name for name in names}, delimiter=delimiter)
    return [[tables.text(value) for value in read.values[name]] for name in names]


def table(lines: Sequence[int], rows: Iterable[Sequence[object]], meanings: Sequence[str]) -> Table:
    """Rows of one value per meaning, as columns."""
    columns: list[Sequence[object]] = list(zip(*rows, strict=True))
    return Table(lines, dict(zip(meanings, columns or [()] * len(meanings), strict=True)))
