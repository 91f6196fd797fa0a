"""The private state of a worker's users: what is true, and what will be if an update counts.

Of a family that adds up statistics it says what was added, which is true only once the update is
folded; until its verdict it is tentative. Statistics that a disk changed unnoticed would be taken
back wrongly, for everybody and for good: each value has a checksum.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from latecomer.errors import BadConfiguration
from latecomer.tensors import Array
from latecomer.wire.messages import checksum
from latecomer_worker.database import DAMAGED, Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS private (
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    checksum TEXT,
    PRIMARY KEY (user, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tentative (
    update_id TEXT NOT NULL,
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    checksum TEXT,
    PRIMARY KEY (update_id, user, name)
) WITHOUT ROWID;
"""


#: Instead of what was kept before, if anything was.
KEEP = "INSERT OR REPLACE INTO private (user, name, value, checksum) VALUES (?, ?, ?, ?)"

#: A user, what it is of him, and its float32, in their bytes.
Slice = tuple[str, str, bytes]


class PrivateState:
    """A slice of every array per user, by name; float32.

    Raises, wherever it reads:
        BadConfiguration: It is not what was written.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        for table in ("private", "tentative"):
            self._add_checksums(table)

    def save(self, users: Sequence[str], private: Mapping[str, Array]) -> None:
        """Keep each user's slice of every array of shape (users, …)."""
        self._db.execute_for_each(KEEP, _slices(users, private))

    def load(self, users: Sequence[str], private: dict[str, Array]) -> None:
        """Overwrite, in ``private``, the slices of the users that are kept here.

        A slice of another size (the model's dimension changed) is left as it is.
        """
        rows = {user: row for row, user in enumerate(users)}
        for user, name, value in self._whole("SELECT user, name, value, checksum FROM private"):
            if user not in rows or name not in private:
                continue
            target = private[name][rows[user]]
            if len(value) == target.nbytes:
                target[...] = np.frombuffer(value, "<f4").reshape(target.shape)

    def users(self) -> set[str]:
        """Whose private state is kept here."""
        return {user for (user,) in self._db.rows("SELECT DISTINCT user FROM private")}

    def forget(self, users: Sequence[str]) -> None:
        """Nothing of these is kept any more."""
        for each in users:
            self._db.forget("DELETE FROM private WHERE user = ?", (each,))

    def forget_everybody(self) -> None:
        """A new lineage of models began: vectors of the former one mean nothing in it."""
        with self._db.transaction():
            self._db.forget("DELETE FROM private")
            self._db.forget("DELETE FROM tentative")

    def save_tentative(
        self, update_id: str, users: Sequence[str], private: Mapping[str, Array]
    ) -> None:
        """Keep what will be the users' private state if this update counts."""
        self._db.execute_for_each(
            "INSERT INTO tentative (update_id, user, name, value, checksum) VALUES (?, ?, ?, ?, ?)",
            ((update_id, *each) for each in _slices(users, private)),
        )

    def is_tentative(self) -> bool:
        """Whether it depends on a verdict that is not known yet."""
        return bool(self._db.number("SELECT EXISTS (SELECT 1 FROM tentative)"))

    def accept(self, update_id: str) -> None:
        """This update counts: what it would make true is."""
        for user, name, value in self._whole(
            "SELECT user, name, value, checksum FROM tentative WHERE update_id = ?", (update_id,)
        ):
            if any(value):
                self._db.execute(KEEP, (user, name, value, _checksum(user, name, value)))
            else:  # of whom nothing is counted any more, not even the id is kept
                self._db.forget("DELETE FROM private WHERE user = ? AND name = ?", (user, name))
        self._db.execute("DELETE FROM tentative WHERE update_id = ?", (update_id,))

    def forget_tentative(self, update_id: str) -> None:
        """This update does not count: nothing becomes of what it would have made true."""
        self._db.forget("DELETE FROM tentative WHERE update_id = ?", (update_id,))

    def _add_checksums(self, table: str) -> None:
        """Make room for them in a file of a former release: what has none yet is believed."""
        if self._has_checksums(table):
            return
        with self._db.transaction():
            if not self._has_checksums(table):  # somebody may have opened it just now
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN checksum TEXT")

    def _has_checksums(self, table: str) -> bool:
        columns = [*self._db.rows("SELECT name FROM pragma_table_info(?)", (table,))]
        return ("checksum",) in columns

    def _whole(self, statement: str, arguments: Sequence[object] = ()) -> Iterator[Slice]:
        """Slices, of rows with their checksums."""
        for user, name, value, written in self._db.rows(statement, arguments):
            if written not in (None, _checksum(user, name, value)):
                raise BadConfiguration(
                    "the worker's state file: what is kept of a user is not what was written",
                    hint=DAMAGED,
                )
            yield user, name, value


def _slices(users: Sequence[str], private: Mapping[str, Array]) -> Iterator[tuple[object, ...]]:
    for name, array in private.items():
        for user, values in zip(users, np.ascontiguousarray(array, "<f4"), strict=True):
            value = values.tobytes()
            yield user, name, value, _checksum(user, name, value)


def _checksum(user: object, name: object, value: object) -> str:
    """Also of what is no text or bytes any more, and never was written so."""
    return checksum(f"{user}\0{name}\0".encode() + (value if isinstance(value, bytes) else b""))
