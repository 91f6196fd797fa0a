"""The private state of a worker's users: what is true, and what will be if an update counts.

Of a family that adds up statistics it says what was added, which is true only once the update is
folded; until its verdict it is tentative.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from latecomer.tensors import Array
from latecomer_worker.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS private (
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (user, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tentative (
    update_id TEXT NOT NULL,
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (update_id, user, name)
) WITHOUT ROWID;
"""


class PrivateState:
    """A slice of every array per user, by name; float32."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def save(self, users: Sequence[str], private: Mapping[str, Array]) -> None:
        """Keep each user's slice of every array of shape (users, …)."""
        self._db.execute_for_each(
            "INSERT OR REPLACE INTO private (user, name, value) VALUES (?, ?, ?)",
            _slices(users, private),
        )

    def load(self, users: Sequence[str], private: dict[str, Array]) -> None:
        """Overwrite, in ``private``, the slices of the users that are kept here.

        A slice of another size (the model's dimension changed) is left as it is.
        """
        rows = {user: row for row, user in enumerate(users)}
        for user, name, value in self._db.rows("SELECT user, name, value FROM private"):
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
            "INSERT INTO tentative (update_id, user, name, value) VALUES (?, ?, ?, ?)",
            ((update_id, *each) for each in _slices(users, private)),
        )

    def is_tentative(self) -> bool:
        """Whether it depends on a verdict that is not known yet."""
        return bool(self._db.number("SELECT EXISTS (SELECT 1 FROM tentative)"))

    def accept(self, update_id: str) -> None:
        """This update counts: what it would make true is."""
        self._db.execute(
            "INSERT OR REPLACE INTO private "
            "SELECT user, name, value FROM tentative WHERE update_id = ?",
            (update_id,),
        )
        # Of whom nothing is counted any more, not even the id is kept.
        self._db.forget(
            "DELETE FROM private WHERE value = zeroblob(length(value)) AND (user, name) IN "
            "(SELECT user, name FROM tentative WHERE update_id = ?)",
            (update_id,),
        )
        self._db.execute("DELETE FROM tentative WHERE update_id = ?", (update_id,))

    def forget_tentative(self, update_id: str) -> None:
        """This update does not count: nothing becomes of what it would have made true."""
        self._db.forget("DELETE FROM tentative WHERE update_id = ?", (update_id,))


def _slices(users: Sequence[str], private: Mapping[str, Array]) -> Iterator[tuple[str, str, bytes]]:
    for name, array in private.items():
        for user, values in zip(users, np.ascontiguousarray(array, "<f4"), strict=True):
            yield user, name, values.tobytes()
