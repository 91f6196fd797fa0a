"""How the cost of an update grows: with the model, with K, with workers, and with the catalogue.

One core and no servers, from a message's bytes to the next version's chunks with their digests: the
way of ``latecomer_bench.fold``, the roster of live workers, and what a commit prepares. Along each
axis everything else stays. Two parts are told apart: what every update costs, and what every
version costs (mean, server step, cutting and naming chunks), which K updates share.

Times are the processor's, of all threads together. A large model's chunks are hashed on several, so
that a version also has the time that it takes on the clock.
"""

import cProfile
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from latecomer.events import Version
from latecomer.store.port import Manifest
from latecomer.tensors import Delta, Kind, Layout, TensorDelta, TensorSpec
from latecomer_aggregator import commit, optimizer, rounds
from latecomer_aggregator.commit import Published
from latecomer_bench import fold

#: An embedding table's width, and how many rows an update of it touches.
WIDTH, TOUCHED = 16, 100

#: A repeat takes at least this long; the fastest counts.
REPEAT_S = 0.5
REPEATS = 3

#: Lines of a profile.
TOP = 4


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of an axis: ``params`` of a dense model, or ``items`` of a table."""

    axis: str
    params: int = 0
    items: int = 0
    k: int = 10
    workers: int = 10

    @property
    def layout(self) -> Layout:
        """The model."""
        if self.items:
            return Layout((TensorSpec("net", Kind.ROWS, (self.items, WIDTH)),))
        return Layout((TensorSpec("net", Kind.DENSE, (self.params,)),))

    @property
    def at(self) -> int:
        """Where it lies on its axis."""
        places = {"model": self.params, "k": self.k, "workers": self.workers}
        return places.get(self.axis, self.items)


CELLS = (
    *(Cell("model", params=size) for size in (1_000, 10_000, 100_000, 1_000_000, 10_000_000)),
    *(Cell("k", params=100_000, k=k, workers=k) for k in (1, 3, 10, 30, 100)),
    *(Cell("workers", params=2_500, workers=many) for many in (10, 100, 1_000, 10_000)),
    *(Cell("catalogue", items=many) for many in (1_000, 10_000, 100_000, 1_000_000)),
)


@dataclass(slots=True)
class Cost:
    """Processor seconds of so many updates: their own, and those of the versions made of them.

    ``waited_s`` is the clock's time for the versions.
    """

    updates: int = 0
    folding_s: float = 0.0
    stepping_s: float = 0.0
    waited_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Both."""
        return self.folding_s + self.stepping_s


