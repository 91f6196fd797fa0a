"""What a leader knows between taking over and standing down."""

from collections import deque

from latecomer.broker.port import Delivery, Subscription
from latecomer.recipe import Recipe
from latecomer.recommenders import derived
from latecomer.store.port import Lease
from latecomer_aggregator import optimizer, rounds, staleness
from latecomer_aggregator.admission import Admission
from latecomer_aggregator.buffer import Buffer
from latecomer_aggregator.commit import Attempt, Published


class Term:
    """One leader's term. Not thread-safe: one coordinator owns it.

    Attributes:
        lease: That the term began with. Under another one, be it of the same number after the
            store was flushed, somebody else may have led in between.
        announced_s: When a round was announced last.
        declared: Whether exchanges and queues were declared since the last failure.
        inbox: Deliveries that wait to be considered: received, or parked before the last version.
        new: Ids that the ledger did not know when it was last asked. Only who holds the lease
            writes to it, so that they are new until this term commits or refuses.
        parked: Newer updates of workers that have their one place in the buffer already.
        reports: Per worker in the buffer, what the fleet table will show.
        attempt: A version that was computed and is not known to be published.
    """

    def __init__(
        self,
        published: Published,
        recipe: Recipe,
        updates: Subscription,
        *,
        lease: Lease,
        now_s: float,
    ) -> None:
        limits = recipe.aggregation
        self.lease = lease
        self.declared = False
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
        self.reports: dict[str, str] = {}
        self.buffer = Buffer(published.manifest.layout)
        self.first_fold_s = now_s
        self._stand_on(published)

    def _stand_on(self, published: Published) -> None:
        self.published = published
        self.new = set()
        self.announced = False
        self.announce_from_s = float("-inf")
        self.attempt: Attempt | None = None
        self.admission = Admission(
            self.recipe.federation,
            published.version,
            published.manifest.layout,
            self.recipe.aggregation,
        )

    def updates_in_force(self, now_s: float) -> int:
        """K in force now."""
        live = self.roster.live(now_s)
        return rounds.updates_in_force(
            self.recipe.aggregation, live, self.published.manifest.cadence
        )

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
        held = len(self.buffer) + len(self.parked)
        return held >= rounds.prefetch(self.recipe.aggregation)

    def park(self, update_id: str, delivery: Delivery) -> None:
        """Let an update wait for the next version; of two copies, the newer delivery."""
        if update_id in self.parked:
            self.updates.ack(self.parked[update_id])
        self.parked[update_id] = delivery

    def advance(self, published: Published) -> None:
        """The version is durable: ack what it is made of, and let in who waited for the next."""
        for delivery in self.buffer.release():
            self.updates.ack(delivery)
        self.inbox.extend(self.parked.values())
        self.parked = {}
        self.reports = {}
        self._stand_on(published)
