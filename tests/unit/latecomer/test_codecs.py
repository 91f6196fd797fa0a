import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from latecomer.codecs import (
    LADDER,
    CodedDelta,
    Loss,
    Values,
    coded,
    dequantised,
    fits,
    ladder,
    quantised,
)
from latecomer.tensors import Array, Delta, Kind, Layout, TensorDelta, TensorSpec, check_delta, norm

WIDTH = 20
LAYOUT = Layout(
    (
        TensorSpec("net", Kind.DENSE, (3, 2)),
        TensorSpec("table", Kind.ROWS, (9, WIDTH)),
        TensorSpec("seen", Kind.SUM, (4,)),
    )
)
LOSSY: tuple[Values, ...] = ("float16", "int8", "int4", "quinary", "ternary")
NOTHING: Delta = {}

reasonable = st.floats(-1000, 1000, width=32)


def table(rows: list[int], values: Array) -> dict[str, TensorDelta]:
    return {"table": TensorDelta(values.astype(np.float32), np.array(rows, np.uint32))}


def wide(*firsts: float) -> Array:
    """Rows of zeros but for their first value."""
    values = np.zeros((len(firsts), WIDTH), np.float32)
    values[:, 0] = firsts
    return values


def whole(delta: Delta, name: str = "table") -> Array:
    """A delta's tensor in full."""
    full = np.zeros(LAYOUT[name].shape, np.float32)
    if name in delta:
        change = delta[name]
        full[slice(None) if change.rows is None else change.rows] += change.values
    return full


# Known answers.


def test_codes_are_the_nearest_multiples_of_the_largest_magnitude_over_the_levels() -> None:
    codes, scales = quantised(np.array([127.0, -63.4, 0.5, 0.6, 0.0], np.float32), 127)
    assert codes.tolist() == [127, -63, 0, 1, 0]
    assert scales.tolist() == [1.0]


def test_a_ternary_code_keeps_what_exceeds_half_the_largest() -> None:
    codes, scales = quantised(np.array([4.0, 2.1, 2.0, -3.0, -1.0], np.float32), 1)
    assert codes.tolist() == [1, 1, 0, -1, 0]
    assert dequantised(codes, scales).tolist() == [4.0, 4.0, 0.0, -4.0, 0.0]


def test_a_quinary_code_keeps_what_exceeds_a_quarter_of_the_largest_by_halves() -> None:
    codes, scales = quantised(np.array([4.0, 2.9, 1.1, -1.0, -3.1], np.float32), 2)
    assert codes.tolist() == [2, 1, 1, 0, -2]
    assert dequantised(codes, scales).tolist() == [4.0, 2.0, 2.0, 0.0, -4.0]


def test_every_wide_row_has_a_scale_of_its_own() -> None:
    codes, scales = quantised(wide(14.0, 0.0, -0.7), 7)
    assert scales.tolist() == [2.0, 0.0, np.float16(0.1)]
    assert codes[:, 0].tolist() == [7, 0, -7]


def test_narrow_rows_share_a_scale_by_blocks_of_equal_size() -> None:
    codes, scales = quantised(np.arange(130, dtype=np.float32).reshape(130, 1), 127)
    assert scales.tolist() == [np.float16(64 / 127), np.float16(129 / 127)]
    assert codes[64, 0] == 127
    assert codes[65, 0] == 64


@pytest.mark.parametrize("levels", [127, 7, 2, 1])
def test_a_scale_stays_finite_and_a_code_in_range_however_large_or_small_the_values(
    levels: int,
) -> None:
    for peak in (1e38, 7e6, 6.2e-7, 1e-7, 1e-40):
        codes, scales = quantised(np.array([peak, -peak], np.float32), levels)
        assert np.isfinite(scales).all()
        assert np.abs(codes.astype(int)).max() <= levels


def test_changes_below_the_smallest_scale_are_multiples_of_that_and_not_nothing() -> None:
    small = np.array([2.0**-23, -(2.0**-24)], np.float32)
    codes, scales = quantised(small, 127)
    assert (codes.tolist(), scales.tolist()) == ([2, -1], [2.0**-24])
    assert dequantised(codes, scales).tolist() == small.tolist()


