"""The tensors of an update: a table in the header, little-endian bytes in the payload.

Sizes are checked before they are believed, dtypes and codecs come from a list, and nothing is ever
unpickled. Uncompressed floats are views into the payload: decoding copies nothing, it looks. Codes
become float32 here, so that nobody behind the wire needs to know of them.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter, ValidationError

from latecomer.codecs import CodedDelta, dequantised, fits
from latecomer.errors import MessageTooLarge, Undecodable
from latecomer.tensors import DIGEST_BYTES, Delta, Kind, Layout, TensorDelta, TensorSpec
from latecomer.validation import first_problem
from latecomer.wire import frames
from latecomer.wire.header import ALIGNMENT_BYTES, MAX_TENSORS

MAX_DIMENSIONS = 4

#: More than any model here has; numpy refuses huge shapes even where a side of 0 makes them empty.
MAX_ELEMENTS = 2**40

#: What a payload may be at all, inline or in the store.
MAX_PAYLOAD_BYTES = 256 * 1024 * 1024

#: Room that is left behind the tensors; ``messages`` marks there whose a payload is.
MARK_BYTES = DIGEST_BYTES

CODES = "|i1"

Part = Literal["values", "rows", "scales"]

#: What each part of a tensor may be.
DTYPES: Mapping[Part, tuple[str, ...]] = {
    "values": ("<f4", "<f2", CODES),
    "rows": ("<u4",),
    "scales": ("<f2",),
}

ITEM_BYTES: Mapping[str, int] = {"<f4": 4, "<f2": 2, "<u4": 4, CODES: 1}

#: How a whole update is written: as it is, or every part by the best codec that there is for it.
Codec = Literal["raw", "zstd"]
CODECS: tuple[Codec, ...] = ("raw", "zstd")

GAPS = "gaps"

#: Codecs of codes, by the base of their digits.
BASES: Mapping[str, int] = {f"base{base}": base for base in frames.DIGITS}


#: Strict: True is not 1, and bytes are no name.
Counted = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Text = Annotated[str, Field(strict=True)]


class TensorEntry(NamedTuple):
    """A line of the tensor table: where a ``part`` (values, rows or scales) of a tensor lies."""

    name: Text
    part: Part
    dtype: Text
    shape: Annotated[tuple[Counted, ...], Field(max_length=MAX_DIMENSIONS)]
    offset: Counted
    size: Counted
    codec: Text

    @property
    def elements(self) -> int:
        """Number of elements, in Python integers that cannot overflow."""
        return math.prod(self.shape)

    def raw_bytes(self) -> int:
        """Size when decompressed."""
        if self.codec in BASES:
            return frames.packed_bytes(self.elements, BASES[self.codec])
        return ITEM_BYTES[self.dtype] * self.elements

    def delta_bytes(self) -> int:
        """Size in the delta: a code becomes a float32, and scales are gone, of which are fewer."""
        if self.part == "scales":
            return 0
        return ITEM_BYTES["<f4" if self.dtype == CODES else self.dtype] * self.elements


TABLE = TypeAdapter(tuple[TensorEntry, ...])


def pack_tensors(delta: Delta, codec: Codec) -> tuple[list[TensorEntry], bytes]:
    """The table and the payload.

    Raises:
        MessageTooLarge: One of them exceeds what any reader accepts.
    """
    table, chunks, offset = [], [], 0
    for name, part, array, best in _parts(delta):
        raw = np.asarray(array, array.dtype.newbyteorder("<"))
        chosen = codec if codec == "raw" else best
        data = _written(raw, chosen)
        gap = -offset % ALIGNMENT_BYTES
        offset += gap
        chunks += [bytes(gap), data]
        table.append(TensorEntry(name, part, raw.dtype.str, raw.shape, offset, len(data), chosen))
        offset += len(data)
    check_length(table)
    if offset + MARK_BYTES > MAX_PAYLOAD_BYTES:
        raise MessageTooLarge(f"a payload of {offset} bytes exceeds {MAX_PAYLOAD_BYTES}")
    return table, b"".join(chunks)


def longest_table(layout: Layout, *, coded: bool) -> list[TensorEntry]:
    """The table of an update that changes every value of ``layout``; no other has more entries.

    Args:
        layout: The model's.
        coded: Whether values may be codes, which come with scales.
    """
    table, offset = [], 0
    for spec in layout:
        for part, dtype, shape in _whole(spec, coded=coded):
            size = ITEM_BYTES[dtype] * math.prod(shape)
            table.append(TensorEntry(spec.name, part, dtype, shape, offset, size, "zstd"))
            offset += size + -size % ALIGNMENT_BYTES
    return table


def check_length(table: list[TensorEntry]) -> None:
    """Pass if any reader accepts so many entries.

    Raises:
        MessageTooLarge: None does.
    """
    if len(table) > MAX_TENSORS:
        raise MessageTooLarge(f"{len(table)} entries in the tensor table exceed {MAX_TENSORS}")


def read_table(raw: object, payload_bytes: int) -> tuple[TensorEntry, ...]:
    """The tensor table: known dtypes and codecs, ranges inside the payload, in order, disjoint."""
    try:
        table = tuple(_checked(entry) for entry in TABLE.validate_python(raw))
    except ValidationError as error:
        raise Undecodable("bad_tensors", f"tensor table: {first_problem(error)}") from error
    end = 0
    for entry in table:
        if entry.offset < end or entry.offset % ALIGNMENT_BYTES:
            raise Undecodable("bad_tensors", f"{entry.name!r} overlaps or is not aligned")
        end = entry.offset + entry.size
    if len({(entry.name, entry.part) for entry in table}) < len(table):
        raise Undecodable("bad_tensors", "a tensor is there twice")
    if end > payload_bytes:
        raise Undecodable("bad_tensors", f"tensors end at {end}, the payload at {payload_bytes}")
    _check_scales(table)
    return table


def unpack_tensors(
    table: tuple[TensorEntry, ...], payload: memoryview, *, limit_bytes: int
) -> dict[str, TensorDelta]:
    """The delta that ``table`` describes, if it takes up at most ``limit_bytes``.

    Raises:
        Undecodable: Sizes or compressed frames are not what the table says.
    """
    total_bytes = sum(entry.delta_bytes() for entry in table)
    if total_bytes > limit_bytes:
        raise Undecodable("too_large", f"{total_bytes} bytes of tensors, allowed {limit_bytes}")
    parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for entry in table:
        parts.setdefault(entry.name, {})[entry.part] = _array(entry, payload)
    return {name: _delta(name, found) for name, found in parts.items()}


def _whole(spec: TensorSpec, *, coded: bool) -> Iterator[tuple[Part, str, tuple[int, ...]]]:
    """Part, dtype and shape of what an update may carry of a tensor."""
    if spec.kind is Kind.DERIVED:
        return
    if spec.kind is not Kind.DENSE and len(spec.shape) == 2:  # noqa: PLR2004 - (rows, width)
        yield "rows", "<u4", spec.shape[:1]
    if coded and spec.kind is not Kind.SUM:
        yield "scales", "<f2", (spec.size,)
    yield "values", "<f4", spec.shape


def _parts(delta: Delta) -> Iterator[tuple[str, Part, npt.NDArray[Any], str]]:
    """Name, part, array, and the codec that is best for it."""
    for name, change in sorted(delta.items()):
        if change.rows is not None:
            yield name, "rows", change.rows, GAPS
        if isinstance(change, CodedDelta):
            base = f"base{2 * change.levels + 1}"
            yield name, "scales", change.scales, "zstd"
            yield name, "values", change.codes, base if base in BASES else "zstd"
        else:
            yield name, "values", change.values, "zstd"


def _written(array: npt.NDArray[Any], codec: str) -> bytes:
    if codec == "raw":
        return array.tobytes()
    if codec == GAPS:
        return frames.compressed(frames.gaps(array))
    if codec in BASES:
        return frames.compressed(frames.packed(array, BASES[codec]))
    return frames.compressed(array.tobytes())


def _check_scales(table: tuple[TensorEntry, ...]) -> None:
    """Codes come with scales, fewer than they are; nothing else does."""
    codes = {entry.name: entry for entry in table if entry.dtype == CODES}
    scales = {entry.name: entry for entry in table if entry.part == "scales"}
    for name in scales.keys() ^ codes.keys():
        raise Undecodable("bad_tensors", f"{name!r} has codes or scales, but not both")
    for name, entry in codes.items():
        if len(scales[name].shape) != 1 or not fits(entry.elements, scales[name].elements):
            raise Undecodable("bad_tensors", f"{name!r} has codes and no scales for them")


def _checked(entry: TensorEntry) -> TensorEntry:
    """Pass if it is of a dtype, codec and shape that there is."""
    name, dtype, codec = entry.name, entry.dtype, entry.codec
    if dtype not in DTYPES[entry.part]:
        raise Undecodable("unknown_dtype", f"{name!r} {entry.part} as {dtype!r}")
    if codec not in (known := _codecs(entry.part, dtype)):
        raise Undecodable("unknown_codec", f"{name!r} in {codec[:40]!r}, known: {known}")
    if math.prod(max(side, 1) for side in entry.shape) > MAX_ELEMENTS:
        raise Undecodable("bad_tensors", f"{name!r} has an impossible shape")
    return entry


def _codecs(part: Part, dtype: str) -> tuple[str, ...]:
    if part == "rows":
        return (*CODECS, GAPS)
    return (*CODECS, *BASES) if dtype == CODES else CODECS


def _array(entry: TensorEntry, payload: memoryview) -> npt.NDArray[Any]:
    data = payload[entry.offset : entry.offset + entry.size]
    if entry.codec == "raw":
        raw: bytes | memoryview = data
    else:
        raw = frames.decompressed(data, entry.raw_bytes(), entry.name)
    if len(raw) != entry.raw_bytes():
        raise Undecodable("bad_tensors", f"{entry.name!r} is {len(raw)} bytes for {entry.shape}")
    return _read(entry, raw).reshape(entry.shape)


def _read(entry: TensorEntry, raw: bytes | memoryview) -> npt.NDArray[Any]:
    if entry.codec == GAPS:
        return frames.rows_from_gaps(bytes(raw), entry.name)
    if entry.codec in BASES:
        return frames.unpacked(bytes(raw), entry.elements, BASES[entry.codec], entry.name)
    return np.frombuffer(raw, entry.dtype)


def _delta(name: str, parts: dict[str, npt.NDArray[Any]]) -> TensorDelta:
    rows, values = parts.get("rows"), parts.get("values")
    if values is None or (rows is not None and rows.ndim != 1):
        raise Undecodable("bad_tensors", f"{name!r} has no values, or its rows are not a list")
    if "scales" in parts:
        return TensorDelta(dequantised(values, parts["scales"]), rows)
    return TensorDelta(values, rows)
