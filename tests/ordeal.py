"""A federation of real processes on real servers, and the evidence that an ordeal leaves."""

import os
import signal
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import ordeal_services as services
from child import Child
from latecomer import connect, wire
from latecomer.broker.port import Message
from latecomer.broker.topology import UPDATES, federation_topology, update_key, worker_topology
from latecomer.clock import SystemClock
from latecomer.config import Settings, load_settings
from latecomer.events import UpdateSubmitted, Version
from latecomer_aggregator import commit
from latecomer_simulator import audit, evidence
from latecomer_simulator.evidence import Evidence, Lineage
from latecomer_simulator.history import (
    Acknowledged,
    Attempted,
    Ended,
    Faulted,
    Healed,
    History,
    Journal,
    Led,
    Measured,
)
from ordeal_services import Doom, Orders
from server import eventually

#: Everything heals within 30 s, and a busy machine takes its time.
PATIENCE_S = 60.0

#: Short, so that a run is: a missed heartbeat is noticed soon.
HEARTBEAT_S = 2


@dataclass
class Ordeal:
    """One federation in a folder of its own; ``with`` founds it and kills what still runs.

    Attributes:
        broker_url, store_url: Servers, or proxies before them.
        workers: How many, called guest-0 and so on: RabbitMQ's local user speaks for all of them.
        slots: How many updates each may make.
    """

    broker_url: str
    store_url: str
    folder: Path
    workers: int = 3
    slots: int = 400
    train_s: float = 0.05
    lease_s: float = 2.0
    terms: dict[str, Any] = field(default_factory=dict)
    federation: str = field(default_factory=lambda: f"chaos-{uuid.uuid4().hex[:8]}")
    processes: dict[str, Child] = field(default_factory=dict)
    _lineages: list[Lineage] = field(default_factory=list)
    _verdicts: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clock = SystemClock()
        self.journal = Journal(self.folder / "ordeal.jsonl")
        self.settings = {
            "federation": self.federation,
            "heartbeat_s": HEARTBEAT_S,
            "lease_s": self.lease_s,
            "broker_url": self.broker_url,
            "store_url": self.store_url,
        }
        self._settings: Settings = load_settings(**self.settings)
        self.broker = connect.broker(self._settings, client="ordeal")
        self.store = connect.store(
            self._settings, federation=self.federation, client="ordeal", clock=self.clock
        )
        terms = {"updates_per_version": 2, "max_wait_s": 1.0, "live_s": 10.0} | self.terms
        self.recipe = audit.recipe(self.federation, **terms)
        self.broker.declare(federation_topology(self.federation))
        for row in range(self.workers):
            self.broker.declare(worker_topology(self.federation, self.worker(row)))
        self.found()
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.processes):
            self.kill(name)
        self.broker.close()
        self.store.close()
        self.journal.close()

    def worker(self, row: int) -> str:
        """A worker's name."""
        return f"{self.federation}-{row}"

    def found(self) -> None:
        """Publish version 0 of a new epoch, as soon as nobody leads."""
        shape = audit.layout(self.workers, self.slots)
        now_s = self.clock.now_s()
        epoch = int(now_s * 1000)
        eventually(
            lambda: (
                audit.found(self.store, self.recipe, shape, epoch=epoch, at_s=now_s) is not None
            ),
            within_s=PATIENCE_S,
            what="a new epoch",
        )
        self._first, _ = commit.load(self.store, self.federation)

    def aggregate(self, name: str = "a", doom: Doom | None = None) -> None:
        """Start an aggregator."""
        self._start(services.aggregate, self._orders(f"aggregator-{name}", doom))

    def work(self, row: int, doom: Doom | None = None) -> None:
        """Start a worker; the payloads of the first one are too large for a message."""
        orders = self._orders(self.worker(row), doom)
        # One that stages its payloads, beside others that send them inline.
        inline_bytes = 512 if row == 0 else orders.inline_bytes
        self._start(services.work, replace(orders, row=row, inline_bytes=inline_bytes))

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.processes.pop(name).kill()

    def stop(self, names: list[str]) -> dict[str, int | None]:
        """SIGTERM to these, and their exit codes; none may hang."""
        for name in names:
            self.signal(name, signal.SIGTERM)
        codes = {name: self.processes[name].exit_code(PATIENCE_S) for name in names}
        for name in names:
            self.kill(name)
        assert None not in codes.values(), f"still there {PATIENCE_S} s after SIGTERM: {codes}"
        return codes

    def signal(self, name: str, number: signal.Signals) -> None:
        """To a process: SIGTERM, SIGSTOP, SIGCONT."""
        os.kill(self.processes[name].pid, number)

    def leader(self) -> str:
        """The process that took the lease last."""
        led = list(self.history().all(Led))
        return max(led, key=lambda each: each.at_s).process

    def died(self, name: str) -> bool:
        """Whether a process was killed by SIGKILL; it may not have ended otherwise."""
        code = self.processes[name].exit_code()
        assert code in (None, -signal.SIGKILL), f"{name} ended with {code}: {self.log(name)}"
        return code is not None

    def log(self, name: str) -> list[str]:
        """The last lines that a process wrote."""
        return (self.folder / f"{name}.log").read_text().splitlines()[-5:]

    def everybody(self) -> "Ordeal":
        """Start a leader, a standby and all workers, and wait until they move."""
        self.aggregate("a")
        for row in range(self.workers):
            self.work(row)
        self.await_versions(2)
        self.aggregate("b")
        return self

    def fault(self, name: str) -> None:
        """A fault begins."""
        self.journal.append(Faulted(self.clock.monotonic_s(), "ordeal", name))

    def healed(self, name: str) -> None:
        """It is over."""
        self.journal.append(Healed(self.clock.monotonic_s(), "ordeal", name))

    def number(self) -> int:
        """The head's number."""
        head = self.store.head()
        return -1 if head is None else head.version.number

    def await_versions(self, more: int) -> None:
        """So many more versions."""
        wanted = self.number() + more
        eventually(lambda: self.number() >= wanted, within_s=PATIENCE_S, what=f"version {wanted}")

    def disturb(self) -> None:
        """Send what is refused courteously, and what belongs to the dead letters."""
        publisher = self.broker.publisher()
        head = self.store.head()
        assert head is not None
        for body, update_id in (
            (self._update_of_another_epoch(head.version), "other-epoch"),
            (b"\x00" + uuid.uuid4().bytes, "garbage"),
        ):
            key = update_key(self.federation, self.worker(self.workers - 1))
            message = Message(UPDATES, key, body, update_id, "latecomer.update.v1")
            publisher.publish(message)
        publisher.close()

    def tracebacks(self) -> list[str]:
        """Logs in which something was not said in one line."""
        logs = self.folder.glob("*.log")
        return [each.name for each in logs if "Traceback" in each.read_text()]

    def measure(self) -> None:
        """Note how much memory each process takes; none may have ended by itself."""
        for name, process in self.processes.items():
            code = process.exit_code()
            assert code is None, f"{name} ended with {code}: {self.log(name)}"
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            rss_bytes = pages * os.sysconf("SC_PAGE_SIZE")
            self.journal.append(Measured(self.clock.monotonic_s(), name, process.pid, rss_bytes))

    def come_to_rest(self, *, settled: bool = True) -> Evidence:
        """Train no more, wait until every confirmed update has its verdict, and take it down."""
        (self.folder / "quiet").touch()
        eventually(self._outboxes_are_empty, within_s=PATIENCE_S, what="empty outboxes")
        # What a worker was still learning is confirmed, or will never be heard of.
        self.stop([name for name in self.processes if name.startswith(self.federation)])
        if settled:
            eventually(self._is_settled, within_s=PATIENCE_S, what="a verdict for every update")
        self.put_down()
        self.journal.append(Ended(self.clock.monotonic_s(), "ordeal"))
        return Evidence(self.recipe, self.history(), tuple(self._lineages), self._verdicts)

    def put_down(self) -> None:
        """Take down the versions and verdicts of this epoch, before it is lost or at the end.

        Whoever leads may still write: what was read while a version came is read again.
        """
        ids = [each.update_id for each in self.history().all(Attempted)]
        head = None
        while head is None or head != self.store.head():
            head = self.store.head()
            assert head is not None
            last, _ = commit.load(self.store, self.federation)
            manifests = evidence.versions(self.store, head)
            verdicts = self.store.verdicts(ids)
        self._lineages.append(Lineage(self._first, last, manifests))
        self._verdicts = verdicts | self._verdicts

    def history(self) -> History:
        """Of all processes so far."""
        return History.merged(self.folder.glob("*.jsonl"))

    def _is_settled(self) -> bool:
        history = self.history()
        attempted = {each.update_id for each in history.all(Attempted)}
        confirmed = {each.update_id for each in history.all(Acknowledged)}
        open_ = (attempted & confirmed) - self._verdicts.keys()
        return len(self.store.verdicts(open_)) == len(open_)

    def _outboxes_are_empty(self) -> bool:
        return all(
            _waiting(self.folder / self.worker(row) / "state.sqlite") == 0
            for row in range(self.workers)
        )

    def _orders(self, name: str, doom: Doom | None) -> Orders:
        return Orders(
            name, self.folder, self.settings, doom, train_s=self.train_s, slots=self.slots
        )

    def _start(self, main: Callable[[Orders], None], orders: Orders) -> None:
        self.processes[orders.name] = Child(main, orders)

    def _update_of_another_epoch(self, version: Version) -> bytes:
        worker = self.worker(self.workers - 1)
        return wire.encode_update(
            UpdateSubmitted(
                federation=self.federation,
                worker=worker,
                update_id=f"{worker}:{uuid.uuid4().hex[:12]}:1",
                base=Version(version.epoch - 1, 0),
                layout=audit.layout(self.workers, self.slots).digest,
                examples=1,
                steps=1,
                delta={},
            )
        ).body


def _waiting(state: Path) -> int:
    """Updates in an outbox; none if the worker never began."""
    if not state.exists():
        return 0
    database = sqlite3.connect(f"file:{state}?mode=ro", uri=True, timeout=10.0)
    try:
        return int(database.execute("SELECT count(*) FROM outbox").fetchone()[0])
    except sqlite3.OperationalError:
        # It was killed before it had made its tables.
        return 0
    finally:
        database.close()