def test_nothing_quantises_to_nothing() -> None:
    codes, scales = quantised(np.zeros((0, WIDTH), np.float32), 1)
    assert (codes.shape, scales.shape) == ((0, WIDTH), (0,))
    assert dequantised(codes, scales).shape == (0, WIDTH)


@pytest.mark.parametrize(
    ("size", "blocks", "fit"),
    [(0, 0, True), (0, 1, False), (1, 0, False), (1, 1, True), (5, 3, True), (5, 4, False)],
)
def test_blocks_fit_if_none_of_them_is_empty(size: int, blocks: int, fit: bool) -> None:
    assert fits(size, blocks) is fit


def test_the_rows_that_changed_the_most_travel_and_the_others_are_left_over() -> None:
    done = coded(LAYOUT, table([1, 4, 5, 8], wide(1, 3, -9, 2)), NOTHING, Loss("float32", 0.5))
    rows, left = done.delta["table"].rows, done.residual["table"].rows
    assert rows is not None
    assert left is not None
    assert rows.tolist() == [4, 5]
    assert left.tolist() == [1, 8]


def test_of_rows_that_changed_alike_the_first_travel() -> None:
    done = coded(LAYOUT, table([1, 4, 5], wide(2, -2, 2)), NOTHING, Loss("int8", 0.5))
    rows = done.delta["table"].rows
    assert rows is not None
    assert rows.tolist() == [1, 4]


def test_a_half_keeps_eleven_bits_and_clips_what_it_cannot_hold() -> None:
    net = TensorDelta(np.array([[1.0, 1e6], [2049.0, -1e6], [0.0, 0.5]], np.float32))
    done = coded(LAYOUT, {"net": net}, NOTHING, Loss("float16"))
    assert done.delta["net"].values.tolist() == [[1.0, 65504.0], [2048.0, -65504.0], [0.0, 0.5]]
    assert done.residual["net"].values[1].tolist() == [1.0, -1e6 + 65504.0]


# Who is coded, and who is not.


@pytest.mark.parametrize("loss", LADDER, ids=str)
def test_statistics_are_never_lossy(loss: Loss) -> None:
    seen = TensorDelta(np.array([1e-9, 3.3, 7e7, 0.1], np.float32))
    done = coded(LAYOUT, {"seen": seen}, NOTHING, loss)
    assert done.delta["seen"] is seen
    assert done.residual == {}


def test_without_loss_nothing_changes_and_nothing_is_left() -> None:
    change = table([0, 3], wide(0.1, -0.3))
    done = coded(LAYOUT, change, NOTHING, Loss())
    assert whole(done.delta).tolist() == whole(change).tolist()
    assert done.residual == {}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_travels_to_be_refused_and_leaves_the_residual_alone(bad: float) -> None:
    left = table([2], wide(0.25))
    done = coded(LAYOUT, table([2, 3], wide(bad, 1.0)), left, Loss("ternary"))
    assert not np.isfinite(done.delta["table"].values).all()
    assert done.residual["table"].values.tolist() == left["table"].values.tolist()


def test_what_is_left_of_a_row_waits_until_the_row_is_touched_again() -> None:
    left = table([2, 6], wide(0.25, 0.5))
    done = coded(LAYOUT, table([6], wide(1.0)), left, Loss())
    assert whole(done.delta)[:, 0].tolist() == [0, 0, 0, 0, 0, 0, 1.5, 0, 0]
    assert whole(done.residual)[:, 0].tolist() == [0, 0, 0.25, 0, 0, 0, 0, 0, 0]


def test_a_tensor_that_did_not_change_keeps_what_was_left_of_it() -> None:
    left = table([2], wide(0.25))
    done = coded(LAYOUT, {}, left, Loss("int8"))
    assert done.delta == {}
    assert whole(done.residual).tolist() == whole(left).tolist()


# The law of error feedback.


