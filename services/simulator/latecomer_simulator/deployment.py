"""The moving parts of a simulated fleet: aggregator, servers, devices, and who goes next."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Self

import numpy as np

from latecomer.broker.memory import MemoryBroker, MemoryServer
from latecomer.broker.topology import federation_topology, worker_topology
from latecomer.evaluation.protocol import ALL, mean_of_sums
from latecomer.recipe import Recipe
from latecomer.recommenders.port import Agreed
from latecomer.store.port import Manifest, ModelStore, Refusal
from latecomer.store.redis import RedisStore, embedded, embedded_server
from latecomer.telemetry import AggregatorTelemetry
from latecomer.tensors import State
from latecomer_aggregator import app as aggregator_app
from latecomer_aggregator.admission import Reason
from latecomer_simulator import founding, profiles
from latecomer_simulator.devices import Device, Surroundings
from latecomer_simulator.links import Shelf
from latecomer_simulator.machines import VirtualStop
from latecomer_simulator.network import Line
from latecomer_simulator.outcome import DAY_S, Limits, Outcome
from latecomer_simulator.profiles import Profile
from latecomer_simulator.record import Event, Record
from latecomer_simulator.timeline import Timeline
from latecomer_simulator.traces import Trace
from latecomer_worker.fetch import head_model
from latecomer_worker.site import Site
from latecomer_worker.trainer import Trainer

AGGREGATOR = "aggregator"

#: Nobody competes for it, and each step of virtual time costs real time.
LEASE_S = 600.0
STEP_S = 60.0

#: Training runs on the devices' threads; only what is touched of a stack costs memory.
STACK_BYTES = 8 * 1024 * 1024


def quality(model: State, trainers: Mapping[str, Trainer], metric: str) -> float | None:
    """A metric over what all sites hold out for validation; None if nobody is tested."""
    sums = [trainer.evaluate(model).sums(trainer.site.regions) for trainer in trainers.values()]
    means = mean_of_sums(each for each in sums if each)
    return means[ALL][metric] if ALL in means else None


class Deployment:
    """``with`` takes the federation down again; ``run`` lets time pass. See ``fleet.run``."""

    def __init__(
        self,
        recipe: Recipe,
        sites: Mapping[str, Site],
        catalogue: Agreed,
        *,
        seed: int,
        limits: Limits,
        traces: Mapping[str, Trace],
        observe: Callable[[Event], None],
    ) -> None:
        self._recipe, self._limits = recipe, limits
        self._metric = recipe.protocol.metric
        self._seed, self._rng = seed, random.Random(seed)
        self._timeline = Timeline(seed, stack_bytes=STACK_BYTES)
        self._server = MemoryServer(self._timeline.clock)
        self._redis = embedded_server(self._timeline.clock)
        self._observe = observe
        self._record = Record(self._timeline.clock, self._seen)
        self._store = self._open_store()
        self._exits = ExitStack()
        self._head, self._in_round, self._last_s = 0, 0, 0.0
        self._trained = 0
        self._training: set[Device] = set()
        self._reached_s: float | None = None
        self._ended = False
        self._open: set[str] = set()
        self._history: list[Manifest] = []
        self._quality: list[tuple[int, float, float]] = []
        self._refusals: Counter[str] = Counter()
        founding.found(self._store, recipe, catalogue, self._timeline.clock)
        self._enrol(sites)
        self._profiles = self._drawn(sites, traces)
        self._devices = list(self._built(sites))

    def __enter__(self) -> Self:
        for device in self._devices:
            self._exits.callback(device.close)
        self._exits.enter_context(self._timeline)
        self._exits.callback(self._end)
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def run(self) -> Outcome:
        """Let time pass until a limit is reached."""
        self._judge(head_model(self._store)[1])
        self._timeline.spawn(AGGREGATOR, self._aggregate)
        for device in self._devices:
            device.start()
        self._timeline.run(self._limits.virtual_s, until=self._finished)
        self._end()
        if self._quality and self._quality[-1][0] != self._head:
            # What the run came to is its last version, whenever the one before was judged.
            self._judge(None)
        return self._outcome()

    def _enrol(self, sites: Mapping[str, Site]) -> None:
        operator = MemoryBroker(self._server, "operator")
        operator.declare(federation_topology(self._recipe.federation))
        for name in sites:
            operator.declare(worker_topology(self._recipe.federation, name))

    def _drawn(self, sites: Mapping[str, Site], traces: Mapping[str, Trace]) -> dict[str, Profile]:
        """Each device draws from a generator of its own: a trace changes nobody else."""
        found = {}
        for number, name in enumerate(sites):
            rng = np.random.default_rng((self._seed, number))
            found[name] = profiles.draw(self._recipe.simulation, rng)
            if traces:
                found[name] = profiles.traced(found[name], traces.get(name))
        return found

    def _built(self, sites: Mapping[str, Site]) -> Iterator[Device]:
        surroundings = Surroundings(
            recipe=self._recipe,
            timeline=self._timeline,
            record=self._record,
            server=self._server,
            open_store=self._open_store,
            shelf=Shelf(),
            changed=self._dispatch,
        )
        for number, (name, site) in enumerate(sites.items()):
            seed = (self._seed * 1_000_003 + number) * 1_000
            yield Device(name, site, self._profiles[name], surroundings, seed=seed)

    def _open_store(self) -> ModelStore:
        clock = self._timeline.clock
        return RedisStore(embedded(self._redis), federation=self._recipe.federation, clock=clock)

    def _aggregate(self) -> None:
        line = Line(self._rng, self._timeline)
        coordinator = aggregator_app.build(
            federation=self._recipe.federation,
            broker=line.broker(self._server, AGGREGATOR),
            store=founding.watched(self._open_store(), self._committed, self._refused),
            clock=self._timeline.clock,
            stop=VirtualStop(self._timeline),
            telemetry=AggregatorTelemetry(),
            lease_s=LEASE_S,
            owner=AGGREGATOR,
            seed=self._seed,
        )
        while True:
            coordinator.step(STEP_S)

    def _dispatch(self, *, lost: int | None = None) -> None:
        """Wake who may take part; ``lost`` is the version that a training was lost of.

        It is called whenever anything happens to any of thousands of devices.
        """
        self._in_round -= lost == self._head
        room = self._room()
        if room <= 0:
            return
        ready = [device for device in self._devices if device.ready(self._head)]
        # All of them in their order, or a draw: either is the same for the same seed.
        for device in ready if room >= len(ready) else self._rng.sample(ready, room):
            self._in_round += 1
            self._training.add(device)
            device.wake(self._head)

    def _room(self) -> int:
        """How many more may take part now: by concurrency, by round, and of the equal work."""
        self._training = {device for device in self._training if device.training}
        aggregation, everybody = self._recipe.aggregation, len(self._devices)
        sync = aggregation.mode == "sync"
        # What a round gets beyond its K is refused as too late.
        most = self._recipe.simulation.concurrency or (
            aggregation.updates_of(everybody) if sync else everybody
        )
        # A round's cohort is its own: who is late from a former one takes nobody's place in it.
        busy = self._in_round if sync else len(self._training)
        left = self._limits.updates - self._trained - len(self._training)
        return 0 if self._ended else min(most - busy, left)

    def _finished(self) -> bool:
        """All work is done and settled, or nobody has any left, or the model is good enough."""
        if self._reached_s is not None:
            return True
        return (
            not self._open
            and (
                self._trained >= self._limits.updates
                or all(device.done for device in self._devices)
            )
            and not any(device.awake or device.owes for device in self._devices)
        )

    def _end(self) -> None:
        """Nobody begins anything any more."""
        self._ended = True

    def _seen(self, event: Event) -> None:
        if event["event"] == "published":
            self._open.add(event["update_id"])
        self._trained += event["event"] == "trained"
        self._observe(event)

    def _refused(self, refusal: Refusal) -> None:
        self._open.discard(refusal.update_id)
        self._refusals[str(refusal.reason)] += 1
        self._record.add(
            "refused", refusal.worker, update_id=refusal.update_id, reason=str(refusal.reason)
        )
        # Its place in the round is another's; who is too late had one in a former round.
        if refusal.reason != Reason.TOO_STALE:
            self._dispatch(lost=self._head)

    def _committed(self, manifest: Manifest) -> None:
        self._head, self._in_round = manifest.version.number, 0
        self._last_s = self._record.now_s()
        self._history.append(manifest)
        for fold in manifest.folds:
            self._open.discard(fold.update_id)
            self._record.add(
                "folded",
                fold.worker,
                update_id=fold.update_id,
                staleness=fold.staleness,
                weight=round(fold.weight, 6),
                version=self._head,
            )
        every = self._limits.evaluate_every
        judged = self._judge(None) if every and self._head % every == 0 else None
        self._record.add("committed", version=self._head, folds=len(manifest.folds), quality=judged)
        self._dispatch()

    def _judge(self, model: State | None) -> float | None:
        """Evaluate the head, outside of virtual time: it is so good since it was committed."""
        if not self._limits.evaluate_every:
            return None
        model = head_model(self._store)[1] if model is None else model
        found = quality(model, self._trainers(), self._metric)
        if found is None:
            return None
        self._quality.append((self._head, self._last_s, found))
        target = self._limits.quality
        if target is not None and found >= target and self._reached_s is None:
            self._reached_s = self._last_s
        return round(found, 6)

    def _trainers(self) -> dict[str, Trainer]:
        return {device.name: device.trainer for device in self._devices}

    def _cut_short(self) -> str:
        if self._reached_s is not None or self._trained >= self._limits.updates:
            return ""
        if all(device.done for device in self._devices):
            return "every device has nothing more to learn from, or left for good"
        return f"{self._limits.virtual_s / DAY_S:g} days of virtual time are over"

    def _outcome(self) -> Outcome:
        manifest, model = head_model(self._store)
        folds = [fold for each in self._history for fold in each.folds]
        return Outcome(
            recipe=self._recipe,
            manifest=manifest,
            model=model,
            history=self._history,
            trainers=self._trainers(),
            profiles=self._profiles,
            events=self._record.events,
            quality=self._quality,
            staleness=Counter(fold.staleness for fold in folds),
            refused=self._refusals,
            trained=self._trained,
            bytes_up=sum(device.link.bytes_up for device in self._devices),
            bytes_down=sum(device.link.bytes_down for device in self._devices),
            virtual_s=self._last_s,
            reached_s=self._reached_s,
            cut_short=self._cut_short(),
        )
