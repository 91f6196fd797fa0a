import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from latecomer.broker.topology import updates_queue
from latecomer.errors import BadConfiguration, DiskTrouble
from latecomer_worker.database import IN_MEMORY
from latecomer_worker.pending import Outgoing
from latecomer_worker.state import WorkerState
from scenes import FEDERATION, Federation, make_outbox


def outgoing(seq: int, body: bytes = b"body", payload: bytes | None = None) -> Outgoing:
    return Outgoing(f"w1:boot:{seq}", body, payload)


@pytest.fixture
def state(tmp_path: Path) -> WorkerState:
    return WorkerState(tmp_path / "deep" / "down" / "state.sqlite")


def test_the_oldest_update_comes_first_and_stays_until_it_is_deleted(state: WorkerState) -> None:
    for seq in (3, 1, 2):
        state.pending.put(outgoing(seq, payload=bytes([seq])), created_s=100.0 - seq)
    assert state.pending.unconfirmed() == 3
    assert state.pending.next() == outgoing(3, payload=b"\x03")
    assert state.pending.next() == outgoing(3, payload=b"\x03")
    state.pending.give_up("w1:boot:3")
    assert state.pending.next() == outgoing(1, payload=b"\x01")


def test_an_empty_outbox_has_no_next(state: WorkerState) -> None:
    assert state.pending.next() is None
    assert state.pending.unconfirmed() == 0


def test_an_id_is_never_queued_twice(state: WorkerState) -> None:
    state.pending.put(outgoing(1, b"first"), created_s=0.0)
    with pytest.raises(sqlite3.IntegrityError):
        state.pending.put(outgoing(1, b"second"), created_s=1.0)
    assert state.pending.next() == outgoing(1, b"first")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_transaction_happens_as_a_whole_or_not_at_all(
    state: WorkerState, error: type[BaseException]
) -> None:
    vectors = {"user.vector": np.ones((1, 2), np.float32)}

    def interrupted() -> None:
        with state.transaction():
            state.pending.put(outgoing(1), created_s=0.0)
            state.private.save(["u1"], vectors)
            state.remember("last_version", (7, 1))
            raise error

    with pytest.raises(error):
        interrupted()
    loaded = {"user.vector": np.zeros((1, 2), np.float32)}
    state.private.load(["u1"], loaded)
    assert state.pending.unconfirmed() == 0
    assert not loaded["user.vector"].any()
    assert state.fact("last_version") is None

    with state.transaction():
        state.pending.put(outgoing(1), created_s=0.0)
    assert state.pending.unconfirmed() == 1


def test_what_sqlite_took_back_itself_is_told_as_what_it_was(state: WorkerState) -> None:
    """On a full disk it rolls back before anybody asks it to."""

    def full() -> None:
        with state.transaction():
            state._db.execute("ROLLBACK")
            raise DiskTrouble("the disk is full")

    with pytest.raises(DiskTrouble, match="the disk is full"):
        full()


def test_vectors_that_a_full_disk_does_not_take_are_trouble_that_passes(state: WorkerState) -> None:
    pages = int(state._db.number("PRAGMA page_count"))
    state._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskTrouble, match="full"):
        state.private.save(["u1"], {"user.vector": np.ones((1, 100_000), np.float32)})


def test_it_may_be_opened_by_one_thread_and_used_by_another(state: WorkerState) -> None:
    with ThreadPoolExecutor(1) as other:
        other.submit(state.remember, "quality", {}).result()
    assert state.fact("quality") == {}


def test_of_who_is_forgotten_not_a_byte_stays_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    state = WorkerState(path)
    for name in ("somebody-else", "anna-of-ward-7"):
        state.private.save([name], {"user.vector": np.ones((1, 2), np.float32)})
    state.private.forget(["anna-of-ward-7"])
    state.close()
    assert b"somebody-else" in path.read_bytes()
    assert b"anna-of-ward-7" not in path.read_bytes()


def test_private_state_comes_back_to_the_users_it_belongs_to(state: WorkerState) -> None:
    rng = np.random.default_rng(1)
    kept = {
        "user.vector": rng.normal(size=(3, 4)).astype(np.float32),
        "user.squares": rng.normal(size=(3, 1)).astype(np.float32),
    }
    state.private.save(["u1", "u2", "u3"], kept)
    loaded = {
        "user.vector": np.zeros((3, 4), np.float32),
        "user.squares": np.zeros((3, 1), np.float32),
    }
    state.private.load(["u3", "new", "u1"], loaded)
    for name, array in loaded.items():
        np.testing.assert_array_equal(array[0], kept[name][2])
        np.testing.assert_array_equal(array[2], kept[name][0])
        assert not array[1].any()


@pytest.mark.parametrize("size", [2, 8])
def test_private_state_of_another_size_is_left_alone(state: WorkerState, size: int) -> None:
    state.private.save(["u1"], {"user.vector": np.ones((1, 4), np.float32)})
    loaded = {"user.vector": np.zeros((1, size), np.float32)}
    state.private.load(["u1"], loaded)
    assert not loaded["user.vector"].any()


