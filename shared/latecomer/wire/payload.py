"""The tensors of an update: a table in the header, raw little-endian bytes in the payload.

Sizes are checked before they are believed, dtypes and codecs come from a list, and nothing is ever
unpickled. Uncompressed tensors are views into the payload: decoding copies nothing, it looks.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

from latecomer.errors import MessageTooLarge, Undecodable
from latecomer.tensors import Delta, TensorDelta
from latecomer.wire.header import ALIGNMENT_BYTES, MAX_TENSORS, whole

MAX_DIMENSIONS = 4

#: More than any model here has; numpy refuses huge shapes even where a side of 0 makes them empty.
MAX_ELEMENTS = 2**40

#: What a payload may be at all, inline or in the store.
MAX_PAYLOAD_BYTES = 256 * 1024 * 1024

DTYPES: Mapping[str, npt.DTypeLike] = {"<f4": "<f4", "<f2": "<f2", "<u4": "<u4"}

Codec = Literal["raw", "zstd"]
CODECS: tuple[Codec, ...] = ("raw", "zstd")

#: Level 1: float noise hardly compresses, and devices pay for every cycle.
ZSTD_LEVEL = 1


class TensorEntry(NamedTuple):
    """A line of the tensor table: where a tensor's ``part`` (``values`` or ``rows``) lies."""

    name: str
    part: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int
    codec: str

    def raw_bytes(self) -> int:
        """Size when decompressed, in Python integers that cannot overflow."""
        count = np.dtype(DTYPES[self.dtype]).itemsize
        for side in self.shape:
            count *= side
        return count


def pack_tensors(delta: Delta, codec: Codec) -> tuple[list[TensorEntry], bytes]:
    """The table and the payload.

    Raises:
        MessageTooLarge: One of them exceeds what any reader accepts.
    """
    table, chunks, offset = [], [], 0
    for name, part, array in _parts(delta):
        raw = np.asarray(array, array.dtype.newbyteorder("<"))
        data = raw.tobytes() if codec == "raw" else _compress(raw)
        gap = -offset % ALIGNMENT_BYTES
        offset += gap
        chunks += [bytes(gap), data]
        table.append(TensorEntry(name, part, raw.dtype.str, raw.shape, offset, len(data), codec))
        offset += len(data)
    if len(table) > MAX_TENSORS:
        raise MessageTooLarge(f"{len(table)} entries in the tensor table exceed {MAX_TENSORS}")
    if offset > MAX_PAYLOAD_BYTES:
        raise MessageTooLarge(f"a payload of {offset} bytes exceeds {MAX_PAYLOAD_BYTES}")
    return table, b"".join(chunks)


def read_table(raw: object, payload_bytes: int) -> tuple[TensorEntry, ...]:
    """The tensor table: known dtypes and codecs, ranges inside the payload, in order, disjoint."""
    if not isinstance(raw, list):
        raise Undecodable("bad_tensors", "no tensor table")
    table = tuple(_entry(line) for line in raw)
    end = 0
    for entry in table:
        if entry.offset < end or entry.offset % ALIGNMENT_BYTES:
            raise Undecodable("bad_tensors", f"{entry.name!r} overlaps or is not aligned")
        end = entry.offset + entry.size
    if len({(entry.name, entry.part) for entry in table}) < len(table):
        raise Undecodable("bad_tensors", "a tensor is there twice")
    if end > payload_bytes:
        raise Undecodable("bad_tensors", f"tensors end at {end}, the payload at {payload_bytes}")
    return table


def unpack_tensors(
    table: tuple[TensorEntry, ...], payload: memoryview, *, limit_bytes: int
) -> dict[str, TensorDelta]:
    """The delta that ``table`` describes, if it takes up at most ``limit_bytes``.

    Raises:
        Undecodable: Sizes or compressed frames are not what the table says.
    """
    total_bytes = sum(entry.raw_bytes() for entry in table)
    if total_bytes > limit_bytes:
        raise Undecodable("too_large", f"{total_bytes} bytes of tensors, allowed {limit_bytes}")
    parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for entry in table:
        parts.setdefault(entry.name, {})[entry.part] = _array(entry, payload)
    return {name: _delta(name, found) for name, found in parts.items()}


def _parts(delta: Delta) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    for name in sorted(delta):
        rows = delta[name].rows
        if rows is not None:
            yield name, "rows", rows
        yield name, "values", delta[name].values


def _compress(array: npt.NDArray[Any]) -> bytes:
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True)
    return compressor.compress(array.tobytes())


def _entry(line: object) -> TensorEntry:
    match line:
        case [str(name), "values" | "rows" as part, str(dtype), list(shape), *place]:
            pass
        case _:
            raise Undecodable("bad_tensors", "a line of the tensor table has another form")
    match place:
        case [int(offset), int(size), str(codec)] if whole(offset) and whole(size):
            pass
        case _:
            raise Undecodable("bad_tensors", f"{name!r} has no place in the payload")
    if dtype not in DTYPES or (part == "rows") is not (dtype == "<u4"):
        raise Undecodable("unknown_dtype", f"{name!r} {part} as {dtype!r}")
    if codec not in CODECS:
        raise Undecodable("unknown_codec", f"{name!r} in {codec[:40]!r}, known: {CODECS}")
    if len(shape) > MAX_DIMENSIONS or not all(whole(side) for side in shape):
        raise Undecodable("bad_tensors", f"{name!r} has an impossible shape")
    if math.prod(max(side, 1) for side in shape) > MAX_ELEMENTS:
        raise Undecodable("bad_tensors", f"{name!r} has an impossible shape")
    return TensorEntry(name, part, dtype, tuple(shape), offset, size, codec)


def _array(entry: TensorEntry, payload: memoryview) -> npt.NDArray[Any]:
    data = payload[entry.offset : entry.offset + entry.size]
    raw = data if entry.codec == "raw" else _decompress(entry, data)
    if len(raw) != entry.raw_bytes():
        raise Undecodable("bad_tensors", f"{entry.name!r} is {len(raw)} bytes for {entry.shape}")
    return np.frombuffer(raw, DTYPES[entry.dtype]).reshape(entry.shape)


def _decompress(entry: TensorEntry, data: memoryview) -> bytes:
    """Inflate one frame whose own header promises exactly the declared size.

    zstandard ignores ``max_output_size`` where the frame states its size, so the frame's word is
    checked before a byte is inflated.
    """
    expected = entry.raw_bytes()
    try:
        if zstandard.frame_content_size(data) != expected:
            raise Undecodable("bad_compression", f"{entry.name!r}: the frame's size differs")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=expected)
    except zstandard.ZstdError as error:
        raise Undecodable("bad_compression", f"{entry.name!r}: {error}") from error


def _delta(name: str, parts: dict[str, npt.NDArray[Any]]) -> TensorDelta:
    rows = parts.get("rows")
    if "values" not in parts or (rows is not None and rows.ndim != 1):
        raise Undecodable("bad_tensors", f"{name!r} has no values, or its rows are not a list")
    return TensorDelta(parts["values"], rows)
