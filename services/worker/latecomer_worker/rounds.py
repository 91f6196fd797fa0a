"""Which version to train on next: announced, found at the head, or the one that is here."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import structlog

from latecomer import wire
from latecomer.broker.port import Subscription
from latecomer.clock import Clock
from latecomer.errors import ChunkMissing, NotInitialised, StoreUnreachable, Undecodable
from latecomer.events import RoundStarted, Version
from latecomer.recipe import Recipe, round_of
from latecomer.store.port import Head, Manifest, ModelStore
from latecomer_worker.fetch import ChunkCache, Snapshot
from latecomer_worker.state import WorkerState

log = structlog.get_logger()

#: Announcements are hints and may be lost; the head itself is looked at this often.
POLL_HEAD_S = 20.0

#: An update must be part of a version this long after its recipe's T, or something went wrong.
GRACE_S = 10.0

#: More doublings of a patience are past any ceiling.
MAX_DOUBLINGS = 30


class Rounds:
    """What one worker hears of rounds, and remembers of those that it took part in.

    Args:
        alone_every_s: Without a network, train again on the version that is here after this long.
    """

    def __init__(
        self,
        *,
        federation: str,
        announcements: Subscription,
        store: ModelStore,
        state: WorkerState,
        cache: ChunkCache,
        clock: Clock,
        alone_every_s: float,
    ) -> None:
        self._federation = federation
        self._announcements = announcements
        self._store = store
        self._state = state
        self._cache = cache
        self._clock = clock
        self._alone_every_s = alone_every_s
        self._looked_s = float("-inf")
        self._new = True
        self._disturbed = False

    def next(self, wait_s: float) -> RoundStarted | None:
        """News, or the version that is here, if nothing became of it for long enough.

        Raises:
            StoreUnreachable: There may be news, and it is not yet time to go on without.
        """
        try:
            newest = self._newest(wait_s)
        except StoreUnreachable:
            again = self.alone()
            if again is None:
                raise
            return again
        return newest or self._again(self._due_s())

    def alone(self) -> RoundStarted | None:
        """The version that is here, if it is time to go on without any other."""
        return self._again(self._alone_every_s)

    def caught_up(self, started: RoundStarted) -> RoundStarted:
        """The round of the head, if there are newer versions than ``started`` announced.

        The broker hands the next announcement out as soon as one is acked: who trains for long
        finds the version that followed the last one, and would always be a round late.
        """
        try:
            head = self._store.head()
        except StoreUnreachable:
            return started  # all of it may be here; else it is said when it is fetched
        if head is None or head.version.epoch != started.version.epoch:
            return started
        if head.version.number <= started.version.number:
            return started
        return started.model_copy(update={"version": head.version, "manifest": head.manifest})

    def anew(self) -> None:
        """There is new data: who only adds need not wait for another version."""
        self._new = True

    def missed(self) -> None:
        """A round came to nothing, and its announcement was acked: what it told is at the head."""
        self._looked_s = float("-inf")

    def patience_s(self, times: int) -> float:
        """How long to wait for an update's effect; longer each time that there was none."""
        last = self._last()
        if not last:
            return self._alone_every_s
        patience_s: float = last["patience_s"] * 2.0 ** min(times - 1, MAX_DOUBLINGS)
        return min(self._alone_every_s, patience_s)

    def last_version(self) -> Version | None:
        """The version that was last trained on."""
        return last_version(self._state)

    def trained(self, snapshot: Snapshot) -> None:
        """Remember a round, in the caller's transaction if any: which, when, how often."""
        again = self.last_version() == snapshot.version
        recipe = Recipe.from_bytes(snapshot.recipe)
        last = {
            "version": snapshot.version,
            "manifest": snapshot.manifest.digest,
            "trained_s": self._clock.now_s(),
            "times": self._last().get("times", 0) + 1 if again else 1,
            "patience_s": recipe.aggregation.max_wait_s + GRACE_S,
        }
        self._state.remember("last_round", last)
        self._new = False

    def _newest(self, wait_s: float) -> RoundStarted | None:
        """The newest announcement that is news, or what the head says if none came for a while."""
        newest: RoundStarted | None = None
        last = self.last_version()
        for started in self._announced(wait_s):
            if last is not None and started.version.epoch != last.epoch:
                self.missed()  # only the head tells that another epoch began: messages are late
            elif last is None or started.version.number > last.number:
                newest = max(newest or started, started, key=lambda each: each.version)
        return newest or self._at_head()

    def _announced(self, wait_s: float) -> Iterator[RoundStarted]:
        """What came of this federation."""
        delivery = self._announcements.receive(wait_s)
        while delivery is not None:
            # Acked on receipt: the announcement is a hint, and a newer one makes it worthless.
            self._announcements.ack(delivery)
            try:
                started = wire.decode_round(delivery.body)
            except Undecodable as error:
                log.warning("round.undecodable", cause=str(error))
            else:
                if self._is_ours(started):
                    yield started
            delivery = self._announcements.receive(0)

    def _is_ours(self, started: RoundStarted) -> bool:
        """Said once: of two workers of one name at one virtual host, each takes the other's."""
        ours = started.federation == self._federation
        if not ours and not self._disturbed:
            self._disturbed = True
            hint = "each federation needs a virtual host of its own: see docs/operations.md"
            log.warning("round.of_another_federation", federation=started.federation, hint=hint)
        return ours

    def _at_head(self) -> RoundStarted | None:
        if self._clock.monotonic_s() - self._looked_s < POLL_HEAD_S:
            return None
        head = self._store.head()
        self._looked_s = self._clock.monotonic_s()
        if head is None:
            missing = NotInitialised(self._federation)
            log.warning("worker.waits", cause=str(missing), hint=missing.hint)
            return None
        # Also an older one than ours: the store was put back to what a backup of it held.
        if head.version == self.last_version():
            return None
        recipe = self._store.manifest(head.version).recipe
        return round_of(Recipe.from_bytes(self._store.read([recipe])[recipe]), head)

    def _again(self, after_s: float) -> RoundStarted | None:
        """The round of the version that is on disk, if nothing was trained for so long."""
        last = self._last()
        # A calendar that was set back does not tell how long ago that was: better once too often.
        early = not last or 0.0 <= self._clock.now_s() - self._since_s(last) < after_s
        if early and not self._new:
            return None
        manifest = self._manifest(last) if last else None
        # Who only adds has nothing to add twice, but there may be new data, as at every start:
        # where all is counted and versions stand still, it would wait until tomorrow.
        if manifest is None or (early and not manifest.layout.additive):
            return None
        recipe = self._chunk(manifest.recipe)
        if not recipe:
            return None
        head = Head(Version(*last["version"]), last["manifest"], last["trained_s"])
        return round_of(Recipe.from_bytes(recipe), head)

    def _manifest(self, last: dict[str, Any]) -> Manifest | None:
        """From here; or from the store, where a power cut or who made room took it from here."""
        held = self._cache.get(last["manifest"])
        if held is not None:
            return Manifest.from_bytes(held)
        with suppress(StoreUnreachable, ChunkMissing):
            found = self._store.manifest(Version(*last["version"]))
            return found if found.digest == last["manifest"] else None
        return None

    def _chunk(self, name: str) -> bytes | None:
        """The same of one of its chunks."""
        held = self._cache.get(name)
        with suppress(StoreUnreachable, ChunkMissing):
            return held or self._store.read([name])[name]
        return None

    def _due_s(self) -> float:
        """How long after its training a version is trained on again if nothing came of it.

        A queue may have been deleted with everybody's update in it, and then nobody else would
        bring the next version about. What is still in the outbox came to nothing yet.
        """
        if self._state.pending.unconfirmed():
            return self._alone_every_s
        return self.patience_s(self._last().get("times", 1))

    def _since_s(self, last: dict[str, Any]) -> float:
        """What waited in the outbox for long had no time yet to become of anything."""
        confirmed_s = self._state.pending.last_confirm_s(now_s=self._clock.now_s())
        return max(float(last["trained_s"]), confirmed_s)

    def _last(self) -> dict[str, Any]:
        return self._state.fact("last_round") or {}


def last_version(state: WorkerState) -> Version | None:
    """The version that a worker with this state last trained on."""
    # The second is what release 0.1.0 remembered.
    version = (state.fact("last_round") or {}).get("version") or state.fact("last_version")
    return Version(*version) if version else None


def last_manifest(state: WorkerState) -> str:
    """The digest of that version's manifest; empty where none was trained on."""
    return str((state.fact("last_round") or {}).get("manifest", ""))
