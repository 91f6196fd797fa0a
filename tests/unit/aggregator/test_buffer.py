from collections.abc import Mapping

import numpy as np
import pytest

from latecomer.broker.port import Delivery
from latecomer.events import Version
from latecomer.store.port import Fold
from latecomer.tensors import BLOCK, Array, Delta, Kind, Layout, TensorDelta, TensorSpec
from latecomer_aggregator.buffer import Buffer
from latecomer_aggregator.staleness import polynomial
from scenes import LAYOUT, delivery_of, make_update, net, rows


def put(
    buffer: Buffer, delta: Delta, *, worker: str = "w1", seq: int = 1, weight: float = 1.0
) -> Delivery:
    update = make_update(worker, seq, delta=delta)
    delivery = delivery_of(update, tag=len(buffer) + 1)
    fold = Fold(update.update_id, worker, Version(7, 0), 0, weight, 10)
    buffer.fold(fold, delta, delivery)
    return delivery


def seen(*values: float) -> dict[str, TensorDelta]:
    return {"seen": TensorDelta(np.array(values, np.float32))}


def values_of(mean: Mapping[str, TensorDelta], name: str) -> list[float] | list[list[float]]:
    values: list[float] | list[list[float]] = mean[name].values.tolist()
    return values


def test_a_dense_tensor_is_the_weighted_sum_divided_by_k() -> None:
    buffer = Buffer(LAYOUT)
    put(buffer, net(4.0, 8.0), worker="w1", weight=1.0)
    put(buffer, net(4.0, -8.0), worker="w2", weight=0.5)
    assert values_of(buffer.mean(4, row_floor=1), "net") == [1.5, 1.0]


@pytest.mark.parametrize("tau", [0, 3, 99])
def test_an_equally_stale_buffer_takes_a_smaller_step(tau: int) -> None:
    buffer = Buffer(LAYOUT)
    weight = polynomial(tau, exponent=0.5)
    for number in range(4):
        put(buffer, net(2.0, 2.0), worker=f"w{number}", weight=weight)
    assert values_of(buffer.mean(4, row_floor=1), "net") == pytest.approx([2 * weight] * 2)


def test_a_row_is_divided_by_who_touched_it() -> None:
    buffer = Buffer(LAYOUT)
    put(buffer, rows({0: (2.0, 2.0), 3: (6.0, 0.0)}), worker="w1")
    put(buffer, rows({0: (4.0, 0.0)}), worker="w2")
    put(buffer, net(1.0, 1.0), worker="w3")
    change = buffer.mean(3, row_floor=1)["items"]
    assert change.rows is not None
    assert change.rows.tolist() == [0, 3]
    assert change.rows.dtype == np.uint32
    assert change.values.tolist() == [[3.0, 1.0], [6.0, 0.0]]


def test_a_row_that_a_whole_fleet_touched_is_divided_by_all_of_it() -> None:
    buffer = Buffer(LAYOUT)
    for number in range(350):
        put(buffer, rows({1: (2.0, 4.0)}), worker=f"w{number}")
    assert buffer.mean(1, row_floor=1)["items"].values.tolist() == [[2.0, 4.0]]


def test_a_row_that_few_touched_is_divided_by_the_floor() -> None:
    buffer = Buffer(LAYOUT)
    put(buffer, rows({1: (6.0, 6.0), 2: (3.0, 3.0)}), worker="w1")
    for number in range(2, 5):
        put(buffer, rows({2: (3.0, 3.0)}), worker=f"w{number}")
    assert buffer.mean(9, row_floor=3)["items"].values.tolist() == [[2.0, 2.0], [3.0, 3.0]]


def test_a_stale_row_is_discounted_too() -> None:
    buffer = Buffer(LAYOUT)
    put(buffer, rows({1: (6.0, 6.0)}), weight=0.5)
    assert buffer.mean(9, row_floor=1)["items"].values.tolist() == [[3.0, 3.0]]


