"""``latecomer bench codec``: bytes per update, and what they cost in quality.

One federation per codec and seed, in process and in virtual time, with the production codecs, wire,
buffer and server optimiser. Nothing but the codec differs between the runs of a seed: the same
initial model, the same devices of the same pace, the same batches as long as the models agree.

A device trains on the version that is the head when it starts, for a time drawn around its pace,
and hands in; it starts again when there is a version it has not seen. Every K updates make one.

``ndcg_loss`` is relative to lossless float32, the mean over seeds of 1 - NDCG / NDCG(lossless) with
a 95 % interval; NDCG is that of the test items, all users ranked, mean of three late versions
because a single one is noisier than the codecs are lossy. ``ratio`` is against the whole model as
float32, which is what a federation sends that knows nothing of touched rows.
"""

import heapq
import multiprocessing
import os
import platform
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from latecomer import codecs, wire
from latecomer.broker.port import Delivery
from latecomer.compression import Compression
from latecomer.data import ExampleData
from latecomer.errors import BadConfiguration
from latecomer.evaluation.intervals import student_t
from latecomer.evaluation.protocol import RankingProtocol
from latecomer.events import UpdateSubmitted, Version
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer.recommenders.port import Trained
from latecomer.store.port import Fold
from latecomer.tensors import Array, TensorDelta, difference
from latecomer_aggregator import optimizer
from latecomer_aggregator.buffer import Buffer
from latecomer_aggregator.staleness import rule
from latecomer_aggregator.weighting import example_weight
from latecomer_worker.site import Site

#: What is compared, lossless first.
CODECS: Mapping[str, Compression] = {
    "float32": Compression(),
    "float16": Compression(values="float16", zstd=True),
    "int8": Compression(values="int8"),
    "int4": Compression(values="int4"),
    "int4, half the rows": Compression(values="int4", top_rows=0.5),
    "quinary": Compression(values="quinary"),
    "ternary": Compression(values="ternary"),
    "ternary, half the rows": Compression(values="ternary", top_rows=0.5),
}
LOSSLESS = "float32"

#: Mean duration of a round, by the pace of the recipe's devices.
PACE_S = {"fast": 1.0, "slow": 5.0, "offline": 2.0}

#: Versions before the last at which quality is measured; the mean counts.
JUDGED_BEFORE_END = (10, 5, 0)

