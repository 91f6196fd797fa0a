import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from latecomer.errors import LayoutMismatch
from latecomer.tensors import (
    BLOCK,
    Array,
    Delta,
    Kind,
    Layout,
    TensorDelta,
    TensorSpec,
    applied,
    check_delta,
    content_address,
    difference,
    digest,
    has_name,
    norm,
)

LAYOUT = Layout(
    (
        TensorSpec("net", Kind.DENSE, (2, 3)),
        TensorSpec("table", Kind.ROWS, (4, 2)),
        TensorSpec("gram", Kind.SUM, (3,)),
    )
)

#: Whole numbers this small, and their differences, are exact in float32.
exact = st.integers(-(2**20), 2**20).map(float)


@st.composite
def states(draw: st.DrawFn) -> dict[str, Array]:
    return {spec.name: draw(hnp.arrays(np.float32, spec.shape, elements=exact)) for spec in LAYOUT}


def state(**changes: Any) -> dict[str, Array]:
    return {**LAYOUT.zeros(), **changes}


def rows(*numbers: int, width: int = 2) -> TensorDelta:
    return TensorDelta(np.ones((len(numbers), width), np.float32), np.array(numbers, np.uint32))


def dense(*shape: int) -> TensorDelta:
    return TensorDelta(np.ones(shape, np.float32))


@given(base=states(), trained=states())
def test_a_difference_applied_to_its_base_is_what_was_trained(
    base: dict[str, Array], trained: dict[str, Array]
) -> None:
    delta = difference(LAYOUT, base, trained)
    check_delta(LAYOUT, delta)
    result = applied(LAYOUT, base, delta)
    LAYOUT.check(result)
    for name, array in trained.items():
        assert np.array_equal(result[name], array)


@given(same=states())
def test_who_learned_nothing_says_nothing(same: dict[str, Array]) -> None:
    assert difference(LAYOUT, same, same) == {}


@given(base=states())
def test_an_empty_delta_changes_nothing_and_returns_new_arrays(base: dict[str, Array]) -> None:
    result = applied(LAYOUT, base, {})
    for name, array in base.items():
        assert np.array_equal(result[name], array)
        assert not np.shares_memory(result[name], array)


@given(base=states(), trained=states())
def test_applying_leaves_the_base_alone(base: dict[str, Array], trained: dict[str, Array]) -> None:
    before = {name: array.copy() for name, array in base.items()}
    applied(LAYOUT, base, difference(LAYOUT, base, trained))
    for name, array in before.items():
        assert np.array_equal(base[name], array)


def test_untouched_rows_and_tensors_are_left_out() -> None:
    trained = state(table=np.array([[0, 0], [0, 5], [0, 0], [7, 8]], np.float32))
    delta = difference(LAYOUT, LAYOUT.zeros(), trained)
    assert delta.keys() == {"table"}
    touched = delta["table"].rows
    assert touched is not None
    assert touched.dtype == np.uint32
    assert touched.tolist() == [1, 3]
    assert delta["table"].values.tolist() == [[0, 5], [7, 8]]


def test_a_tensor_that_became_nan_is_not_taken_for_unchanged() -> None:
    trained = state(table=np.array([[0, 0], [0, 0], [math.nan, 0], [0, 0]], np.float32))
    delta = difference(LAYOUT, LAYOUT.zeros(), trained)
    assert delta["table"].rows is not None
    assert delta["table"].rows.tolist() == [2]
    assert math.isnan(norm(delta))


def test_half_precision_deltas_are_added_in_single_precision() -> None:
    base = state(gram=np.full(3, 4096, np.float32))
    delta = {"gram": TensorDelta(np.full(3, 0.25, np.float16))}
    result = applied(LAYOUT, base, delta)["gram"]
    assert result.dtype == np.float32
    assert result.tolist() == [4096.25] * 3


