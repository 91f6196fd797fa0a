"""What a leader knows between taking over and standing down."""

from collections import deque

from latecomer.broker.port import Delivery, Receipt, Subscription
from latecomer.events import Staged
from latecomer.recipe import Recipe
from latecomer.recommenders import derived
from latecomer.store.port import Fold, Lease
from latecomer.tensors import Delta
from latecomer_aggregator import optimizer, rounds, staleness
from latecomer_aggregator.admission import Admission
from latecomer_aggregator.buffer import Buffer, hold_later
from latecomer_aggregator.commit import Attempt, Published

#: Who has no broker for this long, or no answer from the store, leads nobody and gives back what it
#: holds: to another aggregator both may be there.
GIVE_BACK_S = 30.0

#: Whose store answers, and takes no version for so long (it is full, say), does so too. Seldom:
#: each time counts towards the delivery limit, and twenty would bury what nobody refused. But what
#: is held for half an hour the broker takes back, and counts as well (its consumer timeout).
HOLD_S = 1200.0


class Term:
    """One leader's term. Not thread-safe: one coordinator owns it.

    Attributes:
        lease: That the term began with. Under another one, be it of the same number after the
            store was flushed, somebody else may have led in between.
        recipe: What the federation agreed on; what follows from it is bound once: ``optimizer``,
            ``derive``, ``weigh``.
        updates: The deliveries of this term; closing it gives back what is not acked.
        roster: Who is alive.
        admission: The rules for what is folded upon ``standing``.
        announced: Whether the head was; then ``announced_s`` is when, else it is tried again from
            ``announce_from_s`` on.
        declared: Whether it was tried to declare exchanges and queues since the last failure.
        received_s: When something was last received, or it was seen to that it can be.
        connected_s: When the broker was last there.
        failing_from_s: When something last failed that had not failed just before.
        inbox: Deliveries that wait to be considered: received, parked before the last version was
            computed, or postponed until it was durable.
        new: Ids that the ledger did not know when it was last asked. Only who holds the lease
            writes to it, so that they are new until this term commits or refuses.
        buffer: What the next version is made of so far, since ``first_fold_s``.
        parked: Newer updates of workers that have their one place in the buffer already.
        postponed: Of what they are worth nothing can be said before ``attempt`` is durable.
        reports: Per worker in the buffer, what the fleet table will show.
        payloads: What is in the buffer and was read from the store, to be deleted with its commit.
        published: The head; nobody is told of anything newer.
        attempt: The version after it, computed and not known to be durable yet.
        owed: Of the deliveries that ``attempt`` is made of, by update in the order of their folds:
            their acks wait for it to be durable.
        careful: So many updates are yet to be folded alone: there is one among them of which no
            version can be made.
    """

    def __init__(
        self,
        published: Published,
        recipe: Recipe,
        updates: Subscription,
        *,
        lease: Lease,
        now_s: float,
        careful: int = 0,
    ) -> None:
        limits = recipe.aggregation
        self.lease = lease
        self.declared = False
        self.received_s = self.connected_s = self.failing_from_s = now_s
        self.announced_s = float("-inf")
        self.recipe = recipe
        self.updates = updates
        self.optimizer = optimizer.build(limits.optimizer)
        self.derive = derived.rule(recipe.model)
        self.weigh = staleness.rule(limits.staleness)
        self.roster = rounds.Roster(limits.live_s, settle_s=limits.max_wait_s, started_s=now_s)
        self.inbox: deque[Delivery] = deque()
        self.new: set[str] = set()
        self.parked: dict[str, Delivery] = {}
        self.postponed: list[Delivery] = []
        self.reports: dict[str, str] = {}
        self.payloads: Staged = frozenset()
        self.buffer = Buffer(published.manifest.layout)
        self.first_fold_s = now_s
        self.published = published
        self.announced = False
        self.announce_from_s = float("-inf")
        self.attempt: Attempt | None = None
        self.owed: dict[str, Receipt] = {}
        self.careful = careful
        self.admission = self._admission()

    @property
    def standing(self) -> Published:
        """The version that updates are folded upon: the newest that was computed."""
        return self.attempt.published if self.attempt else self.published

    def _admission(self) -> Admission:
        standing = self.standing
        return Admission(
            self.recipe.federation,
            standing.version,
            standing.manifest.layout,
            self.recipe.aggregation,
        )

    def updates_in_force(self, now_s: float) -> int:
        """K in force now."""
        if self.careful:
            return 1
        live = self.roster.live(now_s)
        return rounds.updates_in_force(
            self.recipe.aggregation, live, self.standing.manifest.cadence
        )

    def failed(self, now_s: float, failures: int) -> None:
        """A step failed, after so many in a row."""
        if not failures:
            self.failing_from_s = now_s

    def unable(self, now_s: float, failures: int) -> str:
        """Why somebody else should try to lead; empty while all is well, or was a while ago."""
        if self.updates.connected():
            self.connected_s = now_s
        if now_s - self.connected_s > GIVE_BACK_S:
            return "no connection to the broker"
        if failures and now_s - self.failing_from_s > HOLD_S:
            return "the store takes no version"
        return ""

    def patience_s(self, now_s: float) -> float:
        """How long a buffer that has something in it may still wait; for ever while empty."""
        if not len(self.buffer):
            return float("inf")
        return max(0.0, self.first_fold_s + self.recipe.aggregation.max_wait_s - now_s)

    def due(self, now_s: float) -> bool:
        """K updates or T seconds, or nothing else can come in."""
        full = len(self.buffer) >= self.updates_in_force(now_s) or self._crowded()
        return bool(len(self.buffer)) and (full or not self.patience_s(now_s))

    def _crowded(self) -> bool:
        """Whether everything that may be held un-acked is held, and nothing is left to consider.

        Who returns with a full outbox parks it here, and nobody else gets in before a version.
        """
        held = len(self.buffer) + len(self.parked) + len(self.owed)
        return held >= rounds.prefetch(self.recipe.aggregation)

    def fold(
        self,
        fold: Fold,
        delta: Delta,
        delivery: Delivery,
        *,
        staged: Staged,
        report: str,
        now_s: float,
    ) -> None:
        """Take an update into the buffer; T runs from the first one on."""
        if not len(self.buffer):
            self.first_fold_s = now_s
        self.buffer.fold(fold, delta, delivery)
        self.reports[fold.worker] = report
        self.payloads |= staged

    def park(self, update_id: str, delivery: Delivery) -> None:
        """Let an update wait for the next version; of two copies, the later delivery."""
        former = self.parked.get(update_id, delivery)
        earlier, later = sorted((former, delivery), key=lambda each: each.receipt)
        if earlier is not later:
            self.updates.ack(earlier)
        self.parked[update_id] = later

    def surplus(self, worker: str) -> str | None:
        """Of a worker with more parked updates than places, the oldest."""
        own = [each for each in self.parked if each.startswith(f"{worker}:")]
        return own[0] if len(own) > rounds.places(self.recipe.aggregation) else None

    def redelivered(self, update_id: str, delivery: Delivery) -> Receipt | None:
        """Hold the later delivery of an update that waits for its commit; the other, if it does."""
        if update_id in self.owed:
            return hold_later(self.owed, update_id, delivery)
        if self.buffer.holds(update_id):
            return self.buffer.redelivered(update_id, delivery)
        return None

    def computed(self, attempt: Attempt) -> None:
        """Fold upon the next version from here on, and let in who waited for it."""
        self.attempt = attempt
        self.careful = max(0, self.careful - 1)
        self.owed = self.emptied()
        self.inbox.extendleft(reversed(self.parked.values()))
        self.parked = {}
        self.admission = self._admission()

    def emptied(self) -> dict[str, Receipt]:
        """Begin a new buffer; by update, in fold order, what acks that of the former."""
        self.reports = {}
        self.payloads = frozenset()
        return self.buffer.release()

    def advance(self) -> None:
        """The version is durable: it is the head, and what it is made of is acked."""
        self.published, self.attempt = self.standing, None
        self.updates.ack(*self.owed.values())
        self.new.difference_update(self.owed)
        self.owed = {}
        self.inbox.extendleft(reversed(self.postponed))
        self.postponed = []
        self.announced = False
        self.announce_from_s = float("-inf")
