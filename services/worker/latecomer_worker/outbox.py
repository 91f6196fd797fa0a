"""Getting updates out: published in order, and forgotten only once the broker has confirmed them.

An update's id is fixed when it is written into the outbox. Whatever happens between here and the
confirm, it is published again under the same id, and the aggregator counts it once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from latecomer.broker import topology
from latecomer.broker.port import Message, Publisher
from latecomer.clock import Clock
from latecomer.errors import MessageTooLarge, Transient
from latecomer.lifecycle import Backoff
from latecomer.store.port import LEDGER_WINDOW_S, ModelStore
from latecomer_worker.pending import Outgoing, PendingUpdates

log = structlog.get_logger()

#: No update waits for a year: a device whose calendar says so has just learned the date.
BELIEVED_S = 365 * 24 * 3600.0

#: Older updates may have had a verdict that the ledger forgot. Half of what it remembers: its time
#: is not quite the worker's, and the copy has its way to go.
REPEATABLE_S = LEDGER_WINDOW_S / 2


@dataclass(frozen=True, slots=True)
class Limits:
    """What an outbox may hold.

    The rule, where it holds more: what is older than ``max_age_s`` goes first, then the oldest,
    until the rest fits ``max_bytes``. The newest is worth most and stays, however large. What is
    given up is lost whole: it is in no residual of the codes.
    """

    max_bytes: int
    max_age_s: float


class Outbox:
    """The updates of one worker that wait for their confirm.

    Args:
        backoff: Between two attempts at a broker that is away.
        should_stop: Looked at between updates.
    """

    def __init__(
        self,
        pending: PendingUpdates,
        publisher: Publisher,
        store: ModelStore,
        *,
        federation: str,
        worker: str,
        clock: Clock,
        backoff: Backoff,
        limits: Limits,
        should_stop: Callable[[], bool],
    ) -> None:
        self._pending = pending
        self._publisher = publisher
        self._store = store
        self._federation = federation
        self._worker = worker
        self._clock = clock
        self._backoff = backoff
        self._limits = limits
        self._should_stop = should_stop
        self._confirmed: tuple[str, float] | None = None
        self._try_from_s = float("-inf")

    def put(self, outgoing: Outgoing) -> None:
        """Queue an update, inside the caller's transaction; make room for it if need be."""
        self._pending.put(outgoing, created_s=self._clock.now_s())
        self._trim()

    def offer(self) -> None:
        """Send what waits, unless the broker was found away a moment ago.

        What it cannot take now stays: a broker that is away must not keep a device from training.
        """
        if self._clock.monotonic_s() < self._try_from_s:
            return
        try:
            self.send()
        except Transient as error:
            pause_s = self._backoff.next_s()
            self._try_from_s = self._clock.monotonic_s() + pause_s
            log.warning(
                "outbox.waits",
                cause=str(error),
                updates=self._pending.unconfirmed(),
                pause_s=round(pause_s, 2),
            )
        else:
            self._backoff.reset()

    def send(self) -> int:
        """Publish everything that waits, oldest first; returns how many were confirmed.

        Raises:
            BrokerUnreachable, PublishRefused, Unroutable, StoreUnreachable: What was not
                confirmed stays in the outbox.
            DiskTrouble: A confirm could not be written; nothing is published until it is.
        """
        self._write_confirm()
        if self._pending.unconfirmed():
            self._trim()
        sent = 0
        while not self._should_stop() and (outgoing := self._pending.next()) is not None:
            if self._publish(outgoing):
                self._confirmed = (outgoing.update_id, self._clock.now_s())
                self._write_confirm()
                sent += 1
            else:
                self._pending.give_up(outgoing.update_id)
        return sent

    def repeat(self, patience_s: Callable[[int], float]) -> None:
        """Queue anew what may not be made anew, and has no verdict for longer than is likely.

        Its queue may have been deleted; if not, the aggregator knows it again by its id, as long
        as the ledger is sure to know that. Called after the verdicts were asked for.

        Args:
            patience_s: How long to wait for a verdict after so many confirms.

        Raises:
            StoreUnreachable: Nothing is queued.
        """
        now_s = self._clock.now_s()
        due = [e for e in self._pending.unanswered() if now_s - e.sent_s >= patience_s(e.times)]
        # A device that was off, and has not learned the date yet, learns it from the versions.
        head = self._store.head() if due else None
        latest_s = max(now_s, head.at_s if head else now_s)
        for each in due:
            if latest_s - each.sent_s < REPEATABLE_S:
                log.warning("update.repeated", update_id=each.update_id, times=each.times)
                self._pending.put_again(each.update_id, now_s=now_s)

    def _write_confirm(self) -> None:
        """The broker has it: on a full disk only this is tried again, not to publish it."""
        if self._confirmed is not None:
            update_id, confirmed_s = self._confirmed
            self._pending.confirm(update_id, now_s=confirmed_s)
            self._confirmed = None

    def _trim(self) -> None:
        self._pending.restamp(now_s=self._clock.now_s(), believed_s=BELIEVED_S)
        dropped = self._pending.trim(
            created_before_s=self._clock.now_s() - self._limits.max_age_s,
            keep_bytes=self._limits.max_bytes,
        )
        for update_id in dropped:
            log.warning("update.dropped", update_id=update_id, cause="too old, or no room for it")

    def _publish(self, outgoing: Outgoing) -> bool:
        """Whether the broker confirmed it; False if no broker ever will."""
        if outgoing.payload is not None:
            self._store.stage_payload(self._worker, outgoing.payload)
        message = Message(
            exchange=topology.UPDATES,
            routing_key=topology.update_key(self._federation, self._worker),
            body=outgoing.body,
            message_id=outgoing.update_id,
            type="latecomer.update.v1",
        )
        try:
            self._publisher.publish(message)
        except MessageTooLarge as error:
            # No broker will ever take it: dropping it, loudly, lets the next ones pass.
            log.error("update.dropped", update_id=outgoing.update_id, cause=str(error))
            return False
        log.info("update.published", update_id=outgoing.update_id, bytes=len(outgoing.body))
        return True
