"""Events to bytes and back.

A round is one msgpack map. An update is a msgpack map (the header), followed by one msgpack ``bin``
(the payload). The header is padded so that the payload starts at a multiple of 64 bytes.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import xxhash
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latecomer.errors import Undecodable
from latecomer.events import Digest, RoundStarted, Staged, UpdateHeader, UpdateSubmitted, Whole
from latecomer.tensors import Delta, Layout, content_address, digest, has_name
from latecomer.validation import first_problem
from latecomer.wire.header import BIN32_BYTES, MAX_HEADER_BYTES, pack, pack_padded, unpack
from latecomer.wire.payload import (
    MAX_PAYLOAD_BYTES,
    Codec,
    TensorEntry,
    check_length,
    longest_table,
    pack_tensors,
    read_table,
    unpack_tensors,
)

#: Up to here a payload travels inside the message; above it waits in the store (claim check).
MAX_INLINE_BYTES = 4 * 1024 * 1024

#: RabbitMQ >= 4.0 refuses 16 MiB and more; nothing larger than this is an update, whoever sent it.
MAX_BODY_BYTES = 12 * 1024 * 1024

#: What a header takes beside its table: ids, digests, and the sums of one region.
BESIDE_TABLE_BYTES = 1024

#: msgpack's tag of a bin32.
BIN32 = 0xC6

Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Payload(BaseModel):
    """Where the payload is: ``inline``, or in the ``store`` under its digest.

    Attributes:
        size: In bytes.
        digest: Its name; what was staged under a name must be what the name says.
        xxh3: XXH3-64 of an inline payload, which is faster to check than its digest by far. It
            arrives with the header that names it: what is to be noticed is damage, not deceit.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: Literal["inline", "store"]
    size: Whole = Field(alias="bytes", ge=0, le=MAX_PAYLOAD_BYTES)
    digest: Digest
    xxh3: Checksum | None = None

    def names(self, payload: memoryview) -> bool:
        """Whether ``payload`` is the one that is meant."""
        if len(payload) != self.size:
            return False
        if self.at == "inline" and self.xxh3 is not None:
            return checksum(payload) == self.xxh3
        return has_name(payload, self.digest)


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

    @property
    def staged(self) -> Staged:
        """The payload that waits in the store, as worker and digest; none that is inline."""
        if self.inline is not None:
            return frozenset()
        return frozenset({(self.header.worker, self.payload.digest)})


def encode_round(event: RoundStarted) -> bytes:
    """One msgpack map."""
    return pack({"type": "round", **event.model_dump(by_alias=True)})


def decode_round(body: bytes) -> RoundStarted:
    """Inverse of ``encode_round``.

    Raises:
        Undecodable: Not a round of a known schema.
    """
    if len(body) > MAX_HEADER_BYTES:
        raise Undecodable("too_large", f"a round of {len(body)} bytes")
    header, _ = unpack(memoryview(body), "round")
    try:
        return RoundStarted.model_validate(header)
    except ValidationError as error:
        raise Undecodable("bad_header", first_problem(error)) from error


def encode_update(event: UpdateSubmitted, *, codec: Codec = "raw") -> EncodedUpdate:
    """Header and payload; above ``MAX_INLINE_BYTES`` the payload is detached.

    Raises:
        MessageTooLarge: The header or the payload exceeds what any reader accepts.
    """
    table, payload = pack_tensors(event.delta, codec)
    inline = len(payload) <= MAX_INLINE_BYTES
    if not inline:
        payload += _mark(event.update_id)
    header = pack_padded(
        {
            "type": "update",
            **event.model_dump(by_alias=True),
            "tensors": table,
            "payload": _place(payload, inline=inline),
        }
    )
    if inline:
        return EncodedUpdate(header + _bin32(payload), None)
    return EncodedUpdate(header, payload)


