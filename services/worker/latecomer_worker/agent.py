"""The order of a worker's steps, top to bottom.

Send what waits, listen, fetch, evaluate, train, save, send. Training runs in the caller's thread;
the broker's connections have threads of their own, so that ten minutes of training do not cost a
heartbeat.
"""

from collections.abc import Callable

import numpy as np
import structlog

from latecomer import wire
from latecomer.broker.port import Subscription
from latecomer.clock import Clock
from latecomer.errors import Transient, Undecodable
from latecomer.events import RoundStarted, UpdateSubmitted, Version
from latecomer.lifecycle import Backoff
from latecomer.recipe import Recipe, round_of
from latecomer.recommenders.port import Trained
from latecomer.store.port import Manifest, ModelStore
from latecomer_worker import encode
from latecomer_worker.fetch import ChunkCache, Snapshot, fetch
from latecomer_worker.outbox import Outbox
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer

log = structlog.get_logger()

#: Announcements are hints and may be lost; the head itself is looked at this often.
POLL_HEAD_S = 60.0

#: Makes the trainer for a snapshot's catalogue and recipe: reads the worker's own data.
OpenSite = Callable[[Snapshot], Trainer]


class Agent:
    """One worker of one federation. ``step`` takes part in at most one round and returns.

    Args:
        boot: Names this start of the process in update ids; never the same twice.
        should_stop: Looked at between batches.
        idle: Waits for so many seconds, or less if the process is to stop.
    """

    def __init__(
        self,
        *,
        federation: str,
        worker: str,
        boot: str,
        rounds: Subscription,
        store: ModelStore,
        outbox: Outbox,
        state: WorkerState,
        cache: ChunkCache,
        open_site: OpenSite,
        clock: Clock,
        rng: np.random.Generator,
        backoff: Backoff,
        should_stop: Callable[[], bool],
        idle: Callable[[float], object],
    ) -> None:
        self._federation = federation
        self._worker = worker
        self._boot = boot
        self._rounds = rounds
        self._store = store
        self._outbox = outbox
        self._state = state
        self._cache = cache
        self._open_site = open_site
        self._clock = clock
        self._rng = rng
        self._backoff = backoff
        self._should_stop = should_stop
        self._idle = idle
        self._trainer: Trainer | None = None
        self._catalogue = ""
        self._looked_s = float("-inf")
        self._sequence = 0

    def step(self, wait_s: float) -> bool:
        """Take part in a round if there is a new one; True if an update was made.

        A server that is away is waited for, with pauses that grow to a ceiling; what was trained
        stays in the outbox.
        """
        try:
            took_part = self._step(wait_s)
            self._backoff.reset()
        except Transient as error:
            # An announcement that was acked is gone: what it told of is found at the head.
            self._looked_s = float("-inf")
            pause_s = self._backoff.next_s()
            log.warning("worker.waits", cause=str(error), pause_s=round(pause_s, 2))
            self._idle(pause_s)
            return False
        return took_part

    def _step(self, wait_s: float) -> bool:
        self._outbox.send()
        started = self._newest_round(wait_s)
        if started is None or not self._is_news(started.version):
            return False
        self._idle(self._rng.uniform(0.0, started.spread_s))
        snapshot = fetch(self._store, started.version, started.manifest, self._cache)
        self._look_at_verdict()
        trainer = self._trainer_for(snapshot)
        sums = trainer.sums(snapshot.model)
        trained = trainer.train(
            snapshot.model, plan=started.plan, rng=self._rng, should_stop=self._should_stop
        )
        if self._should_stop() or not trained.examples:
            return False
        self._save(trainer, snapshot, trained, sums)
        self._outbox.send()
        return True

    def _newest_round(self, wait_s: float) -> RoundStarted | None:
        """The newest announcement, or what the head says if none came for a while."""
        newest: RoundStarted | None = None
        delivery = self._rounds.receive(wait_s)
        while delivery is not None:
            # Acked on receipt: the announcement is a hint, and a newer one makes it worthless.
            self._rounds.ack(delivery)
            try:
                started = wire.decode_round(delivery.body)
            except Undecodable as error:
                log.warning("round.undecodable", cause=str(error))
            else:
                if started.federation == self._federation:
                    newest = max(newest or started, started, key=lambda each: each.version)
            delivery = self._rounds.receive(0)
        return newest or self._round_of_head()

    def _round_of_head(self) -> RoundStarted | None:
        if self._clock.monotonic_s() - self._looked_s < POLL_HEAD_S:
            return None
        head = self._store.head()
        self._looked_s = self._clock.monotonic_s()
        if head is None or not self._is_news(head.version):
            return None
        manifest = self._store.manifest(head.version)
        return round_of(self._recipe(manifest), head)

    def _recipe(self, manifest: Manifest) -> Recipe:
        return Recipe.from_bytes(self._store.read([manifest.recipe])[manifest.recipe])

    def _is_news(self, version: Version) -> bool:
        """Whether nothing was learned from this version yet; another epoch always is."""
        last = self._state.fact("last_version")
        return last is None or version[0] != last[0] or version[1] > last[1]

    def _trainer_for(self, snapshot: Snapshot) -> Trainer:
        """The trainer over this worker's data; a new catalogue means to read the data again."""
        last = self._state.fact("last_version")
        if last is not None and last[0] != snapshot.version.epoch:
            self._state.forget_private()
            self._trainer = None
        if self._trainer is None or self._catalogue != snapshot.manifest.catalogue:
            self._trainer = self._open_site(snapshot)
            self._catalogue = snapshot.manifest.catalogue
        return self._trainer

    def _save(
        self, trainer: Trainer, snapshot: Snapshot, trained: Trained, sums: encode.Sums
    ) -> None:
        """Outbox, private state and progress in one transaction: all of a round, or none of it."""
        self._sequence += 1
        update = encode.describe(
            snapshot,
            trained,
            federation=self._federation,
            worker=self._worker,
            update_id=f"{self._worker}:{self._boot}:{self._sequence}",
            sums=sums,
        )
        with self._state.transaction():
            self._state.put_outgoing(encode.encode(update), created_s=self._clock.now_s())
            trainer.keep(trained.private, self._state)
            self._state.remember("last_version", snapshot.version)
            self._state.remember("last_update", update.update_id)
            self._state.remember("quality", sums)
        self._log(update, trained)

    def _look_at_verdict(self) -> None:
        """Tell the owner, once, if the last update was refused, and why."""
        last = self._state.fact("last_update")
        verdict = self._store.verdict(last) if last else None
        if verdict is None:
            return
        if not verdict.folded:
            log.warning("update.refused", update_id=last, reason=verdict.reason)
        self._state.remember("last_update", None)

    def _log(self, update: UpdateSubmitted, trained: Trained) -> None:
        log.info(
            "round.trained",
            version=str(update.base),
            update_id=update.update_id,
            examples=trained.examples,
            steps=trained.steps,
            loss=round(trained.loss, 4),
        )
