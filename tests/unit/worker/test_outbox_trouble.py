"""An outbox whose broker comes and goes, whose disk is full, or that holds what nobody takes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from latecomer.broker.port import MAX_MESSAGE_BYTES, Message
from latecomer.errors import DiskTrouble
from latecomer_worker.pending import Outgoing
from latecomer_worker.state import WorkerState
from scenes import Device, Federation, checkerboard, make_outbox, make_site


class Publishes:
    """A publisher; ``then`` happens whenever the broker has confirmed."""

    def __init__(self, scene: Federation, then: Callable[[], object]) -> None:
        self._inner = scene.login("w1").publisher()
        self._then = then
        self.ids: list[str | None] = []

    def publish(self, message: Message, *, mandatory: bool = True) -> None:
        self._inner.publish(message, mandatory=mandatory)
        self.ids.append(message.message_id)
        self._then()

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def scene() -> Federation:
    return Federation()


@pytest.fixture
def state(tmp_path: Path) -> WorkerState:
    return WorkerState(tmp_path / "state.sqlite")


def put(state: WorkerState, seq: int, body: bytes = b"body") -> None:
    state.pending.put(Outgoing(f"w1:boot:{seq}", body, None), created_s=0.0)


def confirmed_beside_too_much(state: WorkerState) -> None:
    with state.transaction():
        state.pending.confirm("w1:boot:1", now_s=1.0)
        put(state, 2, bytes(2**20))


def fill_up(state: WorkerState) -> None:
    pages = int(state._db.number("PRAGMA page_count"))
    state._db.execute(f"PRAGMA max_page_count = {pages}")


def test_pauses_start_small_again_once_the_broker_took_something(
    scene: Federation, state: WorkerState
) -> None:
    outbox = make_outbox(scene, state, scene.login("w1").publisher())
    put(state, 1)
    for _ in range(2):
        scene.server.stop()
        for _ in range(8):
            outbox.offer()
            scene.clock.advance(10.0)
        scene.server.start()
        outbox.offer()
        assert state.pending.unconfirmed() == 0
        put(state, 2)
        scene.server.stop()
        outbox.offer()
        scene.server.start()
        scene.clock.advance(0.5)
        outbox.offer()
        assert state.pending.unconfirmed() == 0
        put(state, 3)


def test_nobody_waits_for_a_verdict_on_what_no_broker_takes(
    scene: Federation, state: WorkerState
) -> None:
    put(state, 1, bytes(MAX_MESSAGE_BYTES + 1))
    put(state, 2)
    assert make_outbox(scene, state, scene.login("w1").publisher()).send() == 1
    assert state.pending.awaited(limit=9) == ["w1:boot:2"]


def test_a_full_disk_is_waited_for_and_what_was_there_stays(state: WorkerState) -> None:
    put(state, 1)
    fill_up(state)
    pages = int(state._db.number("PRAGMA page_count"))
    with pytest.raises(DiskTrouble, match="full"):
        put(state, 2, bytes(2**20))
    with pytest.raises(DiskTrouble):
        confirmed_beside_too_much(state)
    assert state.pending.next() == Outgoing("w1:boot:1", b"body", None)
    state._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    put(state, 2, bytes(2**20))
    assert state.pending.unconfirmed() == 2


def test_what_is_written_is_on_the_disk_before_it_is_relied_on(state: WorkerState) -> None:
    """Full: a power cut must not undo what the broker confirmed."""
    assert state._db.row("PRAGMA journal_mode") == ("wal",)
    assert state._db.row("PRAGMA synchronous") == (2,)


def test_what_is_confirmed_while_the_disk_is_full_is_not_published_again(
    scene: Federation, state: WorkerState
) -> None:
    publisher = Publishes(scene, lambda: state._db.execute("PRAGMA query_only = ON"))
    outbox = make_outbox(scene, state, publisher)
    put(state, 1)
    put(state, 2)
    for _ in range(5):
        with pytest.raises(DiskTrouble):
            outbox.send()
        scene.clock.advance(60.0)
    assert publisher.ids == ["w1:boot:1"]
    state._db.execute("PRAGMA query_only = OFF")
    with pytest.raises(DiskTrouble):
        outbox.send()
    assert publisher.ids == ["w1:boot:1", "w1:boot:2"]
    assert state.pending.unconfirmed() == 1
    state._db.execute("PRAGMA query_only = OFF")
    assert outbox.send() == 0
    assert state.pending.awaited(limit=9) == ["w1:boot:1", "w1:boot:2"]
    assert state.pending.last_confirm_s(now_s=scene.clock.now_s()) == scene.clock.now_s()


def test_a_round_that_a_full_disk_cannot_keep_is_tried_again_after_minutes(
    scene: Federation, tmp_path: Path
) -> None:
    """Each time, all that was learned is lost."""
    scene.found_items()
    device = Device(scene, "w1", tmp_path, site=make_site(checkerboard(100)))
    device.on_open = lambda: fill_up(device.state)
    end_s = scene.clock.monotonic_s() + 1200.0
    with capture_logs() as logs:
        while scene.clock.monotonic_s() < end_s:
            assert not device.step()
            scene.clock.advance(device.slept[-1])
    waits = [each["pause_s"] for each in logs if each["event"] == "worker.waits"]
    assert 4 <= len(waits) <= 12
    assert max(waits) <= 600.0
    device.state._db.execute("PRAGMA max_page_count = 1000")
    assert device.step()


def test_a_worker_that_is_to_stop_leaves_what_waits_to_its_next_start(
    scene: Federation, state: WorkerState
) -> None:
    for seq in (1, 2, 3):
        put(state, seq)
    told: list[str] = []
    publisher = Publishes(scene, lambda: told.append("stop"))
    assert make_outbox(scene, state, publisher, should_stop=lambda: bool(told)).send() == 1
    assert state.pending.unconfirmed() == 2
    assert make_outbox(scene, state, publisher).send() == 2
    assert publisher.ids == [f"w1:boot:{seq}" for seq in (1, 2, 3)]
