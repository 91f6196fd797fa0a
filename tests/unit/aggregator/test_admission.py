import struct
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest

from latecomer import wire
from latecomer.aggregation import Aggregation
from latecomer.broker.port import Delivery
from latecomer.errors import ChunkMissing
from latecomer.events import UpdateSubmitted, Version
from latecomer.tensors import Kind, Layout, TensorDelta, TensorSpec, content_address, digest
from latecomer_aggregator.admission import HOSTILE, Admission, Reason, Refused
from scenes import EPOCH, FEDERATION, LAYOUT, delivery_of, make_update, net, rows

HEAD = Version(EPOCH, 10)


def admission(**limits: Any) -> Admission:
    return Admission(FEDERATION, HEAD, LAYOUT, Aggregation.model_validate(limits))


def nothing_staged(worker: str, name: str, size_bytes: int) -> bytes:
    raise ChunkMissing(f"payload {name} of {worker} is gone")


def admitted(delivery: Delivery, **limits: Any) -> UpdateSubmitted:
    rules = admission(**limits)
    sealed = rules.open(delivery)
    rules.check_base(sealed)
    delta = rules.read(sealed, nothing_staged)
    return UpdateSubmitted(**sealed.header.model_dump(by_alias=True), delta=delta)


def refused(delivery: Delivery, **limits: Any) -> Refused:
    with pytest.raises(Refused) as verdict:
        admitted(delivery, **limits)
    return verdict.value


def honest(**changes: Any) -> UpdateSubmitted:
    return make_update(**({"base": HEAD} | changes))


def with_values(*values: float) -> UpdateSubmitted:
    return honest(delta=net(*values))


def table(rows_: list[int], shape: tuple[int, int]) -> UpdateSubmitted:
    return honest(
        delta={"items": TensorDelta(np.ones(shape, np.float32), np.array(rows_, np.uint32))}
    )


def bomb() -> bytes:
    """An honest update that is compressed, and claims that it inflates to 2**40 bytes."""
    update = honest(delta={"net": TensorDelta(np.ones(2, np.float32))})
    body = wire.encode_update(update, codec="zstd").body
    # The table's shape [2] of the dense tensor: fixarray of one fixint.
    place = body.index(b"\xa3<f4\x91\x02") + 5
    return body[:place] + b"\xce" + struct.pack(">I", 2**31) + body[place + 1 :]


@pytest.mark.parametrize(
    "delta", [{}, net(1.0, 2.0), rows({0: (1.0, 1.0), 3: (0.5, -0.5)}), net(1.0, 0.0)]
)
def test_an_honest_update_is_admitted_as_it_was_sent(delta: dict[str, TensorDelta]) -> None:
    sent = honest(delta=delta)
    update = admitted(delivery_of(sent))
    assert update.model_dump() == sent.model_dump()
    assert update.delta.keys() == delta.keys()
    for name, change in delta.items():
        np.testing.assert_array_equal(update.delta[name].values, change.values)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty"),
        (b"\x00garbage" * 20, "random"),
        (bytes(range(256)) * 8, "random"),
        (wire.encode_update(honest()).body[:40], "cut in the header"),
        (wire.encode_update(honest()).body[:-1], "cut in the payload"),
        (wire.encode_update(honest()).body + b"x", "more than it says"),
        (bomb(), "inflates beyond any model"),
    ],
)
def test_bytes_that_are_no_update_are_undecodable(body: bytes, why: str) -> None:
    verdict = refused(delivery_of(honest(), body=body))
    assert verdict.reason == Reason.UNDECODABLE, why
    assert verdict.hostile


def test_what_inflates_beyond_the_model_is_refused_before_it_is_inflated() -> None:
    """A MiB of zeros in a hundred bytes; of gigabytes, an aggregator would die."""
    large = honest(delta=net(*np.zeros(2**18)))
    body = wire.encode_update(large, codec="zstd").body
    verdict = refused(delivery_of(large, body=body))
    assert (verdict.reason, len(body) < 2**10) == (Reason.UNDECODABLE, True)
    assert f"{2**20} bytes of tensors, allowed" in verdict.detail


def test_nothing_that_an_undecodable_message_says_of_itself_is_believed() -> None:
    body = b"\x00garbage"
    verdict = refused(delivery_of(honest(), body=body, user_id="w9"))
    assert verdict.update_id == f"digest:{digest(body)}"
    assert verdict.worker == "w9"


def test_a_payload_that_was_tampered_with_is_undecodable() -> None:
    body = bytearray(wire.encode_update(honest()).body)
    body[-1] ^= 1
    assert refused(delivery_of(honest(), body=bytes(body))).reason == Reason.UNDECODABLE


