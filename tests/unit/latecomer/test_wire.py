import json
import math
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from latecomer.errors import MessageTooLarge, Undecodable
from latecomer.events import RoundStarted, UpdateSubmitted, Version
from latecomer.tensors import Delta, Kind, Layout, TensorDelta, TensorSpec, content_address, digest
from latecomer.wire import (
    ALIGNMENT_BYTES,
    BIN32_BYTES,
    CODECS,
    MAX_DEPTH,
    MAX_HEADER_BYTES,
    MAX_INLINE_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_TENSORS,
    Codec,
    check_layout,
    decode_round,
    encode_round,
    encode_update,
    open_update,
    read_update,
)
from wire_scene import (
    LIMIT_BYTES,
    MANIFEST,
    Fields,
    an_update,
    decoded,
    forged,
    plain_header,
    reason,
    refusal,
)

# Plain messages, and messages as a stranger would write them.


def a_round(**fields: Any) -> RoundStarted:
    plain: Fields = {
        "federation": "retail",
        "cohort": "all",
        "version": Version(3, 17),
        "manifest": MANIFEST,
        "plan": {"passes": 2, "learning_rate": 0.02, "loss": "bpr", "warm": True},
        "max_staleness": 20,
        "spread_s": 1.5,
    }
    return RoundStarted.model_validate({**plain, **fields})


def small_delta() -> dict[str, TensorDelta]:
    return {
        "bias": TensorDelta(np.array([1.0, -2.0], np.float32)),
        "table": TensorDelta(
            np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), np.array([0, 7], np.uint32)
        ),
    }


def with_tensors(*lines: object, payload: bytes = bytes(256)) -> bytes:
    """An honest envelope around a tensor table that need not be."""
    return forged(plain_header(payload, list(lines)), payload)


def with_fields(**fields: object) -> bytes:
    return forged({**plain_header(b"", []), **fields}, b"")


def round_with(**fields: object) -> bytes:
    body = {"type": "round", **a_round().model_dump(by_alias=True), **fields}
    return bytes(msgpack.packb(body))


def assert_same(left: UpdateSubmitted, right: UpdateSubmitted) -> None:
    assert left.model_dump() == right.model_dump()
    assert left.delta.keys() == right.delta.keys()
    for name, change in left.delta.items():
        assert_same_array(change.values, right.delta[name].values)
        assert (change.rows is None) is (right.delta[name].rows is None)
        if change.rows is not None:
            assert_same_array(change.rows, right.delta[name].rows)


def assert_same_array(left: npt.NDArray[Any], right: npt.NDArray[Any] | None) -> None:
    assert right is not None
    assert left.dtype == right.dtype
    assert left.shape == right.shape
    assert left.tobytes() == right.tobytes()  # NaN is NaN here, whichever one it is


# Anything that can be said comes back.

names = st.text("abcdefghij.-_ é", min_size=1, max_size=12)
values = st.sampled_from(["<f4", "<f2"])


@st.composite
def tables(draw: st.DrawFn) -> TensorDelta:
    rows = draw(st.lists(st.integers(0, 2**32 - 1), unique=True, max_size=5).map(sorted))
    shape = (len(rows), draw(st.integers(1, 4)))
    return TensorDelta(draw(hnp.arrays(draw(values), shape)), np.array(rows, np.uint32))


@st.composite
def wholes(draw: st.DrawFn) -> TensorDelta:
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    return TensorDelta(draw(hnp.arrays(draw(values), shape)))


deltas = st.dictionaries(names, st.one_of(wholes(), tables()), max_size=4)
worker_names = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
counts = st.integers(0, 2**63)
numbers = st.integers(0, 2**53 - 1)
versions = st.builds(Version, numbers, numbers)
sums = st.dictionaries(
    st.text(max_size=8).filter(lambda region: region != "all"),
    st.dictionaries(st.text(max_size=8), st.floats(-3000, 3000), max_size=4).map(
        lambda means: means | {"users": 3.0}
    ),
    max_size=3,
)
plans = st.dictionaries(
    st.text(max_size=12),
    st.one_of(
        st.text(max_size=12),
        st.integers(-(2**63), 2**63),
        st.floats(allow_nan=False),
        st.booleans(),
    ),
    max_size=6,
)