@given(
    values=hnp.arrays(np.float32, (4, WIDTH), elements=reasonable),
    former=hnp.arrays(np.float32, (3, WIDTH), elements=st.floats(-1, 1, width=32)),
    format_=st.sampled_from(LOSSY),
    top_rows=st.sampled_from([1.0, 0.5, 0.1]),
)
def test_coded_and_residual_are_delta_and_what_was_left_before(
    values: Array, former: Array, format_: Values, top_rows: float
) -> None:
    delta, left = table([0, 2, 3, 7], values), table([1, 2, 7], former)
    total = whole(delta) + whole(left)
    done = coded(LAYOUT, delta, left, Loss(format_, top_rows))
    check_delta(LAYOUT, done.delta)
    check_delta(LAYOUT, done.residual)
    assert (whole(done.delta) + whole(done.residual)).tolist() == total.tolist()


@given(values=hnp.arrays(np.float32, (3, 2), elements=reasonable), format_=st.sampled_from(LOSSY))
def test_the_law_holds_for_dense_tensors(values: Array, format_: Values) -> None:
    done = coded(LAYOUT, {"net": TensorDelta(values)}, NOTHING, Loss(format_))
    assert (whole(done.delta, "net") + whole(done.residual, "net")).tolist() == values.tolist()


@pytest.mark.parametrize("format_", ["float32", *LOSSY])
def test_what_would_be_too_long_travels_in_its_format_and_the_rest_is_left_over(
    format_: Values,
) -> None:
    change = {"net": TensorDelta(np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]], np.float32))}
    done = coded(LAYOUT, change, NOTHING, Loss(format_), longest=1.0)
    as_long = coded(LAYOUT, change, NOTHING, Loss(format_))
    assert 0.99 < norm(done.delta) <= 1.0
    assert done.delta["net"].values.dtype == as_long.delta["net"].values.dtype
    assert type(done.delta["net"]) is type(as_long.delta["net"])
    total = whole(done.delta, "net") + whole(done.residual, "net")
    assert total.tolist() == change["net"].values.tolist()


@pytest.mark.parametrize("format_", ["int8", "int4", "ternary"])
def test_over_many_rounds_what_arrived_is_within_one_step_of_what_was_learned(
    format_: Values,
) -> None:
    rng = np.random.default_rng(1)
    learned = np.zeros((9, WIDTH))
    arrived = np.zeros((9, WIDTH))
    left: Delta = NOTHING
    steps = np.zeros((9, 1))
    for _ in range(200):
        delta = table([0, 4, 8], rng.standard_normal((3, WIDTH), np.float32))
        done = coded(LAYOUT, delta, left, Loss(format_))
        left = done.residual
        learned += whole(delta)
        arrived += whole(done.delta)
        change = done.delta["table"]
        assert isinstance(change, CodedDelta)
        steps[change.rows] = change.scales[:, None]
    # Half a step by rounding; the scale's own rounding and 200 float32 sums are in the rest.
    assert (np.abs(learned - arrived) <= 0.51 * steps + 1e-4).all()


def test_what_top_rows_leave_out_arrives_later() -> None:
    left: Delta = NOTHING
    arrived = np.zeros((9, WIDTH), np.float32)
    for _ in range(10):
        done = coded(LAYOUT, table([1, 2], wide(1.0, 4.0)), left, Loss("float32", 0.5))
        left = done.residual
        arrived += whole(done.delta)
    assert (arrived + whole(left))[:3, 0].tolist() == [0.0, 10.0, 40.0]
    assert arrived[1, 0] > 0


# The ladder.


def test_the_ladder_goes_from_lossless_to_very_lossy() -> None:
    assert ladder(Loss()) == LADDER
    assert LADDER[0].is_lossless
    assert not any(loss.is_lossless for loss in LADDER[1:])


def test_the_ladder_starts_where_the_recipe_does() -> None:
    below = ladder(Loss("int4", 0.5))
    assert below[0] == Loss("int4", 0.5)
    assert below[1] == Loss("ternary", 0.5)
    assert len(below) == 6


def test_below_three_levels_the_ladder_goes_on_with_fewer_rows() -> None:
    rows = [1.0, 0.5, 0.25, 0.12, 0.06, 0.03]
    assert ladder(Loss("ternary")) == tuple(Loss("ternary", each) for each in rows)
