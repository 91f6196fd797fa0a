"""What updates leave out is carried by later ones: neither lost nor doubled by a crash."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latecomer import wire
from latecomer.broker import topology
from latecomer.codecs import CodedDelta
from latecomer.compression import Compression
from latecomer.events import UpdateSubmitted, Version
from latecomer.recommenders.port import Trained
from latecomer.tensors import Array, Delta, Kind, Layout, TensorDelta, TensorSpec, difference, norm
from latecomer_worker import encode, residual
from latecomer_worker.fetch import Snapshot
from latecomer_worker.state import WorkerState
from scenes import FEDERATION, LAYOUT, Device, Federation, make_recipe, make_update, net, rows, step

LEFT = net(0.25, -0.5) | rows({1: (0.5, 1.0), 3: (0.0, -2.0)})


class Killed(Exception):
    """kill -9, at this line."""


def compressed(**compression: Any) -> Federation:
    recipe = make_recipe(mode="fedasync")
    chosen = Compression.model_validate(compression)
    scene = Federation(recipe.model_copy(update={"compression": chosen}))
    scene.found_items()
    return scene


@pytest.fixture
def state(tmp_path: Path) -> Iterator[WorkerState]:
    state = WorkerState(tmp_path / "state.sqlite")
    yield state
    state.close()


@pytest.fixture
def snapshot() -> Snapshot:
    scene = Federation()
    scene.found()
    return Snapshot(scene.manifest(), scene.model(), scene.recipe.to_bytes(), b"")


def at(snapshot: Snapshot, epoch: int, number: int, layout: Layout = LAYOUT) -> Snapshot:
    """The same, of another version or layout."""
    manifest = replace(snapshot.manifest, version=Version(epoch, number), layout=layout)
    return replace(snapshot, manifest=manifest)


def sent(scene: Federation) -> UpdateSubmitted:
    """The one update that waits for the aggregator."""
    updates = scene.login("aggregator").subscribe(topology.updates_queue(FEDERATION), prefetch=0)
    delivery = updates.receive(0)
    assert delivery is not None
    updates.ack(delivery)
    assert updates.receive(0) is None
    updates.close()
    sealed = wire.open_update(delivery.body)
    assert sealed.inline is not None
    return wire.read_update(sealed, sealed.inline, limit_bytes=10**6)


def next_version(scene: Federation) -> None:
    manifest = scene.manifest()
    digest = manifest.layout.digest
    scene.send(make_update("w2", base=manifest.version, layout=digest, delta={}))
    step(scene.coordinator(), 4)


def whole(layout: Layout, delta: Delta) -> dict[str, Array]:
    full = layout.zeros()
    for name, change in delta.items():
        full[name][slice(None) if change.rows is None else change.rows] += change.values
    return full


def same(left: Delta, right: Delta) -> bool:
    return whole_bytes(left) == whole_bytes(right)


def whole_bytes(delta: Delta) -> list[tuple[str, bytes, bytes]]:
    return [
        (name, change.values.tobytes(), b"" if change.rows is None else change.rows.tobytes())
        for name, change in sorted(delta.items())
    ]


# The rule: a late piece of an update is treated as one.


@pytest.mark.parametrize(
    ("epoch", "number", "kept"), [(7, 3, True), (7, 13, True), (7, 14, False), (8, 3, False)]
)
def test_what_was_left_over_is_forgotten_where_an_update_of_its_base_would_be_refused(
    state: WorkerState, snapshot: Snapshot, epoch: int, number: int, kept: bool
) -> None:
    residual.keep(state, at(snapshot, 7, 3), LEFT)
    found = residual.left_over(state, at(snapshot, epoch, number), max_age=10)
    assert same(found, LEFT if kept else {})


def test_what_was_left_over_is_forgotten_when_the_layout_changes(
    state: WorkerState, snapshot: Snapshot
) -> None:
    residual.keep(state, at(snapshot, 7, 3), LEFT)
    other = Layout((*LAYOUT.tensors, TensorSpec("new", Kind.DENSE, (1,))))
    assert residual.left_over(state, at(snapshot, 7, 3, other), max_age=10) == {}


def test_only_the_newest_residual_is_kept(state: WorkerState, snapshot: Snapshot) -> None:
    residual.keep(state, snapshot, LEFT)
    residual.keep(state, snapshot, net(1.0, 0.0))
    assert same(residual.left_over(state, snapshot, max_age=0), net(1.0, 0.0))
    residual.keep(state, snapshot, {})
    assert residual.left_over(state, snapshot, max_age=0) == {}
    assert state.residual() == {}


def test_a_residual_survives_a_restart(tmp_path: Path) -> None:
    scalar = {"scale": TensorDelta(np.array(0.5, np.float32))}
    state = WorkerState(tmp_path / "state.sqlite")
    state.save_residual(LEFT | scalar)
    state.close()
    again = WorkerState(tmp_path / "state.sqlite")
    assert same(again.residual(), LEFT | scalar)
    assert again.residual()["scale"].values.shape == ()
    again.close()


def test_what_was_left_over_is_forgotten_where_no_update_may_be_so_long(
    state: WorkerState, snapshot: Snapshot
) -> None:
    residual.keep(state, snapshot, LEFT)
    assert same(residual.left_over(state, snapshot, max_age=0, max_norm=2.5), LEFT)
    assert residual.left_over(state, snapshot, max_age=0, max_norm=2.3) == {}


@pytest.mark.parametrize(
    "compression", [{"values": "int8"}, {"values": "ternary", "top_rows": 0.3}]
)
def test_of_what_is_refused_for_its_length_nothing_is_left_over(
    state: WorkerState, snapshot: Snapshot, compression: dict[str, Any]
) -> None:
    recipe = make_recipe(max_update_norm=10.0)
    recipe = recipe.model_copy(update={"compression": Compression.model_validate(compression)})
    snapshot = replace(snapshot, recipe=recipe.to_bytes())
    lengths = []
    for change in (1e9, 8.0, *[0.1] * 8):
        moved = {name: array + np.float32(change) for name, array in snapshot.model.items()}
        form = encode.coded(snapshot, Trained(moved, {}, 1, 1, 0.0), state)
        residual.keep(state, snapshot, form.residual)
        lengths.append(norm(form.delta))
    assert lengths[0] > 1e9
    assert lengths[1] > 10.0
    assert max(lengths[2:]) < 1.0


def test_who_sends_what_is_refused_for_its_length_keeps_what_was_left_before(
    state: WorkerState, snapshot: Snapshot
) -> None:
    recipe = make_recipe(max_update_norm=10.0)
    recipe = recipe.model_copy(update={"compression": Compression(values="int8")})
    snapshot = replace(snapshot, recipe=recipe.to_bytes())
    residual.keep(state, snapshot, LEFT)
    moved = {name: array + np.float32(1e9) for name, array in snapshot.model.items()}
    assert same(encode.coded(snapshot, Trained(moved, {}, 1, 1, 0.0), state).residual, LEFT)


def test_what_no_update_could_carry_is_left_behind_by_the_next_one(
    state: WorkerState, snapshot: Snapshot
) -> None:
    """Else it would come back for ever, a piece at a time."""
    recipe = make_recipe(max_update_norm=1.0)
    recipe = recipe.model_copy(update={"compression": Compression(values="int8")})
    snapshot = replace(snapshot, recipe=recipe.to_bytes())
    residual.keep(state, snapshot, LEFT)
    moved = {name: array + np.float32(0.01) for name, array in snapshot.model.items()}
    form = encode.coded(snapshot, Trained(moved, {}, 1, 1, 0.0), state)
    assert norm(form.delta) + norm(form.residual) < 0.1


@pytest.mark.parametrize(("spare_bytes", "values"), [(0, np.float16), (-1, np.float32)])
def test_a_budget_is_of_payloads_as_they_are_written_and_may_be_used_up(
    state: WorkerState, snapshot: Snapshot, spare_bytes: int, values: Any
) -> None:
    layout = Layout((TensorSpec("table", Kind.ROWS, (50, 32)),))
    here = replace(at(snapshot, 1, 0, layout), model=layout.zeros())
    learned = np.random.default_rng(0).standard_normal((50, 32)).astype(np.float32)

    def form(**chosen: Any) -> Delta:
        compression = Compression.model_validate({"zstd": True, **chosen})
        recipe = make_recipe(max_update_norm=1e3).model_copy(update={"compression": compression})
        trained = Trained({"table": learned}, {}, 1, 1, 0.0)
        return encode.coded(replace(here, recipe=recipe.to_bytes()), trained, state).delta

    budget_bytes = wire.payload_bytes(form(values="float16"), "zstd") + spare_bytes
    assert form(budget_bytes=budget_bytes)["table"].values.dtype == values
    assert isinstance(form(values="int8", budget_bytes=10**6)["table"], CodedDelta)


# The agent keeps it with the update.


def test_what_was_sent_and_what_is_kept_are_what_was_learned(tmp_path: Path) -> None:
    scene = compressed(values="ternary")
    device = Device(scene, "w1", tmp_path)
    rng = np.random.default_rng(1)
    rng.uniform()  # the spread, drawn before training
    model, layout = scene.model(), scene.manifest().layout
    trained = device.trainer().train(
        model,
        plan=scene.recipe.training.model_dump(),
        rng=rng,
        should_stop=lambda: False,
    )
    assert device.step()
    arrived, kept = whole(layout, sent(scene).delta), whole(layout, device.state.residual())
    learned = whole(layout, difference(layout, model, trained.model))
    for name, array in learned.items():
        assert (arrived[name] + kept[name]).tolist() == array.tolist()
        assert kept[name].any()


def test_a_crash_between_outbox_and_residual_neither_loses_nor_doubles_what_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = compressed(values="ternary")
    device = Device(scene, "w1", tmp_path)
    assert device.step()
    before = device.state.residual()
    sent(scene)
    next_version(scene)
    real = device.state.save_residual

    def save_residual(left: Delta) -> None:
        assert device.state.pending.unconfirmed() == 1
        real(left)
        raise Killed

    monkeypatch.setattr(device.state, "save_residual", save_residual)
    with pytest.raises(Killed):
        device.step()
    assert device.state.pending.unconfirmed() == 0
    assert same(device.state.residual(), before)
    device.restart()
    assert same(device.state.residual(), before)
    scene.clock.advance(3600.0)
    assert device.step()
    assert not same(device.state.residual(), before)


def test_an_agent_in_another_epoch_starts_without_a_residual(tmp_path: Path) -> None:
    scene = compressed(top_rows=0.01)
    device = Device(scene, "w1", tmp_path)
    assert device.step()
    sent(scene)
    poison = {name: np.float32(1e9) for name in device.state.residual()}
    device.state.save_residual(
        {
            name: TensorDelta(change.values + poison[name], change.rows)
            for name, change in device.state.residual().items()
        }
    )
    scene.clock.advance(3600.0)
    scene.found_items(new_epoch=True)
    assert device.step()
    assert all(np.abs(change.values).max() < 1e3 for change in sent(scene).delta.values())
    assert all(np.abs(left.values).max() < 1e3 for left in device.state.residual().values())


def test_by_default_nothing_is_left_over(tmp_path: Path) -> None:
    scene = compressed()
    device = Device(scene, "w1", tmp_path)
    assert device.step()
    assert device.state.residual() == {}


@pytest.mark.parametrize("budget_bytes", [600, 1200, 10**6])
def test_a_budget_takes_the_least_lossy_form_that_fits(tmp_path: Path, budget_bytes: int) -> None:
    scene = compressed(budget_bytes=budget_bytes)
    device = Device(scene, "w1", tmp_path)
    updates = scene.login("aggregator").subscribe(topology.updates_queue(FEDERATION), prefetch=0)
    assert device.step()
    delivery = updates.receive(0)
    assert delivery is not None
    assert wire.open_update(delivery.body).payload.size <= budget_bytes
    assert (device.state.residual() == {}) is (budget_bytes == 10**6)


@pytest.mark.parametrize("values", ["float32", "float16", "int8", "quinary", "ternary"])
@pytest.mark.parametrize("budget_bytes", [None, 2000])
def test_what_would_not_be_refused_as_it_is_is_not_refused_for_how_it_is_coded(
    state: WorkerState, snapshot: Snapshot, values: Any, budget_bytes: int | None
) -> None:
    """Codes are longer than what they stand for, and what was left over comes on top."""
    recipe = make_recipe(mode="fedasync", max_update_norm=1.0)
    compression = Compression.model_validate({"values": values, "budget_bytes": budget_bytes})
    recipe = recipe.model_copy(update={"compression": compression})
    layout = Layout((TensorSpec("table", Kind.ROWS, (50, 32)),))
    here = replace(at(snapshot, 1, 0, layout), model=layout.zeros(), recipe=recipe.to_bytes())
    rng = np.random.default_rng(0)
    learned, arrived = layout.zeros(), layout.zeros()
    for number in range(20):
        change = rng.standard_normal((50, 32)).astype(np.float32)
        change *= np.float32(0.999) / np.linalg.norm(change)
        trained = Trained({"table": change}, {}, 1, 1, 0.0)
        here = at(here, 1, number, layout)
        form = encode.coded(here, trained, state)
        with state.transaction():
            residual.keep(state, here, form.residual)
        assert norm(form.delta) <= 1.0
        learned["table"] += change
        arrived["table"] += whole(layout, form.delta)["table"]
    left = learned["table"] - arrived["table"]
    assert whole(layout, state.residual())["table"] == pytest.approx(left, abs=1e-5)