@pytest.mark.parametrize(
    "delta",
    [
        {},
        {"net": dense(2, 3)},
        {"gram": dense(3)},
        {"table": rows()},
        {"table": rows(0)},
        {"table": rows(0, 1, 2, 3)},
        {"table": rows(1, 3), "net": dense(2, 3)},
    ],
)
def test_a_delta_that_fits_passes(delta: Delta) -> None:
    check_delta(LAYOUT, delta)


@pytest.mark.parametrize(
    ("delta", "problem"),
    [
        ({"nets": dense(2, 3)}, "'nets' is unknown"),
        ({"net": dense(3, 2)}, r"'net': \(3, 2\) is not \(2, 3\)"),
        ({"net": dense(6)}, r"'net': \(6,\) is not \(2, 3\)"),
        ({"net": dense()}, r"'net': \(\) is not \(2, 3\)"),
        ({"net": rows(0, width=3)}, "'net' is of kind dense, its delta is not"),
        ({"gram": rows(0)}, "'gram' is of kind sum, its delta is not"),
        ({"table": dense(4, 2)}, "'table' is of kind rows, its delta is not"),
        ({"table": rows(0, 4)}, "'table': rows must increase and stay below 4"),
        ({"table": rows(2**32 - 1)}, "'table': rows must increase and stay below 4"),
        ({"table": rows(1, 1)}, "'table': rows must increase"),
        ({"table": rows(2, 1)}, "'table': rows must increase"),
        ({"table": rows(1, width=3)}, r"'table': 1 rows with values of shape \(1, 3\)"),
        ({"table": TensorDelta(np.ones(2, np.float32), np.array([1], np.uint32))}, "1 rows with"),
        ({"net": dense(2, 3), "table": rows(9)}, "'table'"),
    ],
)
def test_a_delta_that_does_not_fit_is_refused_by_name(delta: Delta, problem: str) -> None:
    with pytest.raises(LayoutMismatch, match=problem):
        check_delta(LAYOUT, delta)


MANY = Layout((TensorSpec("counts", Kind.SUM, (4, 2)), TensorSpec("weights", Kind.DERIVED, (4, 2))))


def test_of_a_wide_sum_a_few_rows_may_be_added_to_and_of_what_is_derived_nothing() -> None:
    check_delta(MANY, {"counts": rows(1, 3)})
    check_delta(MANY, {"counts": dense(4, 2)})
    for change in (rows(1), dense(4, 2)):
        with pytest.raises(LayoutMismatch, match="'weights' is of kind derived"):
            check_delta(MANY, {"weights": change})


def test_a_worker_holds_what_is_derived_and_not_what_it_is_derived_from() -> None:
    assert [spec.name for spec in MANY.held] == ["weights"]
    assert MANY.additive
    assert not LAYOUT.additive


def test_a_layout_is_named_by_its_digest_on_every_machine_and_day() -> None:
    assert LAYOUT.digest == "bfb4f8ce5555c8893f7a4f2b97efdb31"


@pytest.mark.parametrize(
    "other",
    [
        LAYOUT.tensors[:2],
        LAYOUT.tensors[::-1],
        (TensorSpec("net", Kind.SUM, (2, 3)), *LAYOUT.tensors[1:]),
        (TensorSpec("net", Kind.DENSE, (3, 2)), *LAYOUT.tensors[1:]),
        (TensorSpec("next", Kind.DENSE, (2, 3)), *LAYOUT.tensors[1:]),
    ],
    ids=["fewer", "another order", "another kind", "another shape", "another name"],
)
def test_any_other_layout_has_another_digest(other: tuple[TensorSpec, ...]) -> None:
    assert Layout(other).digest != LAYOUT.digest


def test_a_layout_comes_back_from_json() -> None:
    assert LAYOUT.to_json()[1] == ["table", "rows", [4, 2]]
    assert Layout.from_json(LAYOUT.to_json()) == LAYOUT


def test_a_layout_finds_its_tensors() -> None:
    assert LAYOUT["table"].shape == (4, 2)
    assert "table" in LAYOUT
    assert "tables" not in LAYOUT
    assert [spec.name for spec in LAYOUT] == ["net", "table", "gram"]
    assert LAYOUT.size == 6 + 8 + 3
    with pytest.raises(KeyError):
        LAYOUT["tables"]


