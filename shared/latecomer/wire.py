"""Events to bytes and back. The only importer of msgpack.

A round is one msgpack map. An update is a msgpack map (the header), followed by one msgpack ``bin``
(the payload) with the raw little-endian bytes of its tensors. The header is padded so that the
payload starts at a multiple of 64 bytes: decoding copies nothing, it looks. ARCHITECTURE.md
documents every field and shows one update in hex.

Everything here reads bytes from strangers: sizes are checked before they are believed, dtypes and
codecs come from a list, and nothing is ever unpickled.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgpack
import numpy as np
import numpy.typing as npt
import zstandard
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latecomer.errors import MessageTooLarge, Undecodable
from latecomer.events import Digest, RoundStarted, UpdateHeader, UpdateSubmitted, Whole
from latecomer.tensors import Delta, TensorDelta, digest

#: The schema this code writes, and the only one it reads so far.
SCHEMA = 1

#: A header is facts, not data.
MAX_HEADER_BYTES = 8 * 1024
MAX_DEPTH = 6
MAX_TENSORS = 128
MAX_DIMENSIONS = 4

#: More than any model here has; numpy refuses huge shapes even where a side of 0 makes them empty.
MAX_ELEMENTS = 2**40

#: Up to here a payload travels inside the message; above it waits in the store (claim check).
MAX_INLINE_BYTES = 4 * 1024 * 1024

#: RabbitMQ >= 4.0 refuses 16 MiB and more; nothing larger than this is an update, whoever sent it.
MAX_BODY_BYTES = 12 * 1024 * 1024

#: What a payload may be at all, inline or in the store.
MAX_PAYLOAD_BYTES = 256 * 1024 * 1024

#: Cache lines and SIMD loads; numpy then reports the views as aligned.
ALIGNMENT_BYTES = 64

#: Tag byte and 4-byte length of a msgpack bin32.
BIN32_BYTES = 5

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


class Payload(BaseModel):
    """Where the payload is: ``inline``, or in the ``store`` under its digest."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: Literal["inline", "store"]
    size: Whole = Field(alias="bytes", ge=0, le=MAX_PAYLOAD_BYTES)
    digest: Digest


@dataclass(frozen=True, slots=True)
class EncodedUpdate:
    """An update as bytes; ``detached`` is the payload that must be staged first, or None."""

    body: bytes
    detached: bytes | None


@dataclass(frozen=True, slots=True)
class SealedUpdate:
    """A message whose header was read and checked, and whose tensors were not looked at yet."""

    header: UpdateHeader
    tensors: tuple[TensorEntry, ...]
    payload: Payload
    inline: memoryview | None


def encode_round(event: RoundStarted) -> bytes:
    """One msgpack map."""
    body = {"type": "round", **event.model_dump(by_alias=True)}
    return _capped(msgpack.packb(body))


def decode_round(body: bytes) -> RoundStarted:
    """Inverse of ``encode_round``.

    Raises:
        Undecodable: Not a round of a known schema.
    """
    if len(body) > MAX_HEADER_BYTES:
        raise Undecodable("too_large", f"a round of {len(body)} bytes")
    header, _ = _unpack_map(memoryview(body), "round")
    try:
        return RoundStarted.model_validate(header)
    except ValidationError as error:
        raise Undecodable("bad_header", _first(error)) from error


def encode_update(event: UpdateSubmitted, *, codec: Codec = "raw") -> EncodedUpdate:
    """Header and payload; above ``MAX_INLINE_BYTES`` the payload is detached.

    Raises:
        MessageTooLarge: The header or the payload exceeds what any reader accepts.
    """
    table, payload = _pack_tensors(event.delta, codec)
    if len(table) > MAX_TENSORS:
        raise MessageTooLarge(f"{len(table)} entries in the tensor table exceed {MAX_TENSORS}")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MessageTooLarge(f"a payload of {len(payload)} bytes exceeds {MAX_PAYLOAD_BYTES}")
    inline = len(payload) <= MAX_INLINE_BYTES
    header = {
        "type": "update",
        **event.model_dump(by_alias=True),
        "tensors": table,
        "payload": {
            "at": "inline" if inline else "store",
            "bytes": len(payload),
            "digest": digest(payload),
        },
    }
    if inline:
        return EncodedUpdate(_padded(header) + _bin32(payload), None)
    return EncodedUpdate(_padded(header), payload)


def open_update(body: bytes | memoryview) -> SealedUpdate:
    """Read the header; the payload stays where it is.

    Raises:
        Undecodable: Not an update of a known schema, or one that breaks a limit.
    """
    view = memoryview(body)
    if len(view) > MAX_BODY_BYTES:
        raise Undecodable("too_large", f"a body of {len(view)} bytes, allowed {MAX_BODY_BYTES}")
    header, end = _unpack_map(view[:MAX_HEADER_BYTES], "update")
    try:
        event = UpdateHeader.model_validate(header)
        payload = Payload.model_validate(header.get("payload"))
    except ValidationError as error:
        raise Undecodable("bad_header", _first(error)) from error
    inline = _inline(view[end:]) if payload.at == "inline" else None
    if inline is not None and len(inline) != payload.size:
        raise Undecodable("truncated", f"{len(inline)} of {payload.size} payload bytes")
    return SealedUpdate(event, _table(header.get("tensors"), payload.size), payload, inline)