def check_layout(layout: Layout, *, coded: bool) -> None:
    """Pass if an update that changes every value of ``layout`` has a header that readers accept.

    Args:
        layout: The model's.
        coded: Whether values may be codes, which come with scales.

    Raises:
        MessageTooLarge: It has too many tensors.
    """
    table = longest_table(layout, coded=coded)
    check_length(table)
    pack({"tensors": table, "beside": bytes(BESIDE_TABLE_BYTES)})


def payload_bytes(delta: Delta, codec: Codec) -> int:
    """Size of the payload that ``delta`` makes; a header of less than 8 kB comes before it."""
    return len(pack_tensors(delta, codec)[1])


def open_update(body: bytes | memoryview) -> SealedUpdate:
    """Read the header; the payload stays where it is.

    Raises:
        Undecodable: Not an update of a known schema, or one that breaks a limit.
    """
    view = memoryview(body)
    if len(view) > MAX_BODY_BYTES:
        raise Undecodable("too_large", f"a body of {len(view)} bytes, allowed {MAX_BODY_BYTES}")
    header, end = unpack(view[:MAX_HEADER_BYTES], "update")
    try:
        event = UpdateHeader.model_validate(header)
        payload = Payload.model_validate(header.get("payload"))
    except ValidationError as error:
        raise Undecodable("bad_header", first_problem(error)) from error
    inline = _inline(view[end:]) if payload.at == "inline" else None
    if inline is not None and len(inline) != payload.size:
        raise Undecodable("truncated", f"{len(inline)} of {payload.size} payload bytes")
    return SealedUpdate(event, read_table(header.get("tensors"), payload.size), payload, inline)


def read_update(sealed: SealedUpdate, payload: memoryview, *, limit_bytes: int) -> UpdateSubmitted:
    """Header and tensors as one event; see ``read_delta``."""
    delta = read_delta(sealed, payload, limit_bytes=limit_bytes)
    return UpdateSubmitted.model_construct(**vars(sealed.header), delta=delta)


def read_delta(sealed: SealedUpdate, payload: memoryview, *, limit_bytes: int) -> Delta:
    """Look at the tensors. Uncompressed values are views into ``payload``: nothing is copied.

    Args:
        sealed: What ``open_update`` returned.
        payload: ``sealed.inline``, or what the store held.
        limit_bytes: What all tensors together may take up when decompressed.

    Raises:
        Undecodable: Digest or checksum, sizes or compressed frames are not what the header says.
    """
    if not sealed.payload.names(payload):
        raise Undecodable("bad_digest", "the payload is not the one the header names")
    return unpack_tensors(sealed.tensors, payload, limit_bytes=limit_bytes)


def checksum(payload: bytes | memoryview) -> str:
    """XXH3-64 as 16 hex digits: tells a damaged payload from a whole one at memory speed."""
    return xxhash.xxh3_64_hexdigest(payload)


def _place(payload: bytes, *, inline: bool) -> dict[str, Any]:
    """Beside the checksum, a digest is for readers that know none yet."""
    size = {"bytes": len(payload)}
    if inline:
        return {"at": "inline", **size, "digest": digest(payload), "xxh3": checksum(payload)}
    return {"at": "store", **size, "digest": content_address(payload)}


def _mark(update_id: str) -> bytes:
    """Makes a payload in the store its update's own, though no tensor lies there.

    A worker that lost its file trains the same again: of two updates with the same name in the
    store, the first one's verdict would delete what the second one needs.
    """
    return bytes.fromhex(digest(update_id.encode()))


def _bin32(payload: bytes) -> bytes:
    return bytes([BIN32]) + len(payload).to_bytes(4, "big") + payload


def _inline(rest: memoryview) -> memoryview:
    """The content of the bin32 that ``rest`` must be, exactly."""
    if len(rest) < BIN32_BYTES or rest[0] != BIN32:
        raise Undecodable("truncated", "no payload follows the header")
    declared = int.from_bytes(rest[1:BIN32_BYTES], "big")
    if declared != len(rest) - BIN32_BYTES:
        raise Undecodable("truncated", f"{len(rest) - BIN32_BYTES} of {declared} payload bytes")
    return rest[BIN32_BYTES:]
