"""Who is deleted is in none of the worker's files, however they were written."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from latecomer_worker.state import WorkerState

USERS = ("customer-1", "customer-2")

VECTORS = {"user.vector": np.ones((2, 4), np.float32)}

NOTHING = {"user.vector": np.zeros((1, 4), np.float32)}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[WorkerState]:
    state = WorkerState(tmp_path / "state.sqlite")
    with state.transaction():
        state.private.save(USERS, VECTORS)
    yield state
    state.close()


def mentions(folder: Path, user: str = "customer-2") -> int:
    return sum(each.read_bytes().count(user.encode()) for each in folder.iterdir())


def forget(state: WorkerState) -> None:
    with state.transaction():
        state.private.forget(["customer-2"])


def test_who_left_is_in_no_log_of_a_worker_that_runs(state: WorkerState, tmp_path: Path) -> None:
    assert mentions(tmp_path)
    forget(state)
    assert not mentions(tmp_path)
    assert mentions(tmp_path, "customer-1")


def test_nor_is_who_is_taken_back_once_that_counts(state: WorkerState, tmp_path: Path) -> None:
    with state.transaction():
        state.private.save_tentative("w1:boot:1", ["customer-2"], NOTHING)
    assert mentions(tmp_path)
    state.pending.settle({"w1:boot:1": True}, sent_before_s=0.0)
    assert not mentions(tmp_path)


def test_nor_is_who_was_added_by_what_does_not_count(state: WorkerState, tmp_path: Path) -> None:
    with state.transaction():
        state.private.save_tentative("w1:boot:1", ["customer-3"], NOTHING)
    assert mentions(tmp_path, "customer-3")
    state.pending.settle({"w1:boot:1": False}, sent_before_s=0.0)
    assert not mentions(tmp_path, "customer-3")


def test_nor_is_anybody_of_a_former_lineage(state: WorkerState, tmp_path: Path) -> None:
    state.private.forget_everybody()
    assert not mentions(tmp_path)


def test_who_reads_the_file_meanwhile_is_not_waited_for_and_the_log_is_emptied_afterwards(
    state: WorkerState, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM private").fetchall()
        started_s = time.monotonic()
        forget(state)
        assert time.monotonic() - started_s < 3.0, "it would wait for five seconds"
        assert mentions(tmp_path)
        reader.execute("COMMIT")
        with state.transaction():
            state.remember("quality", {})
        assert not mentions(tmp_path)
    assert state._db.number("PRAGMA busy_timeout") == 5000


def test_who_forgot_when_it_was_killed_empties_the_log_when_it_runs_again(tmp_path: Path) -> None:
    state = WorkerState(tmp_path / "state.sqlite")
    state.private.save(USERS, VECTORS)
    state.private._db.execute("DELETE FROM private WHERE user = 'customer-2'")
    again = WorkerState(tmp_path / "state.sqlite")
    assert mentions(tmp_path)
    with again.transaction():
        again.remember("quality", {})
    assert not mentions(tmp_path)
    state.close()
    again.close()


def test_where_nobody_is_forgotten_the_log_is_left_to_sqlite(
    state: WorkerState, tmp_path: Path
) -> None:
    """To empty it takes a write of everything in it, twice, and two waits for the disk."""
    log = tmp_path / "state.sqlite-wal"
    with state.transaction():
        state.private.save(USERS, VECTORS)
        state.private.forget([])
    once = log.stat().st_size
    assert once
    with state.transaction():
        state.private.save(USERS, VECTORS)
    assert log.stat().st_size > once