def read_update(sealed: SealedUpdate, payload: memoryview, *, limit_bytes: int) -> UpdateSubmitted:
    """Look at the tensors. Uncompressed values are views into ``payload``: nothing is copied.

    Args:
        sealed: What ``open_update`` returned.
        payload: ``sealed.inline``, or what the store held.
        limit_bytes: What all tensors together may take up when decompressed.

    Raises:
        Undecodable: Digest, sizes or compressed frames are not what the header says.
    """
    if len(payload) != sealed.payload.size or digest(payload) != sealed.payload.digest:
        raise Undecodable("bad_digest", "the payload is not the one the header names")
    total_bytes = sum(entry.raw_bytes() for entry in sealed.tensors)
    if total_bytes > limit_bytes:
        raise Undecodable("too_large", f"{total_bytes} bytes of tensors, allowed {limit_bytes}")
    parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for entry in sealed.tensors:
        parts.setdefault(entry.name, {})[entry.part] = _array(entry, payload)
    delta = {name: _delta(name, found) for name, found in parts.items()}
    return UpdateSubmitted.model_construct(**dict(sealed.header), delta=delta)


def _pack_tensors(delta: Delta, codec: Codec) -> tuple[list[TensorEntry], bytes]:
    table, chunks, offset = [], [], 0
    for name, part, array in _parts(delta):
        raw = np.asarray(array, array.dtype.newbyteorder("<"))
        data = raw.tobytes() if codec == "raw" else _compress(raw)
        gap = -offset % ALIGNMENT_BYTES
        offset += gap
        chunks += [bytes(gap), data]
        table.append(TensorEntry(name, part, raw.dtype.str, raw.shape, offset, len(data), codec))
        offset += len(data)
    return table, b"".join(chunks)


def _parts(delta: Delta) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    for name in sorted(delta):
        rows = delta[name].rows
        if rows is not None:
            yield name, "rows", rows
        yield name, "values", delta[name].values


def _compress(array: npt.NDArray[Any]) -> bytes:
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True)
    return compressor.compress(array.tobytes())


def _padded(header: dict[str, Any]) -> bytes:
    """Pack ``header`` so that what follows its bin32 tag starts at a multiple of 64."""
    bare = len(msgpack.packb({**header, "pad": b""}))
    padding = bytes(-(bare + BIN32_BYTES) % ALIGNMENT_BYTES)
    return _capped(msgpack.packb({**header, "pad": padding}))


def _bin32(payload: bytes) -> bytes:
    return b"\xc6" + len(payload).to_bytes(4, "big") + payload


def _capped(header: bytes) -> bytes:
    if len(header) > MAX_HEADER_BYTES:
        raise MessageTooLarge(
            f"a header of {len(header)} bytes exceeds {MAX_HEADER_BYTES}",
            hint="report fewer regions per worker",
        )
    return header


def _unpack_map(view: memoryview, kind: str) -> tuple[dict[str, Any], int]:
    """The msgpack map at the start of ``view``, and where it ends."""
    # A fresh Unpacker per message: one that failed must not be used again.
    unpacker = msgpack.Unpacker(
        max_buffer_size=MAX_HEADER_BYTES,
        max_map_len=256,
        max_array_len=MAX_TENSORS,
        max_str_len=1024,
        max_bin_len=ALIGNMENT_BYTES,
        max_ext_len=0,
    )
    try:
        unpacker.feed(view)
        header = unpacker.unpack()
    except (msgpack.UnpackException, ValueError, UnicodeDecodeError) as error:
        raise Undecodable("malformed", f"no msgpack map within the limits: {error}") from error
    if not isinstance(header, dict) or _deeper_than(MAX_DEPTH, header):
        raise Undecodable("malformed", "the header is not a flat map")
    if header.get("type") != kind:
        raise Undecodable("wrong_type", f"expected {kind!r}, got {str(header.get('type'))[:40]!r}")
    if not _whole(header.get("schema")) or header["schema"] != SCHEMA:
        raise Undecodable("unknown_schema", f"schema {header.get('schema')!r}, known: {SCHEMA}")
    return header, unpacker.tell()


def _deeper_than(levels: int, value: object) -> bool:
    """Whether containers nest deeper; looks no further, as a nest can exhaust the stack."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(levels - 1, each) for each in inner)


def _whole(value: object) -> bool:
    """Whether ``value`` counts something; True is not 1."""
    return type(value) is int and 0 <= value < 2**32


def _inline(rest: memoryview) -> memoryview:
    """The content of the bin32 that ``rest`` must be, exactly."""
    if len(rest) < BIN32_BYTES or rest[0] != 0xC6:  # noqa: PLR2004 - msgpack's tag of a bin32
        raise Undecodable("truncated", "no payload follows the header")
    declared = int.from_bytes(rest[1:BIN32_BYTES], "big")
    if declared != len(rest) - BIN32_BYTES:
        raise Undecodable("truncated", f"{len(rest) - BIN32_BYTES} of {declared} payload bytes")
    return rest[BIN32_BYTES:]


def _table(raw: object, payload_bytes: int) -> tuple[TensorEntry, ...]:
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


def _entry(line: object) -> TensorEntry:
    match line:
        case [str(name), "values" | "rows" as part, str(dtype), list(shape), *place]:
            pass
        case _:
            raise Undecodable("bad_tensors", "a line of the tensor table has another form")
    match place:
        case [int(offset), int(size), str(codec)] if _whole(offset) and _whole(size):
            pass
        case _:
            raise Undecodable("bad_tensors", f"{name!r} has no place in the payload")
    if dtype not in DTYPES or (part == "rows") is not (dtype == "<u4"):
        raise Undecodable("unknown_dtype", f"{name!r} {part} as {dtype!r}")
    if codec not in CODECS:
        raise Undecodable("unknown_codec", f"{name!r} in {codec[:40]!r}, known: {CODECS}")
    if len(shape) > MAX_DIMENSIONS or not all(_whole(side) for side in shape):
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


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    return f"{'.'.join(str(each) for each in problem['loc'])}: {problem['msg']}"
