"""The order of an aggregator's steps, top to bottom.

Lead, announce, receive, admit, weigh, fold, commit, acknowledge, announce. Two things can make a
new version: a delivery that fills the buffer, or a clock that says it has waited long enough.
While a version is being written, what comes in is folded upon it already; one is written at a time.
Everything else happens in other modules, each called once from here.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import structlog

from latecomer.broker.port import Broker, Publisher
from latecomer.broker.topology import Topology, federation_topology, updates_queue
from latecomer.clock import Clock
from latecomer.errors import (
    BrokerUnreachable,
    Fenced,
    LatecomerError,
    NotInitialised,
    PublishRefused,
    StoreUnreachable,
    Transient,
    Unroutable,
    Unsolvable,
    VersionConflict,
)
from latecomer.lifecycle import Backoff
from latecomer.store.port import Lease, ModelStore
from latecomer.telemetry import AggregatorTelemetry
from latecomer_aggregator import cadence, commit, optimizer, rounds
from latecomer_aggregator.admission import Reason
from latecomer_aggregator.background import Background
from latecomer_aggregator.commit import Attempt, Published
from latecomer_aggregator.intake import Intake
from latecomer_aggregator.leadership import Leadership
from latecomer_aggregator.term import GIVE_BACK_S, Term

log = structlog.get_logger()

#: Who stands down asks this often whether the version that is being written is; the store's client
#: gives up by itself.
CONCLUDE_S = 1.0

#: A round that could not be announced is announced again after this long.
ANNOUNCE_AGAIN_S = 1.0

#: While the next version fills already, versions are announced this often: workers keep only the
#: newest announcement, and every confirm is waited for.
ANNOUNCE_EVERY_S = 0.1

#: Where nothing came for so long, somebody may have deleted what leads here.
DECLARE_AGAIN_S = 60.0

#: Somebody waits for a federation that nobody founded, or whose name is misspelt.
COMPLAIN_EVERY_S = 60.0


class Coordinator:
    """One aggregator of one federation. ``step`` does one thing and returns.

    Args:
        background: Where versions are written; nothing else runs beside ``step``.
        idle: Waits for so many seconds, or less if the process is to stop.
        beat: Called now and then where one step takes long: this process is alive.
    """

    def __init__(
        self,
        *,
        federation: str,
        broker: Broker,
        store: ModelStore,
        leadership: Leadership,
        clock: Clock,
        telemetry: AggregatorTelemetry,
        background: Background,
        backoff: Backoff,
        idle: Callable[[float], object],
        beat: Callable[[], object] = lambda: None,
        declare: bool = True,
    ) -> None:
        self._federation = federation
        self._broker = broker
        self._store = store
        self._leadership = leadership
        self._clock = clock
        self._telemetry = telemetry
        self._writing = background
        self._took_s = 0.0
        self._backoff = backoff
        self._intake = Intake(store, clock, telemetry)
        self._idle = idle
        self._beat = beat
        self._careful = 0
        self._complain_from_s = float("-inf")
        self._topology: Topology | None = federation_topology(federation) if declare else None
        self._publisher: Publisher = broker.publisher()
        self._term: Term | None = None
        self._takes_over: Lease | None = None
        self._takes_over_from_s = float("-inf")
        # Asked for when somebody looks: an update costs less than to say so each time.
        telemetry.buffered.set_function(self._waiting)

    def step(self, wait_s: float) -> None:
        """Do the next thing, waiting at most about ``wait_s`` for it to come.

        A server that is away is waited for, with pauses that grow to a ceiling; what was buffered
        stays buffered, unless the store is for so long that nobody leads. A lost leadership drops
        the buffer and the version that was to be written: the broker gives what they are made of
        to the next leader.
        """
        try:
            self._step(wait_s)
            if self._term is None or self._term.attempt is None:
                self._backoff.reset()  # else the store has still to show that it is well
        except Transient as error:
            self._telemetry.waits(error)
            if self._term is not None:
                self._term.failed(self._clock.monotonic_s(), self._backoff.failures)
            pause_s = self._backoff.next_s()
            log.warning("aggregator.waits", cause=str(error), pause_s=round(pause_s, 2))
            if self._leadership.unheard_s > GIVE_BACK_S:
                self._stand_down()
            self._idle(pause_s)
        except (Fenced, VersionConflict) as error:
            log.warning("leadership.lost", cause=str(error))
            self._leadership.lost()
            self._stand_down()

    def close(self) -> None:
        """Hand over: stop consuming first, so that the next leader gets what was buffered."""
        self._stand_down()
        try:
            self._leadership.resign()
        except StoreUnreachable as error:
            log.warning("leadership.not_resigned", cause=str(error))
        self._publisher.close()
        self._writing.close()

    def _step(self, wait_s: float) -> None:
        lease = self._leadership.hold() if self._has_model() else None
        if lease is None:
            self._stand_down()
            self._idle(min(wait_s, self._leadership.pause_s))
            return
        if self._term is not None and self._term.lease is not lease:
            log.warning("leadership.lapsed", fence=lease.fence)
            self._stand_down()
            return
        if unable := self._unable(lease):
            log.warning("leadership.passed_on", cause=unable)
            self._stand_down()
            self._leadership.pass_on()
            return
        term = self._term or self._take_over(lease)
        self._settle(term, 0.0)
        self._announce(term)
        self._go_on(term, wait_s if term.announced else min(wait_s, ANNOUNCE_EVERY_S))
        if term.attempt is None and term.due(self._clock.monotonic_s()):
            self._compute(term)
        if term.attempt is not None and not self._writing.busy:
            self._writing.begin(partial(self._publish, term.published, term.attempt, lease))
            self._settle(term, 0.0)

    def _has_model(self) -> bool:
        """Whether there is anything to lead; now and then it is said that there is not."""
        if self._term is not None or self._store.head() is not None:
            return True
        if self._clock.monotonic_s() >= self._complain_from_s:
            missing = NotInitialised(self._federation)
            log.warning("aggregator.waits", cause=str(missing), hint=missing.hint)
            self._complain_from_s = self._clock.monotonic_s() + COMPLAIN_EVERY_S
        return False

    def _unable(self, lease: Lease) -> str:
        """Why somebody else should try to lead; empty while all is well, or was a while ago.

        Who holds a lease keeps others from leading, be it that he cannot read what they can.
        """
        now_s = self._clock.monotonic_s()
        if self._term is not None:
            return self._term.unable(now_s, self._backoff.failures)
        if self._takes_over is not lease:
            self._takes_over, self._takes_over_from_s = lease, now_s
        in_vain = now_s - self._takes_over_from_s > GIVE_BACK_S
        return "the newest version cannot be taken over" if in_vain else ""

    def _go_on(self, term: Term, wait_s: float) -> None:
        """Fold the next delivery; beside a version that is being written, only what is here.

        Nothing is folded into a buffer that is due, or upon a version that has to be written again.
        """
        beside = self._writing.busy
        if term.attempt is not None and not beside:
            return
        due = term.due(self._clock.monotonic_s())
        folded = not due and self._receive(term, 0.0 if beside else wait_s)
        if beside and not folded:
            self._settle(term, wait_s)

    def _receive(self, term: Term, wait_s: float) -> bool:
        """Consider one delivery; it leaves the inbox only once it has its place or its verdict.

        (Giving it back instead would count against its delivery limit while a server is away.)
        """
        if not term.inbox:
            self._listen(term, wait_s)
        if not term.inbox:
            return False
        with self._alive():
            self._intake.consider(term, term.inbox[0])
        term.inbox.popleft()
        return True

    def _listen(self, term: Term, wait_s: float) -> None:
        """Receive all that is there; where nothing was for long, see to it that it can be.

        A consumer is told that its queue was deleted, and not that nothing leads to it any more.
        """
        now_s = self._clock.monotonic_s()
        delivery = term.updates.receive(min(wait_s, term.patience_s(now_s)))
        while delivery is not None:
            term.inbox.append(delivery)
            delivery = term.updates.receive(0.0)
        if term.inbox:
            term.received_s = now_s
        elif now_s - term.received_s > DECLARE_AGAIN_S:
            self._declare(term)

    def _take_over(self, lease: Lease) -> Term:
        """Read the head and start to consume: from here on the fence protects what we write."""
        with self._alive():
            published, recipe = commit.load(self._store, self._federation)
        updates = self._broker.subscribe(
            updates_queue(self._federation),
            prefetch=rounds.prefetch(recipe.aggregation),
            topology=self._topology,
        )
        now_s = self._clock.monotonic_s()
        self._term = Term(
            published, recipe, updates, lease=lease, now_s=now_s, careful=self._careful
        )
        self._careful, self._takes_over = 0, None
        additive = published.manifest.layout.additive
        self._telemetry.took_over(published.version.number, counts_only=additive)
        self._telemetry.updates_in_force.set(self._term.updates_in_force(now_s))
        log.info("leadership.taken", fence=lease.fence, version=str(published.version))
        return self._term

    def _stand_down(self) -> None:
        if self._term is not None:
            self._conclude(self._term)
            self._term.updates.close()
            self._term = None
            self._telemetry.leading.set(0)

    def _conclude(self, term: Term) -> None:
        """Hear of the version that is being written: if it is durable, what it is made of is acked.

        Whoever stands down goes on doing so, whatever became of it.
        """
        try:
            while self._writing.busy:
                self._settle(term, CONCLUDE_S)
        except LatecomerError as error:
            log.warning("version.abandoned", cause=str(error))

    def _announce(self, term: Term) -> None:
        """Tell everybody about the head, once per version and once per leader.

        It is a hint: where it cannot be sent (an alarm blocks publishers, say), updates are
        consumed all the same, and it is tried again later. In a backlog the newest is announced now
        and then.
        """
        now_s = self._clock.monotonic_s()
        if term.announced or now_s < term.announce_from_s:
            return
        if now_s < term.announced_s + ANNOUNCE_EVERY_S and (term.inbox or len(term.buffer)):
            return
        try:
            if not term.declared:
                self._declare(term)
            message = rounds.announcement(term.recipe, term.published.head())
            self._publisher.publish(message, mandatory=False)
        except (BrokerUnreachable, PublishRefused, Unroutable) as error:
            log.warning("round.not_announced", cause=str(error))
            term.declared = False
            term.announce_from_s = self._clock.monotonic_s() + ANNOUNCE_AGAIN_S
        else:
            term.announced, term.announced_s = True, now_s

    def _declare(self, term: Term) -> None:
        """Exchanges, queues and what leads to them.

        Over a long line it takes longer than anybody here can be waited for, and an announcement
        does not; the subscription declares the same whenever it connects.
        """
        term.declared, term.received_s = True, self._clock.monotonic_s()
        if self._topology is None:
            return
        try:
            self._broker.declare(self._topology)
        except BrokerUnreachable as error:
            log.warning("topology.not_declared", cause=str(error))

    def _compute(self, term: Term) -> None:
        """Make the next version, or find the update of which none can be made.

        A buffer's deltas are a sum, and cannot be told apart: what it was made of is received again
        and folded one by one, until the culprit is alone with the error.
        """
        try:
            with self._alive():
                term.computed(self._computed(term))
        except Unsolvable as error:
            folds = term.buffer.folds
            log.warning("version.unsolvable", updates=len(folds), cause=str(error))
            if len(folds) > 1:
                self._careful = rounds.prefetch(term.recipe.aggregation)
                self._stand_down()
                return
            self._intake.refuse_folded(term, Reason.UNSOLVABLE, str(error))
            # Where there is one there may be more, and each search costs all others a delivery.
            term.careful = max(0, term.careful - 1)

    def _alive(self) -> AbstractContextManager[None]:
        """Around what takes as long as the model is large: it may be longer than a lease."""
        return self._writing.repeated(self._breathe, self._leadership.pause_s)

    def _breathe(self) -> None:
        """In the middle of something long: keep the lease, and be seen to be alive."""
        self._leadership.keep()
        self._beat()

    def _computed(self, term: Term) -> Attempt:
        """The server step: what the buffer makes of the head, fixed until it is published."""
        before, limits = term.published, term.recipe.aggregation
        folds = tuple(term.buffer.folds)
        # Workers may have been forgotten since they were folded: never more than the mean.
        divisor = max(len(term.buffer), term.updates_in_force(self._clock.monotonic_s()))
        model, state = optimizer.step(
            term.optimizer,
            before.manifest.layout,
            before.model,
            before.optimizer,
            term.buffer.mean(divisor, row_floor=limits.row_floor),
            term.derive and partial(term.derive, between=self._breathe),
            part=optimizer.part_taken(limits.optimizer, before.version.number, folds),
        )
        return commit.prepare(
            before,
            model,
            state,
            folds,
            divisor,
            term.reports,
            at_s=self._clock.now_s(),
            cadence=cadence.after(before.manifest.cadence, folds, limits),
            payloads=term.payloads,
        )

    def _publish(self, before: Published, attempt: Attempt, lease: Lease) -> None:
        """The durable commit, in the background. Repeating it after a lost reply is harmless."""
        began_s = self._clock.monotonic_s()
        commit.publish(self._store, lease, before, attempt)
        self._took_s = self._clock.monotonic_s() - began_s

    def _settle(self, term: Term, wait_s: float) -> None:
        """Once the version is durable, and only then, the acks, and everybody is told.

        Raises:
            Fenced, VersionConflict, StagedMissing, StoreUnreachable: As ``ModelStore.commit``.
        """
        if not self._writing.busy or not self._writing.ended(wait_s):
            return
        term.advance()
        self._backoff.reset()
        self._count(term)
        self._announce(term)

    def _waiting(self) -> int:
        """Updates that are folded and not acked."""
        return len(self._term.buffer) + len(self._term.owed) if self._term else 0

    def _count(self, term: Term) -> None:
        version, manifest = term.published.version, term.published.manifest
        behind = [fold.staleness for fold in manifest.folds]
        in_force = term.updates_in_force(self._clock.monotonic_s())
        self._telemetry.updates_in_force.set(in_force)
        self._telemetry.committed(version.number, behind, at_s=manifest.at_s, took_s=self._took_s)
        log.info(
            "version.committed",
            version=str(version),
            updates=len(behind),
            staleness=behind,
            took_s=round(self._took_s, 3),
        )