def test_private_state_that_the_model_does_not_know_is_left_alone(state: WorkerState) -> None:
    state.private.save(["u1"], {"former": np.ones((1, 4), np.float32)})
    loaded = {"user.vector": np.zeros((1, 4), np.float32)}
    state.private.load(["u1"], loaded)
    assert not loaded["user.vector"].any()


def test_the_newest_private_state_counts(state: WorkerState) -> None:
    for value in (1.0, 2.0):
        state.private.save(["u1"], {"user.vector": np.full((1, 2), value, np.float32)})
    loaded = {"user.vector": np.zeros((1, 2), np.float32)}
    state.private.load(["u1"], loaded)
    assert loaded["user.vector"].tolist() == [[2.0, 2.0]]


def test_forgotten_private_state_does_not_come_back(state: WorkerState) -> None:
    state.private.save(["u1"], {"user.vector": np.ones((1, 2), np.float32)})
    state.private.forget_everybody()
    loaded = {"user.vector": np.zeros((1, 2), np.float32)}
    state.private.load(["u1"], loaded)
    assert not loaded["user.vector"].any()


def test_facts_are_remembered_over_a_restart(tmp_path: Path) -> None:
    state = WorkerState(tmp_path / "state.sqlite")
    assert state.fact("last_version") is None
    state.remember("last_version", (7, 3))
    state.remember("last_version", (7, 4))
    state.remember("quality", {"north": {"users": 3}})
    state.close()
    again = WorkerState(tmp_path / "state.sqlite")
    assert again.fact("last_version") == [7, 4]
    assert again.fact("quality") == {"north": {"users": 3}}
    again.close()


def test_a_file_that_is_none_of_ours_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(BadConfiguration) as error:
        WorkerState(tmp_path / "state.sqlite")
    assert "LATECOMER_STATE_DIR" in error.value.hint


KILLED_AFTER_THE_TRANSACTION = """
    import os, signal, sys
    from pathlib import Path
    from latecomer_worker.pending import Outgoing
    from latecomer_worker.state import WorkerState
    state = WorkerState(Path(sys.argv[1]))
    with state.transaction():
        state.pending.put(Outgoing("w1:boot:1", b"learned", None), created_s=1.0)
        state.remember("last_version", (7, 0))
    {midway}
    os.kill(os.getpid(), signal.SIGKILL)
"""

MIDWAY = 'state._db._db.execute("BEGIN"); state.pending.put(Outgoing("w1:boot:2", b"", None), created_s=2.0)'  # noqa: E501 - one line of a script