def run(seed: int, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Every cell, and what it was measured on."""
    load = os.getloadavg()[0]
    rows = []
    for cell in CELLS:
        say(f"{cell.axis}: {cell.at:,}")
        rows.append(_row(cell, measure(cell, seed)))
    return {
        "rows": rows,
        "profiles": [
            {"axis": cell.axis, "at": cell.at, "top": profile(cell, seed)} for cell in ends()
        ],
        "seed": seed,
        "width": WIDTH,
        "touched": TOUCHED,
        "machine": fold.machine(),
        "load_before": round(load, 2),
        "versions": {name: version(name) for name in fold.LIBRARIES},
    }


def measure(cell: Cell, seed: int) -> Cost:
    """The cheapest of some repeats, per update."""
    versions = Versions(cell, seed)
    found = [versions.spend(REPEAT_S) for _ in range(REPEATS)]
    return min(found, key=lambda cost: cost.total_s / cost.updates)


def ends() -> list[Cell]:
    """The smallest and the largest cell of each axis."""
    axes = {cell.axis: [each for each in CELLS if each.axis == cell.axis] for cell in CELLS}
    return [cell for cells in axes.values() for cell in (cells[0], cells[-1])]


def profile(cell: Cell, seed: int) -> list[tuple[str, float]]:
    """Where the time goes: functions and their own share of it, largest first.

    The profiler takes its time with every call, so that many small ones look dearer than they are.
    """
    versions = Versions(cell, seed)
    profiler = cProfile.Profile()
    profiler.enable()
    versions.spend(REPEAT_S)
    profiler.disable()
    # create_stats keys (file, line, name) with (calls, primitive calls, own s, total s, callers).
    profiler.create_stats()
    own_s = Counter[str]()
    for place, figures in profiler.stats.items():
        own_s[_name(place)] += figures[2]
    total_s = own_s.total()
    return [(name, round(own / total_s, 3)) for name, own in own_s.most_common(TOP)]


class Versions:
    """Makes one version after the other of a cell's updates.

    Attributes:
        published: The newest.
    """

    def __init__(self, cell: Cell, seed: int) -> None:
        scene = fold.scene_of(cell.layout, _deltas(cell, seed), cell.k)
        self.published = Published(_manifest(scene.layout), scene.layout.zeros(), {})
        self._way = fold.Way(scene)
        self._rule = optimizer.build(scene.limits.optimizer)
        self._roster = rounds.Roster(live_s=scene.limits.live_s, settle_s=0.0, started_s=0.0)
        self._deliveries = itertools.cycle(scene.deliveries)

    def spend(self, seconds: float) -> Cost:
        """Make versions for that long."""
        cost = Cost()
        while cost.total_s < seconds:
            began_s = time.process_time()
            self.fold()
            folded_s, waiting_s = time.process_time(), time.perf_counter()
            self.step()
            cost.waited_s += time.perf_counter() - waiting_s
            cost.folding_s += folded_s - began_s
            cost.stepping_s += time.process_time() - folded_s
            cost.updates += self._way.scene.k
        return cost

    def fold(self) -> None:
        """K updates, each of a worker that has no place yet."""
        limits = self._way.scene.limits
        for delivery in itertools.islice(self._deliveries, self._way.scene.k):
            self._roster.heard(str(delivery.user_id), 1.0)
            self._way.consider(delivery)
        rounds.updates_in_force(limits, self._roster.live(1.0))

    def step(self) -> None:
        """The server step, and the version as it would be staged."""
        scene, before = self._way.scene, self.published
        model, state = optimizer.step(
            self._rule,
            scene.layout,
            before.model,
            before.optimizer,
            self._way.buffer.mean(scene.k, row_floor=scene.limits.row_floor),
            part=1.0,
        )
        folds = tuple(self._way.buffer.folds)
        attempt = commit.prepare(before, model, state, folds, scene.k, {}, at_s=0.0)
        self._way.buffer.release()
        self.published = attempt.published


def _name(place: tuple[str, int, str]) -> str:
    """``module.function`` of ours; builtins as the profiler calls them, without their brackets."""
    file, _line, name = place
    plain = name.strip("<>{}").removeprefix("built-in method ").removeprefix("method ")
    words = plain.replace("'", "").split(" of ")
    return f"{Path(file).stem}.{name}" if file.endswith(".py") else words[0]


def _manifest(layout: Layout) -> Manifest:
    return Manifest(version=Version(1, 0), previous=None, layout=layout, model={})


def _deltas(cell: Cell, seed: int) -> Iterator[Delta]:
    """Gaussian; of a table, of rows drawn evenly."""
    rng = np.random.default_rng(seed)
    for _ in range(max(cell.k, cell.workers)):
        if cell.items:
            rows = np.sort(rng.choice(cell.items, TOUCHED, replace=False)).astype(np.uint32)
            values = rng.standard_normal((TOUCHED, WIDTH), dtype=np.float32)
            yield {"net": TensorDelta(values, rows)}
        else:
            yield {"net": TensorDelta(rng.standard_normal(cell.params, dtype=np.float32))}


def _row(cell: Cell, cost: Cost) -> dict[str, Any]:
    return {
        "axis": cell.axis,
        "at": cell.at,
        "k": cell.k,
        "updates_per_s": round(cost.updates / cost.total_s, 1),
        "update_us": round(1e6 * cost.folding_s / cost.updates, 1),
        "version_us": round(1e6 * cost.stepping_s / cost.updates * cell.k, 1),
        "version_clock_us": round(1e6 * cost.waited_s / cost.updates * cell.k, 1),
        "version_share": round(cost.stepping_s / cost.total_s, 3),
    }
