"""Events <-> bytes. ARCHITECTURE.md documents every field and shows one update in hex."""

from latecomer.wire.header import (
    ALIGNMENT_BYTES,
    BIN32_BYTES,
    MAX_DEPTH,
    MAX_HEADER_BYTES,
    MAX_TENSORS,
)
from latecomer.wire.messages import (
    MAX_INLINE_BYTES,
    EncodedUpdate,
    SealedUpdate,
    check_layout,
    decode_round,
    encode_round,
    encode_update,
    open_update,
    payload_bytes,
    read_delta,
    read_update,
)
from latecomer.wire.payload import CODECS, MAX_PAYLOAD_BYTES, Codec

__all__ = [
    "ALIGNMENT_BYTES",
    "BIN32_BYTES",
    "CODECS",
    "MAX_DEPTH",
    "MAX_HEADER_BYTES",
    "MAX_INLINE_BYTES",
    "MAX_PAYLOAD_BYTES",
    "MAX_TENSORS",
    "Codec",
    "EncodedUpdate",
    "SealedUpdate",
    "check_layout",
    "decode_round",
    "encode_round",
    "encode_update",
    "open_update",
    "payload_bytes",
    "read_delta",
    "read_update",
]
