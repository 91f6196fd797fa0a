"""How long a deployment takes from nothing to its first version, step by step.

Every step is a fresh process, over real servers: the imports alone, ``latecomer init``, then an
aggregator and one worker together until the first version is in the store. The scene is tiny and K
is 1, so that what is measured is starting, not training.
"""

import csv
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from latecomer.config import Settings
from latecomer.errors import LatecomerError
from latecomer_bench import fold, testbed
from latecomer_bench.testbed import Testbed

TURNS = 3

#: Nothing here takes this long.
LIMIT_S = 120.0

POLL_S = 0.01

COMMAND = (sys.executable, "-c", "from latecomer_cli.app import main; main()")

#: What each service's process has to import before it can do anything.
IMPORTS = {
    "import the aggregator": "import latecomer_aggregator.app",
    "import the worker": "import latecomer_worker.app, latecomer.recommenders.gram",
    "import the worker, torch too": "import latecomer_worker.app, latecomer.recommenders.two_tower",
}

RECIPE = """
federation = "{federation}"

[data]
source = "purchases.csv"
catalogue = "items.csv"

[data.columns]
user = "customer"
item = "item"
time = "time"

[model]
dimension = 8

[training]
negatives = 10

[aggregation]
updates_per_version = 1
identity = "declared"

[[fleet.workers]]
name = "first"
"""

USERS, ITEMS, PURCHASES = 60, 40, 10


class NotStarted(LatecomerError):
    """A step failed, or took longer than anybody would wait."""


def run(settings: Settings, seed: int, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds per step: the median and the range over some turns.

    Raises:
        BadConfiguration: Broker or store is not a server.
        BrokerUnreachable, StoreUnreachable: One of them does not answer.
        NotStarted: A step did not come to its end.
    """
    turns = []
    with testbed.opened(settings) as bed:
        for turn in range(TURNS):
            say(f"turn {turn + 1} of {TURNS}")
            turns.append(_turn(bed, seed + turn))
        return {
            "rows": [_row(step, [each[step] for each in turns]) for step in turns[0]],
            "turns": TURNS,
            "seed": seed,
            "servers": bed.facts,
            "machine": fold.machine() | {"clock": "wall clock"},
            "versions": {name: version(name) for name in ("latecomer", "torch", "pika", "redis")},
        }


def _row(step: str, found_s: list[float]) -> dict[str, Any]:
    seconds = {
        "seconds": statistics.median(found_s),
        "low": min(found_s),
        "high": max(found_s),
    }
    return {"step": step} | {name: round(value, 2) for name, value in seconds.items()}


def _turn(bed: Testbed, seed: int) -> dict[str, float]:
    steps = {
        step: _timed_s(lambda code=code: _finish(sys.executable, "-c", code))  # type: ignore[misc]
        for step, code in IMPORTS.items()
    }
    with bed.federation() as federation, TemporaryDirectory(prefix="latecomer-") as folder:
        recipe = write_scene(Path(folder), federation, seed)
        environment = _environment(bed, federation, folder)
        steps["latecomer init"] = _timed_s(
            lambda: _finish(*COMMAND, "init", recipe, environment=environment)
        )
        steps["aggregator and worker, to version 1"] = _timed_s(
            lambda: _await_version(bed, federation, recipe, environment)
        )
    return steps


def write_scene(folder: Path, federation: str, seed: int) -> str:
    """Some customers and what they bought; returns the recipe's path."""
    rng = random.Random(seed)
    items = [f"item-{number}" for number in range(ITEMS)]
    _write(folder / "items.csv", [("item", "description"), *((each, each) for each in items)])
    purchases = (
        (f"c{customer}", item, f"2024-01-{day:02}")
        for customer in range(USERS)
        for day, item in enumerate(rng.sample(items, PURCHASES), start=1)
    )
    _write(folder / "purchases.csv", [("customer", "item", "time"), *purchases])
    (folder / "recipe.toml").write_text(RECIPE.format(federation=federation), encoding="utf-8")
    return str(folder / "recipe.toml")


def _write(path: Path, rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _environment(bed: Testbed, federation: str, folder: str) -> dict[str, str]:
    return {
        **os.environ,
        "LATECOMER_BROKER_URL": bed.settings.broker_login(),
        "LATECOMER_STORE_URL": bed.settings.store_login(),
        "LATECOMER_FEDERATION": federation,
        "LATECOMER_STATE_DIR": str(Path(folder) / "state"),
    }


def _await_version(bed: Testbed, federation: str, recipe: str, environment: dict[str, str]) -> None:
    with (
        closing(bed.store(federation)) as store,
        _running("aggregator", environment=environment),
        _running("worker", recipe, "--name", "first", environment=environment),
    ):
        deadline_s = time.monotonic() + LIMIT_S
        while (head := store.head()) is None or head.version.number < 1:
            if time.monotonic() > deadline_s:
                raise NotStarted(f"no version within {LIMIT_S} s")
            time.sleep(POLL_S)


@contextmanager
def _running(*arguments: str, environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*COMMAND, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _finish(*command: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(  # noqa: S603 - our own command
        command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if done.returncode:
        raise NotStarted(f"{command[-2]} failed: {done.stderr.strip()[-300:]}")


def _timed_s(step: Callable[[], None]) -> float:
    began_s = time.monotonic()
    step()
    return time.monotonic() - began_s
