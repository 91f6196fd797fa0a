"""How many updates a second the whole aggregator folds and commits, beside bare pika.

Ours is the production process (``latecomer_aggregator.app.run``): it consumes updates from a real
RabbitMQ, asks the ledger, validates, weighs, folds, steps, commits every K to a real Redis, and
only then acknowledges. Bare pika consumes and acknowledges, one callback, from the same kind of
queue with the same prefetch. Both are processes of their own and take turns.

A message is in its queue before either begins; each is an update of its own with its own id. Rates
are of the wall clock between two versions (ours: when the store's manifests say that they were
made; pika: every K-th acknowledgement), some versions after the first and before the last, so that
neither side's start or end counts.

What is durable when a version or K messages are counted: of ours, the version before, as
``store.durability`` says; one is computed when the one before it is durable. Acknowledgements go
into the queue's log on both sides; ours acknowledges a version in one frame, pika each message.
"""

import json
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from latecomer.broker import topology
from latecomer.broker.port import Message
from latecomer.config import Settings
from latecomer.events import Version
from latecomer.store.port import ModelStore
from latecomer.tensors import Kind, Layout, TensorDelta, TensorSpec
from latecomer_aggregator import rounds
from latecomer_bench import fold, service, testbed
from latecomer_bench.testbed import Testbed

K = 32

#: Body sizes that the design sets targets for, in bytes, and how many versions of K are made of
#: each in a turn: seconds of work, and fewer messages than the queue takes.
SIZES = {10_000: 320, 100_000: 100, 1_000_000: 26}

#: Versions at either end that are not timed: what was prefetched then makes no difference.
MARGIN = 3

#: Turns of each side.
TURNS = 5

#: So many that none comes twice in a buffer.
WORKERS = 8 * K

#: A header of ours and its padding take less; the rest of a body is float32.
HEADER_BYTES = 640


@dataclass(frozen=True, slots=True)
class Row:
    """Updates per second of both sides at one size, turn by turn."""

    body_bytes: int
    ours_per_s: tuple[float, ...]
    bare_per_s: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Medians over the turns; ``ratio`` is the median of the turns' own ratios."""
        pairs = zip(self.ours_per_s, self.bare_per_s, strict=True)
        ratios = sorted(ours / bare for ours, bare in pairs)
        return {
            "body_bytes": self.body_bytes,
            "updates_per_s": round(statistics.median(self.ours_per_s), 1),
            "bare_per_s": round(statistics.median(self.bare_per_s), 1),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_low": round(ratios[0], 3),
            "ratio_high": round(ratios[-1], 3),
        }


@dataclass(frozen=True, slots=True)
class Scene:
    """Two federations of one layout: ``ours`` is aggregated, of ``bare`` only the queue is used."""

    bed: Testbed
    ours: str
    bare: str
    layout: Layout
    versions: int
    seed: int

    def fill(self, base: Version, turn: int) -> None:
        """The same updates into both queues."""
        for federation in (self.ours, self.bare):
            self.bed.publish(self._messages(federation, base, turn))

    def _messages(self, federation: str, base: Version, turn: int) -> Iterator[Message]:
        rng = np.random.default_rng(self.seed)
        delta = {"net": TensorDelta(rng.standard_normal(self.layout.size, dtype=np.float32))}
        count = self.versions * K
        for number in range(turn * count, (turn + 1) * count):
            worker = f"w{number % WORKERS}"
            yield testbed.message(federation, self.layout, base, number, worker=worker, delta=delta)


def run(settings: Settings, seed: int, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Every row, and what it was measured on.

    Raises:
        BadConfiguration: Broker or store is not a server.
        BrokerUnreachable, StoreUnreachable: One of them does not answer.
        Stalled: The aggregator made no more versions.
    """
    load = os.getloadavg()[0]
    with testbed.opened(settings) as bed:
        rows = [
            measure(bed, body_bytes, versions, seed, say).as_dict()
            for body_bytes, versions in SIZES.items()
        ]
        return {
            "rows": rows,
            "k": K,
            "prefetch": _prefetch(),
            "turns": TURNS,
            "seed": seed,
            "durable": {
                "ours": f"a version before its acks ({bed.facts['durability']}); acks in the "
                "quorum queue's log",
                "bare": "acks in the quorum queue's log",
            },
            "servers": bed.facts,
            "machine": fold.machine() | {"clock": "wall clock"},
            "load_before": round(load, 2),
            "versions": {name: version(name) for name in ("latecomer", "numpy", "pika", "redis")},
        }


def measure(
    bed: Testbed, body_bytes: int, versions: int, seed: int, say: Callable[[str], None]
) -> Row:
    """Both sides in turn, so that they see the same machine."""
    layout = Layout((TensorSpec("net", Kind.DENSE, ((body_bytes - HEADER_BYTES) // 4,)),))
    ours, bare = [], []
    with ExitStack() as stack:
        names = (stack.enter_context(bed.federation()), stack.enter_context(bed.federation()))
        scene = Scene(bed, *names, layout, versions, seed)
        store = stack.enter_context(closing(bed.store(scene.ours)))
        base = testbed.found(store, scene.ours, layout, K).version
        for turn in range(TURNS):
            say(f"bodies of {body_bytes:,} bytes, turn {turn + 1}: {versions * K:,} updates")
            scene.fill(base, turn)
            ours.append(K / _aggregated_s(scene, store))
            bare.append(K / _bare_s(scene))
    return Row(body_bytes, tuple(ours), tuple(bare))


def _aggregated_s(scene: Scene, store: ModelStore) -> float:
    """Seconds per version of a fresh aggregator."""
    epoch, before = service.head(store).version
    with service.running(scene.bed.settings, scene.ours) as process:
        service.await_number(store, before + scene.versions, process)
    ends = (before + MARGIN, before + scene.versions - MARGIN)
    first_s, last_s = (store.manifest(Version(epoch, number)).at_s for number in ends)
    return (last_s - first_s) / (scene.versions - 2 * MARGIN)


def _bare_s(scene: Scene) -> float:
    """Seconds per K messages of bare pika."""
    queue, count = topology.updates_queue(scene.bare), scene.versions * K
    marks_s = json.loads(scene.bed.peer(queue, _prefetch(), count, K))["marks_s"]
    first_s, last_s = marks_s[MARGIN - 1], marks_s[-1 - MARGIN]
    return float(last_s - first_s) / (scene.versions - 2 * MARGIN)


def _prefetch() -> int:
    return rounds.prefetch(testbed.recipe("any", K).aggregation)
