"""How many updates a second one process folds, beside bare numpy and beside NVFlare.

Ours is the production path from a message's bytes to the next version's arrays: open, look for
duplicates, read and validate, weigh, fold, and one server step per K updates. Not in it: broker,
store and commit; the ledger of folded ids is a set in memory. Bare numpy multiplies and adds arrays
that were decoded before. Rates are per second of processor time, for machines are shared: that is
one core, whatever else runs.
"""

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from latecomer import wire
from latecomer.aggregation import Aggregation
from latecomer.broker import topology
from latecomer.broker.port import Delivery
from latecomer.events import UpdateHeader, UpdateSubmitted, Version
from latecomer.store.port import Fold
from latecomer.tensors import Array, Delta, Kind, Layout, TensorDelta, TensorSpec, content_address
from latecomer_aggregator import optimizer, staleness
from latecomer_aggregator.admission import Admission
from latecomer_aggregator.buffer import Buffer
from latecomer_aggregator.weighting import example_weight

FEDERATION = "bench"
HEAD = Version(1, 100)

#: What the design sets targets for.
SIZES = (100_000, 1_000_000)
K = 10

#: Ids that the ledger's stand-in holds.
LEDGER = 100_000

#: How the rate changes with the model at K = 10, and with K at 100,000 parameters. Payloads above
#: 4 MiB wait in the store, here a dictionary, and are checked by their content address.
SWEEP = tuple((params, K) for params in (10_000, 100_000, 1_000_000, 10_000_000)) + tuple(
    (100_000, k) for k in (1, 3, 30, 100)
)

#: A repeat takes at least this many multiply-adds; the fastest counts, on both sides.
WORK = 40_000_000
REPEATS = 9

#: Whose versions a report states.
LIBRARIES = ("latecomer", "numpy", "blake3", "xxhash", "msgpack")

PEERS = Path(__file__).parents[1] / "peers"
PEER_LIMIT_S = 600


@dataclass(frozen=True, slots=True)
class Row:
    """Updates per second at one size; ratios are ours over theirs."""

    params: int
    k: int
    updates_per_s: float
    numpy_updates_per_s: float
    peer_updates_per_s: float | None

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        peer = self.peer_updates_per_s
        return {
            "params": self.params,
            "k": self.k,
            "updates_per_s": round(self.updates_per_s, 1),
            "numpy_updates_per_s": round(self.numpy_updates_per_s, 1),
            "peer_updates_per_s": None if peer is None else round(peer, 1),
            "ratio_numpy": round(self.updates_per_s / self.numpy_updates_per_s, 3),
            "ratio_peer": None if peer is None else round(self.updates_per_s / peer, 2),
        }


@dataclass(frozen=True, slots=True)
class Scene:
    """One model and K updates of it, each from another worker and another version behind."""

    layout: Layout
    limits: Aggregation
    deliveries: tuple[Delivery, ...]
    staged: Mapping[str, bytes]
    deltas: tuple[Array, ...]
    k: int

    def admission(self) -> Admission:
        """The rules at the head."""
        return Admission(FEDERATION, HEAD, self.layout, self.limits)


def scene(params: int, k: int, seed: int) -> Scene:
    """Deltas are Gaussian; staleness runs from 0 to 9 and round again."""
    rng = np.random.default_rng(seed)
    layout = Layout((TensorSpec("net", Kind.DENSE, (params,)),))
    arrays = tuple(rng.standard_normal(params, dtype=np.float32) for _ in range(k))
    return scene_of(layout, [{"net": TensorDelta(array)} for array in arrays], k, arrays)


def scene_of(
    layout: Layout, deltas: Iterable[Delta], k: int, arrays: tuple[Array, ...] = ()
) -> Scene:
    """One update of each delta; ``arrays`` is what the bare side adds up."""
    updates = [update(layout, number, delta) for number, delta in enumerate(deltas)]
    encoded = [wire.encode_update(each) for each in updates]
    return Scene(
        layout,
        Aggregation.model_validate({"updates_per_version": k}),
        tuple(delivery(each, sent.body) for each, sent in zip(updates, encoded, strict=True)),
        {
            content_address(each.detached): each.detached
            for each in encoded
            if each.detached is not None
        },
        arrays,
        k,
    )