@pytest.mark.parametrize(
    "update",
    [
        with_values(1.0),
        with_values(1.0, 1.0, 1.0),
        honest(delta={"unknown": TensorDelta(np.ones(2, np.float32))}),
        honest(delta={"items": TensorDelta(np.ones((4, 2), np.float32))}),
        honest(delta={"net": TensorDelta(np.ones((1, 2), np.float32), np.array([0], np.uint32))}),
        table([0], (1, 3)),
        table([0, 1], (1, 2)),
        table([4], (1, 2)),
        table([2, 1], (2, 2)),
        table([1, 1], (2, 2)),
    ],
    ids=[
        "too short",
        "too long",
        "a tensor nobody knows",
        "a table without rows",
        "rows of a tensor that is no table",
        "rows too wide",
        "more rows than values",
        "a row beyond the table",
        "rows out of order",
        "a row twice",
    ],
)
def test_tensors_that_do_not_fit_are_of_a_bad_shape(update: UpdateSubmitted) -> None:
    assert refused(delivery_of(update)).reason == Reason.BAD_SHAPE


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_number_is_refused(value: float) -> None:
    assert refused(delivery_of(with_values(1.0, value))).reason == Reason.NOT_FINITE


def test_an_update_of_another_federation_is_refused_under_the_senders_login() -> None:
    verdict = refused(delivery_of(honest(federation="clinic"), user_id="w1"))
    assert (verdict.reason, verdict.worker) == (Reason.UNKNOWN_FEDERATION, "w1")


@pytest.mark.parametrize(
    "changes",
    [
        {"routing_key": "update.shop.w2"},
        {"routing_key": "update.clinic.w1"},
        {"user_id": "w2"},
        {"user_id": None},
        {"body": wire.encode_update(honest(update_id="w2:boot:1")).body},
    ],
    ids=["by the key", "by the key's federation", "by the login", "without login", "by the id"],
)
def test_who_speaks_for_another_worker_is_a_forger(changes: dict[str, Any]) -> None:
    verdict = refused(delivery_of(honest(), **changes))
    assert verdict.reason == Reason.FORGED_WORKER
    assert verdict.update_id.startswith("digest:")
    assert verdict.worker == changes.get("user_id", "w1") or verdict.worker == "unknown"


@pytest.mark.parametrize(
    ("worker", "fits"),
    [
        ("device", True),
        ("device-3", True),
        ("device-3-b", True),
        ("devices", False),
        ("device3", False),
        ("beijing", False),
        ("my-device-3", False),
    ],
)
def test_a_login_speaks_for_its_worker_and_its_devices_only(worker: str, fits: bool) -> None:
    delivery = delivery_of(honest(worker=worker), user_id="device")
    if fits:
        assert admitted(delivery).worker == worker
    else:
        assert refused(delivery).reason == Reason.FORGED_WORKER


@pytest.mark.parametrize("login", ["guest", None, "w2"])
def test_where_identity_is_declared_the_header_is_believed(login: str | None) -> None:
    assert admitted(delivery_of(honest(), user_id=login), identity="declared").worker == "w1"


@pytest.mark.parametrize(
    "changes",
    [
        {"routing_key": "update.shop.w2"},
        {"body": wire.encode_update(honest(update_id="w2:boot:1")).body},
    ],
)
def test_where_identity_is_declared_key_id_and_header_still_have_to_agree(
    changes: dict[str, Any],
) -> None:
    verdict = refused(delivery_of(honest(), **changes), identity="declared")
    assert verdict.reason == Reason.FORGED_WORKER


@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH + 1])
def test_an_update_from_another_life_of_the_store_is_of_the_wrong_epoch(epoch: int) -> None:
    verdict = refused(delivery_of(honest(base=Version(epoch, 10))))
    assert verdict.reason == Reason.WRONG_EPOCH
    assert not verdict.hostile


def test_an_update_of_a_version_that_does_not_exist_yet_is_refused() -> None:
    verdict = refused(delivery_of(honest(base=Version(EPOCH, 11))))
    assert verdict.reason == Reason.FUTURE_VERSION


def test_an_update_at_the_limit_is_welcome_and_beyond_it_is_told_the_limit() -> None:
    at_limit = delivery_of(honest(base=Version(EPOCH, 7)))
    assert admission(max_staleness=3).staleness(admitted(at_limit, max_staleness=3)) == 3
    verdict = refused(delivery_of(honest(base=Version(EPOCH, 6))), max_staleness=3)
    assert verdict.reason == Reason.TOO_STALE
    assert "staleness 4 exceeds the limit of 3 versions" in verdict.detail
    assert "fetch 7.10" in verdict.detail


def test_a_synchronous_round_takes_nobody_who_is_late() -> None:
    late = delivery_of(honest(base=Version(EPOCH, 9)))
    assert refused(late, mode="sync", max_staleness=50).reason == Reason.TOO_STALE


def test_an_update_of_another_layout_is_refused_before_its_tensors_are_looked_at() -> None:
    verdict = refused(delivery_of(honest(layout="0" * 32, delta=net(1.0))))
    assert verdict.reason == Reason.LAYOUT_MISMATCH
    assert not verdict.hostile


