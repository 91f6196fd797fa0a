"""A long run with a fault every few seconds, drawn from a seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGSTOP

from deployment import Pair
from latecomer_simulator.evidence import Evidence
from ordeal import Ordeal
from proxy import FaultProxy
from server import Server, eventually

#: A fault begins this often.
EVERY_S = 5.0

#: And lasts so long, so that there is time to recover in between.
LASTS_S = (0.5, 3.0)


@dataclass(frozen=True)
class Length:
    """How many workers, for how long, and how busy each is."""

    workers: int
    seconds: float
    train_s: float
    slots: int


SHORT = Length(workers=6, seconds=40.0, train_s=0.3, slots=200)
FULL = Length(workers=30, seconds=600.0, train_s=3.0, slots=260)


class Soak:
    """An ordeal whose services reach both servers through proxies."""

    def __init__(
        self, pair: Pair, ordeal: Ordeal, broker: FaultProxy, store: FaultProxy, *, seed: int
    ) -> None:
        self._servers: tuple[Server, Server] = (pair.broker, pair.store)
        self._ordeal = ordeal
        self._proxies = (broker, store)
        self._rng = random.Random(seed)
        self._faults: dict[str, Callable[[], None]] = {
            "worker killed": self._kill_worker,
            "leader killed": self._kill_leader,
            "leader paused": self._pause_leader,
            "leader stopped": self._stop_leader,
            "server killed": self._kill_server,
            "alarm": self._alarm,
            "latency": lambda: self._break_a_line(lambda proxy: proxy.latency(0.3, 0.2)),
            "blackhole": lambda: self._break_a_line(lambda proxy: proxy.blackhole("up")),
            "half open": lambda: self._break_a_line(lambda proxy: proxy.half_open()),
            "resets": lambda: self._break_a_line(lambda proxy: proxy.reset_mid_frame()),
            "refused": lambda: self._break_a_line(lambda proxy: proxy.refuse()),
        }

    def go_on(self, seconds: float) -> None:
        """One fault every few seconds, and a look at everybody's memory in between."""
        clock = self._ordeal.clock
        end_s = clock.monotonic_s() + seconds
        while clock.monotonic_s() < end_s:
            begun_s = clock.monotonic_s()
            self._ordeal.measure()
            name = self._rng.choice(sorted(self._faults))
            self._ordeal.fault(name)
            self._faults[name]()
            self._ordeal.healed(name)
            self._until(begun_s + EVERY_S)

    def _until(self, when_s: float) -> None:
        clock = self._ordeal.clock
        eventually(lambda: clock.monotonic_s() >= when_s, within_s=60.0, what="the next fault")

    def _last(self) -> None:
        self._until(self._ordeal.clock.monotonic_s() + self._rng.uniform(*LASTS_S))

    def _kill_worker(self) -> None:
        row = self._rng.randrange(self._ordeal.workers)
        self._ordeal.kill(self._ordeal.worker(row))
        self._last()
        self._ordeal.work(row)

    def _kill_leader(self) -> None:
        leader = self._ordeal.leader()
        self._ordeal.kill(leader)
        self._ordeal.aggregate(leader.removeprefix("aggregator-"))

    def _pause_leader(self) -> None:
        leader = self._ordeal.leader()
        self._ordeal.signal(leader, SIGSTOP)
        self._last()
        self._ordeal.signal(leader, SIGCONT)

    def _stop_leader(self) -> None:
        leader = self._ordeal.leader()
        self._ordeal.stop([leader])
        self._ordeal.aggregate(leader.removeprefix("aggregator-"))

    def _kill_server(self) -> None:
        server = self._rng.choice(self._servers)
        server.kill()
        server.start()

    def _alarm(self) -> None:
        broker = self._servers[0]
        broker.raise_alarm("memory")
        self._last()
        broker.clear_alarm("memory")

    def _break_a_line(self, fault: Callable[[FaultProxy], None]) -> None:
        proxy = self._rng.choice(self._proxies)
        fault(proxy)
        self._last()
        proxy.heal()


def soak(pair: Pair, folder: Path, length: Length, *, seed: int = 1) -> Evidence:
    """The whole run, until it has come to rest."""
    broker_url, store_url = pair.broker.url, pair.store.url
    with (
        FaultProxy.before(broker_url) as broker,
        FaultProxy.before(store_url) as store,
        Ordeal(
            broker.url_of(broker_url),
            store.url_of(store_url),
            folder,
            workers=length.workers,
            slots=length.slots,
            train_s=length.train_s,
            terms={"updates_per_version": max(2, length.workers // 3)},
        ) as ordeal,
    ):
        ordeal.everybody()
        Soak(pair, ordeal, broker, store, seed=seed).go_on(length.seconds)
        ordeal.await_versions(2)
        return ordeal.come_to_rest()
