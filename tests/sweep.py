"""Every arrow of the flow as a place to die: which process, where, and whether once more."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from deployment import Pair
from latecomer_simulator.crossings import AGGREGATOR_CALLS, WORKER_CALLS, points
from latecomer_simulator.evidence import Evidence
from latecomer_simulator.invariants import violations
from latecomer_simulator.tally import NOTHING, Tally, recoveries, tally
from ordeal import PATIENCE_S, Ordeal
from ordeal_services import Doom
from server import eventually

#: What an aggregator does once per term: it is not reached a third time.
ONCE = {"acquire", "head", "manifest", "read", "subscribe", "release"}

#: Only reached where somebody sends what is refused.
DISTURBED = {"refuse", "reject"}

#: So many ordeals at a time: each mostly waits for its servers.
AT_A_TIME = 6


@dataclass(frozen=True)
class Crash:
    """One run of the sweep; ``again``: whoever recovers dies at the same place once more."""

    victim: str
    point: str
    hit: int
    again: bool

    def __str__(self) -> str:
        return f"{self.victim} {self.point} x{self.hit}{' again' if self.again else ''}"

    @property
    def call(self) -> str:
        """The call whose end it is."""
        return self.point.partition(":")[0]


@dataclass(frozen=True)
class Outcome:
    """What came of a run; ``problem`` is empty if every promise was kept."""

    crash: Crash
    tally: Tally
    recoveries_s: tuple[float, ...]
    problem: str


def crashes(*, full: bool) -> Iterator[Crash]:
    """First and third hit, with and without a second crash; or first hits alone."""
    for victim, calls in (("aggregator", AGGREGATOR_CALLS), ("worker", WORKER_CALLS)):
        for point in points(calls):
            once = victim == "aggregator" and point.partition(":")[0] in ONCE
            for hit in (1, 3) if full and not once else (1,):
                for again in (False, True) if full else (False,):
                    yield Crash(victim, point, hit, again)


def sweep(pair: Pair, folder: Path, some: list[Crash]) -> list[Outcome]:
    """All of them, a few at a time."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(
            pool.map(lambda each: _outcome(pair, folder / str(each[0]), each[1]), enumerate(some))
        )


def total(outcomes: list[Outcome]) -> Tally:
    """Over all runs."""
    return sum((each.tally for each in outcomes), NOTHING)


def _outcome(pair: Pair, folder: Path, crash: Crash) -> Outcome:
    try:
        evidence = carry_out(pair, folder, crash)
    except Exception as error:  # noqa: BLE001 - one run that fails must not hide the others
        return Outcome(crash, NOTHING, (), f"{crash}: {error!r} (see {folder})")
    found = violations(evidence)
    waited_s = tuple(waited_s for _, waited_s in recoveries(evidence.history))
    return Outcome(crash, tally(evidence), waited_s, f"{crash}: {found}" if found else "")


def carry_out(pair: Pair, folder: Path, crash: Crash) -> Evidence:
    """A federation of which one process dies as told, is started again, and goes on."""
    with Ordeal(pair.broker.url, pair.store.url, folder) as ordeal:
        doom = Doom(crash.point, crash.hit)
        leads = crash.victim == "aggregator"
        victim = "aggregator-a" if leads else ordeal.worker(0)
        ordeal.aggregate("a", doom if leads else None)
        for row in range(ordeal.workers):
            ordeal.work(row, None if leads or row else doom)
        _provoke(ordeal, crash, victim)
        _revive(ordeal, victim, doom if crash.again else None)
        if crash.again:
            _provoke(ordeal, crash, victim)
            _revive(ordeal, victim, None)
        ordeal.await_versions(2)
        return ordeal.come_to_rest()


def _provoke(ordeal: Ordeal, crash: Crash, victim: str) -> None:
    """Bring it about that the point is reached, and wait for the end."""
    if crash.call == "release":
        ordeal.await_versions(1)
        ordeal.signal(victim, SIGTERM)

    def dead() -> bool:
        if crash.call in DISTURBED:
            ordeal.disturb()
        return ordeal.died(victim)

    eventually(dead, within_s=PATIENCE_S, what=f"{crash} to be reached")


def _revive(ordeal: Ordeal, victim: str, doom: Doom | None) -> None:
    ordeal.fault("killed")
    if victim == "aggregator-a":
        ordeal.aggregate("a", doom)
    else:
        ordeal.work(0, doom)
    ordeal.healed("killed")
