"""Getting updates out: published in order, and forgotten only once the broker has confirmed them.

An update's id is fixed when it is written into the outbox. Whatever happens between here and the
confirm, it is published again under the same id, and the aggregator counts it once.
"""

import structlog

from latecomer.broker import topology
from latecomer.broker.port import Message, Publisher
from latecomer.errors import MessageTooLarge
from latecomer.store.port import ModelStore
from latecomer_worker.state import Outgoing, WorkerState

log = structlog.get_logger()


class Outbox:
    """The updates of one worker that wait for their confirm."""

    def __init__(
        self,
        state: WorkerState,
        publisher: Publisher,
        store: ModelStore,
        *,
        federation: str,
        worker: str,
    ) -> None:
        self._state = state
        self._publisher = publisher
        self._store = store
        self._federation = federation
        self._worker = worker

    def send(self) -> int:
        """Publish everything that waits, oldest first; returns how many were confirmed.

        Raises:
            BrokerUnreachable, PublishRefused, Unroutable, StoreUnreachable: What was not
                confirmed stays in the outbox.
        """
        sent = 0
        while (outgoing := self._state.next_outgoing()) is not None:
            sent += self._publish(outgoing)
            self._state.delete_outgoing(outgoing.update_id)
        return sent

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
