"""Bytes that were written once must stay readable: devices update their software last.

Never regenerate a file here; a new schema adds files beside these.
"""

from pathlib import Path

import numpy as np

from latecomer.events import RoundStarted, UpdateSubmitted, Version
from latecomer.tensors import TensorDelta
from latecomer.wire import (
    decode_round,
    encode_round,
    encode_update,
    open_update,
    read_update,
)

GOLDEN = Path(__file__).parent / "golden"
PLAN = {"passes": 2, "learning_rate": 0.5, "loss": "bpr", "warm": True}


def the_round() -> RoundStarted:
    return RoundStarted(
        federation="retail",
        cohort="all",
        version=Version(3, 17),
        manifest="0123456789abcdef0123456789abcdef",
        plan=PLAN,
        max_staleness=20,
        spread_s=1.5,
    )


def the_update() -> UpdateSubmitted:
    return UpdateSubmitted(
        federation="retail",
        worker="uk-1",
        update_id="uk-1:b007:42",
        base=Version(3, 17),
        layout="fedcba9876543210fedcba9876543210",
        examples=120,
        steps=4,
        sums={"United Kingdom": {"users": 2.0, "ndcg@10": 0.5}},
        delta={
            "item.bias": TensorDelta(np.array([1.0, -0.5, 0.25], np.float16)),
            "item.factors": TensorDelta(
                np.array([[1.0, 2.0], [-3.0, 0.5]], np.float32), np.array([1, 65537], np.uint32)
            ),
        },
    )


def test_a_round_of_schema_1_is_still_understood() -> None:
    assert decode_round((GOLDEN / "round-1.bin").read_bytes()) == the_round()


def test_an_update_of_schema_1_is_still_understood() -> None:
    for name in ("update-1-raw.bin", "update-1-zstd.bin", "update-1-raw-xxh3.bin"):
        sealed = open_update((GOLDEN / name).read_bytes())
        assert sealed.inline is not None
        event = read_update(sealed, sealed.inline, limit_bytes=1000)
        assert event.model_dump() == the_update().model_dump()
        bias, factors = event.delta["item.bias"], event.delta["item.factors"]
        assert bias.values.dtype == np.float16
        assert bias.values.tolist() == [1.0, -0.5, 0.25]
        assert bias.rows is None
        assert factors.values.dtype == np.float32
        assert factors.values.tolist() == [[1.0, 2.0], [-3.0, 0.5]]
        assert factors.rows is not None
        assert factors.rows.tolist() == [1, 65537]


def test_what_is_written_today_is_what_was_written_then() -> None:
    # To fail this on purpose: old readers must understand the new bytes, or the schema changes.
    assert encode_round(the_round()) == (GOLDEN / "round-1.bin").read_bytes()
    assert encode_update(the_update()).body == (GOLDEN / "update-1-raw-xxh3.bin").read_bytes()
