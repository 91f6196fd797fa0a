"""What a worker keeps between rounds and restarts: one SQLite file.

It holds the outbox, the private state of every user, and a few facts (last version, quality), all
of one federation. Deleting it loses personalisation, and the worker starts again as a new device.
Of a family that adds up statistics it also holds what was added: who deletes it adds everything
again, and counts twice until a new epoch begins.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from latecomer.errors import BadConfiguration, DiskTrouble
from latecomer.tensors import Array, Delta, TensorDelta

WRITABLE = "set LATECOMER_STATE_DIR to a folder that this user may write to"

#: What to do about a file that a disk lost parts of; see the module for what else that costs.
DAMAGED = "move it out of LATECOMER_STATE_DIR: the worker starts again as a new device"

#: The file names users and what they have: it is nobody's but the worker's own user's. SQLite gives
#: its log the same rights.
OWNER_ALONE = 0o600

#: What SQLite takes for no file at all.
IN_MEMORY = Path(":memory:")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    update_id TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL,
    payload BLOB,
    created_s REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS awaited (update_id TEXT PRIMARY KEY, sent_s REAL NOT NULL) WITHOUT ROWID;
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
CREATE TABLE IF NOT EXISTS residual (
    name TEXT PRIMARY KEY,
    shape TEXT NOT NULL,
    rows BLOB,
    value BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An update that waits for its confirm; ``payload`` must be staged before, where given."""

    update_id: str
    body: bytes
    payload: bytes | None