def test_a_norm_at_the_limit_is_welcome_and_beyond_it_is_told_both() -> None:
    at_limit = delivery_of(with_values(3.0, 4.0))
    assert admitted(at_limit, max_update_norm=5.0).worker == "w1"
    verdict = refused(at_limit, max_update_norm=4.9)
    assert verdict.reason == Reason.TOO_LARGE_NORM
    assert "L2 norm 5 exceeds the limit of 4.9" in verdict.detail


def test_the_counts_of_a_site_of_millions_are_below_the_default_limit() -> None:
    assert admitted(delivery_of(with_values(*[2.0**24] * 2))).worker == "w1"
    counts = 2.0**24 * 8192
    assert Aggregation().max_update_norm > counts


def test_values_whose_squares_overflow_float32_have_a_norm() -> None:
    verdict = refused(delivery_of(with_values(3e38, 3e38)))
    assert verdict.reason == Reason.TOO_LARGE_NORM


def test_what_some_queue_threw_away_before_is_not_honest() -> None:
    verdict = refused(delivery_of(honest(), dead_lettered=True))
    assert verdict.reason == Reason.DEAD_LETTERED
    assert verdict.hostile


SMALLER = (TensorSpec("net", Kind.DENSE, (2,)),)

#: A model whose update is too large for a message.
WIDE = Layout((TensorSpec("net", Kind.DENSE, (wire.MAX_INLINE_BYTES // 4 + 1,)),))


def staged() -> tuple[Delivery, bytes]:
    """An update of the wide model, and its payload."""
    update = honest(layout=WIDE.digest, delta=net(*np.ones(WIDE.size)))
    encoded = wire.encode_update(update)
    assert encoded.detached is not None
    return delivery_of(honest(), body=encoded.body), encoded.detached


def wide(**limits: Any) -> Admission:
    return Admission(FEDERATION, HEAD, WIDE, Aggregation.model_validate(limits))


def test_a_payload_that_is_not_in_the_store_is_missing() -> None:
    delivery, _ = staged()
    rules = wide()
    with pytest.raises(Refused) as verdict:
        rules.read(rules.open(delivery), nothing_staged)
    assert verdict.value.reason == Reason.PAYLOAD_MISSING
    assert not verdict.value.hostile


def test_a_payload_is_read_under_the_name_of_its_worker_and_no_further_than_announced() -> None:
    delivery, payload = staged()
    asked: list[tuple[str, str, int]] = []

    def read_payload(worker: str, name: str, size_bytes: int) -> bytes:
        asked.append((worker, name, size_bytes))
        return payload

    rules = wide()
    delta = rules.read(rules.open(delivery), read_payload)
    assert asked == [("w1", content_address(payload), len(payload))]
    assert delta["net"].values.sum() == WIDE.size


def test_a_payload_larger_than_the_model_is_not_even_fetched() -> None:
    delivery, _ = staged()
    rules = Admission(FEDERATION, HEAD, replace(WIDE, tensors=SMALLER), Aggregation())
    with pytest.raises(Refused) as verdict:
        rules.read(replace(rules, layout=WIDE).open(delivery), nothing_staged)
    assert verdict.value.reason == Reason.UNDECODABLE


def test_only_what_no_correct_worker_sends_is_hostile() -> None:
    assert set(Reason) - HOSTILE == {
        Reason.TOO_STALE,
        Reason.FUTURE_VERSION,
        Reason.WRONG_EPOCH,
        Reason.LAYOUT_MISMATCH,
        Reason.UNKNOWN_SCHEMA,
        Reason.PAYLOAD_MISSING,
        Reason.TOO_LARGE_NORM,
        Reason.SUPERSEDED,
    }


def of_schema(schema: int, **changes: str) -> Delivery:
    """An honest update as a worker of another release would send it."""
    delivery = delivery_of(honest())
    header = msgpack.Unpacker(max_buffer_size=0)
    header.feed(delivery.body)
    fields = header.unpack() | {"schema": schema, **changes}
    return replace(delivery, body=msgpack.packb(fields))


@pytest.mark.parametrize("schema", [0, 2])
def test_a_worker_of_another_release_is_told_so_under_its_own_id(schema: int) -> None:
    verdict = refused(of_schema(schema))
    assert (verdict.reason, verdict.hostile) == (Reason.UNKNOWN_SCHEMA, False)
    assert (verdict.update_id, verdict.worker) == ("w1:boot:1", "w1")
    assert f"schema {schema}, known: 1" in verdict.detail
    assert "upgraded" in verdict.detail


@pytest.mark.parametrize(
    "claim", [{"worker": "w2"}, {"update_id": "w2:boot:1"}, {"update_id": "w1:\n"}]
)
def test_another_release_is_no_excuse_for_another_name(claim: dict[str, str]) -> None:
    verdict = refused(of_schema(0, **claim))
    assert (verdict.reason, verdict.worker) == (Reason.UNDECODABLE, "w1")
    assert verdict.update_id.startswith("digest:")
