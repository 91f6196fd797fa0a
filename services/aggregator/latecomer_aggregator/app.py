"""The aggregator's composition root: the only place here that names adapters."""

import random
import socket
import uuid
from collections.abc import Callable

import structlog

from latecomer import connect
from latecomer.broker.port import Broker
from latecomer.clock import Clock, SystemClock
from latecomer.config import Settings
from latecomer.errors import BadConfiguration, BrokerUnreachable, StoreUnreachable
from latecomer.lifecycle import Backoff, Stop
from latecomer.store.port import Lease, ModelStore
from latecomer.telemetry import AggregatorTelemetry, Endpoint, Pulse
from latecomer_aggregator.background import Background, BackgroundThread, Foreground
from latecomer_aggregator.coordinator import Coordinator
from latecomer_aggregator.leadership import RENEWALS_PER_LEASE, Leadership

log = structlog.get_logger()

#: Long enough to sleep while nothing comes, short enough to renew the lease and to stop in time.
STEP_S = 0.5

#: A step is short; a loop that is silent for this long hangs, and the process should be replaced.
HANG_S = 60.0

#: With a server away, ask again after at most this long, and before the lease is to be renewed.
CEILING_S = 5.0

#: Fences begin with 1: a lease that nobody ever holds.
NOBODYS = Lease("", 0)


def build(
    *,
    federation: str,
    broker: Broker,
    store: ModelStore,
    clock: Clock,
    stop: Stop,
    telemetry: AggregatorTelemetry,
    lease_s: float,
    background: Background | None = None,
    beat: Callable[[], object] = lambda: None,
    declare: bool = True,
    owner: str | None = None,
    seed: int | None = None,
) -> Coordinator:
    """A coordinator over these adapters; nothing else differs between real and simulated runs.

    Without a ``background`` a version is written before anything else happens.
    """
    name = owner or f"{socket.gethostname()}-{uuid.uuid4().hex[:6]}"
    ceiling_s = min(CEILING_S, lease_s / RENEWALS_PER_LEASE)
    return Coordinator(
        federation=federation,
        broker=broker,
        store=store,
        leadership=Leadership(store, clock, owner=name, lease_s=lease_s),
        clock=clock,
        telemetry=telemetry,
        background=background or Foreground(),
        backoff=Backoff(first_s=0.2, ceiling_s=ceiling_s, rng=random.Random(seed)),
        idle=stop.wait,
        beat=beat,
        declare=declare,
    )


def _met(broker: Broker) -> str | None:
    """What the broker is. A standby needs it only once it leads: too late to be refused by it.

    Raises:
        BrokerDenied: The login was refused.
    """
    try:
        return broker.version()
    except BrokerUnreachable as error:
        log.warning("aggregator.waits", cause=str(error))
        return None


def _admitted(store: ModelStore, lease_s: float) -> None:
    """A standby looks, and writes nothing before it leads: too late to learn that it may not.

    So it asks for what is nobody's, by the same script.

    Raises:
        StoreDenied: The login was refused, or may not lead.
    """
    try:
        store.renew(NOBODYS, lease_s)
    except StoreUnreachable as error:
        log.warning("aggregator.waits", cause=str(error))
        return
    _warned(store)


def _warned(store: ModelStore) -> None:
    """Whoever tries it out need not have a disk; whoever means it hears of it before a restart."""
    try:
        store.keeps_writes()
    except (BadConfiguration, StoreUnreachable) as error:
        log.warning("store.not_durable", cause=str(error), hint=error.hint)


def run(
    settings: Settings,
    stop: Stop,
    *,
    open_broker: Callable[..., Broker] = connect.broker,
    open_store: Callable[..., ModelStore] = connect.store,
) -> None:
    """Aggregate until ``stop`` is set, then hand over.

    Raises:
        BadConfiguration, BrokerDenied, StoreDenied: Waiting would not help.
    """
    clock = SystemClock()
    telemetry = AggregatorTelemetry()
    pulse = Pulse(HANG_S)
    # A blocked announcement must not cost the lease: give up on it long before.
    broker = open_broker(
        settings, client="latecomer-aggregator", confirm_timeout_s=settings.lease_s / 4
    )
    store = open_store(
        settings, federation=settings.federation, client="latecomer-aggregator", clock=clock
    )
    endpoint = (
        Endpoint(settings.metrics_port, telemetry.registry, pulse.alive)
        if settings.metrics_port
        else None
    )
    coordinator = build(
        federation=settings.federation,
        broker=broker,
        store=store,
        clock=clock,
        stop=stop,
        telemetry=telemetry,
        lease_s=settings.lease_s,
        background=BackgroundThread("latecomer-commit"),
        beat=pulse.beat,
        declare=settings.declare_topology,
    )
    try:
        log.info("aggregator.started", federation=settings.federation, broker=_met(broker))
        _admitted(store, settings.lease_s)
        while not stop.is_set():
            coordinator.step(STEP_S)
            pulse.beat()
    finally:
        # The coordinator first: it resigns and returns deliveries over connections still open.
        coordinator.close()
        broker.close()
        store.close()
        if endpoint is not None:
            endpoint.close()
        log.info("aggregator.stopped")
