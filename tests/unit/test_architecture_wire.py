"""An outsider writes a client from ARCHITECTURE.md alone: so its example must be true."""

import re
from pathlib import Path

import numpy as np
import pytest

from latecomer import wire
from latecomer.events import RoundStarted, UpdateHeader, Version
from latecomer.wire import frames
from latecomer.wire.payload import BASES, GAPS
from latecomer_aggregator.admission import Reason

PAGE = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")
HEX_LINE = re.compile(r"^[0-9a-f]{4}  ((?:[0-9a-f]{2} ?)+) ", re.MULTILINE)


def test_the_hex_example_decodes_to_what_the_page_says() -> None:
    body = bytes.fromhex("".join(HEX_LINE.findall(PAGE)))
    sealed = wire.open_update(body)
    assert len(body) == 456
    assert sealed.inline is not None
    assert sealed.payload.xxh3 == "b2a57a951a79149a"
    update = wire.read_update(sealed, sealed.inline, limit_bytes=1000)
    assert (update.federation, update.worker, update.base) == ("toy", "w1", Version(7, 3))
    change = update.delta["item.factors"]
    assert change.rows is not None
    np.testing.assert_array_equal(change.rows, [2])
    np.testing.assert_array_equal(change.values, [[0.5, -1.0]])


def test_the_small_examples_of_gaps_and_digits_are_true() -> None:
    rows = bytes.fromhex(re.findall(r"frame, `([0-9a-f ]+)`", PAGE)[0])
    codes = bytes.fromhex(re.findall(r"`base3` are `([0-9a-f ]+)`", PAGE)[0])
    assert frames.rows_from_gaps(rows, "a").tolist() == [5, 6, 65_542]
    assert frames.unpacked(codes, 6, 3, "a").tolist() == [-1, 0, 1, 1, -1, 1]


@pytest.mark.parametrize("codec", ["raw", "zstd", GAPS, *BASES])
def test_every_codec_is_on_the_page(codec: str) -> None:
    assert f"| `{codec}` |" in PAGE


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_for_a_refusal_is_on_the_page(reason: Reason) -> None:
    assert f"`{reason}`" in PAGE


@pytest.mark.parametrize("field", [*UpdateHeader.model_fields, *RoundStarted.model_fields])
def test_every_field_of_both_messages_is_on_the_page(field: str) -> None:
    assert f"`{field.removesuffix('_version') if field == 'schema_version' else field}`" in PAGE
