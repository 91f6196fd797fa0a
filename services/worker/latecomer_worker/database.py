"""A worker's SQLite file: opened for nobody but its owner, atomic, and what a disk does wrong."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from latecomer.errors import BadConfiguration, DiskTrouble

WRITABLE = "set LATECOMER_STATE_DIR to a folder that this user may write to"

#: What to do about a file that a disk lost parts of; see ``state`` for what else that costs.
DAMAGED = "move it out of LATECOMER_STATE_DIR: the worker starts again as a new device"

#: The file names users and what they have: it is nobody's but the worker's own user's. SQLite gives
#: its log the same rights.
OWNER_ALONE = 0o600

#: Who else writes to the file is waited for this long.
LOCKED_FOR_MS = 5000

#: What SQLite takes for no file at all.
IN_MEMORY = Path(":memory:")


def made(folder: Path, what: str) -> Path:
    """A folder for ``what`` a worker keeps, there and writable from now on.

    Raises:
        BadConfiguration: It is not, and waiting would not help.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadConfiguration(
            f"cannot keep {what} in {folder}: {error.strerror}", hint=WRITABLE
        ) from error
    return folder


@contextmanager
def _border() -> Iterator[None]:
    """What a full, locked, failing or damaged disk raises ends here."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if not hasattr(error, "sqlite_errorcode"):
            # Not SQLite's, but Python's: what was written as text is none any more.
            raise BadConfiguration(f"the worker's state file: {error}", hint=DAMAGED) from error
        raise DiskTrouble(
            f"the worker's state file: {error}", hint="is the disk of LATECOMER_STATE_DIR full?"
        ) from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise  # of its other kinds each is a mistake of ours
        raise BadConfiguration(f"the worker's state file: {error}", hint=DAMAGED) from error


class Database:
    """The file, with the tables of all who keep something in it; used by one thread at a time.

    Raises:
        BadConfiguration: The file cannot be opened or is none of ours.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self._log_tells = True  # if a process was killed after it forgot something
        try:
            if path != IN_MEMORY:
                made(path.parent, "the worker's state")
                path.touch(OWNER_ALONE)
                path.chmod(OWNER_ALONE)  # of a file that a former release made
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute(f"PRAGMA busy_timeout = {LOCKED_FOR_MS}")
            # A power cut must not undo what the broker confirmed: counts would be sent twice.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            # What was forgotten is overwritten: not every SQLite does so by itself.
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.executescript(schema)
        except (sqlite3.Error, OSError) as error:
            damaged = type(error) is sqlite3.DatabaseError
            raise BadConfiguration(
                f"cannot keep the worker's state in {path}: {error}",
                hint=DAMAGED if damaged else WRITABLE,
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the writes inside happen, or none."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._empty_log()

    def execute(self, statement: str, arguments: Sequence[object] = ()) -> int:
        """One statement that changes something; returns how many rows.

        Raises:
            DiskTrouble: The disk is full, slow or fails: later it may not.
            BadConfiguration: The file is damaged.
        """
        with _border():
            return self._db.execute(statement, arguments).rowcount

    def execute_for_each(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """One statement, once per row."""
        with _border():
            self._db.executemany(statement, rows)

    def forget(self, statement: str, arguments: Sequence[object] = ()) -> None:
        """One statement of a transaction, after which what it deletes is not in the file any more.

        Nor is it in the log, where nobody reads the file at that moment: see ``_empty_log``.
        """
        if self.execute(statement, arguments):
            self._log_tells = True

    def rows(self, statement: str, arguments: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """What a statement asks for, read as it is needed; raises what ``execute`` does.

        Of a damaged file, what is lost may be found to be so at any row.
        """
        with _border():
            yield from self._db.execute(statement, arguments)

    def row(self, statement: str, arguments: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """The first row that a statement asks for, None if there is none."""
        return next(self.rows(statement, arguments), None)

    def number(self, statement: str, arguments: Sequence[object] = ()) -> float:
        """The one number that a statement asks for."""
        (found,) = next(self.rows(statement, arguments))
        return float(found)

    def close(self) -> None:
        """Close the file; whoever is the last to do so leaves no log."""
        self._db.close()

    def _empty_log(self) -> None:
        """Write what is in the log to its place, if what was forgotten can be read in the log.

        Nobody waits for that: where another process reads the file, or the disk is full, it is
        tried again after the next transaction.
        """
        if not self._log_tells:
            return
        with suppress(DiskTrouble):
            self.execute("PRAGMA busy_timeout = 0")
            blocked, *_ = next(self.rows("PRAGMA wal_checkpoint(TRUNCATE)"))
            self._log_tells = bool(blocked)
        self.execute(f"PRAGMA busy_timeout = {LOCKED_FOR_MS}")
