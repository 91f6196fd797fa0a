"""The worker's composition root: the only place here that names adapters."""

import random
import threading
import uuid

import numpy as np
import structlog

from latecomer import connect
from latecomer.broker.port import Broker
from latecomer.broker.topology import rounds_queue, worker_topology
from latecomer.clock import Clock, SystemClock
from latecomer.config import Settings
from latecomer.lifecycle import Backoff
from latecomer.store.port import ModelStore
from latecomer_worker.agent import Agent, OpenSite
from latecomer_worker.fetch import ChunkCache
from latecomer_worker.outbox import Outbox
from latecomer_worker.state import WorkerState

log = structlog.get_logger()

#: Long enough to sleep while nothing comes, short enough to stop in time.
STEP_S = 1.0

#: With a server away, ask again after at most this long.
CEILING_S = 10.0


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
    stop: threading.Event,
    seed: int | None = None,
    declare: bool = True,
) -> Agent:
    """An agent over these adapters; production and embedded runs differ in nothing else."""
    topology = worker_topology(federation, worker)
    rounds = broker.subscribe(
        rounds_queue(worker), prefetch=1, topology=topology if declare else None
    )
    return Agent(
        federation=federation,
        worker=worker,
        boot=uuid.uuid4().hex[:12],
        rounds=rounds,
        store=store,
        outbox=Outbox(state, broker.publisher(), store, federation=federation, worker=worker),
        state=state,
        cache=cache,
        open_site=open_site,
        clock=clock,
        rng=np.random.default_rng(seed),
        backoff=Backoff(first_s=0.5, ceiling_s=CEILING_S, rng=random.Random(seed)),
        should_stop=stop.is_set,
        idle=stop.wait,
    )


def run(
    settings: Settings,
    *,
    worker: str,
    state: WorkerState,
    cache: ChunkCache,
    open_site: OpenSite,
    stop: threading.Event,
    once: bool,
) -> None:
    """Take part in rounds until ``stop`` is set, or in one only.

    Raises:
        BadConfiguration, BadData, BrokerDenied, StoreDenied: Waiting would not help.
    """
    clock = SystemClock()
    client = f"latecomer-worker-{worker}"
    broker = connect.broker(settings, client=client)
    store = connect.store(settings, federation=settings.federation, client=client, clock=clock)
    agent = build(
        federation=settings.federation,
        worker=worker,
        broker=broker,
        store=store,
        state=state,
        cache=cache,
        open_site=open_site,
        clock=clock,
        stop=stop,
        declare=settings.declare_topology,
    )
    log.info("worker.started", worker=worker, outbox=state.outgoing())
    try:
        while not stop.is_set():
            if agent.step(STEP_S) and once:
                break
    finally:
        # The outbox is on disk: whatever is not confirmed by now is sent at the next start.
        broker.close()
        store.close()
        log.info("worker.stopped", worker=worker)
