"""Whether an aggregator's memory grows with the updates that it has folded.

The production process over real servers, so that neither queue nor model store is in it. Updates
are of a table's rows and come from many workers; the kernel says how much of the process is
resident. The first sample is taken after some versions, when everything is loaded.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import version
from typing import Any

import numpy as np

from latecomer.broker.port import Message
from latecomer.config import Settings
from latecomer.events import Version
from latecomer.tensors import Kind, Layout, TensorDelta, TensorSpec
from latecomer_bench import fold, service, testbed
from latecomer_bench.testbed import Testbed

K = 32

WORKERS = 10_000

#: A table of items; an update is of some of its rows.
ITEMS, WIDTH, TOUCHED = 2_000, 16, 50

#: Samples between the first and the last.
SAMPLES = 10

#: Versions go after this long, or the store would hold thousands.
RETENTION_S = 5.0


def run(
    settings: Settings, updates: int, seed: int, *, say: Callable[[str], None]
) -> dict[str, Any]:
    """Resident memory at the start, at the end and in between.

    Raises:
        BadConfiguration: Broker or store is not a server, or this is not Linux.
        BrokerUnreachable, StoreUnreachable: One of them does not answer.
        Stalled: The aggregator made no more versions.
    """
    layout = Layout((TensorSpec("item.factors", Kind.ROWS, (ITEMS, WIDTH)),))
    samples: list[tuple[int, float]] = []
    chosen = settings.model_copy(update={"retention_s": RETENTION_S})
    with testbed.opened(chosen) as bed:
        for done, resident_mb in _samples(bed, layout, updates, seed):
            say(f"{done:,} updates: {resident_mb:.1f} MiB")
            samples.append((done, round(resident_mb, 1)))
    (_, start_mb), (done, end_mb) = samples[0], samples[-1]
    return {
        "updates": done,
        "rss_start_mb": start_mb,
        "rss_end_mb": end_mb,
        "model_mb": round(4 * layout.size / 2**20, 3),
        "samples": samples,
        "workers": WORKERS,
        "k": K,
        "seed": seed,
        "servers": bed.facts,
        "machine": fold.machine(),
        "versions": {name: version(name) for name in ("latecomer", "numpy", "pika", "redis")},
    }


def _samples(bed: Testbed, layout: Layout, updates: int, seed: int) -> Iterator[tuple[int, float]]:
    """Updates folded so far and MiB; in whole versions, for less than K would wait its time."""
    portion = K * max(1, updates // (K * (SAMPLES + 1)))
    with bed.federation() as federation, closing(bed.store(federation)) as store:
        base = testbed.found(store, federation, layout, K).version
        with service.running(bed.settings, federation) as process:
            for first in range(0, portion * (SAMPLES + 1), portion):
                numbers = range(first, first + portion)
                bed.publish(_messages(federation, layout, base, numbers, seed))
                service.await_number(store, numbers.stop // K, process)
                yield numbers.stop, service.resident_mb(process)


def _messages(
    federation: str, layout: Layout, base: Version, numbers: range, seed: int
) -> Iterator[Message]:
    rng = np.random.default_rng([seed, numbers.start])
    for number in numbers:
        rows = np.sort(rng.choice(ITEMS, TOUCHED, replace=False)).astype(np.uint32)
        values = rng.standard_normal((TOUCHED, WIDTH), dtype=np.float32)
        delta = {"item.factors": TensorDelta(values, rows)}
        worker = f"w{number % WORKERS}"
        yield testbed.message(federation, layout, base, number, worker=worker, delta=delta)