def test_statistics_are_added_up_however_stale_they_are() -> None:
    buffer = Buffer(LAYOUT)
    put(buffer, seen(1.0, 2.0), worker="w1", weight=0.1)
    put(buffer, seen(10.0, 20.0), worker="w2", weight=1.0)
    assert values_of(buffer.mean(7, row_floor=5), "seen") == [11.0, 22.0]


def test_half_precision_updates_are_added_in_full_precision() -> None:
    buffer = Buffer(LAYOUT)
    for number in range(3):
        delta = {"net": TensorDelta(np.array([40_000.0, 1.0], np.float16))}
        put(buffer, delta, worker=f"w{number}")
    assert values_of(buffer.mean(1, row_floor=1), "net") == [120_000.0, 3.0]

    discounted, touched = Buffer(LAYOUT), np.array([1], np.uint32)
    for number in range(2):
        delta = {
            "net": TensorDelta(np.ones(2, np.float16)),
            "items": TensorDelta(np.ones((1, 2), np.float16), touched),
        }
        put(discounted, delta, worker=f"w{number}", weight=0.1)
    mean = discounted.mean(1, row_floor=1)
    assert values_of(mean, "net") == [2 * float(np.float32(0.1))] * 2
    assert values_of(mean, "items") == [[float(np.float32(0.1))] * 2]
    assert {change.values.dtype for change in mean.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, 2 * BLOCK + 1])
def test_a_tensor_of_many_blocks_is_folded_to_its_end(size: int) -> None:
    buffer = Buffer(Layout((TensorSpec("net", Kind.DENSE, (size,)),)))
    values = np.arange(size, dtype=np.float32)
    for number in range(2):
        put(buffer, {"net": TensorDelta(values)}, worker=f"w{number}", weight=0.5)
    np.testing.assert_array_equal(buffer.mean(1, row_floor=1)["net"].values, values)


def test_what_nobody_touched_is_not_in_the_mean() -> None:
    buffer = Buffer(LAYOUT)
    put(buffer, {})
    assert buffer.mean(1, row_floor=1) == {}


def test_release_returns_the_deliveries_in_fold_order_and_forgets_everything() -> None:
    buffer = Buffer(LAYOUT)
    held = [put(buffer, net(1.0, 1.0), worker=name) for name in ("w2", "w3", "w1")]
    assert list(buffer.release().values()) == [each.receipt for each in held]
    assert len(buffer) == 0
    assert not buffer.holds("w1:boot:1")
    assert not buffer.holds_worker("w1")
    assert buffer.mean(1, row_floor=1) == {}


def few_rows(**values: tuple[float, ...]) -> dict[str, TensorDelta]:
    """Of a sum of three rows."""
    numbers = np.array([int(name[1:]) for name in values], np.uint32)
    return {"counts": TensorDelta(np.array(list(values.values()), np.float32), numbers)}


def test_rows_of_statistics_are_added_up_however_many_send_only_some_of_them() -> None:
    buffer = Buffer(COUNTS)
    put(buffer, few_rows(r1=(5.0,)), worker="w1", weight=0.1)
    put(buffer, few_rows(r0=(1.0,), r1=(2.0,)), worker="w2")
    put(buffer, WHOLE_COUNTS, worker="w3")
    assert values_of(buffer.mean(1, row_floor=1), "counts") == [[2.0], [9.0], [3.0]]


COUNTS = Layout((*LAYOUT, TensorSpec("counts", Kind.SUM, (3, 1))))
WHOLE_COUNTS = {"counts": TensorDelta(np.array([[1.0], [2.0], [3.0]], np.float32))}