DELIVERY = Delivery(
    "", b"", "", "", {}, None, redelivered=False, dead_lettered=False, tag=0, generation=0
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scene:
    """A recipe, its sites by worker, and the size of its catalogue."""

    recipe: Recipe
    sites: Mapping[str, Site]
    items: int


@dataclass(frozen=True)
class Outcome:
    """One codec and seed: mean bytes of an update, and NDCG on the test items."""

    codec: str
    seed: int
    update_bytes: float
    ndcg: float


def check(recipe: Recipe, items: int) -> None:
    """Pass if there is anything to compare codecs by.

    Raises:
        BadConfiguration: The recipe predicts outcomes, or adds up counts.
    """
    ranks = not isinstance(recipe.data, ExampleData)
    if not ranks or family(recipe.model).layout(items).additive:
        raise BadConfiguration(
            f"{recipe.federation}: codecs are compared by what gradients come to in a ranking, "
            f"and family {recipe.model.family!r} has none",
            hint="a recipe of an item table: recipes/retail.toml",
        )


def measure(
    scene: Scene, seeds: range, versions: int, progress: Progress = lambda _done, _all: None
) -> dict[str, Any]:
    """All codecs and seeds, on every core; the body of the report."""
    jobs = [(name, seed) for seed in seeds for name in CODECS]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        futures = [pool.submit(outcome, scene, name, seed, versions) for name, seed in jobs]
        for done, _ in enumerate(as_completed(futures), start=1):
            progress(done, len(futures))
    found = [future.result() for future in futures]
    dense_bytes = 4 * family(scene.recipe.model).layout(scene.items).size
    return {
        "recipe": scene.recipe.federation,
        "seeds": list(seeds),
        "versions": versions,
        "dense_bytes": dense_bytes,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "rows": [_row(name, found, dense_bytes) for name in CODECS],
    }


def _row(name: str, found: list[Outcome], dense_bytes: int) -> dict[str, Any]:
    ours = sorted((each for each in found if each.codec == name), key=lambda each: each.seed)
    bar = sorted((each for each in found if each.codec == LOSSLESS), key=lambda each: each.seed)
    losses = np.array([1 - one.ndcg / other.ndcg for one, other in zip(ours, bar, strict=True)])
    update_bytes = float(np.mean([each.update_bytes for each in ours]))
    interval = student_t(losses)
    return {
        "codec": name,
        "bytes": round(update_bytes),
        "ratio": round(dense_bytes / update_bytes, 2),
        "ndcg": float(np.mean([each.ndcg for each in ours])),
        "ndcg_loss": interval.mean,
        "ndcg_loss_low": interval.low,
        "ndcg_loss_high": interval.high,
    }


def outcome(scene: Scene, name: str, seed: int, versions: int) -> Outcome:
    """Run one federation to its last version."""
    torch.set_num_threads(1)
    run = _Federation(scene, CODECS[name], seed)
    judged = {versions - before for before in JUDGED_BEFORE_END}
    quality = []
    while run.head < versions:
        if run.next_update() and run.head in judged:
            quality.append(run.ndcg())
    return Outcome(name, seed, float(np.mean(run.update_bytes)), float(np.mean(quality)))


@dataclass
class _Device:
    """A worker between its rounds."""

    site: Site
    private: dict[str, Array]
    pace_s: float
    pace_rng: np.random.Generator
    rng: np.random.Generator
    residual: dict[str, TensorDelta] = field(default_factory=dict)


class _Federation:
    """Devices, one aggregator, and a clock that only moves from update to update."""

    def __init__(self, scene: Scene, compression: Compression, seed: int) -> None:
        self.head = 0
        self.update_bytes: list[int] = []
        self._recipe, self._compression = scene.recipe, compression
        self._family = family(scene.recipe.model)
        self._layout = self._family.layout(scene.items)
        self._model = self._family.initial(scene.items, seed=seed)
        self._optimizer = optimizer.build(scene.recipe.aggregation.optimizer)
        self._slots: Mapping[str, Array] = optimizer.state_layout(
            self._optimizer, self._layout
        ).zeros()
        self._buffer = Buffer(self._layout)
        self._devices = {
            entry.name: _Device(
                scene.sites[entry.name],
                self._family.initial_private(len(scene.sites[entry.name].users)),
                PACE_S[entry.pace],
                np.random.default_rng([seed, number, 0]),
                np.random.default_rng([seed, number, 1]),
            )
            for number, entry in enumerate(scene.recipe.fleet.members())
            if entry.name in scene.sites
        }
        self._updates = scene.recipe.aggregation.updates_of(len(self._devices))
        self._due: list[tuple[float, str, int, dict[str, Array]]] = []
        self._waiting: set[str] = set()
        for name in self._devices:
            self._start(name, 0.0)

    def next_update(self) -> bool:
        """The next device hands in; True if that made a version."""
        now_s, name, base, model = heapq.heappop(self._due)
        device = self._devices[name]
        trained = self._family.train(
            model,
            device.private,
            device.site.split.train,
            plan=self._recipe.training.model_dump(mode="json"),
            rng=device.rng,
            should_stop=lambda: False,
        )
        device.private = trained.private
        self._fold(name, base, trained, self._sent(name, base, model, trained))
        stepped = len(self._buffer) >= self._updates
        if stepped:
            self._step(now_s)
        if base < self.head:
            self._start(name, now_s)
        else:
            self._waiting.add(name)
        return stepped

    def ndcg(self) -> float:
        """Of the head, on every user's test item, where the user's private vector is."""
        settings = self._recipe.evaluation
        protocol = RankingProtocol(
            k=settings.k, candidates=settings.candidates, seed=self._recipe.seed
        )
        total = users = 0.0
        for device in self._devices.values():
            split = device.site.split
            known = split.known("test")
            score = self._family.scorer(self._model, device.private, known)
            ranked = protocol.evaluate(
                score, known, device.site.asked("test"), given=device.site.given
            )
            found = ranked.sums(device.site.regions)
            total += sum(sums[f"ndcg@{settings.k}"] for sums in found.values())
            users += sum(sums["users"] for sums in found.values())
        return total / users

    def _start(self, name: str, now_s: float) -> None:
        device = self._devices[name]
        duration_s = device.pace_s * device.pace_rng.lognormal(0.0, 0.3)
        heapq.heappush(self._due, (now_s + duration_s, name, self.head, self._model))

    def _sent(
        self, name: str, base: int, model: dict[str, Array], trained: Trained
    ) -> UpdateSubmitted:
        """Through the codec and the wire: what the aggregator reads."""
        device = self._devices[name]
        delta = difference(self._layout, model, trained.model)
        form = codecs.coded(self._layout, delta, device.residual, self._compression.loss)
        device.residual = form.residual
        update = UpdateSubmitted(
            federation=self._recipe.federation,
            worker=name,
            update_id=f"{name}:bench:{len(self.update_bytes)}",
            base=Version(1, base),
            layout=self._layout.digest,
            examples=trained.examples,
            steps=trained.steps,
            delta=form.delta,
        )
        encoded = wire.encode_update(update, codec=self._compression.codec)
        self.update_bytes.append(len(encoded.body) + len(encoded.detached or b""))
        sealed = wire.open_update(encoded.body)
        payload = (
            sealed.inline if sealed.inline is not None else memoryview(encoded.detached or b"")
        )
        return wire.read_update(sealed, payload, limit_bytes=8 * self._layout.size)

    def _fold(self, name: str, base: int, trained: Trained, update: UpdateSubmitted) -> None:
        settings = self._recipe.aggregation
        staleness = self.head - base
        weight = rule(settings.staleness)(staleness) * example_weight(
            trained.examples, settings.example_weight
        )
        fold = Fold(update.update_id, name, update.base, staleness, weight, trained.examples)
        self._buffer.fold(fold, update.delta, DELIVERY)

    def _step(self, now_s: float) -> None:
        settings = self._recipe.aggregation
        mean = self._buffer.mean(self._updates, row_floor=settings.row_floor)
        part = optimizer.part_taken(settings.optimizer, self.head, self._buffer.folds)
        self._model, self._slots = optimizer.step(
            self._optimizer, self._layout, self._model, self._slots, mean, part=part
        )
        self._buffer.release()
        self.head += 1
        for name in sorted(self._waiting):
            self._start(name, now_s)
        self._waiting.clear()
