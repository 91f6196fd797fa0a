"""Updates on their way: waiting for the broker's confirm, or confirmed and waiting for a verdict.

An update that adds to sums is kept until its verdict, because nothing may be added again without:
if its queue is deleted, the same bytes under the same id are all that can be sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from latecomer_worker.database import Database
from latecomer_worker.private import PrivateState

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    update_id TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL,
    payload BLOB,
    created_s REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS awaited (update_id TEXT PRIMARY KEY, sent_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (
    update_id TEXT PRIMARY KEY,
    body BLOB NOT NULL,
    payload BLOB,
    times INTEGER NOT NULL
);
"""

#: Those that add to sums, as a set for SQL: see ``private``.
ADDING = "(SELECT update_id FROM tentative)"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An update that waits for its confirm; ``payload`` must be staged before, where given."""

    update_id: str
    body: bytes
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A kept update that was confirmed ``times`` times, last at ``sent_s``, and has no verdict."""

    update_id: str
    sent_s: float
    times: int


class PendingUpdates:
    """What waits, in the order of its making.

    Args:
        private: Where a verdict says what is true.
    """

    def __init__(self, database: Database, private: PrivateState) -> None:
        self._db = database
        self._private = private

    def put(self, outgoing: Outgoing, *, created_s: float) -> None:
        """Queue an update; its id is never queued twice."""
        self._db.execute(
            "INSERT INTO outbox (update_id, body, payload, created_s) VALUES (?, ?, ?, ?)",
            (outgoing.update_id, outgoing.body, outgoing.payload, created_s),
        )

    def next(self) -> Outgoing | None:
        """The oldest update that is not confirmed."""
        row = self._db.row("SELECT update_id, body, payload FROM outbox ORDER BY seq LIMIT 1")
        return None if row is None else Outgoing(*row)

    def unconfirmed(self) -> int:
        """How many updates wait for their confirm."""
        return int(self._db.number("SELECT count(*) FROM outbox"))

    def confirm(self, update_id: str, *, now_s: float) -> None:
        """The broker has it now; what becomes of it will be asked later."""
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO kept SELECT update_id, body, payload, 1 FROM outbox "  # noqa: S608 - ours
                f"WHERE update_id = ? AND update_id IN {ADDING} "
                "ON CONFLICT (update_id) DO UPDATE SET times = times + 1",
                (update_id,),
            )
            self._db.execute("DELETE FROM outbox WHERE update_id = ?", (update_id,))
            self._db.execute("INSERT OR REPLACE INTO awaited VALUES (?, ?)", (update_id, now_s))

    def give_up(self, update_id: str) -> None:
        """No broker will ever take it."""
        with self._db.transaction():
            self._db.execute("DELETE FROM outbox WHERE update_id = ?", (update_id,))
            self._private.forget_tentative(update_id)

    def trim(self, *, created_before_s: float, keep_bytes: int) -> list[str]:
        """Give up what is too old, then the oldest until the rest fits; the newest always fits.

        What adds to sums stays, however old: it may have arrived although nobody confirmed it, and
        giving it up would add the same again. Returns the ids, oldest first.
        """
        rows = self._db.rows(
            "SELECT update_id, created_s, length(body) + coalesce(length(payload), 0) FROM outbox "  # noqa: S608 - ours
            f"WHERE update_id NOT IN {ADDING} ORDER BY seq DESC"
        )
        dropped, kept_bytes = [], 0
        for place, (update_id, created_s, size_bytes) in enumerate(rows):
            kept_bytes += size_bytes
            if created_s < created_before_s or (place and kept_bytes > keep_bytes):
                dropped.append(update_id)
        for update_id in dropped:
            self._db.execute("DELETE FROM outbox WHERE update_id = ?", (update_id,))
        return dropped[::-1]

    def awaited(self, *, limit: int) -> list[str]:
        """Ids of confirmed updates whose verdict is not known here yet, oldest first."""
        rows = self._db.rows(
            "SELECT update_id FROM awaited ORDER BY sent_s, update_id LIMIT ?", (limit,)
        )
        return [update_id for (update_id,) in rows]

    def last_confirm_s(self, *, now_s: float) -> float:
        """When the newest update whose verdict is not known was confirmed; 0 if there is none.

        What was confirmed in the future was so before a calendar was put right, whenever that was.
        """
        return self._db.number(
            "SELECT coalesce(max(sent_s), 0) FROM awaited WHERE sent_s <= ?", (now_s,)
        )

    def unanswered(self) -> list[Unanswered]:
        """What is kept until its verdict and not about to be sent, oldest first."""
        rows = self._db.rows(
            "SELECT update_id, sent_s, times FROM kept JOIN awaited USING (update_id) "
            "WHERE update_id NOT IN (SELECT update_id FROM outbox) ORDER BY sent_s"
        )
        return [Unanswered(*row) for row in rows]

    def put_again(self, update_id: str, *, now_s: float) -> None:
        """Queue a kept update once more, as it was."""
        self._db.execute(
            "INSERT INTO outbox (update_id, body, payload, created_s) "
            "SELECT update_id, body, payload, ? FROM kept WHERE update_id = ?",
            (now_s, update_id),
        )

    def settle(self, folded: Mapping[str, bool], *, sent_before_s: float) -> None:
        """These have their verdict; of those sent before ``sent_before_s`` it is forgotten.

        What an update made true is the private state from now on; what one that does not count
        would have made true is forgotten. A verdict that is forgotten was in favour: a confirmed
        update is folded in the end, and to add the same again could count twice.
        """
        old = self._db.rows("SELECT update_id FROM awaited WHERE sent_s < ?", (sent_before_s,))
        known = {**dict.fromkeys((each for (each,) in old), True), **folded}
        with self._db.transaction():
            for update_id, counts in known.items():
                if counts:
                    self._private.accept(update_id)
                else:
                    self._private.forget_tentative(update_id)
                self._db.execute("DELETE FROM outbox WHERE update_id = ?", (update_id,))
                self._db.execute("DELETE FROM awaited WHERE update_id = ?", (update_id,))
            # Also of an epoch that is over, and of which nothing is true any more.
            self._db.execute(f"DELETE FROM kept WHERE update_id NOT IN {ADDING}")  # noqa: S608 - ours

    def restamp(self, *, now_s: float, believed_s: float) -> None:
        """Forget ages that cannot be: a calendar was wrong when, or since, an update was queued.

        Nor is it long ago that one was confirmed: a verdict would be forgotten before it is known.
        """
        for table, column in (("outbox", "created_s"), ("awaited", "sent_s")):
            self._db.execute(
                f"UPDATE {table} SET {column} = ? WHERE abs(? - {column}) > ?",  # noqa: S608 - ours
                (now_s, now_s, believed_s),
            )
