"""Broken lines between the services and their servers: whatever breaks heals by itself."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from chronicle import Chronicle
from deployment import Pair
from latecomer_simulator.evidence import Evidence
from latecomer_simulator.invariants import violations
from ordeal import Ordeal
from proxy import FaultProxy
from server import eventually

FAULTS: dict[str, Callable[[FaultProxy], None]] = {
    "latency": lambda proxy: proxy.latency(0.3, 0.2, seed=1),
    "nothing arrives at the server": lambda proxy: proxy.blackhole("up"),
    "nothing arrives from the server": lambda proxy: proxy.blackhole("down"),
    "reset in the middle of a frame": lambda proxy: proxy.reset_mid_frame(),
    "half open": lambda proxy: proxy.half_open(),
    "trickle": lambda proxy: proxy.trickle(4000),
    "refused": lambda proxy: proxy.refuse(),
}

#: Longer than a lease and than two missed heartbeats.
LASTS_S = 6.0

Side = Literal["broker", "store"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("side", ["broker", "store"])
def test_a_line_may_break_in_any_way(
    pair: Pair, tmp_path: Path, side: Side, chronicle: Chronicle
) -> None:
    with ThreadPoolExecutor(len(FAULTS)) as pool:
        runs = {
            name: pool.submit(_suffer, pair, tmp_path / f"{place}", side, name)
            for place, name in enumerate(FAULTS)
        }
        wrong = {}
        for name, run in runs.items():
            evidence = run.result()
            chronicle.tell("broken lines", evidence)
            wrong[name] = violations(evidence)
    assert {name: found for name, found in wrong.items() if found} == {}


def _suffer(pair: Pair, folder: Path, side: Side, name: str) -> Evidence:
    """All services reach one of the servers through a proxy that breaks."""
    urls = {"broker": pair.broker.url, "store": pair.store.url}
    with FaultProxy.before(urls[side]) as proxy:
        through = urls | {side: proxy.url_of(urls[side])}
        with Ordeal(through["broker"], through["store"], folder) as ordeal:
            ordeal.everybody()
            ordeal.fault(name)
            FAULTS[name](proxy)
            began_s = ordeal.clock.monotonic_s()
            eventually(
                lambda: ordeal.clock.monotonic_s() - began_s > LASTS_S,
                within_s=2 * LASTS_S,
                what="the end of the fault",
            )
            proxy.heal()
            ordeal.healed(name)
            ordeal.await_versions(3)
            return ordeal.come_to_rest()
