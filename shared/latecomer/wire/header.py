"""The msgpack map that every message starts with. The only importer of msgpack.

It is read from strangers: its size, depth and every length in it are limited before anything in it
is believed.
"""

from typing import Any

import msgpack

from latecomer.errors import MessageTooLarge, Undecodable, UnknownSchema

#: The schema this code writes, and the only one it reads so far.
SCHEMA = 1

#: A header is facts, not data.
MAX_HEADER_BYTES = 8 * 1024
MAX_DEPTH = 6

#: No list in a header is longer, the tensor table included.
MAX_TENSORS = 128

CONTAINERS = (dict, list)

#: Cache lines and SIMD loads; numpy then reports the views as aligned.
ALIGNMENT_BYTES = 64

#: Tag byte and 4-byte length of a msgpack bin32.
BIN32_BYTES = 5


def pack(header: dict[str, Any]) -> bytes:
    """One msgpack map.

    Raises:
        MessageTooLarge: It exceeds what any reader accepts.
    """
    packed: bytes = msgpack.packb(header)
    if len(packed) > MAX_HEADER_BYTES:
        raise MessageTooLarge(
            f"a header of {len(packed)} bytes exceeds {MAX_HEADER_BYTES}",
            hint="report fewer regions per worker",
        )
    return packed


def pack_padded(header: dict[str, Any]) -> bytes:
    """Pack ``header`` so that what follows the next bin32's tag starts at a multiple of 64."""
    bare = len(msgpack.packb({**header, "pad": b""}))
    return pack({**header, "pad": bytes(-(bare + BIN32_BYTES) % ALIGNMENT_BYTES)})


def unpack(view: memoryview, kind: str) -> tuple[dict[str, Any], int]:
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
    if not whole(header.get("schema")) or header["schema"] != SCHEMA:
        raise UnknownSchema(
            f"schema {str(header.get('schema'))[:40]}, known: {SCHEMA}",
            update_id=_text(header.get("update_id")),
            worker=_text(header.get("worker")),
        )
    return header, unpacker.tell()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _deeper_than(levels: int, value: object) -> bool:
    """Whether containers nest deeper; looks no further, as a nest can exhaust the stack."""
    if not isinstance(value, CONTAINERS):
        return False
    if not levels:
        return True
    # A plain loop: it is run for every update, and most of what it meets is no container.
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, CONTAINERS) and _deeper_than(levels - 1, each):
            return True
    return False


def whole(value: object) -> bool:
    """Whether ``value`` counts something; True is not 1."""
    return type(value) is int and 0 <= value < 2**32