def kill(path: Path, midway: str = "") -> None:
    script = textwrap.dedent(KILLED_AFTER_THE_TRANSACTION).format(midway=midway)
    done = subprocess.run([sys.executable, "-c", script, str(path)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("midway", ["", MIDWAY])
def test_a_process_killed_after_the_transaction_leaves_its_update_to_the_next_one(
    tmp_path: Path, midway: str
) -> None:
    path = tmp_path / "state.sqlite"
    kill(path, midway)

    scene = Federation()
    state = WorkerState(path)
    login = scene.login("w1")
    outbox = make_outbox(scene, state, login.publisher())
    assert state.fact("last_version") == [7, 0]
    assert outbox.send() == 1
    assert state.pending.unconfirmed() == 0
    delivery = scene.login("aggregator").subscribe(updates_queue(FEDERATION), prefetch=2).receive(0)
    assert delivery is not None
    assert (delivery.message_id, delivery.body) == ("w1:boot:1", b"learned")
    state.close()


def test_what_was_confirmed_on_a_wrong_day_is_not_taken_for_folded_when_the_day_is_known(
    state: WorkerState,
) -> None:
    state.pending.put(outgoing(1), created_s=100.0)
    state.pending.confirm(outgoing(1).update_id, now_s=100.0)
    now_s = 1_800_000_000.0
    state.pending.restamp(now_s=now_s, believed_s=365 * 86_400.0)
    state.pending.settle({}, sent_before_s=now_s - 14 * 86_400.0)
    assert state.pending.awaited(limit=10) == [outgoing(1).update_id]


def test_what_was_queued_or_confirmed_years_ahead_ages_from_when_the_day_is_known(
    state: WorkerState,
) -> None:
    now_s, ahead_s = 1_800_000_000.0, 2_100_000_000.0
    for seq in (1, 2):
        state.pending.put(outgoing(seq), created_s=ahead_s)
    state.pending.confirm(outgoing(1).update_id, now_s=ahead_s)
    state.pending.restamp(now_s=now_s, believed_s=365 * 86_400.0)
    assert state.pending.last_confirm_s(now_s=now_s) == now_s
    assert state.pending.trim(created_before_s=now_s, keep_bytes=10_000) == []
    dropped = state.pending.trim(created_before_s=now_s + 1.0, keep_bytes=10_000)
    assert dropped == [outgoing(2).update_id]


def test_of_many_updates_the_verdict_on_the_oldest_is_asked_for_first(state: WorkerState) -> None:
    """The ledger forgets it first."""
    for seq, sent_s in ((1, 300.0), (2, 100.0), (3, 200.0)):
        state.pending.put(outgoing(seq), created_s=0.0)
        state.pending.confirm(outgoing(seq).update_id, now_s=sent_s)
    assert state.pending.awaited(limit=2) == ["w1:boot:2", "w1:boot:3"]


def test_what_was_confirmed_in_the_future_says_nothing_of_when(state: WorkerState) -> None:
    for seq, sent_s in ((1, 50.0), (2, 3600.0)):
        state.pending.put(outgoing(seq), created_s=0.0)
        state.pending.confirm(outgoing(seq).update_id, now_s=sent_s)
    assert state.pending.last_confirm_s(now_s=60.0) == 50.0
    assert state.pending.last_confirm_s(now_s=3600.0) == 3600.0


@pytest.mark.parametrize("existed", [False, True])
def test_nobody_else_on_the_machine_may_read_it(tmp_path: Path, existed: bool) -> None:
    path = tmp_path / "w1.sqlite"
    if existed:
        path.touch(0o644)
    state = WorkerState(path)
    state.private.save(["customer-1"], {"user.vector": np.ones((1, 2), np.float32)})
    written = list(tmp_path.iterdir())
    assert path.with_name("w1.sqlite-wal") in written
    assert {each.stat().st_mode & 0o777 for each in written} == {0o600}
    state.close()


def test_a_state_in_memory_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    WorkerState(IN_MEMORY).close()
    assert not list(tmp_path.iterdir())
    monkeypatch.chdir("/proc")  # where nobody makes a file
    WorkerState(IN_MEMORY).close()


def test_a_file_of_which_the_disk_lost_parts_is_named_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    state = WorkerState(path)
    state.remember("quality", {})
    state.close()
    with sqlite3.connect(path) as db:
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'facts'").fetchone()
    db.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write(b"\x77" * page_bytes)
    damaged = WorkerState(path)
    with pytest.raises(BadConfiguration, match="malformed") as told:
        damaged.fact("quality")
    assert "starts again as a new device" in told.value.hint
    damaged.close()


MANY = [f"customer-{n}" for n in range(200)]
VECTORS = {"user.vector": np.ones((200, 100), np.float32)}


def vectors(state: WorkerState) -> None:
    state.private.save(MANY, VECTORS)


def load(state: WorkerState) -> None:
    state.private.load(MANY, {"user.vector": np.zeros((200, 100), np.float32)})


def confirmed(state: WorkerState) -> None:
    rows = ((f"w1:boot:{seq:0200}", 1.0) for seq in range(200))
    state._db.execute_for_each("INSERT INTO awaited VALUES (?, ?)", rows)


def waiting(state: WorkerState) -> None:
    with state.transaction():
        for seq in range(200):
            state.pending.put(outgoing(seq, bytes(200)), created_s=0.0)


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (vectors, load),
        (vectors, lambda state: state.private.users()),
        (confirmed, lambda state: state.pending.settle({}, sent_before_s=2.0)),
        (waiting, lambda state: state.pending.trim(created_before_s=-1.0, keep_bytes=10**9)),
    ],
)
def test_damage_that_is_found_halfway_is_named_as_well(
    tmp_path: Path,
    write: Callable[[WorkerState], None],
    read: Callable[[WorkerState], object],
) -> None:
    path = tmp_path / "state.sqlite"
    state = WorkerState(path)
    write(state)
    state.close()
    whole = path.read_bytes()
    told = []
    for start in range(4096, len(whole), 4096):
        path.write_bytes(whole[:start] + b"\x77" * 4096 + whole[start + 4096 :])
        damaged = WorkerState(path)
        try:
            read(damaged)
        except BadConfiguration as error:
            told.append(error.hint)
        damaged.close()
    assert len(told) > 2, "not only of the first page of a table"
    assert all("starts again as a new device" in hint for hint in told)


def test_what_was_text_and_is_none_any_more_is_damage_and_not_a_full_disk(
    state: WorkerState,
) -> None:
    state.private.save(["u1"], {"user.vector": np.ones((1, 2), np.float32)})
    state._db.execute("UPDATE private SET user = CAST(x'ff61' AS TEXT)")
    with pytest.raises(BadConfiguration, match="decode"):
        state.private.users()


def test_a_file_that_is_no_database_is_not_taken_for_one_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    path.write_bytes(b"\x55" * 8192)
    with pytest.raises(BadConfiguration, match="not a database") as told:
        WorkerState(path)
    assert "starts again as a new device" in told.value.hint


@pytest.mark.parametrize("name", ["folder", "x" * 300])
def test_where_there_can_be_no_file_another_place_is_asked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadConfiguration, match="cannot keep the worker's state in") as told:
        WorkerState(tmp_path / name)
    assert "may write to" in told.value.hint
