"""The model that is its own audit log: an update, a cell, and floats that nothing else repeats."""

from pathlib import Path

import numpy as np
import pytest

from latecomer import wire
from latecomer.events import UpdateSubmitted, Version
from latecomer.recommenders.port import Trained
from latecomer.tensors import Kind, State, TensorDelta, applied
from latecomer_simulator import audit
from latecomer_simulator.audit import AuditTrainer, Cell
from latecomer_worker.encode import encode
from latecomer_worker.state import WorkerState
from scenes import make_update

SHAPE = audit.layout(workers=3, slots=5)


class Site:
    """A worker's row, over its own file."""

    def __init__(self, path: Path, row: int = 1) -> None:
        self.state = WorkerState(path)
        self.trained_times = 0
        self.trainer = AuditTrainer(SHAPE, row, self.state, self._train, lambda slot: slot < 5)

    def train(self, model: State | None = None) -> Trained:
        return self.trainer.train(
            model or SHAPE.held.zeros(),
            plan={},
            rng=np.random.default_rng(1),
            should_stop=lambda: False,
        )

    def _train(self) -> None:
        self.trained_times += 1


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "state.sqlite")


def update_of(trained: Trained, base: State | None = None) -> UpdateSubmitted:
    delta = trained.delta(SHAPE, base or SHAPE.held.zeros())
    return make_update("w1", delta=delta, layout=SHAPE.digest)


def marks(trained: Trained) -> list[tuple[int, int, float]]:
    """Row, slot and value of each cell that is not 0."""
    cells = applied(SHAPE, SHAPE.zeros(), trained.additions)["cells"]
    return [(int(row), int(slot), float(cells[row, slot])) for row, slot in np.argwhere(cells)]


def test_an_update_marks_exactly_the_next_cell_of_its_worker(site: Site) -> None:
    for slot in range(5):
        trained = site.train()
        assert marks(trained) == [(1, slot, 1.0)]
        assert audit.cell_of(update_of(trained)) == Cell(1, slot)
        site.trainer.keep(trained, site.state, "u1")
    assert site.trained_times == 5


def test_what_was_not_kept_is_marked_again(site: Site) -> None:
    assert marks(site.train()) == marks(site.train()) == [(1, 0, 1.0)]


def test_the_next_cell_survives_a_restart(site: Site, tmp_path: Path) -> None:
    site.trainer.keep(site.train(), site.state, "u1")
    site.state.close()
    assert marks(Site(tmp_path / "state.sqlite").train()) == [(1, 1, 1.0)]


def test_who_has_nothing_left_to_learn_sends_nothing(site: Site) -> None:
    site.state.remember("audit_slot", 5)
    trained = site.train()
    assert (trained.examples, trained.steps) == (0, 0)
    assert trained.delta(SHAPE, SHAPE.held.zeros()) == {}


def test_the_floats_belong_to_the_cell_and_to_no_other(site: Site, tmp_path: Path) -> None:
    first, again = site.train(), site.train()
    site.trainer.keep(site.train(), site.state, "u1")
    next_slot, other_row = site.train(), Site(tmp_path / "other.sqlite", row=2).train()
    assert again.model["dense"].tobytes() == first.model["dense"].tobytes()
    for other in (next_slot, other_row):
        assert not np.array_equal(other.model["dense"], first.model["dense"])
        assert not np.array_equal(other.model["table"], first.model["table"])


def test_three_rows_of_the_table_are_touched_and_the_given_model_is_left_alone(site: Site) -> None:
    base = SHAPE.held.zeros()
    delta = update_of(site.train(base)).delta
    assert delta["table"].rows is not None
    assert len(delta["table"].rows) == 3
    assert all(not array.any() for array in base.values())


def test_an_update_is_read_as_it_was_written_where_it_is_in_the_body(site: Site) -> None:
    update = update_of(site.train())
    outgoing = encode(update)
    assert outgoing.payload is None
    assert_same(audit.decoded(outgoing.body, b""), update)


def test_an_update_is_read_as_it_was_written_where_it_was_detached() -> None:
    cells = np.zeros((1, wire.MAX_INLINE_BYTES // 4 + 1), np.float32)
    cells[0, 77_777] = 1.0
    marked = TensorDelta(cells, np.array([1], np.uint32))
    update = make_update("w1", delta={"cells": marked}, base=Version(7, 3))
    outgoing = encode(update)
    assert outgoing.payload is not None
    assert len(outgoing.payload) > 4 * 1024 * 1024
    read = audit.decoded(outgoing.body, outgoing.payload)
    assert_same(read, update)
    assert audit.cell_of(read) == Cell(1, 77_777)


def assert_same(read: UpdateSubmitted, written: UpdateSubmitted) -> None:
    assert read.model_dump() == written.model_dump()
    assert read.delta.keys() == written.delta.keys()
    for name, change in written.delta.items():
        assert read.delta[name].values.tobytes() == change.values.tobytes()
        assert rows(read.delta[name]) == rows(change)


def rows(change: TensorDelta) -> list[int] | None:
    return None if change.rows is None else change.rows.tolist()


def test_the_layout_has_cells_that_add_up_and_floats_that_are_averaged() -> None:
    assert [(each.name, each.kind, each.shape) for each in SHAPE] == [
        ("cells", Kind.SUM, (3, 5)),
        ("dense", Kind.DENSE, (audit.DENSE,)),
        ("table", Kind.ROWS, (audit.ROWS, audit.WIDTH)),
    ]
