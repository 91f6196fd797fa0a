"""What becomes of an update on its way is written as a whole, or not at all, and nothing stays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latecomer.errors import DiskTrouble
from latecomer_worker.pending import Outgoing
from latecomer_worker.state import WorkerState

ID = "w1:boot:1"

ADDED = {"added": np.ones((1, 2), np.float32)}


@pytest.fixture
def state(tmp_path: Path) -> WorkerState:
    """An update that adds to sums waits for its confirm."""
    state = WorkerState(tmp_path / "state.sqlite")
    with state.transaction():
        state.pending.put(Outgoing(ID, b"body", b"payload"), created_s=100.0)
        state.private.save_tentative(ID, ["anna"], ADDED)
    return state


def contents(state: WorkerState) -> dict[str, list[tuple[object, ...]]]:
    tables = ("outbox", "awaited", "kept", "private", "tentative")
    return {each: [*state._db.rows(f"SELECT * FROM {each}")] for each in tables}


def confirm(state: WorkerState) -> None:
    state.pending.confirm(ID, now_s=200.0)


def folded(state: WorkerState) -> None:
    state.pending.settle({ID: True}, sent_before_s=0.0)


def refused(state: WorkerState) -> None:
    state.pending.settle({ID: False}, sent_before_s=0.0)


def given_up(state: WorkerState) -> None:
    state.pending.give_up(ID)


def fails_at(state: WorkerState, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when it comes to this write."""
    execute, left = state._db.execute, [place]

    def full(statement: str, arguments: tuple[object, ...] = ()) -> object:
        if statement.startswith(("INSERT", "DELETE", "UPDATE")):
            left[0] -= 1
            if left[0] < 0:
                raise DiskTrouble("the disk is full")
        return execute(statement, arguments)

    monkeypatch.setattr(state._db, "execute", full)


@pytest.mark.parametrize(
    ("before", "action", "writes"),
    [([], confirm, 3), ([], given_up, 2), ([confirm], folded, 5), ([confirm], refused, 4)],
)
def test_a_disk_that_is_full_in_between_leaves_all_as_it_was(
    state: WorkerState,
    before: list[Callable[[WorkerState], None]],
    action: Callable[[WorkerState], None],
    writes: int,
) -> None:
    for each in before:
        each(state)
    was = contents(state)
    for place in range(writes):
        with pytest.MonkeyPatch.context() as monkeypatch:
            fails_at(state, place, monkeypatch)
            with pytest.raises(DiskTrouble):
                action(state)
        assert contents(state) == was
    action(state)
    assert contents(state) != was


@pytest.mark.parametrize(("verdict", "kept"), [(folded, ["private"]), (refused, [])])
def test_once_the_verdict_is_known_nothing_of_an_update_stays_but_what_it_made_true(
    state: WorkerState, verdict: Callable[[WorkerState], None], kept: list[str]
) -> None:
    confirm(state)
    verdict(state)
    assert [name for name, rows in contents(state).items() if rows] == kept


def test_a_verdict_that_is_known_is_believed_however_old_its_update_is(state: WorkerState) -> None:
    """Only one that is forgotten was in favour."""
    confirm(state)
    state.pending.settle({ID: False}, sent_before_s=1_000.0)
    assert state.private.users() == set()
    assert not any(contents(state).values())


@pytest.mark.parametrize(("verdict", "users"), [(folded, {"anna"}), (refused, set())])
def test_a_verdict_on_one_update_says_nothing_of_another(
    state: WorkerState, verdict: Callable[[WorkerState], None], users: set[str]
) -> None:
    state.private.save_tentative("w1:boot:2", ["bert"], ADDED)
    confirm(state)
    verdict(state)
    assert state.private.users() == users
    assert state.private.is_tentative()
    state.pending.settle({"w1:boot:2": True}, sent_before_s=0.0)
    assert state.private.users() == users | {"bert"}


def test_another_lineage_does_not_wait_for_a_verdict_of_the_former_nor_believe_it(
    state: WorkerState,
) -> None:
    confirm(state)
    state.private.forget_everybody()
    assert not state.private.is_tentative()
    folded(state)
    assert not any(contents(state).values())


def test_what_no_broker_takes_is_waited_for_by_nobody(state: WorkerState) -> None:
    """Else nothing would be added any more: it would depend on a verdict that never comes."""
    state.pending.give_up(ID)
    assert not state.private.is_tentative()
    assert not any(contents(state).values())


def test_what_is_sent_again_is_what_was_sent_with_the_payload_that_is_to_be_staged(
    state: WorkerState,
) -> None:
    """The store may have forgotten it meanwhile."""
    confirm(state)
    assert state.pending.next() is None
    state.pending.put_again(ID, now_s=300.0)
    assert state.pending.next() == Outgoing(ID, b"body", b"payload")


def test_a_payload_that_goes_to_the_store_takes_up_room_until_then(tmp_path: Path) -> None:
    state = WorkerState(tmp_path / "other.sqlite")
    for seq in (1, 2, 3):
        state.pending.put(Outgoing(f"w1:boot:{seq}", b"b", bytes(9)), created_s=0.0)
    dropped = state.pending.trim(created_before_s=-1.0, keep_bytes=10)
    assert dropped == ["w1:boot:1", "w1:boot:2"]
    assert state.pending.next() == Outgoing("w1:boot:3", b"b", bytes(9))
