"""A deployment as its operators run it: processes of the command over real servers."""

import csv
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latecomer.clock import SystemClock
from latecomer.store import redis
from latecomer_cli import status
from server import Server, eventually

LATECOMER = Path(sys.executable).parent / "latecomer"

#: A busy machine starts a process with torch in some ten seconds.
PATIENCE_S = 60.0

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
updates_per_version = 2
max_wait_s = 2.0
max_staleness = {max_staleness}

[[fleet.workers]]
name = "guest-a"
shard = "1/3"

[[fleet.workers]]
name = "guest-b"
shard = "2/3"

[[fleet.workers]]
name = "guest-c"
shard = "3/3"
"""


@dataclass(frozen=True)
class Pair:
    """A broker and a store."""

    broker: Server
    store: Server

    def __str__(self) -> str:
        return f"{self.broker}+{self.store}"


@dataclass
class Deployment:
    """Processes of one federation in a folder of its own."""

    pair: Pair
    folder: Path
    federation: str
    max_staleness: int = 100
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        write_scene(self.folder, self.federation, self.max_staleness)
        client = redis.connect(self.pair.store.url, client_name="test")
        self._store = redis.RedisStore(client, federation=self.federation, clock=SystemClock())

    @property
    def recipe(self) -> str:
        return str(self.folder / "recipe.toml")

    def environment(self, **more: str) -> Mapping[str, str]:
        return {
            **os.environ,
            "LATECOMER_BROKER_URL": self.pair.broker.url,
            "LATECOMER_STORE_URL": self.pair.store.url,
            "LATECOMER_FEDERATION": self.federation,
            "LATECOMER_STATE_DIR": str(self.folder / "state"),
            "LATECOMER_LOG_FORMAT": "json",
            "LATECOMER_LEASE_S": "3",
            **more,
        }

    def call(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LATECOMER, *arguments],
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def start(self, name: str, *arguments: str, **more: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            [LATECOMER, *arguments], env=self.environment(**more), stdout=log, stderr=log
        )
        log.close()

    def start_worker(self, name: str, **more: str) -> None:
        self.start(name, "worker", self.recipe, "--name", name, **more)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> dict[str, int]:
        """SIGTERM to all; their exit codes."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        codes = {name: process.wait(PATIENCE_S) for name, process in self.processes.items()}
        self.processes = {}
        return codes

    def discard(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self._store.close()

    def status(self) -> dict[str, Any]:
        return status.gather(self._store, self.federation, SystemClock())

    def await_version(self, number: int) -> dict[str, Any]:
        eventually(
            lambda: self.status()["number"] >= number,
            within_s=PATIENCE_S,
            what=f"version {number}",
        )
        return self.status()


def write_scene(folder: Path, federation: str, max_staleness: int) -> None:
    """Sixty customers, who buy either even or odd items."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    items = [f"item-{number}" for number in range(40)]
    with (folder / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("item", "description"), *((i, i.upper()) for i in items)])
    rows = [
        (f"c{customer}", item, f"2024-01-{day:02}")
        for customer in range(60)
        for day, item in enumerate(rng.sample(items[customer % 2 :: 2], 10), start=1)
    ]
    with (folder / "purchases.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("customer", "item", "time"), *rows])
    recipe = RECIPE.format(federation=federation, max_staleness=max_staleness)
    (folder / "recipe.toml").write_text(recipe)
