"""Codes, scales and gaps on the wire: what they mean, and what a stranger makes of them."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from latecomer.codecs import LADDER, CodedDelta, Loss, Values, coded
from latecomer.errors import Undecodable
from latecomer.tensors import Delta, Kind, Layout, TensorDelta, TensorSpec
from latecomer.wire import (
    MAX_HEADER_BYTES,
    encode_update,
    frames,
    open_update,
    payload_bytes,
    read_update,
)
from wire_scene import Fields, an_update, decoded, forged, plain_header, reason

GOLDEN = Path(__file__).parent / "golden" / "update-1-ternary.bin"
LAYOUT = Layout((TensorSpec("table", Kind.ROWS, (70_000, 16)), TensorSpec("net", Kind.DENSE, (7,))))
FORMATS: tuple[Values, ...] = ("int8", "int4", "quinary", "ternary")


def a_delta() -> dict[str, TensorDelta]:
    values = np.arange(-16, 16, dtype=np.float32).reshape(2, 16)
    return {
        "net": TensorDelta(np.array([1, -1, 0.75, 0.25, 0, 0, 1], np.float32)),
        "table": TensorDelta(values, np.array([1, 65_537], np.uint32)),
    }


def form(values: Values) -> Delta:
    return coded(LAYOUT, a_delta(), {}, Loss(values)).delta


def parts(**lines: tuple[str, list[int], str, bytes]) -> bytes:
    """An update of the tensor ``a`` as a stranger writes it: dtype, shape, codec and bytes."""
    table, payload = [], b""
    for part, (dtype, shape, codec, data) in lines.items():
        payload += bytes(-len(payload) % 64)
        table.append(["a", part, dtype, shape, len(payload), len(data), codec])
        payload += data
    header: Fields = plain_header(payload, table)
    return forged(header, payload)


def frame(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def scales(*values: float) -> tuple[str, list[int], str, bytes]:
    return "<f2", [len(values)], "raw", np.array(values, "<f2").tobytes()


def codes(*values: int) -> tuple[str, list[int], str, bytes]:
    return "|i1", [len(values)], "raw", np.array(values, np.int8).tobytes()


def read(body: bytes) -> npt.NDArray[Any]:
    return decoded(body).delta["a"].values


# What it means.


@pytest.mark.parametrize("codec", ["raw", "zstd"])
@pytest.mark.parametrize("values", FORMATS)
def test_the_receiver_sees_what_the_coder_said_it_would(values: Values, codec: Any) -> None:
    sent = form(values)
    back = decoded(encode_update(an_update(sent), codec=codec).body).delta
    for name, change in sent.items():
        assert back[name].values.dtype == np.float32
        assert back[name].values.tobytes() == change.values.tobytes()
        assert not isinstance(back[name], CodedDelta)
    rows = back["table"].rows
    assert rows is not None
    assert rows.tolist() == [1, 65_537]


def test_each_part_is_written_by_the_best_codec_for_it() -> None:
    tensors = open_update(encode_update(an_update(form("ternary")), codec="zstd").body).tensors
    assert [(each.name, each.part, each.dtype, each.codec) for each in tensors] == [
        ("net", "scales", "<f2", "zstd"),
        ("net", "values", "|i1", "base3"),
        ("table", "rows", "<u4", "gaps"),
        ("table", "scales", "<f2", "zstd"),
        ("table", "values", "|i1", "base3"),
    ]


def test_a_code_times_the_scale_of_its_block_is_the_value() -> None:
    assert read(parts(scales=scales(0.5, 2.0), values=codes(1, -2, 3, 4, -128))).tolist() == [
        0.5,
        -1.0,
        1.5,
        8.0,
        -256.0,
    ]


def test_digits_of_base_3_begin_with_the_lowest_and_mean_minus_one_to_one() -> None:
    # 0 + 1*3 + 2*9 + 2*27 + 0*81 = 75: codes -1 0 1 1 -1; then 2: 1, and digits not looked at.
    body = parts(scales=scales(1.0), values=("|i1", [6], "base3", frame(bytes([75, 2]))))
    assert read(body).tolist() == [-1, 0, 1, 1, -1, 1]


def test_digits_of_base_5_mean_minus_two_to_two() -> None:
    # 0 + 4*5 + 1*25 = 45: codes -2 2 -1; then 3: 1, and digits not looked at.
    body = parts(scales=scales(1.0), values=("|i1", [4], "base5", frame(bytes([45, 3]))))
    assert read(body).tolist() == [-2, 2, -1, 1]


def test_digits_of_base_15_mean_minus_seven_to_seven() -> None:
    body = parts(scales=scales(1.0), values=("|i1", [3], "base15", frame(bytes([14 * 15 + 0, 8]))))
    assert read(body).tolist() == [-7, 7, 1]


def test_gaps_are_distances_byte_plane_by_byte_plane() -> None:
    # Rows 5, 6 and 65542: distances 5, 1 and 65536.
    planes = bytes([5, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
    assert frames.gaps(np.array([5, 6, 65_542], np.uint32)) == planes
    body = parts(rows=("<u4", [3], "gaps", frame(planes)), values=("<f4", [3, 0], "raw", b""))
    rows = decoded(body).delta["a"].rows
    assert rows is not None
    assert rows.tolist() == [5, 6, 65_542]


@given(st.lists(st.integers(0, 2**32 - 1), unique=True, max_size=50).map(sorted))
def test_any_rows_come_back_from_their_gaps(rows: list[int]) -> None:
    there = np.array(rows, np.uint32)
    assert frames.rows_from_gaps(frames.gaps(there), "a").tolist() == rows


@given(
    base=st.sampled_from([3, 15]),
    count=st.integers(0, 40),
)
def test_codes_of_any_number_come_back_packed(base: int, count: int) -> None:
    there = (np.arange(count) % base - base // 2).astype(np.int8)
    back = frames.unpacked(frames.packed(there, base), len(there), base, "a")
    assert back.tolist() == there.tolist()


def test_packed_codes_stay_near_their_entropy() -> None:
    rng = np.random.default_rng(1)
    there = rng.choice(np.array([-1, 0, 1], np.int8), 100_000, p=[0.1, 0.8, 0.1])
    entropy_bits = -(0.8 * np.log2(0.8) + 0.2 * np.log2(0.1))
    bits = 8 * len(frames.compressed(frames.packed(there, 3))) / len(there)
    assert entropy_bits <= bits < 1.1 * entropy_bits
    assert bits < 0.75 * 8 * len(frames.compressed(there.tobytes())) / len(there)


@pytest.mark.parametrize("values", ["float32", "float16", *FORMATS])
def test_who_changed_every_row_stays_within_what_the_layout_allows(values: Values) -> None:
    """Scales are not in the delta that they are read for."""
    layout = Layout((TensorSpec("table", Kind.ROWS, (200, 16)),))
    rows = np.arange(200, dtype=np.uint32)
    delta = {"table": TensorDelta(np.ones((200, 16), np.float32), rows)}
    sent = coded(layout, delta, {}, Loss(values)).delta
    body = encode_update(an_update(sent), codec="zstd").body
    back = decoded(body, limit_bytes=layout.largest_delta_bytes).delta["table"]
    assert back.values.shape == (200, 16)


def test_the_size_of_a_payload_is_known_without_a_message() -> None:
    delta = form("int4")
    assert (
        payload_bytes(delta, "zstd")
        == open_update(encode_update(an_update(delta), codec="zstd").body).payload.size
    )


def test_payloads_fall_by_about_two_from_one_step_of_the_ladder_to_the_next() -> None:
    layout = Layout((TensorSpec("table", Kind.ROWS, (1000, 32)),))
    values = np.random.default_rng(1).standard_normal((1000, 32), np.float32)
    delta = {"table": TensorDelta(values, np.arange(1000, dtype=np.uint32))}
    sizes = [payload_bytes(coded(layout, delta, {}, loss).delta, "zstd") for loss in LADDER]
    assert all(1.4 < larger / smaller < 2.8 for larger, smaller in itertools.pairwise(sizes))


def test_a_coded_update_of_schema_1_is_still_understood() -> None:
    sealed = open_update(GOLDEN.read_bytes())
    assert sealed.inline is not None
    delta = read_update(sealed, sealed.inline, limit_bytes=1000).delta
    for name, change in form("ternary").items():
        assert delta[name].values.tolist() == change.values.tolist()


# What a stranger makes of it.


def test_a_scale_that_is_no_number_arrives_as_values_that_are_none() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        assert not np.isfinite(read(parts(scales=scales(bad), values=codes(0, 1)))).all()


@pytest.mark.parametrize(
    "lines",
    [
        {"values": codes(1)},
        {"scales": scales(1.0)},
        {"scales": scales(), "values": codes(1)},
        {"scales": scales(1.0), "values": codes()},
        {"scales": scales(1.0, 1.0), "values": codes(1)},
        {"scales": scales(1.0, 1.0, 1.0, 1.0), "values": codes(1, 1, 1, 1, 1)},
        {"scales": ("<f2", [1, 1], "raw", b"\0\0"), "values": codes(1)},
        {"scales": scales(1.0), "values": ("<f4", [1], "raw", bytes(4))},
        {"scales": scales(1.0), "rows": ("<u4", [1], "raw", bytes(4))},
        {"scales": scales(1.0), "values": ("|i1", [5], "base3", frame(bytes([243])))},
        {"scales": scales(1.0), "values": ("|i1", [3], "base5", frame(bytes([125])))},
        {"scales": scales(1.0), "values": ("|i1", [2], "base15", frame(bytes([225])))},
    ],
)
def test_codes_without_their_scales_and_bytes_that_are_no_digits_are_refused(
    lines: dict[str, tuple[str, list[int], str, bytes]],
) -> None:
    assert reason(parts(**lines)) == "bad_tensors"


def test_rows_that_would_wrap_around_are_refused() -> None:
    distances = np.array([2**32 - 1, 1], "<u4").view(np.uint8).reshape(-1, 4).T.tobytes()
    body = parts(rows=("<u4", [2], "gaps", frame(distances)), values=("<f4", [2, 0], "raw", b""))
    assert reason(body) == "bad_tensors"


@pytest.mark.parametrize(
    ("part", "dtype", "codec"),
    [
        ("values", "<f4", "base3"),
        ("values", "<f4", "gaps"),
        ("values", "|i1", "gaps"),
        ("values", "|i1", "base7"),
        ("rows", "<u4", "base3"),
        ("scales", "<f2", "gaps"),
    ],
)
def test_a_codec_for_other_parts_is_refused_by_name(part: str, dtype: str, codec: str) -> None:
    assert reason(parts(**{part: (dtype, [1], codec, b"")})) == "unknown_codec"


@pytest.mark.parametrize(("part", "dtype"), [("scales", "<f4"), ("scales", "|i1"), ("rows", "|i1")])
def test_a_dtype_of_another_part_is_refused_by_name(part: str, dtype: str) -> None:
    assert reason(parts(**{part: (dtype, [1], "raw", b"")})) == "unknown_dtype"


@pytest.mark.parametrize("codec", ["base3", "base15", "zstd"])
def test_codes_count_as_what_they_become(codec: str) -> None:
    bomb = parts(scales=scales(1.0), values=("|i1", [1 << 19], codec, frame(bytes(1 << 20))))
    assert len(bomb) < MAX_HEADER_BYTES
    assert reason(bomb) == "too_large"


@pytest.mark.parametrize(("codec", "part"), [("base3", "values"), ("gaps", "rows")])
def test_a_frame_of_another_size_than_its_shape_is_refused(codec: str, part: str) -> None:
    dtype = {"values": "|i1", "rows": "<u4"}[part]
    lines = {part: (dtype, [9], codec, frame(bytes(99)))}
    other = {"scales": scales(1.0)} if part == "values" else {"values": ("<f4", [9, 0], "raw", b"")}
    assert reason(parts(**lines, **other)) == "bad_compression"


@given(
    data=st.data(),
    values=st.sampled_from(FORMATS),
)
def test_flipped_bits_are_read_or_refused(data: st.DataObject, values: Values) -> None:
    body = encode_update(an_update(form(values)), codec="zstd").body
    sealed = open_update(body)
    assert sealed.inline is not None
    payload = bytearray(sealed.inline)
    for bit in data.draw(st.lists(st.integers(0, 8 * len(payload) - 1), min_size=1, max_size=6)):
        payload[bit // 8] ^= 1 << bit % 8
    lines = [list(entry) for entry in sealed.tensors]
    try:
        delta = decoded(forged(plain_header(bytes(payload), lines), bytes(payload))).delta
    except Undecodable:
        return
    assert delta.keys() == {"net", "table"}


words = st.sampled_from(["values", "rows", "scales"])
lines = st.tuples(
    st.sampled_from(["a", "b"]),
    words,
    st.sampled_from(["<f4", "<f2", "<u4", "|i1"]),
    st.lists(st.integers(0, 12), max_size=2),
    st.sampled_from(["raw", "zstd", "gaps", "base3", "base15"]),
    st.binary(max_size=40) | st.binary(max_size=60).map(frame),
)


@given(st.lists(lines, max_size=5))
def test_any_table_of_known_words_is_read_or_refused(drawn: list[Any]) -> None:
    table, payload = [], b""
    for name, part, dtype, shape, codec, data in drawn:
        payload += bytes(-len(payload) % 64)
        table.append([name, part, dtype, shape, len(payload), len(data), codec])
        payload += data
    try:
        decoded(forged(plain_header(payload, table), payload))
    except Undecodable:
        return
