"""What strangers put into a message's properties ends no connection."""

import struct

import pytest
from pika import spec
from pika.frame import Header, decode_frame
from pika.spec import BasicProperties

from latecomer.broker.rabbit.amqp import Properties, delivery_of

NOT_UTF8 = b"\x02\xff\xfe" + b"t\x01"
FAR_DATE = b"\x01a" + b"T" + struct.pack(">Q", 2**62)
DEAD = b"\x07x-death" + b"A" + struct.pack(">I", 0)


def nested(depth: int = 3000) -> bytes:
    value = b"V"
    for _ in range(depth):
        value = b"A" + struct.pack(">I", len(value)) + value
    return b"\x01a" + value


def received(table: bytes) -> BasicProperties:
    """As the connection reads it, of a message that carries this header table."""
    plain = BasicProperties(
        content_type="application/msgpack",
        content_encoding="zstd",
        headers={},
        message_id="w1:boot:1",
        user_id="w1",
    )
    frame = Header(1, 4, plain).marshal()
    at = frame.index(bytes(4), 20)
    size = struct.pack(">I", len(table))
    (length,) = struct.unpack_from(">I", frame, 3)
    grown = struct.pack(">I", length + len(table))
    _, read = decode_frame(frame[:3] + grown + frame[7:at] + size + table + frame[at + 4 :])
    return read.properties


def delivered(table: bytes) -> tuple[str, str | None, dict[str, object], bool]:
    method = spec.Basic.Deliver("c", 1, False, "updates", "update.shop.w1")
    found = delivery_of(method, received(table), b"body", 1)
    return found.message_id, found.user_id, dict(found.headers), found.dead_lettered


@pytest.mark.parametrize("table", [NOT_UTF8, FAR_DATE, nested()], ids=["bytes", "date", "nested"])
def test_of_a_header_table_that_cannot_be_read_the_rest_of_the_message_is(table: bytes) -> None:
    assert delivered(table) == ("w1:boot:1", "w1", {}, False)
    assert delivered(table + DEAD) == ("w1:boot:1", "w1", {}, True)


def test_of_one_that_can_be_read_the_authors_part_is_kept() -> None:
    assert delivered(b"\x01a" + b"t\x01" + DEAD) == ("w1:boot:1", "w1", {"a": True}, True)


def test_names_that_are_no_text_are_none() -> None:
    method = spec.Basic.Deliver("c", 1, False, "updates", b"update.\xff")
    found = delivery_of(method, Properties(message_id=b"\xff", type=b"\xff"), b"", 1)
    assert (found.routing_key, found.message_id, found.type) == ("", "", "")