@pytest.mark.parametrize(
    ("former", "latter", "expected"),
    [
        (net(9.0, 9.0), net(1.0, 2.0), {"net": [1.0, 2.0]}),
        (seen(9.0, 9.0), seen(1.0, 2.0), {"seen": [1.0, 2.0]}),
        (rows({0: (9.0, 9.0), 1: (9.0, 9.0)}), rows({1: (1.0, 2.0)}), {"items": [[1.0, 2.0]]}),
        (WHOLE_COUNTS, few_rows(r1=(5.0,)), {"counts": [[0.0], [5.0], [0.0]]}),
        (few_rows(r1=(5.0,)), WHOLE_COUNTS, {"counts": [[1.0], [2.0], [3.0]]}),
        (net(9.0, 9.0), rows({1: (1.0, 2.0)}), {"items": [[1.0, 2.0]]}),
    ],
)
def test_a_version_begins_without_the_sums_of_the_one_before(
    former: Delta, latter: Delta, expected: Mapping[str, object]
) -> None:
    buffer = Buffer(COUNTS)
    put(buffer, former, worker="w1")
    put(buffer, former, worker="w2")
    buffer.release()
    put(buffer, latter, worker="w1")
    mean = buffer.mean(1, row_floor=1)
    assert {name: change.values.tolist() for name, change in mean.items()} == expected


def test_a_redelivery_takes_the_place_of_the_lost_delivery() -> None:
    buffer = Buffer(LAYOUT)
    lost = put(buffer, net(1.0, 1.0), worker="w1")
    other = put(buffer, net(1.0, 1.0), worker="w2")
    again = delivery_of(make_update("w1"), generation=2, redelivered=True)
    assert buffer.redelivered("w1:boot:1", again) == lost.receipt
    assert len(buffer) == 2
    assert values_of(buffer.mean(2, row_floor=1), "net") == [1.0, 1.0]
    assert list(buffer.release().values()) == [again.receipt, other.receipt]


def test_of_two_copies_the_later_delivery_is_held_whichever_comes_first() -> None:
    """Only that of a connection that still stands can be acked."""
    buffer = Buffer(LAYOUT)
    update = make_update("w1")
    later = delivery_of(update, generation=2)
    buffer.fold(Fold(update.update_id, "w1", Version(7, 0), 0, 1.0, 10), {}, later)
    former = delivery_of(update, generation=1, tag=9)
    assert buffer.redelivered(update.update_id, former) == former.receipt
    assert buffer.receipt(update.update_id) == later.receipt


def test_a_worker_has_its_place_from_its_first_update_on() -> None:
    buffer = Buffer(LAYOUT)
    assert not buffer.holds_worker("w1")
    put(buffer, net(1.0, 1.0), worker="w1")
    assert buffer.holds_worker("w1")
    assert buffer.holds("w1:boot:1")
    assert not buffer.holds_worker("w2")
    assert not buffer.holds("w1:boot:2")


def test_the_same_folds_in_the_same_order_give_the_same_bits() -> None:
    rng = np.random.default_rng(3)
    deltas: list[dict[str, TensorDelta]] = [
        net(*rng.normal(size=2)) | rows({1: rng.normal(size=2).tolist()}) for _ in range(9)
    ]

    def folded() -> dict[str, Array]:
        buffer = Buffer(LAYOUT)
        for number, delta in enumerate(deltas):
            put(buffer, delta, worker=f"w{number}", weight=polynomial(number, exponent=0.5))
        mean = buffer.mean(9, row_floor=2)
        return {name: change.values.astype(np.float32) for name, change in mean.items()}

    first, second = folded(), folded()
    assert {name: array.tobytes() for name, array in first.items()} == {
        name: array.tobytes() for name, array in second.items()
    }


def test_folding_leaves_the_delta_alone() -> None:
    delta = net(2.0, 2.0) | rows({1: (2.0, 2.0)})
    before = {name: change.values.copy() for name, change in delta.items()}
    buffer = Buffer(LAYOUT)
    put(buffer, delta, weight=0.5)
    buffer.mean(3, row_floor=2)
    for name, change in delta.items():
        np.testing.assert_array_equal(change.values, before[name])


def test_memory_is_one_accumulator_however_many_updates() -> None:
    buffer = Buffer(LAYOUT)
    for number in range(100):
        put(buffer, net(1.0, 1.0) | rows({number % 4: (1.0, 1.0)}), worker=f"w{number}")
    assert sum(each.total.size for each in buffer._sums.values()) == 2 + 8
