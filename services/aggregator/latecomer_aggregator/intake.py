"""One delivery's way: opened, recognised, admitted, weighed, and folded or refused.

It ends in one of three places: in the term's buffer, parked for a later version, or with a verdict
that is durable before the broker forgets the update.
"""

import structlog

from latecomer.broker.port import Delivery, Receipt
from latecomer.clock import Clock
from latecomer.events import UpdateHeader
from latecomer.store.port import Fold, ModelStore
from latecomer.telemetry import AggregatorTelemetry
from latecomer.tensors import Delta
from latecomer.wire import SealedUpdate
from latecomer_aggregator import commit, rounds
from latecomer_aggregator.admission import Reason, Refused
from latecomer_aggregator.term import Term
from latecomer_aggregator.weighting import example_weight

log = structlog.get_logger()


class Intake:
    """What becomes of updates; not thread-safe: one coordinator owns it."""

    def __init__(self, store: ModelStore, clock: Clock, telemetry: AggregatorTelemetry) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        # Bound once: where nobody reads it, a line per update costs nothing then.
        self._debug = log.bind().debug

    def consider(self, term: Term, delivery: Delivery) -> None:
        """Give a delivery its place or its verdict.

        Raises:
            Fenced, StoreUnreachable: It has neither yet, and may be considered again.
        """
        try:
            sealed = term.admission.open(delivery)
            # Who speaks another schema, or for somebody else, has no part in the next version.
            term.roster.heard(sealed.header.worker, self._clock.monotonic_s())
            if self._is_repeat(term, sealed.header, delivery):
                return
            term.admission.check_base(sealed)
            if term.buffer.holds_worker(sealed.header.worker):
                self._park(term, sealed.header, delivery)
                return
            delta = term.admission.read(sealed, self._store.read_payload)
        except Refused as refusal:
            if refusal.reason is Reason.TOO_STALE and term.attempt is not None:
                # For a version that may never be: a verdict stands for ever.
                term.postponed.append(delivery)
                return
            self._refuse(term, delivery, refusal)
        else:
            self._fold(term, sealed, delta, delivery)

    def refuse_folded(self, term: Term, reason: Reason, detail: str) -> None:
        """Of a buffer of one update: refuse it after all."""
        (fold,) = term.buffer.folds
        refusal = Refused(reason, detail, fold.update_id, fold.worker, term.payloads)
        self._refuse(term, term.buffer.receipt(fold.update_id), refusal)
        term.emptied()

    def _is_repeat(self, term: Term, header: UpdateHeader, delivery: Delivery) -> bool:
        """Held already (the connection was lost, or it was published twice), or in the ledger."""
        former = term.redelivered(header.update_id, delivery)
        if former is not None:
            # A second copy is enough to remember it by; a lost connection's ack does nothing.
            term.updates.ack(former)
            return True
        if self._is_new(term, header.update_id):
            return False
        self._duplicate(term, header.update_id, delivery)
        return True

    def _is_new(self, term: Term, update_id: str) -> bool:
        """Whether the ledger does not know it: one question for all that wait in the inbox.

        A message's own id is only a hint what to ask for; the update's is what counts.
        """
        if update_id not in term.new:
            asked = {update_id, *(each.message_id for each in term.inbox)}
            term.new = asked - self._store.applied(asked)
        return update_id in term.new

    def _park(self, term: Term, header: UpdateHeader, delivery: Delivery) -> None:
        """It waits for the next version; a worker with too many waiting loses the oldest."""
        term.park(header.update_id, delivery)
        oldest = term.surplus(header.worker)
        if oldest is not None:
            staged = term.admission.open(term.parked[oldest]).staged
            detail = f"{rounds.places(term.recipe.aggregation)} newer ones of its worker wait"
            refusal = Refused(Reason.SUPERSEDED, detail, oldest, header.worker, staged)
            self._refuse(term, term.parked[oldest], refusal)
            del term.parked[oldest]

    def _duplicate(self, term: Term, update_id: str, delivery: Delivery | Receipt) -> None:
        self._store.count_duplicate()
        self._telemetry.duplicates.inc()
        log.info("update.duplicate", update_id=update_id)
        term.updates.ack(delivery)

    def _refuse(self, term: Term, delivery: Delivery | Receipt, refusal: Refused) -> None:
        """Record the verdict once, then let the broker forget the update or bury it."""
        term.new.discard(refusal.update_id)
        new = self._store.refuse(term.lease, refusal.verdict)
        if not new and not refusal.hostile:
            self._duplicate(term, refusal.update_id, delivery)
            return
        self._telemetry.refused.labels(refusal.reason).inc()
        log.info(
            "update.refused",
            reason=str(refusal.reason),
            detail=refusal.detail,
            update_id=refusal.update_id,
            worker=refusal.worker,
        )
        if refusal.hostile:
            term.updates.reject(delivery, requeue=False)
        else:
            term.updates.ack(delivery)

    def _fold(self, term: Term, sealed: SealedUpdate, delta: Delta, delivery: Delivery) -> None:
        update = sealed.header
        tau = term.admission.staleness(update)
        limits = term.recipe.aggregation
        weight = term.weigh(tau) * example_weight(update.examples, limits.example_weight)
        fold = Fold(update.update_id, update.worker, update.base, tau, weight, update.examples)
        term.fold(
            fold,
            delta,
            delivery,
            staged=sealed.staged,
            report=commit.report(update),
            now_s=self._clock.monotonic_s(),
        )
        self._debug(
            "update.folded",
            update_id=update.update_id,
            staleness=tau,
            weight=round(weight, 4),
            buffered=len(term.buffer),
        )
