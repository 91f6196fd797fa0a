"""What a worker keeps between rounds and restarts: one SQLite file.

It holds the updates on their way, the private state of every user, and a few facts (its last
round, say), all of one federation. Deleting it loses personalisation, and the worker starts again
as a new device. Of a family that adds up statistics it also holds what was added: who deletes it
adds everything again, and counts twice until a new epoch begins.
"""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from latecomer.errors import BadConfiguration
from latecomer.tensors import Delta, TensorDelta
from latecomer_worker import pending, private
from latecomer_worker.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS residual (
    name TEXT PRIMARY KEY,
    shape TEXT NOT NULL,
    rows BLOB,
    value BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class WorkerState:
    """The file, by what is kept in it; used by one thread at a time.

    Nobody but the user who runs the worker may read it.

    Attributes:
        private: The users' private state.
        pending: The updates on their way.

    Raises:
        BadConfiguration: The file cannot be opened or is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self._db = Database(path, pending.SCHEMA + private.SCHEMA + _SCHEMA)
        self.private = private.PrivateState(self._db)
        self.pending = pending.PendingUpdates(self._db, self.private)

    def claim(self, federation: str) -> None:
        """Belong to ``federation`` from now on.

        Raises:
            BadConfiguration: See ``check_owner``.
        """
        self.check_owner(federation)
        self.remember("federation", federation)

    def check_owner(self, federation: str) -> None:
        """Pass if this file is ``federation``'s, or nobody's yet.

        Raises:
            BadConfiguration: The file belongs to another one, in which this worker's updates wait
                or what it added counts.
        """
        owner = self.fact("federation") or federation
        if owner != federation:
            raise BadConfiguration(
                f"the worker's state belongs to federation {owner!r}, not to {federation!r}",
                hint="set LATECOMER_STATE_DIR to a folder of this federation's own",
            )

    def transaction(self) -> AbstractContextManager[None]:
        """All of the writes inside happen, or none."""
        return self._db.transaction()

    def save_residual(self, residual: Delta) -> None:
        """Keep what an update left out, instead of what the former one did."""
        self._db.execute("DELETE FROM residual")
        for name, left in residual.items():
            rows = None if left.rows is None else left.rows.astype("<u4").tobytes()
            values = np.asarray(left.values, "<f4")
            self._db.execute(
                "INSERT INTO residual VALUES (?, ?, ?, ?)",
                (name, json.dumps(values.shape), rows, values.tobytes()),
            )

    def residual(self) -> dict[str, TensorDelta]:
        """What the last update left out."""
        found = self._db.rows("SELECT name, shape, rows, value FROM residual")
        return {
            name: TensorDelta(
                np.frombuffer(value, "<f4").reshape(json.loads(shape)),
                None if rows is None else np.frombuffer(rows, "<u4"),
            )
            for name, shape, rows, value in found
        }

    def fact(self, name: str) -> Any:
        """A remembered fact, None if there is none."""
        row = self._db.row("SELECT value FROM facts WHERE name = ?", (name,))
        return None if row is None else json.loads(row[0])

    def remember(self, name: str, value: object) -> None:
        """Remember a fact, as JSON."""
        self._db.execute(
            "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, json.dumps(value))
        )

    def close(self) -> None:
        """Close the file."""
        self._db.close()
