"""The order of a worker's steps, top to bottom.

Send what waits, listen, fetch, evaluate, train, save, send. Training runs in the caller's thread;
the broker's connections have threads of their own, so that ten minutes of training do not cost a
heartbeat. Without a broker updates wait in the outbox; without a store, or where nothing becomes of
an update, the version that is here is trained on again, now and then. Who added to a sum waits for
the verdict before adding more: only then is it known what was added.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum, auto
from typing import Protocol

import numpy as np
import structlog

from latecomer.clock import Clock
from latecomer.errors import (
    BadData,
    DiskTrouble,
    MessageTooLarge,
    NotFinite,
    StoreUnreachable,
    Transient,
)
from latecomer.events import RoundStarted, UpdateSubmitted, Version
from latecomer.lifecycle import Backoff
from latecomer.recommenders.port import Plan, Trained
from latecomer.store.port import LEDGER_WINDOW_S, ModelStore
from latecomer.tensors import State
from latecomer_worker import encode, residual
from latecomer_worker.fetch import ChunkCache, Snapshot, fetch
from latecomer_worker.home import Home
from latecomer_worker.outbox import BELIEVED_S, Outbox
from latecomer_worker.rounds import Rounds, last_manifest
from latecomer_worker.state import WorkerState

log = structlog.get_logger()

#: Verdicts are looked for this often, and so many at a time.
VERDICTS_EVERY_S = 10.0
VERDICTS_AT_A_TIME = 1000

#: Times as long as for a server, up to minutes: what a round learned is lost to a full disk.
DISKS_TAKE = 60.0

SMALLER_STEPS = "nothing of it is kept or sent; a smaller training.learning_rate helps"


class Trainer(Protocol):
    """Local learning over one site: see ``trainer.Trainer``."""

    def sums(self, model: State) -> encode.Sums:
        """Per region, the metric sums of a model that an update reports."""
        ...

    def train(
        self,
        model: State,
        *,
        plan: Plan,
        rng: np.random.Generator,
        should_stop: Callable[[], bool],
    ) -> Trained:
        """Train on copies; nothing is kept until ``keep``."""
        ...

    def keep(self, trained: Trained, state: WorkerState, update_id: str) -> None:
        """Keep the private state; called inside the transaction that saves the update."""
        ...

    def let_go(self, state: WorkerState) -> None:
        """There is nothing to learn, nor to take back: keep nothing of who is gone."""
        ...

    def recall(self, state: WorkerState) -> None:
        """Read the private state anew: a verdict may have changed it."""
        ...


#: Makes the trainer for a snapshot's catalogue and recipe: reads the worker's own data.
OpenSite = Callable[[Snapshot], Trainer]


class Step(Enum):
    """What a step came to.

    ``WAITED``: no round was new, or it could not be taken part in yet. ``LOOKED``: there was
    nothing to learn from a round. ``LEARNED``: an update was made, and is sent or waits to be.
    """

    WAITED = auto()
    LOOKED = auto()
    LEARNED = auto()


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
        rounds: Rounds,
        store: ModelStore,
        outbox: Outbox,
        state: WorkerState,
        cache: ChunkCache,
        open_site: OpenSite,
        home: Home,
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
        self._home = home
        self._clock = clock
        self._rng = rng
        self._backoff = backoff
        self._should_stop = should_stop
        self._idle = idle
        self._trainer: Trainer | None = None
        self._catalogue = ""
        self._asked_s = float("-inf")
        self._sequence = 0

    def step(self, wait_s: float) -> Step:
        """Take part in a round if there is a new one; tells what it came to.

        A server that is away is waited for, with pauses that grow to a ceiling; what was trained
        stays in the outbox.
        """
        try:
            came_to = self._step(wait_s)
            self._backoff.reset()
        except Transient as error:
            self._rounds.missed()
            pause_s = self._backoff.next_s()
            if isinstance(error, DiskTrouble):
                pause_s *= DISKS_TAKE
            log.warning("worker.waits", cause=str(error), pause_s=round(pause_s, 2))
            self._idle(pause_s)
            return Step.WAITED
        return came_to

    def send(self) -> None:
        """Offer what waits to the broker, and nothing else."""
        self._outbox.offer()

    def _step(self, wait_s: float) -> Step:
        self._outbox.offer()
        self._ask_for_verdicts()
        if self._should_stop():
            return Step.WAITED  # a store that never answers is waited for long enough once
        if self._home.changed():
            self._rounds.anew()
        started = self._rounds.next(wait_s)
        if started is None or self._is_undecided(started.version):
            return Step.WAITED
        self._idle(self._rng.uniform(0.0, started.spread_s))
        started, snapshot = self._fetched(self._rounds.caught_up(started))
        try:
            return self._learn(self._trainer_for(snapshot), snapshot, started)
        except NotFinite as error:
            # Somebody's update spoilt this version; a later one may be good again.
            log.error("version.unusable", version=str(snapshot.version), cause=str(error))
        except MessageTooLarge as error:
            # To train it once more would make it no smaller.
            log.error("update.dropped", version=str(snapshot.version), cause=str(error))
        self._rounds.trained(snapshot)  # to look again would not help
        return Step.LOOKED

    def _fetched(self, started: RoundStarted) -> tuple[RoundStarted, Snapshot]:
        """A round and its version; where that does not get through, now and then the one held.

        Raises:
            StoreUnreachable, ChunkMissing: It does not, and it is not yet time to go on without.
        """
        held, cache = last_manifest(self._state), self._cache
        try:
            return started, fetch(self._store, started.version, started.manifest, cache, held=held)
        except StoreUnreachable:
            again = self._rounds.alone()
            if again is None:
                raise
            # What came of the other one stays: the rest of it may come another day.
            kept = started.manifest
            return again, fetch(self._store, again.version, again.manifest, cache, kept=kept)

    def _learn(self, trainer: Trainer, snapshot: Snapshot, started: RoundStarted) -> Step:
        """Judge the version, train on it, and save and send what came of it."""
        sums = trainer.sums(snapshot.model)
        trained = trainer.train(
            snapshot.model, plan=started.plan, rng=self._rng, should_stop=self._should_stop
        )
        if self._should_stop():
            return Step.WAITED
        diverged = trained.diverged()
        if diverged:
            log.error("training.diverged", version=str(snapshot.version), hint=SMALLER_STEPS)
        if diverged or not trained.examples:
            with self._state.transaction():
                self._rounds.trained(snapshot)
                if not diverged:
                    trainer.let_go(self._state)
            return Step.LOOKED
        self._save(trainer, snapshot, trained, sums)
        self._outbox.offer()
        return Step.LEARNED

    def _is_undecided(self, version: Version) -> bool:
        """Whether what there is to add depends on a verdict, which another epoch never gives."""
        last = self._rounds.last_version()
        same_epoch = last is not None and last.epoch == version.epoch
        return same_epoch and self._state.private.is_tentative()

    def _trainer_for(self, snapshot: Snapshot) -> Trainer:
        """The trainer over this worker's data; a new catalogue means to read the data again."""
        last = self._rounds.last_version()
        if last is not None and last.epoch != snapshot.version.epoch:
            self._state.private.forget_everybody()
            self._trainer = None
        if self._trainer is None or self._catalogue != snapshot.manifest.catalogue:
            self._trainer = self._opened(snapshot)
            self._catalogue = snapshot.manifest.catalogue
        elif self._home.changed():
            self._trainer = self._opened_again(snapshot, self._trainer)
        return self._trainer

    def _opened(self, snapshot: Snapshot) -> Trainer:
        self._home.reading()
        return self._open_site(snapshot)

    def _opened_again(self, snapshot: Snapshot, former: Trainer) -> Trainer:
        """Over what is at home now; where that cannot be used, over what was."""
        try:
            return self._opened(snapshot)
        except BadData as error:
            self._home.failed()
            log.warning("data.kept", cause=str(error), hint="the worker goes on with what it read")
            return former

    def _save(
        self, trainer: Trainer, snapshot: Snapshot, trained: Trained, sums: encode.Sums
    ) -> None:
        """Outbox, private state and progress in one transaction: all of a round, or none of it."""
        self._sequence += 1
        coded = encode.coded(snapshot, trained, self._state)
        update = encode.describe(
            snapshot,
            trained,
            federation=self._federation,
            worker=self._worker,
            update_id=f"{self._worker}:{self._boot}:{self._sequence}",
            sums=sums,
            delta=coded.delta,
        )
        with self._state.transaction():
            self._outbox.put(encode.encode(update, encode.codec_of(snapshot)))
            residual.keep(self._state, snapshot, coded.residual)
            trainer.keep(trained, self._state, update.update_id)
            self._rounds.trained(snapshot)
        self._log(update, trained)

    def _ask_for_verdicts(self) -> None:
        """Tell the owner, once per update, what became of it."""
        if self._clock.monotonic_s() - self._asked_s < VERDICTS_EVERY_S:
            return
        self._asked_s = self._clock.monotonic_s()
        # It will be known when the store is back; whoever needs the store now will say so.
        with suppress(StoreUnreachable):
            self._settle(self._verdicts())
            self._outbox.repeat(self._rounds.patience_s)

    def _verdicts(self) -> dict[str, bool]:
        """Of the oldest that have none here, and got one: whether they were folded."""
        awaited = self._state.pending.awaited(limit=VERDICTS_AT_A_TIME)
        verdicts = self._store.verdicts(awaited) if awaited else {}
        for update_id, verdict in verdicts.items():
            if verdict.folded:
                log.info("update.folded", update_id=update_id)
            else:
                log.warning("update.refused", update_id=update_id, reason=verdict.reason)
        return {each: verdict.folded for each, verdict in verdicts.items()}

    def _settle(self, folded: Mapping[str, bool]) -> None:
        depended, now_s = self._state.private.is_tentative(), self._clock.now_s()
        self._state.pending.restamp(now_s=now_s, believed_s=BELIEVED_S)
        self._state.pending.settle(folded, sent_before_s=now_s - LEDGER_WINDOW_S)
        if depended and self._trainer is not None:
            self._trainer.recall(self._state)

    def _log(self, update: UpdateSubmitted, trained: Trained) -> None:
        lost = {} if math.isnan(trained.loss) else {"loss": round(trained.loss, 4)}
        log.info(
            "round.trained",
            version=str(update.base),
            update_id=update.update_id,
            examples=trained.examples,
            steps=trained.steps,
            **lost,
        )
