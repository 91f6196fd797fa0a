"""Who may take part in a version: every update is admitted or refused by a named reason.

A refusal is either courteous (the worker did nothing wrong: it came too late, or from another
life of the store) or hostile (no correct worker sends this): the latter goes to the dead-letter
queue, where a person can look at it.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from latecomer import wire
from latecomer.aggregation import Aggregation
from latecomer.broker import topology
from latecomer.broker.port import Delivery
from latecomer.errors import ChunkMissing, LayoutMismatch, Undecodable, UnknownSchema
from latecomer.events import UPDATE_ID_PATTERN, Staged, UpdateHeader, Version
from latecomer.store.port import Refusal
from latecomer.tensors import Delta, Layout, check_delta, digest, norm

ReadPayload = Callable[[str, str, int], bytes]

UPDATE_ID = re.compile(UPDATE_ID_PATTERN)


class Reason(StrEnum):
    """Why an update was refused: stable names for metrics, logs and reports."""

    TOO_STALE = "too_stale"
    FUTURE_VERSION = "future_version"
    WRONG_EPOCH = "wrong_epoch"
    LAYOUT_MISMATCH = "layout_mismatch"
    UNKNOWN_SCHEMA = "unknown_schema"
    PAYLOAD_MISSING = "payload_missing"
    TOO_LARGE_NORM = "too_large_norm"
    SUPERSEDED = "superseded"
    UNDECODABLE = "undecodable"
    UNKNOWN_FEDERATION = "unknown_federation"
    FORGED_WORKER = "forged_worker"
    BAD_SHAPE = "bad_shape"
    NOT_FINITE = "not_finite"
    DEAD_LETTERED = "dead_lettered"
    UNSOLVABLE = "unsolvable"


#: No correct worker sends these.
HOSTILE = frozenset(
    {
        Reason.UNDECODABLE,
        Reason.UNKNOWN_FEDERATION,
        Reason.FORGED_WORKER,
        Reason.BAD_SHAPE,
        Reason.NOT_FINITE,
        Reason.DEAD_LETTERED,
        Reason.UNSOLVABLE,
    }
)


@dataclass(eq=False)
class Refused(Exception):
    """The verdict against an update; ``update_id`` is the body's digest where it has none.

    ``payloads`` are what it left in the store, if it is from who it says: who forges an update must
    not delete another one's.
    """

    reason: Reason
    detail: str
    update_id: str
    worker: str
    payloads: Staged = frozenset()

    @property
    def hostile(self) -> bool:
        """Whether it belongs into the dead-letter queue."""
        return self.reason in HOSTILE

    @property
    def verdict(self) -> Refusal:
        """As the ledger keeps it."""
        return Refusal(self.update_id, self.worker, self.reason, self.detail, self.payloads)


@dataclass(frozen=True, slots=True)
class Admission:
    """The rules of one federation for what is folded upon one version.

    Attributes:
        federation: Updates for another one are refused.
        head: The version that staleness is measured from; it may not be durable yet.
        layout: What a delta must fit.
        limits: The recipe's aggregation section.
    """

    federation: str
    head: Version
    layout: Layout
    limits: Aggregation

    def open(self, delivery: Delivery) -> wire.SealedUpdate:
        """Read the header alone, and check who sent it: enough to recognise a duplicate.

        Raises:
            Refused: With the reason.
        """
        try:
            sealed = wire.open_update(delivery.body)
        except UnknownSchema as error:
            raise self._refused_release(delivery, error) from error
        except Undecodable as error:
            raise _refused_bytes(delivery, Reason.UNDECODABLE, str(error)) from error
        if delivery.dead_lettered:
            raise _refused_bytes(delivery, Reason.DEAD_LETTERED, "came through a dead-letter queue")
        self._check_sender(sealed.header, delivery)
        return sealed

    def check_base(self, sealed: wire.SealedUpdate) -> None:
        """Pass if what it was trained from is of this lineage, and recent enough.

        Raises:
            Refused: With the reason.
        """
        header = sealed.header
        base, head = header.base, self.head
        if base.epoch != head.epoch:
            detail = f"base {base} is of another epoch than head {head}; fetch the head"
            raise _refused(sealed, Reason.WRONG_EPOCH, detail)
        if base.number > head.number:
            raise _refused(sealed, Reason.FUTURE_VERSION, f"base {base} is after head {head}")
        if self.staleness(header) > self.limits.staleness_limit and not self.layout.additive:
            detail = (
                f"staleness {self.staleness(header)} exceeds the limit of "
                f"{self.limits.staleness_limit} versions; fetch {head} and train again"
            )
            raise _refused(sealed, Reason.TOO_STALE, detail)
        if header.layout != self.layout.digest:
            detail = f"layout {header.layout} is not the model's {self.layout.digest}"
            raise _refused(sealed, Reason.LAYOUT_MISMATCH, detail)

    def read(self, sealed: wire.SealedUpdate, read_payload: ReadPayload) -> Delta:
        """Read and check the tensors; ``read_payload`` fetches them where they are in the store.

        Raises:
            Refused: With the reason.
        """
        header = sealed.header
        try:
            payload = sealed.inline
            self._check_size(sealed)
            if payload is None:
                place = sealed.payload
                payload = memoryview(read_payload(header.worker, place.digest, place.size))
            limit_bytes = self.layout.largest_delta_bytes
            delta = wire.read_delta(sealed, payload, limit_bytes=limit_bytes)
            check_delta(self.layout, delta)
        except Undecodable as error:
            raise _refused(sealed, Reason.UNDECODABLE, str(error)) from error
        except ChunkMissing as error:
            raise _refused(sealed, Reason.PAYLOAD_MISSING, str(error)) from error
        except LayoutMismatch as error:
            raise _refused(sealed, Reason.BAD_SHAPE, str(error)) from error
        self._check_values(sealed, delta)
        return delta

    def _check_size(self, sealed: wire.SealedUpdate) -> None:
        """Before anything is fetched or inflated: no honest payload is larger than its tensors."""
        allowed = self.layout.largest_delta_bytes + wire.ALIGNMENT_BYTES * len(sealed.tensors)
        if sealed.payload.size > allowed:
            raise Undecodable("too_large", f"{sealed.payload.size} bytes, allowed {allowed}")

    def staleness(self, header: UpdateHeader) -> int:
        """Versions between the base and the head."""
        return self.head.number - header.base.number

    def _check_sender(self, header: UpdateHeader, delivery: Delivery) -> None:
        if header.federation != self.federation:
            detail = f"for {header.federation!r}, this is {self.federation!r}"
            raise _refused_bytes(delivery, Reason.UNKNOWN_FEDERATION, detail)
        if not self._names_itself(delivery, header.worker, header.update_id):
            detail = (
                f"login {delivery.user_id!r} sent {header.update_id!r} for worker "
                f"{header.worker!r} with key {delivery.routing_key!r}"
            )
            raise _refused_bytes(delivery, Reason.FORGED_WORKER, detail)

    def _refused_release(self, delivery: Delivery, error: UnknownSchema) -> Refused:
        """An older or newer worker is told under the id that it knows, if it is who it says."""
        detail = f"{error}; aggregator and worker must be upgraded to speak the same"
        if self._names_itself(delivery, error.worker, error.update_id):
            return Refused(Reason.UNKNOWN_SCHEMA, detail, error.update_id, error.worker)
        return _refused_bytes(delivery, Reason.UNDECODABLE, detail)

    def _names_itself(self, delivery: Delivery, worker: str, update_id: str) -> bool:
        key = topology.update_key(self.federation, worker)
        own = update_id.startswith(f"{worker}:") and UPDATE_ID.fullmatch(update_id)
        return (
            bool(own) and delivery.routing_key == key and self._login_fits(delivery.user_id, worker)
        )

    def _login_fits(self, login: str | None, worker: str) -> bool:
        """A login speaks for the worker of its name, and for ``<login>-<anything>`` (devices)."""
        if self.limits.identity == "declared":
            return True
        return login is not None and (worker == login or worker.startswith(f"{login}-"))

    def _check_values(self, sealed: wire.SealedUpdate, delta: Delta) -> None:
        limit, length = self.limits.max_update_norm, norm(delta)
        if not math.isfinite(length):
            raise _refused(sealed, Reason.NOT_FINITE, "a value is NaN or infinite")
        if length > limit:
            detail = f"L2 norm {length:.4g} exceeds the limit of {limit:.4g}"
            raise _refused(sealed, Reason.TOO_LARGE_NORM, detail)


def _refused(sealed: wire.SealedUpdate, reason: Reason, detail: str) -> Refused:
    header = sealed.header
    return Refused(reason, detail, header.update_id, header.worker, sealed.staged)


def _refused_bytes(delivery: Delivery, reason: Reason, detail: str) -> Refused:
    """Nothing the message says of itself is believed: it is named by its content and its login."""
    return Refused(reason, detail, f"digest:{digest(delivery.body)}", delivery.user_id or "unknown")