@given(
    delta=deltas,
    worker=worker_names,
    base=versions,
    examples=st.integers(1, 2**53 - 1),
    sums=sums,
    codec=st.sampled_from(CODECS),
)
def test_any_update_comes_back_as_it_was(
    delta: Delta, worker: str, base: Version, examples: int, sums: Fields, codec: Codec
) -> None:
    event = an_update(delta, worker=worker, base=base, examples=examples, sums=sums)
    encoded = encode_update(event, codec=codec)
    assert encoded.detached is None
    assert_same(decoded(encoded.body), event)


@given(
    cohort=worker_names,
    version=versions,
    plan=plans,
    spread_s=st.floats(0, 1e6),
    max_staleness=counts,
)
def test_any_round_comes_back_as_it_was(
    cohort: str, version: Version, plan: Fields, spread_s: float, max_staleness: int
) -> None:
    event = a_round(
        cohort=cohort, version=version, plan=plan, spread_s=spread_s, max_staleness=max_staleness
    )
    back = decode_round(encode_round(event))
    assert back == event
    assert {key: type(value) for key, value in back.plan.items()} == {
        key: type(value) for key, value in plan.items()
    }


@pytest.mark.parametrize("codec", CODECS)
def test_an_update_that_changed_nothing_is_an_update(codec: Codec) -> None:
    assert decoded(encode_update(an_update(), codec=codec).body).delta == {}


def test_a_table_without_touched_rows_comes_back() -> None:
    delta = {"table": TensorDelta(np.empty((0, 8), np.float32), np.empty(0, np.uint32))}
    assert_same(decoded(encode_update(an_update(delta)).body), an_update(delta))


def test_a_tensor_without_dimensions_keeps_its_shape() -> None:
    delta = {"scale": TensorDelta(np.array(2.5, np.float32))}
    assert decoded(encode_update(an_update(delta)).body).delta["scale"].values.shape == ()


def test_arrays_in_foreign_orders_travel_as_little_endian_rows() -> None:
    square = np.arange(6, dtype=np.float32).reshape(2, 3)
    foreign = TensorDelta(np.asfortranarray(square).astype(">f4"))
    back = decoded(encode_update(an_update({"square": foreign})).body).delta["square"]
    assert back.values.dtype.str == "<f4"
    assert back.values.tolist() == square.tolist()


# The payload is looked at, not copied.


@given(sums=sums, delta=deltas)
def test_the_payload_starts_at_a_multiple_of_64_bytes(sums: Fields, delta: Delta) -> None:
    body = encode_update(an_update(delta, sums=sums)).body
    inline = open_update(body).inline
    assert inline is not None
    assert (len(body) - len(inline)) % ALIGNMENT_BYTES == 0


def test_uncompressed_tensors_share_the_memory_of_the_body() -> None:
    body = encode_update(an_update(small_delta())).body
    whole = np.frombuffer(body, np.uint8)
    for change in decoded(body).delta.values():
        assert np.shares_memory(whole, change.values)
        assert change.rows is None or np.shares_memory(whole, change.rows)


def test_every_tensor_starts_at_a_multiple_of_64_bytes() -> None:
    offsets = [
        entry.offset for entry in open_update(encode_update(an_update(small_delta())).body).tensors
    ]
    assert offsets == [0, 64, 128]


# More than 4 MiB wait in the store.