@contextmanager
def _border() -> Iterator[None]:
    """What a full, locked, failing or damaged disk raises ends here."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise DiskTrouble(
            f"the worker's state file: {error}", hint="is the disk of LATECOMER_STATE_DIR full?"
        ) from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise  # of its other kinds each is a mistake of ours
        raise BadConfiguration(f"the worker's state file: {error}", hint=DAMAGED) from error


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


class WorkerState:
    """The file. Writes are atomic inside ``transaction``; used by one thread at a time.

    Nobody but the user who runs the worker may read it.

    Raises:
        BadConfiguration: The file cannot be opened or is none of ours.
    """

    def __init__(self, path: Path) -> None:
        try:
            if path != IN_MEMORY:
                made(path.parent, "the worker's state")
                path.touch(OWNER_ALONE)
                path.chmod(OWNER_ALONE)  # of a file that a former release made
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # A power cut must not undo what the broker confirmed: counts would be sent twice.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            damaged = type(error) is sqlite3.DatabaseError
            raise BadConfiguration(
                f"cannot keep the worker's state in {path}: {error}",
                hint=DAMAGED if damaged else WRITABLE,
            ) from error

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

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the writes inside happen, or none."""
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def put_outgoing(self, outgoing: Outgoing, *, created_s: float) -> None:
        """Queue an update; its id is never queued twice."""
        self._execute(
            "INSERT INTO outbox (update_id, body, payload, created_s) VALUES (?, ?, ?, ?)",
            (outgoing.update_id, outgoing.body, outgoing.payload, created_s),
        )

    def next_outgoing(self) -> Outgoing | None:
        """The oldest update that is not confirmed."""
        row = self._execute(
            "SELECT update_id, body, payload FROM outbox ORDER BY seq LIMIT 1"
        ).fetchone()
        return None if row is None else Outgoing(*row)

    def confirm_outgoing(self, update_id: str, *, now_s: float) -> None:
        """The broker has it now; what becomes of it will be asked later."""
        with self.transaction():
            size_bytes = self._execute(
                "SELECT length(body) + coalesce(length(payload), 0) FROM outbox "
                "WHERE update_id = ?",
                (update_id,),
            ).fetchone()
            self.remember("sent_bytes", self.sent_bytes() + (size_bytes or (0,))[0])
            self._execute("DELETE FROM outbox WHERE update_id = ?", (update_id,))
            self._execute("INSERT OR REPLACE INTO awaited VALUES (?, ?)", (update_id, now_s))

    def sent_bytes(self) -> int:
        """What all confirmed updates amounted to, each counted once."""
        return int(self.fact("sent_bytes") or 0)

    def delete_outgoing(self, update_id: str) -> None:
        """No broker will ever take it."""
        self._execute("DELETE FROM outbox WHERE update_id = ?", (update_id,))
        self._forget_tentative()

    def restamp(self, *, now_s: float, believed_s: float) -> None:
        """Forget ages that cannot be: a calendar was wrong when, or since, an update was queued.

        Nor is it long ago that one was confirmed: a verdict would be forgotten before it is known.
        """
        for table, column in (("outbox", "created_s"), ("awaited", "sent_s")):
            self._execute(
                f"UPDATE {table} SET {column} = ? WHERE abs(? - {column}) > ?",  # noqa: S608 - ours
                (now_s, now_s, believed_s),
            )

    def last_confirm_s(self, *, now_s: float) -> float:
        """When the newest update whose verdict is not known was confirmed; 0 if there is none.

        What was confirmed in the future was so before a calendar was put right, whenever that was.
        """
        found = self._execute(
            "SELECT coalesce(max(sent_s), 0) FROM awaited WHERE sent_s <= ?", (now_s,)
        )
        return float(found.fetchone()[0])

    def drop_outgoing(self, *, created_before_s: float, keep_bytes: int) -> list[str]:
        """Give up what is too old, then the oldest until the rest fits; the newest always fits.

        What adds to sums stays, however old: it may have arrived although nobody confirmed it, and
        giving it up would add the same again. Returns the ids, oldest first.
        """
        rows = self._execute(
            "SELECT update_id, created_s, length(body) + coalesce(length(payload), 0) FROM outbox "
            "WHERE update_id NOT IN (SELECT update_id FROM tentative) ORDER BY seq DESC"
        ).fetchall()
        dropped, kept_bytes = [], 0
        for place, (update_id, created_s, size_bytes) in enumerate(rows):
            kept_bytes += size_bytes
            if created_s < created_before_s or (place and kept_bytes > keep_bytes):
                dropped.append(update_id)
        for update_id in dropped:
            self._execute("DELETE FROM outbox WHERE update_id = ?", (update_id,))
        return dropped[::-1]

    def awaited(self, *, limit: int) -> list[str]:
        """Ids of confirmed updates whose verdict is not known here yet, oldest first."""
        rows = self._execute(
            "SELECT update_id FROM awaited ORDER BY sent_s, update_id LIMIT ?", (limit,)
        )
        return [update_id for (update_id,) in rows]

    def settle(self, folded: Mapping[str, bool], *, sent_before_s: float) -> None:
        """These have their verdict; of those sent before ``sent_before_s`` it is forgotten.

        What an update made true is the private state from now on; what one that does not count
        would have made true is forgotten. A verdict that is forgotten was in favour: a confirmed
        update is folded in the end, and to add the same again could count twice.
        """
        old = self._execute("SELECT update_id FROM awaited WHERE sent_s < ?", (sent_before_s,))
        known = {**dict.fromkeys((each for (each,) in old.fetchall()), True), **folded}
        with self.transaction():
            for update_id, counts in known.items():
                if counts:
                    self._execute(
                        "INSERT OR REPLACE INTO private "
                        "SELECT user, name, value FROM tentative WHERE update_id = ?",
                        (update_id,),
                    )
                    # Of whom nothing is counted any more, not even the id is kept.
                    self._execute(
                        "DELETE FROM private WHERE value = zeroblob(length(value)) "
                        "AND (user, name) IN "
                        "(SELECT user, name FROM tentative WHERE update_id = ?)",
                        (update_id,),
                    )
                self._execute("DELETE FROM awaited WHERE update_id = ?", (update_id,))
            self._forget_tentative()

    def outgoing(self) -> int:
        """How many updates wait."""
        return int(self._execute("SELECT count(*) FROM outbox").fetchone()[0])

    def save_private(self, users: Sequence[str], private: Mapping[str, Array]) -> None:
        """Keep each user's slice of every array of shape (users, …)."""
        with _border():
            self._db.executemany(
                "INSERT OR REPLACE INTO private (user, name, value) VALUES (?, ?, ?)",
                _slices(users, private),
            )

    def save_tentative(
        self, update_id: str, users: Sequence[str], private: Mapping[str, Array]
    ) -> None:
        """Keep what will be the users' private state if this update counts; see ``settle``."""
        with _border():
            self._db.executemany(
                "INSERT INTO tentative (update_id, user, name, value) VALUES (?, ?, ?, ?)",
                ((update_id, *each) for each in _slices(users, private)),
            )

    def tentative(self) -> bool:
        """Whether the private state depends on a verdict that is not known yet."""
        return bool(self._execute("SELECT EXISTS (SELECT 1 FROM tentative)").fetchone()[0])

    def load_private(self, users: Sequence[str], private: dict[str, Array]) -> None:
        """Overwrite, in ``private``, the slices of the users that are kept here.

        A slice of another size (the model's dimension changed) is left as it is.
        """
        rows = {user: row for row, user in enumerate(users)}
        for user, name, value in self._execute("SELECT user, name, value FROM private"):
            if user not in rows or name not in private:
                continue
            target = private[name][rows[user]]
            if len(value) == target.nbytes:
                target[...] = np.frombuffer(value, "<f4").reshape(target.shape)

    def users(self) -> set[str]:
        """Whose private state is kept here."""
        return {user for (user,) in self._execute("SELECT DISTINCT user FROM private")}

    def forget_users(self, users: Sequence[str]) -> None:
        """Nothing of these is kept any more."""
        for user in users:
            self._execute("DELETE FROM private WHERE user = ?", (user,))

    def forget_private(self) -> None:
        """A new lineage of models began: vectors of the former one mean nothing in it."""
        with self.transaction():
            self._execute("DELETE FROM private")
            self._execute("DELETE FROM tentative")

    def save_residual(self, residual: Delta) -> None:
        """Keep what an update left out, instead of what the former one did."""
        self._execute("DELETE FROM residual")
        for name, left in residual.items():
            rows = None if left.rows is None else left.rows.astype("<u4").tobytes()
            values = np.asarray(left.values, "<f4")
            self._execute(
                "INSERT INTO residual VALUES (?, ?, ?, ?)",
                (name, json.dumps(values.shape), rows, values.tobytes()),
            )

    def residual(self) -> dict[str, TensorDelta]:
        """What the last update left out."""
        found = self._execute("SELECT name, shape, rows, value FROM residual").fetchall()
        return {
            name: TensorDelta(
                np.frombuffer(value, "<f4").reshape(json.loads(shape)),
                None if rows is None else np.frombuffer(rows, "<u4"),
            )
            for name, shape, rows, value in found
        }

    def fact(self, name: str) -> Any:
        """A remembered fact, None if there is none."""
        row = self._execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def remember(self, name: str, value: object) -> None:
        """Remember a fact, as JSON."""
        self._execute(
            "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, json.dumps(value))
        )

    def _forget_tentative(self) -> None:
        """What depended on updates that are neither waiting nor awaited any more."""
        self._execute(
            "DELETE FROM tentative WHERE update_id NOT IN (SELECT update_id FROM outbox) "
            "AND update_id NOT IN (SELECT update_id FROM awaited)"
        )

    def _execute(self, statement: str, arguments: Sequence[object] = ()) -> sqlite3.Cursor:
        with _border():
            return self._db.execute(statement, arguments)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _slices(users: Sequence[str], private: Mapping[str, Array]) -> Iterator[tuple[str, str, bytes]]:
    for name, array in private.items():
        for user, values in zip(users, np.ascontiguousarray(array, "<f4"), strict=True):
            yield user, name, values.tobytes()
