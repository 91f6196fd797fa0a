"""Plain updates as bytes, and messages as a stranger would write them."""

from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from latecomer.errors import Undecodable
from latecomer.events import UpdateSubmitted, Version
from latecomer.tensors import Delta, digest
from latecomer.wire import open_update, read_update

Fields = dict[str, Any]

LIMIT_BYTES = 1 << 20
MANIFEST = "0123456789abcdef" * 2


def an_update(delta: Delta | None = None, **fields: Any) -> UpdateSubmitted:
    plain: Fields = {
        "federation": "retail",
        "worker": "uk-1",
        "update_id": "uk-1:b007:42",
        "base": Version(3, 17),
        "layout": digest(b"a layout"),
        "examples": 120,
        "steps": 4,
        "sums": {"United Kingdom": {"users": 2.0, "ndcg@10": 0.5}},
    }
    return UpdateSubmitted(delta=delta or {}, **{**plain, **fields})


def decoded(body: bytes, *, limit_bytes: int = LIMIT_BYTES) -> UpdateSubmitted:
    sealed = open_update(body)
    assert sealed.inline is not None
    return read_update(sealed, sealed.inline, limit_bytes=limit_bytes)


def forged(header: object, payload: bytes) -> bytes:
    return bytes(msgpack.packb(header)) + b"\xc6" + len(payload).to_bytes(4, "big") + payload


def plain_header(payload: bytes, tensors: object) -> Fields:
    return {
        "type": "update",
        "schema": 1,
        "federation": "retail",
        "worker": "uk-1",
        "update_id": "uk-1:b007:42",
        "base": [3, 17],
        "layout": MANIFEST,
        "examples": 120,
        "steps": 4,
        "sums": {},
        "tensors": tensors,
        "payload": {"at": "inline", "bytes": len(payload), "digest": digest(payload)},
    }


def refusal(decode: Callable[[], object]) -> str:
    with pytest.raises(Undecodable) as caught:
        decode()
    return caught.value.reason


def reason(body: bytes, *, limit_bytes: int = LIMIT_BYTES) -> str:
    return refusal(lambda: decoded(body, limit_bytes=limit_bytes))
