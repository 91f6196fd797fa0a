"""The worker's composition root: the only place here that names adapters."""

import random
import uuid
from collections.abc import Callable

import numpy as np
import structlog

from latecomer import connect
from latecomer.broker.port import Broker
from latecomer.broker.topology import rounds_queue, worker_topology
from latecomer.clock import Clock, SystemClock
from latecomer.config import Settings
from latecomer.lifecycle import Backoff, Stop
from latecomer.store.port import ModelStore
from latecomer_worker.agent import Agent, OpenSite, Step
from latecomer_worker.fetch import ChunkCache
from latecomer_worker.home import Home
from latecomer_worker.outbox import Limits, Outbox
from latecomer_worker.rounds import Rounds
from latecomer_worker.state import WorkerState

log = structlog.get_logger()

#: Long enough to sleep while nothing comes, short enough to stop in time.
STEP_S = 1.0

#: With a server away, ask again after at most this long.
CEILING_S = 10.0

#: A publish that is not confirmed by then is tried again later; training goes on meanwhile.
CONFIRM_TIMEOUT_S = 10.0

#: Days of a busy device; well within what the ledger remembers.
OUTBOX = Limits(max_bytes=256 * 1024 * 1024, max_age_s=7 * 24 * 3600.0)

#: A device without network trains on what it has once a day.
ALONE_EVERY_S = 24 * 3600.0


def build(
    *,
    federation: str,
    worker: str,
    broker: Broker,
    store: ModelStore,
    state: WorkerState,
    cache: ChunkCache,
    open_site: OpenSite,
    clock: Clock,
    stop: Stop,
    look: Callable[[], object] = lambda: None,
    limits: Limits = OUTBOX,
    alone_every_s: float = ALONE_EVERY_S,
    boot: str | None = None,
    seed: int | None = None,
    declare: bool = True,
) -> Agent:
    """An agent over these adapters; nothing else differs between real and simulated runs.

    ``boot`` names this start in update ids and must never be used twice; ``look`` is ``Home``'s.
    """
    topology = worker_topology(federation, worker) if declare else None
    rounds = Rounds(
        federation=federation,
        announcements=broker.subscribe(rounds_queue(worker), prefetch=1, topology=topology),
        store=store,
        state=state,
        cache=cache,
        clock=clock,
        alone_every_s=alone_every_s,
    )
    outbox = Outbox(
        state.pending,
        broker.publisher(),
        store,
        federation=federation,
        worker=worker,
        clock=clock,
        backoff=_backoff(seed),
        limits=limits,
        should_stop=stop.is_set,
    )
    return Agent(
        federation=federation,
        worker=worker,
        boot=boot or uuid.uuid4().hex[:12],
        rounds=rounds,
        store=store,
        outbox=outbox,
        state=state,
        cache=cache,
        open_site=open_site,
        home=Home(look, clock),
        clock=clock,
        rng=np.random.default_rng(seed),
        backoff=_backoff(seed),
        should_stop=stop.is_set,
        idle=stop.wait,
    )


def _send_all(agent: Agent, state: WorkerState, stop: Stop) -> None:
    """One round means one update, however long it has to wait for the broker."""
    while state.pending.unconfirmed() and not stop.wait(STEP_S):
        agent.send()


def _backoff(seed: int | None) -> Backoff:
    return Backoff(first_s=0.5, ceiling_s=CEILING_S, rng=random.Random(seed))


def run(
    settings: Settings,
    *,
    worker: str,
    state: WorkerState,
    cache: ChunkCache,
    open_site: OpenSite,
    look: Callable[[], object] = lambda: None,
    stop: Stop,
    once: bool,
    open_broker: Callable[..., Broker] = connect.broker,
    open_store: Callable[..., ModelStore] = connect.store,
) -> None:
    """Take part in rounds until ``stop`` is set, or in one only, even if there is nothing to learn.

    Raises:
        BadConfiguration, BadData, BrokerDenied, StoreDenied: Waiting would not help.
    """
    clock = SystemClock()
    client = f"latecomer-worker-{worker}"
    broker = open_broker(settings, client=client, confirm_timeout_s=CONFIRM_TIMEOUT_S)
    store = open_store(settings, federation=settings.federation, client=client, clock=clock)
    agent = build(
        federation=settings.federation,
        worker=worker,
        broker=broker,
        store=store,
        state=state,
        cache=cache,
        open_site=open_site,
        look=look,
        clock=clock,
        stop=stop,
        limits=Limits(settings.outbox_max_bytes, settings.outbox_max_age_s),
        alone_every_s=settings.alone_every_s,
        declare=settings.declare_topology,
    )
    log.info("worker.started", worker=worker, outbox=state.pending.unconfirmed())
    try:
        while not stop.is_set():
            if agent.step(STEP_S) is not Step.WAITED and once:
                _send_all(agent, state, stop)
                break
    finally:
        # The outbox is on disk: whatever is not confirmed by now is sent at the next start.
        broker.close()
        store.close()
        log.info("worker.stopped", worker=worker)