def test_a_payload_above_the_inline_limit_is_detached_and_read_back() -> None:
    delta = {"wide": TensorDelta(np.ones(MAX_INLINE_BYTES // 4 + 1, np.float32))}
    encoded = encode_update(an_update(delta))
    assert encoded.detached is not None
    assert len(encoded.body) < MAX_HEADER_BYTES
    sealed = open_update(encoded.body)
    assert (sealed.payload.at, sealed.inline) == ("store", None)
    assert sealed.payload.digest == content_address(encoded.detached)
    payload = memoryview(encoded.detached)
    assert_same(read_update(sealed, payload, limit_bytes=8 << 20), an_update(delta))


def test_no_two_updates_share_a_payload_in_the_store() -> None:
    """A worker that lost its file trains the same under another id."""
    delta = {"wide": TensorDelta(np.ones(MAX_INLINE_BYTES // 4 + 1, np.float32))}
    first = encode_update(an_update(delta)).detached
    again = encode_update(an_update(delta)).detached
    other = encode_update(an_update(delta).model_copy(update={"update_id": "w1:b2:1"})).detached
    assert first is not None
    assert other is not None
    assert first == again
    assert first[:-16] == other[:-16]
    assert first[-16:] != other[-16:]


def test_what_waits_in_the_store_is_named_with_its_worker() -> None:
    wide = {"wide": TensorDelta(np.ones(MAX_INLINE_BYTES // 4 + 1, np.float32))}
    encoded = encode_update(an_update(wide))
    sealed = open_update(encoded.body)
    assert sealed.staged == {(sealed.header.worker, content_address(encoded.detached or b""))}
    assert open_update(encode_update(an_update()).body).staged == frozenset()


def test_a_payload_of_exactly_the_inline_limit_travels_inside() -> None:
    delta = {"wide": TensorDelta(np.ones(MAX_INLINE_BYTES // 4, np.float32))}
    encoded = encode_update(an_update(delta))
    assert encoded.detached is None
    assert_same(decoded(encoded.body, limit_bytes=8 << 20), an_update(delta))


@pytest.mark.parametrize("damage", ["other", "shorter", "longer"])
def test_another_payload_than_the_one_that_was_staged_is_refused(damage: str) -> None:
    delta = {"wide": TensorDelta(np.ones(MAX_INLINE_BYTES // 4 + 1, np.float32))}
    encoded = encode_update(an_update(delta))
    staged = encoded.detached or b""
    payload = {"other": b"\x01" + staged[1:], "shorter": staged[:-1], "longer": staged + b"\x00"}
    sealed = open_update(encoded.body)
    assert (
        refusal(lambda: read_update(sealed, memoryview(payload[damage]), limit_bytes=8 << 20))
        == "bad_digest"
    )


# Strangers' bytes are read or refused, and nothing else.


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_as_updates_and_as_rounds(body: bytes) -> None:
    refusal(lambda: decoded(body))
    refusal(lambda: decode_round(body))


@pytest.mark.parametrize("codec", CODECS)
def test_a_message_cut_short_anywhere_is_refused(codec: Codec) -> None:
    body = encode_update(an_update(small_delta()), codec=codec).body
    for length in range(len(body)):
        refusal(lambda: decoded(body[:length]))  # noqa: B023 - called at once
    announcement = encode_round(a_round())
    for length in range(len(announcement)):
        refusal(lambda: decode_round(announcement[:length]))  # noqa: B023 - called at once


@given(data=st.data(), codec=st.sampled_from(CODECS))
def test_flipped_bits_are_read_or_refused(data: st.DataObject, codec: Codec) -> None:
    body = bytearray(encode_update(an_update(small_delta()), codec=codec).body)
    for bit in data.draw(st.lists(st.integers(0, 8 * len(body) - 1), min_size=1, max_size=6)):
        body[bit // 8] ^= 1 << bit % 8
    try:
        delta = decoded(bytes(body)).delta
    except Undecodable:
        return
    assert sum(change.values.nbytes for change in delta.values()) <= LIMIT_BYTES


def test_every_single_flipped_bit_of_the_payload_is_noticed() -> None:
    body = encode_update(an_update(small_delta())).body
    start = len(body) - open_update(body).payload.size
    for bit in range(8 * start, 8 * len(body)):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        assert reason(bytes(flipped)) == "bad_digest"


words = st.sampled_from(["values", "rows", "<f4", "<f2", "<u4", "raw", "zstd"])
integers = st.integers(-(2**63), 2**64 - 1)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    words,
)
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=10,
)
sides = st.one_of(st.integers(0, 3), st.sampled_from([2**31, 2**32 - 1, 2**32, 2**63]), anything)
table_lines = st.tuples(
    st.sampled_from(["a", "b"]),
    st.sampled_from(["values", "rows"]),
    st.sampled_from(["<f4", "<f2", "<u4"]),
    st.lists(sides, max_size=5),
    st.one_of(st.sampled_from([0, 64]), anything),
    st.one_of(st.integers(0, 64), anything),
    st.sampled_from(["raw", "zstd"]),
)


@given(
    key=st.sampled_from([*plain_header(b"", []), "extra"]),
    value=anything,
    lines=st.one_of(anything, st.lists(table_lines, max_size=3)),
)
def test_well_formed_nonsense_is_read_or_refused(key: str, value: object, lines: object) -> None:
    payload = bytes(128)
    try:
        decoded(forged({**plain_header(payload, lines), key: value}, payload))
    except Undecodable:
        return


@given(key=st.sampled_from([*a_round().model_dump(by_alias=True), "extra"]), value=anything)
def test_well_formed_nonsense_of_a_round_is_read_or_refused(key: str, value: object) -> None:
    try:
        decode_round(round_with(**{key: value}))
    except Undecodable:
        return


# Each limit by name.


def test_the_forger_of_these_tests_can_be_honest() -> None:
    ones = np.ones(4, np.float32)
    body = with_tensors(
        ["a", "values", "<f4", [4], 64, 16, "raw"], payload=bytes(64) + ones.tobytes()
    )
    assert decoded(body).delta["a"].values.tolist() == [1.0] * 4


def test_a_header_above_8_kb_is_refused() -> None:
    assert reason(with_fields(padding=["x" * 1000] * 9)) == "malformed"
    assert refusal(lambda: decode_round(round_with(padding=["x" * 1000] * 9))) == "too_large"


def test_a_body_above_12_mib_is_refused_whatever_its_header_says() -> None:
    payload = bytes(12 << 20)
    assert reason(forged(plain_header(payload, []), payload)) == "too_large"


def test_the_longest_names_that_a_header_takes_are_read_in_any_alphabet() -> None:
    """A site's regions have up to 80 characters, of four bytes each at most."""
    sums = {"\U00020000" * 80: {"users": 2.0}}
    assert decoded(encode_update(an_update(sums=sums)).body).sums == sums


def test_a_header_above_8_kb_is_not_written() -> None:
    regions = {
        f"{'region' * 80} {n}": {"users": 1.0} | {f"some metric {m}": 0.5 for m in range(15)}
        for n in range(16)
    }
    with pytest.raises(MessageTooLarge, match="a header of"):
        encode_update(an_update(sums=regions))
    with pytest.raises(MessageTooLarge):
        encode_round(a_round(plan={"note": "x" * MAX_HEADER_BYTES}))


def test_more_tensors_than_a_reader_accepts_are_not_written() -> None:
    one = TensorDelta(np.ones(1, np.float32))
    full = {str(n): one for n in range(MAX_TENSORS)}
    assert len(decoded(encode_update(an_update(full, sums={})).body).delta) == MAX_TENSORS
    with pytest.raises(MessageTooLarge, match="129"):
        encode_update(an_update({**full, "one more": one}, sums={}))


def layout_of(count: int, *, kind: Kind = Kind.DENSE, name: str = "") -> Layout:
    return Layout(tuple(TensorSpec(f"{name}{n}", kind, (2, 2)) for n in range(count)))


@pytest.mark.parametrize(
    ("kind", "coded", "most"),
    [
        (Kind.DENSE, False, MAX_TENSORS),
        (Kind.DENSE, True, MAX_TENSORS // 2),
        (Kind.ROWS, False, MAX_TENSORS // 2),
        (Kind.ROWS, True, MAX_TENSORS // 3),
        (Kind.SUM, True, MAX_TENSORS // 2),
    ],
)
def test_a_layout_is_as_long_as_its_longest_table(kind: Kind, coded: bool, most: int) -> None:
    check_layout(layout_of(most, kind=kind), coded=coded)
    with pytest.raises(MessageTooLarge, match="entries in the tensor table exceed 128"):
        check_layout(layout_of(most + 1, kind=kind), coded=coded)


def test_what_no_update_carries_takes_no_room_in_a_table() -> None:
    check_layout(layout_of(10 * MAX_TENSORS, kind=Kind.DERIVED), coded=True)


def test_long_names_leave_room_for_fewer_tensors() -> None:
    with pytest.raises(MessageTooLarge, match="a header of"):
        check_layout(layout_of(100, name="x" * 60), coded=False)


def test_a_layout_that_passes_can_be_sent_with_all_that_it_has() -> None:
    layout = layout_of(90, name="a.tensor.of.some.length.")
    check_layout(layout, coded=False)
    everything = {spec.name: TensorDelta(np.ones(spec.shape, np.float32)) for spec in layout}
    assert len(decoded(encode_update(an_update(everything)).body).delta) == 90


def test_the_longest_layout_that_passes_leaves_room_for_long_names_and_a_region() -> None:
    most = 0
    while passes(layout_of(most + 1, name="x" * 60)):
        most += 1
    delta = {
        spec.name: TensorDelta(np.ones(spec.shape, np.float32))
        for spec in layout_of(most, name="x" * 60)
    }
    name = "w" * 40
    ids = {"federation": name, "worker": name, "update_id": f"{name}:{'b' * 40}:{'1' * 38}"}
    sums = {"r" * 80: {"users": 3.0} | {f"metric{n}@10": 0.5 for n in range(15)}}
    assert len(decoded(encode_update(an_update(delta, sums=sums, **ids)).body).delta) == most


def passes(layout: Layout) -> bool:
    try:
        check_layout(layout, coded=False)
    except MessageTooLarge:
        return False
    return True


def nested(levels: int) -> object:
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


def test_what_nests_too_deep_is_refused() -> None:
    assert decoded(with_fields(extra=nested(MAX_DEPTH - 1))).delta == {}
    assert reason(with_fields(extra=nested(MAX_DEPTH))) == "malformed"


@pytest.mark.parametrize("levels", [100, 400, 1000, 1024, 8000])
@pytest.mark.parametrize("level", [b"\x91", b"\x81\xa0"])
def test_a_nest_that_would_exhaust_the_stack_is_refused(levels: int, level: bytes) -> None:
    bomb = b"\x81\xa1a" + level * levels + b"\xc0"
    assert reason(bomb) in {"malformed", "too_large"}
    assert refusal(lambda: decode_round(bomb)) in {"malformed", "too_large"}


@pytest.mark.parametrize(
    "lie",
    [
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x81\xdb\xff\xff\xff\xff",
        b"\x81\xa1a\xc6\xff\xff\xff\xff",
        b"\x81\xa1a\xdd\xff\xff\xff\xff",
    ],
    ids=["map", "array", "key", "bin", "array inside"],
)
def test_a_length_that_lies_is_refused_before_it_is_believed(lie: bytes) -> None:
    assert reason(lie) == "malformed"
    assert refusal(lambda: decode_round(lie)) == "malformed"


def test_what_is_no_map_is_refused() -> None:
    for body in (b"\x01", b"\x90", b"\xc0", b"\xa5hello"):
        assert reason(body) == "malformed"


@pytest.mark.parametrize("extension", [msgpack.ExtType(5, b"x"), msgpack.Timestamp(0, 0)])
def test_extension_types_are_refused(extension: object) -> None:
    assert reason(with_fields(extra=extension)) == "malformed"


def test_text_that_is_not_utf_8_is_refused() -> None:
    body = encode_update(an_update(federation="retail")).body.replace(b"retail", b"ret\xffil")
    assert reason(body) == "malformed"


def test_a_round_is_no_update_and_an_update_no_round() -> None:
    assert reason(encode_round(a_round())) == "wrong_type"
    assert refusal(lambda: decode_round(encode_update(an_update()).body)) == "wrong_type"


@pytest.mark.parametrize("schema", [0, 2, 99, -1, True, 1.0, "1", None, [1]])
def test_an_unknown_schema_is_refused_by_name(schema: object) -> None:
    assert reason(with_fields(schema=schema)) == "unknown_schema"
    assert refusal(lambda: decode_round(round_with(schema=schema))) == "unknown_schema"


def test_keys_that_a_newer_release_adds_are_ignored() -> None:
    plain = an_update().model_dump()
    assert decoded(with_fields(sums=plain["sums"], layout=plain["layout"], mood={"today": "fine"}))
    assert decode_round(round_with(mood=["fine"])) == a_round()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("federation", "a.b"),
        ("federation", "retail\n"),
        ("worker", "*"),
        ("worker", "x" * 41),
        ("update_id", "uk-1:42"),
        ("update_id", "uk-1:b:" + "1" * 120),
        ("base", [3]),
        ("base", [3, 17, 1]),
        ("base", [True, False]),
        ("base", [3, -1]),
        ("base", [-3, 17]),
        ("base", [3, 2**53]),
        ("base", [2**53, 17]),
        ("base", ["3", "17"]),
        ("layout", "abc"),
        ("examples", 0),
        ("examples", 2**53),
        ("examples", True),
        ("examples", "120"),
        ("examples", 120.0),
        ("steps", -1),
        ("steps", False),
        ("sums", {"everywhere": {"users": math.nan}}),
        ("sums", {"everywhere": {"users": math.inf}}),
        ("sums", {"everywhere": {"ndcg@10": 0.5}}),
        ("sums", {"everywhere": {"users": 1e16}}),
        ("sums", {"everywhere": {"users": -5.0}}),
        ("sums", {"everywhere": {"users": 0.5}}),
        ("sums", {"everywhere": {"users": 1e-300, "ndcg@10": 1.0}}),
        ("sums", {"everywhere": {"users": 2.0, "ndcg@10": 2001.0}}),
        ("sums", {"everywhere": {"users": 0.0, "ndcg@10": 0.5}}),
        ("sums", {"all": {"users": 1.0}}),
        ("sums", {str(n): {"users": 1.0} for n in range(17)}),
        ("sums", {"everywhere": {"users": 1.0} | {str(n): 0.0 for n in range(16)}}),
        ("payload", None),
        ("payload", {"at": "elsewhere", "bytes": 0, "digest": MANIFEST}),
        ("payload", {"at": "store", "bytes": -1, "digest": MANIFEST}),
        ("payload", {"at": "store", "bytes": MAX_PAYLOAD_BYTES + 1, "digest": MANIFEST}),
        ("payload", {"at": "store", "bytes": True, "digest": MANIFEST}),
        ("payload", {"at": "store", "bytes": 0, "digest": "../../etc/passwd"}),
    ],
)
def test_a_header_with_an_impossible_value_is_refused(field: str, value: object) -> None:
    assert reason(with_fields(**{field: value})) == "bad_header"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cohort", "a.b"),
        ("version", [True, False]),
        ("version", [3, -1]),
        ("version", [3, 2**53]),
        ("manifest", "xyz"),
        ("max_staleness", -1),
        ("max_staleness", True),
        ("spread_s", -0.1),
        ("spread_s", math.inf),
        ("plan", {"nested": {"deep": 1}}),
        ("plan", [1]),
    ],
)
def test_a_round_with_an_impossible_value_is_refused(field: str, value: object) -> None:
    assert refusal(lambda: decode_round(round_with(**{field: value}))) == "bad_header"


@pytest.mark.parametrize(
    "missing", ["worker", "update_id", "base", "layout", "examples", "payload"]
)
def test_a_header_without_a_required_value_is_refused(missing: str) -> None:
    header = plain_header(b"", [])
    del header[missing]
    assert reason(forged(header, b"")) == "bad_header"


@pytest.mark.parametrize("codec", ["lz4", "", "RAW", "zstd "])
def test_an_unknown_codec_is_refused_by_name(codec: str) -> None:
    assert reason(with_tensors(["a", "values", "<f4", [1], 0, 4, codec])) == "unknown_codec"


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "O", "<i4", "", "V4", "float32", "<u4"])
def test_an_unknown_dtype_is_refused_by_name(dtype: str) -> None:
    assert reason(with_tensors(["a", "values", dtype, [1], 0, 4, "raw"])) == "unknown_dtype"


def test_rows_are_numbers_of_rows_and_nothing_else() -> None:
    assert reason(with_tensors(["a", "rows", "<f4", [1], 0, 4, "raw"])) == "unknown_dtype"


@pytest.mark.parametrize(
    "shape",
    [
        [-1],
        [-1, -1],
        [2**32],
        [2**63],
        [2**31, 2**31, 2**31],
        [0, 2**31, 2**31],
        [0, 2**31, 2**31, 2**31],
        [1, 1, 1, 1, 1],
        [True],
        [1.0],
        ["1"],
        [None],
        [[1]],
    ],
)
def test_an_impossible_shape_is_refused(shape: list[object]) -> None:
    size = 0 if 0 in shape else 4
    assert reason(with_tensors(["a", "values", "<f4", shape, 0, size, "raw"])) == "bad_tensors"


def test_a_shape_above_the_limit_is_refused_before_anything_is_allocated() -> None:
    line = ["a", "values", "<f4", [2**32 - 1], 0, 4, "raw"]
    assert reason(with_tensors(line)) == "too_large"


@pytest.mark.parametrize(
    ("offset", "size"),
    [(-64, 4), (0, -4), (1, 4), (63, 4), (256, 4), (192, 128), (2**32, 4), (2**63, 4), (0, 2**63)],
)
def test_a_tensor_that_is_not_inside_the_payload_is_refused(offset: int, size: int) -> None:
    assert reason(with_tensors(["a", "values", "<f4", [1], offset, size, "raw"])) == "bad_tensors"


@pytest.mark.parametrize(("offset", "size"), [(False, 4), (0, True), ("0", 4), (0.0, 4), (None, 4)])
def test_a_place_that_is_no_number_is_refused(offset: object, size: object) -> None:
    assert reason(with_tensors(["a", "values", "<f4", [1], offset, size, "raw"])) == "bad_tensors"


@pytest.mark.parametrize("second", [0, 64])
def test_tensors_that_overlap_or_go_backwards_are_refused(second: int) -> None:
    first = ["a", "values", "<f4", [20], 0 if second else 64, 80, "raw"]
    assert (
        reason(with_tensors(first, ["b", "values", "<f4", [1], second, 4, "raw"])) == "bad_tensors"
    )


@pytest.mark.parametrize("part", ["values", "rows"])
def test_a_tensor_that_is_there_twice_is_refused(part: str) -> None:
    dtype = "<f4" if part == "values" else "<u4"
    lines = [["a", part, dtype, [1], offset, 4, "raw"] for offset in (0, 64)]
    assert reason(with_tensors(*lines, ["a", "values", "<f4", [1], 128, 4, "raw"])) == "bad_tensors"


@pytest.mark.parametrize(
    "line",
    [
        None,
        [],
        {"name": "a"},
        ["a", "values", "<f4", [1], 0, 4],
        ["a", "values", "<f4", [1], 0, 4, "raw", "more"],
        ["a", "columns", "<f4", [1], 0, 4, "raw"],
        [1, "values", "<f4", [1], 0, 4, "raw"],
        ["a", "values", "<f4", 1, 0, 4, "raw"],
        [b"a", "values", "<f4", [1], 0, 4, "raw"],
    ],
)
def test_a_line_of_another_form_is_refused(line: object) -> None:
    assert reason(with_tensors(line)) == "bad_tensors"


@pytest.mark.parametrize("table", [None, {}, "", 7])
def test_a_header_without_a_tensor_table_is_refused(table: object) -> None:
    assert reason(forged(plain_header(b"", table), b"")) == "bad_tensors"


def test_bytes_that_do_not_fill_their_shape_are_refused() -> None:
    assert reason(with_tensors(["a", "values", "<f4", [2], 0, 4, "raw"])) == "bad_tensors"
    assert reason(with_tensors(["a", "values", "<f4", [1], 0, 8, "raw"])) == "bad_tensors"


def test_rows_without_values_and_rows_in_a_square_are_refused() -> None:
    rows = ["a", "rows", "<u4", [1], 0, 4, "raw"]
    square = ["a", "rows", "<u4", [1, 1], 0, 4, "raw"]
    assert reason(with_tensors(rows)) == "bad_tensors"
    assert (
        reason(with_tensors(square, ["a", "values", "<f4", [1, 1], 64, 4, "raw"])) == "bad_tensors"
    )


def test_a_payload_of_another_length_than_its_tag_says_is_refused() -> None:
    body = encode_update(an_update(small_delta())).body
    size = open_update(body).payload.size
    tag = len(body) - size - BIN32_BYTES
    for lie in (0, size - 1, size + 1, 2**32 - 1):
        assert reason(body[: tag + 1] + lie.to_bytes(4, "big") + body[tag + 5 :]) == "truncated"
    assert reason(body + b"\x00") == "truncated"
    assert reason(body[:tag] + b"\xc5" + body[tag + 1 :]) == "truncated"


def test_a_payload_of_another_length_than_its_header_says_is_refused() -> None:
    header = plain_header(bytes(64), [])
    assert reason(forged(header, bytes(65))) == "truncated"


def test_a_wrong_digest_is_refused() -> None:
    header = plain_header(bytes(64), [])
    assert reason(forged(header, b"\x01" + bytes(63))) == "bad_digest"


#: XXH3-64 of nothing and of 64 zeros, as the reference implementation prints them.
XXH3_OF_NOTHING = "2d06800538d394c2"
XXH3_OF_64_ZEROS = "2ffb6918c12c256e"


def checked(payload: bytes, **place: object) -> bytes:
    """An honest envelope whose ``payload`` says more than it must."""
    header = plain_header(payload, [])
    return forged({**header, "payload": header["payload"] | place}, payload)


def test_a_checksum_is_xxh3_of_64_bits_with_seed_0() -> None:
    assert decoded(checked(b"", xxh3=XXH3_OF_NOTHING)).delta == {}
    assert decoded(checked(bytes(64), xxh3=XXH3_OF_64_ZEROS)).delta == {}


def test_a_wrong_checksum_is_refused_whatever_the_digest() -> None:
    assert reason(checked(bytes(64), xxh3=XXH3_OF_NOTHING)) == "bad_digest"


def test_whoever_sends_no_checksum_is_checked_by_the_digest() -> None:
    assert decoded(checked(bytes(64), xxh3=None)).delta == {}
    assert reason(checked(bytes(64), xxh3=None, digest=MANIFEST)) == "bad_digest"


def test_where_there_is_a_checksum_the_digest_is_but_a_name() -> None:
    assert decoded(checked(bytes(64), xxh3=XXH3_OF_64_ZEROS, digest=MANIFEST)).delta == {}


def test_a_staged_payload_is_checked_by_its_digest_whatever_else_is_said() -> None:
    staged = plain_header(bytes(64), [])
    place = {"at": "store", "xxh3": XXH3_OF_64_ZEROS, "digest": MANIFEST}
    sealed = open_update(bytes(msgpack.packb({**staged, "payload": staged["payload"] | place})))
    assert (
        refusal(lambda: read_update(sealed, memoryview(bytes(64)), limit_bytes=64)) == "bad_digest"
    )


@pytest.mark.parametrize("xxh3", ["", "2D06800538D394C2", XXH3_OF_NOTHING * 2, 7, True, []])
def test_a_checksum_of_another_form_is_refused(xxh3: object) -> None:
    assert reason(checked(b"", xxh3=xxh3)) == "bad_header"


def test_only_inline_payloads_are_written_with_a_checksum() -> None:
    wide = TensorDelta(np.ones(MAX_INLINE_BYTES // 4 + 1, np.float32))
    assert open_update(encode_update(an_update({"wide": wide})).body).payload.xxh3 is None
    assert open_update(encode_update(an_update()).body).payload.xxh3 == XXH3_OF_NOTHING


# Compressed bytes are measured before they are inflated.


def compressed(data: bytes, *, shape: list[int], sized: bool = True) -> bytes:
    frame = zstandard.ZstdCompressor(write_content_size=sized).compress(data)
    line = ["a", "values", "<f4", shape, 0, len(frame), "zstd"]
    return with_tensors(line, payload=frame)


def test_what_an_honest_compressor_wrote_is_read() -> None:
    assert decoded(compressed(bytes(400), shape=[100])).delta["a"].values.tolist() == [0.0] * 100


def test_a_small_frame_that_would_inflate_beyond_the_limit_is_refused() -> None:
    bomb = compressed(bytes(64 << 20), shape=[16 << 20])
    assert len(bomb) < MAX_HEADER_BYTES
    assert reason(bomb) == "too_large"


@pytest.mark.parametrize("elements", [1, 99, 101])
def test_a_frame_of_another_size_than_its_shape_is_refused(elements: int) -> None:
    assert reason(compressed(bytes(400), shape=[elements])) == "bad_compression"


def test_a_frame_that_does_not_say_its_size_is_refused() -> None:
    assert reason(compressed(bytes(400), shape=[100], sized=False)) == "bad_compression"


def test_a_frame_that_inflates_to_less_than_it_says_is_refused() -> None:
    small = zstandard.ZstdCompressor(write_checksum=False).compress(bytes(100))
    large = zstandard.ZstdCompressor(write_checksum=False).compress(bytes(200))
    assert small[:5] == large[:5]  # magic and descriptor; the next byte is the size
    frame = large[:6] + small[6:]
    line = ["a", "values", "<f4", [50], 0, len(frame), "zstd"]
    assert reason(with_tensors(line, payload=frame)) == "bad_compression"


@pytest.mark.parametrize("junk", [b"", b"\x28\xb5\x2f\xfd", b"not a frame at all", bytes(64)])
def test_what_is_no_frame_is_refused(junk: bytes) -> None:
    line = ["a", "values", "<f4", [1], 0, len(junk), "zstd"]
    assert reason(with_tensors(line, payload=junk)) == "bad_compression"


def test_the_limit_is_on_all_tensors_together() -> None:
    body = encode_update(an_update(small_delta())).body
    total = 2 * 4 + 4 * 4 + 2 * 4
    assert decoded(body, limit_bytes=total).delta.keys() == {"bias", "table"}
    assert reason(body, limit_bytes=total - 1) == "too_large"


def test_a_refusal_says_what_was_wrong() -> None:
    with pytest.raises(Undecodable, match=r"unknown_codec: 'a' in 'lz4', known: \('raw', 'zstd'\)"):
        open_update(with_tensors(["a", "values", "<f4", [1], 0, 4, "lz4"]))
    with pytest.raises(Undecodable, match="unknown_schema: schema 2, known: 1"):
        open_update(with_fields(schema=2))
    with pytest.raises(Undecodable, match="bad_header: examples: "):
        open_update(with_fields(examples=0))


def test_a_header_is_plain_msgpack_that_any_language_reads() -> None:
    body = encode_update(an_update(small_delta())).body
    unpacker = msgpack.Unpacker()
    unpacker.feed(body)
    header, payload = list(unpacker)
    assert header["base"] == [3, 17]
    assert header["tensors"][0] == ["bias", "values", "<f4", [2], 0, 8, "raw"]
    assert header["payload"]["digest"] == digest(payload)
    assert json.dumps({key: value for key, value in header.items() if key != "pad"})