class Way:
    """An update's way, in the coordinator's order."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.buffer = Buffer(scene.layout)
        self._admission = scene.admission()
        self._weigh = staleness.rule(scene.limits.staleness)
        self.ledger = {f"another:boot:{number}" for number in range(LEDGER)}

    def consider(self, delivery: Delivery) -> None:
        """Fold it, unless it is held or known."""
        sealed = self._admission.open(delivery)
        header = sealed.header
        if self.buffer.holds(header.update_id) or header.update_id in self.ledger:
            return
        self._admission.check_base(sealed)
        if self.buffer.holds_worker(header.worker):
            return
        self._fold(header, self._admission.read(sealed, self._staged_payload), delivery)

    def _fold(self, update: UpdateHeader, delta: Delta, delivery: Delivery) -> None:
        tau = self._admission.staleness(update)
        limits = self._admission.limits
        weight = self._weigh(tau) * example_weight(update.examples, limits.example_weight)
        fold = Fold(update.update_id, update.worker, update.base, tau, weight, update.examples)
        self.buffer.fold(fold, delta, delivery)

    def _staged_payload(self, _worker: str, name: str, _size: int) -> bytes:
        return self.scene.staged[name]


def fold_versions(way: Way, versions: int) -> dict[str, Array]:
    """So many versions, each from the same K messages; returns the last model."""
    scene = way.scene
    rule = optimizer.build(scene.limits.optimizer)
    model, state = scene.layout.zeros(), optimizer.state_layout(rule, scene.layout).zeros()
    for _ in range(versions):
        for delivery in scene.deliveries:
            way.consider(delivery)
        mean = way.buffer.mean(scene.k, row_floor=scene.limits.row_floor)
        model, state = optimizer.step(rule, scene.layout, model, state, mean, part=1.0)
        way.buffer.release()
    return model


def measure(params: int, k: int, seed: int, peer: float | None = None) -> Row:
    """Ours and bare numpy, by turns, so that both see the same machine."""
    prepared = scene(params, k, seed)
    way, multiply_add = Way(prepared), _bare(prepared)
    versions = max(1, WORK // (params * k))
    ours, bare = [], []
    for _ in range(REPEATS):
        ours.append(_seconds(lambda: fold_versions(way, versions)))
        bare.append(_seconds(lambda: multiply_add(versions)))
    updates = versions * k
    return Row(params, k, updates / min(ours), updates / min(bare), peer)


def run(seed: int, *, sweep: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Every row, and what it was measured on."""
    load = os.getloadavg()[0]
    cells = SWEEP if sweep else tuple((params, K) for params in SIZES)
    peer = nvflare(seed, SIZES, K)
    rates: Mapping[str, float] = peer["updates_per_s"] if peer else {}
    arrays: Mapping[str, float] = peer["arrays_per_s"] if peer else {}
    rows = []
    for params, k in cells:
        say(f"{params:,} parameters, K = {k}")
        found = rates.get(str(params)) if k == K else None
        rows.append(measure(params, k, seed, found).as_dict())
    return {
        "rows": rows,
        "seed": seed,
        "dedupe": "a set in memory; the store's ledger is measured with the store",
        "peer": f"NVFlare {peer['nvflare']}, decoded arrays" if peer else None,
        "peer_arrays_per_s": {each: round(rate, 1) for each, rate in arrays.items()},
        "machine": machine(),
        "load_before": round(load, 2),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def nvflare(seed: int, sizes: tuple[int, ...], k: int) -> dict[str, Any] | None:
    """NVFlare's updates per second by size, and its version, measured in its own environment.

    None without one.
    """
    python = PEERS / ".venv" / "bin" / "python"
    if not python.exists():
        return None
    arguments = [str(each) for each in (seed, k, REPEATS, WORK, *sizes)]
    done = subprocess.run(  # noqa: S603 - our own script, in our own environment
        [str(python), "-I", str(PEERS / "nvflare_fold.py"), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=PEER_LIMIT_S,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def machine() -> dict[str, Any]:
    """What a figure depends on besides the code."""
    return {
        "processor": next(_processor(), platform.machine()),
        "clock": "processor seconds of one core",
        "python": platform.python_version(),
        "blas_threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "cores": os.cpu_count(),
    }


def _bare(scene: Scene) -> Callable[[int], None]:
    """``acc += w * x`` and nothing else."""
    arrays = scene.deltas
    total, weight = np.zeros(scene.layout.size, np.float32), np.float32(0.7)

    def multiply_add(versions: int) -> None:
        nonlocal total
        for _ in range(versions):
            for array in arrays:
                total += weight * array

    return multiply_add


def update(layout: Layout, number: int, delta: Delta) -> UpdateSubmitted:
    """Of worker ``w<number>``, up to nine versions behind."""
    worker = f"w{number}"
    return UpdateSubmitted(
        federation=FEDERATION,
        worker=worker,
        update_id=f"{worker}:boot:1",
        base=Version(HEAD.epoch, HEAD.number - number % 10),
        layout=layout.digest,
        examples=100,
        steps=10,
        sums={"everywhere": {"users": 10.0, "ndcg@10": 1.5}},
        delta=delta,
    )


def delivery(update: UpdateSubmitted, body: bytes) -> Delivery:
    """As the broker hands it out."""
    return Delivery(
        routing_key=topology.update_key(FEDERATION, update.worker),
        body=body,
        message_id=update.update_id,
        type="latecomer.update.v1",
        headers={},
        user_id=update.worker,
        redelivered=False,
        dead_lettered=False,
        tag=1,
        generation=1,
    )


def _seconds(work: Callable[[], object]) -> float:
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def _processor() -> Iterator[str]:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                yield line.split(":", 1)[1].strip()