def test_a_tensor_without_dimensions_has_one_element() -> None:
    assert TensorSpec("scale", Kind.DENSE, ()).size == 1


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_a_table_has_rows_and_a_width(shape: tuple[int, ...]) -> None:
    with pytest.raises(LayoutMismatch, match="'q' is a table"):
        TensorSpec("q", Kind.ROWS, shape)


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ({"net": np.zeros((2, 3), np.float32)}, "'gram' is missing"),
        (state(more=np.zeros(1, np.float32)), "'more' is unknown"),
        (state(net=np.zeros((3, 2), np.float32)), r"'net' is float32\(3, 2\), not float32\(2, 3\)"),
        (state(gram=np.zeros(3)), r"'gram' is float64\(3,\), not float32\(3,\)"),
    ],
)
def test_a_state_of_another_layout_is_refused_by_name(
    broken: dict[str, Array], problem: str
) -> None:
    with pytest.raises(LayoutMismatch, match=problem):
        LAYOUT.check(broken)


def test_a_state_of_this_layout_passes() -> None:
    LAYOUT.check(LAYOUT.zeros())


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_one_value_that_is_no_number_makes_a_norm_that_is_none(
    poison: float, dtype: npt.DTypeLike
) -> None:
    values: npt.NDArray[Any] = np.ones((2, 2), dtype)
    values[1, 1] = poison
    poisoned = TensorDelta(values, np.array([1, 3], np.uint32))
    assert math.isfinite(norm({"net": dense(2, 3), "table": rows(1, 3)}))
    assert not math.isfinite(norm({"net": dense(2, 3), "table": poisoned}))


@pytest.mark.parametrize("place", [0, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK])
def test_no_place_hides_a_value_that_is_no_number(place: int) -> None:
    values = np.zeros(2 * BLOCK + 1, np.float32)
    values[place] = math.nan
    assert math.isnan(norm({"net": TensorDelta(values)}))


def test_what_is_not_a_number_is_seen_beside_what_leaves_float32() -> None:
    values = np.array([3e38, 3e38, math.nan], np.float32)
    assert math.isnan(norm({"net": TensorDelta(values)}))


def test_nothing_has_no_length() -> None:
    assert norm({}) == 0.0
    assert norm({"table": rows()}) == 0.0


def test_the_norm_is_over_all_values_of_all_tensors() -> None:
    three = TensorDelta(np.array([3.0], np.float32))
    four = TensorDelta(np.array([[4.0, 0.0]], np.float16), np.array([2], np.uint32))
    assert norm({"gram": three, "table": four}) == 5.0


def test_the_norm_of_values_near_the_largest_float_is_still_a_number() -> None:
    huge = TensorDelta(np.full(4, 1e38, np.float32))
    assert norm({"gram": huge}) == pytest.approx(2e38)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_norm_of_a_large_tensor_is_that_of_all_its_blocks(dtype: npt.DTypeLike) -> None:
    values: npt.NDArray[Any] = np.full(4 * BLOCK, 0.5, dtype)
    assert norm({"net": TensorDelta(values)}) == math.sqrt(BLOCK)


def test_a_digest_is_blake2b_of_128_bits() -> None:
    assert digest(b"") == "cae66941d9efbd404e4d88758ea67670"
    assert digest(memoryview(b"abc")) == digest(b"abc")
    assert len(digest(b"abc")) == 32


def test_a_content_address_is_blake3_of_128_bits() -> None:
    assert content_address(b"") == "af1349b9f5f9a1a6a0404dea36dcc949"
    assert content_address(memoryview(b"abc")) == content_address(b"abc")


def test_what_was_named_by_its_digest_still_has_its_name() -> None:
    for name in (content_address(b"abc"), digest(b"abc")):
        assert has_name(b"abc", name)
        assert not has_name(b"abd", name)
