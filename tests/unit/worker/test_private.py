"""What is kept of users is what was written, or it is said that it is not."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latecomer.errors import BadConfiguration
from latecomer_worker.database import Database
from latecomer_worker.private import PrivateState
from latecomer_worker.state import WorkerState

ONES = {"user.vector": np.ones((1, 4), np.float32)}

NEARLY = bytes(np.array([1.0, 1.0, 1.0, 0.0], "<f4").data)

#: The tables of a release that knew no checksums.
FORMER = """
CREATE TABLE private (user TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (user, name)) WITHOUT ROWID;
CREATE TABLE tentative (update_id TEXT NOT NULL, user TEXT NOT NULL, name TEXT NOT NULL,
    value BLOB NOT NULL, PRIMARY KEY (update_id, user, name)) WITHOUT ROWID;
"""


class Overtaken(Database):
    """Whenever it was looked what its tables have, another process opens the file as well."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "")
        self._path = path

    def rows(self, statement: str, arguments: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        found = [*super().rows(statement, arguments)]
        if "table_info" in statement and not self._db.in_transaction:
            PrivateState(Database(self._path, ""))
        return iter(found)


@pytest.fixture
def state(tmp_path: Path) -> WorkerState:
    return WorkerState(tmp_path / "state.sqlite")


def kept(state: WorkerState, user: str = "u1") -> list[float]:
    loaded = {"user.vector": np.zeros((1, 4), np.float32)}
    state.private.load([user], loaded)
    values: list[float] = loaded["user.vector"][0].tolist()
    return values


@pytest.mark.parametrize(
    ("column", "value"),
    [("value", NEARLY), ("value", bytes(16)), ("value", "wwww"), ("user", "u2"), ("name", "other")],
)
@pytest.mark.parametrize("asked", ["u1", "u2"])
def test_what_a_disk_changed_unnoticed_is_not_used(
    state: WorkerState, column: str, value: object, asked: str
) -> None:
    state.private.save(["u1"], ONES)
    state._db.execute(f"UPDATE private SET {column} = ?", (value,))
    with pytest.raises(BadConfiguration, match="not what was written") as told:
        kept(state, asked)
    assert "starts again as a new device" in told.value.hint


@pytest.mark.parametrize("value", [NEARLY, bytes(16)])
def test_nor_is_it_believed_when_an_update_counts(state: WorkerState, value: bytes) -> None:
    """Of whom only zeros were left, it would be forgotten that he is counted."""
    state.private.save(["u1"], ONES)
    state.private.save_tentative("w1:boot:1", ["u1"], ONES)
    state._db.execute("UPDATE tentative SET value = ?", (value,))
    with pytest.raises(BadConfiguration, match="not what was written"):
        state.pending.settle({"w1:boot:1": True}, sent_before_s=0.0)
    assert kept(state) == [1.0, 1.0, 1.0, 1.0]


def test_what_counts_is_whole_as_well(state: WorkerState) -> None:
    state.private.save_tentative("w1:boot:1", ["u1"], ONES)
    state.pending.settle({"w1:boot:1": True}, sent_before_s=0.0)
    assert kept(state) == [1.0, 1.0, 1.0, 1.0]
    state._db.execute("UPDATE private SET value = ?", (NEARLY,))
    with pytest.raises(BadConfiguration, match="not what was written"):
        kept(state)


def test_what_a_former_release_wrote_is_read_and_has_a_checksum_once_it_is_written_anew(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.sqlite"
    with sqlite3.connect(path) as former:
        former.executescript(FORMER)
        former.execute("INSERT INTO private VALUES ('u1', 'user.vector', ?)", (NEARLY,))
        former.execute("INSERT INTO tentative VALUES ('w:1', 'u2', 'user.vector', ?)", (NEARLY,))
    former.close()
    for _ in range(2):
        state = WorkerState(path)
        assert kept(state) == [1.0, 1.0, 1.0, 0.0]
        assert state.private.is_tentative()
        state.close()
    state = WorkerState(path)
    state.pending.settle({"w:1": True}, sent_before_s=0.0)
    assert kept(state, "u2") == [1.0, 1.0, 1.0, 0.0]
    state.private.save(["u1"], ONES)
    assert kept(state) == [1.0, 1.0, 1.0, 1.0]
    assert state._db.number("SELECT count(checksum) FROM private") == 2
    state.close()


def test_two_may_open_a_file_of_a_former_release_at_once(tmp_path: Path) -> None:
    """A worker starts, and somebody asks it for a recommendation."""
    path = tmp_path / "state.sqlite"
    with sqlite3.connect(path) as former:
        former.executescript(FORMER)
    PrivateState(Overtaken(path)).save(["u1"], ONES)
    assert kept(WorkerState(path)) == [1.0] * 4
