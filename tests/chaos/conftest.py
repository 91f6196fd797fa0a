"""Chaos on the first pair of real servers; the short form, or with ``--chaos full`` all of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import servers
from chronicle import Chronicle
from deployment import Pair

REPORT = Path("runs/chaos/report.json")


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether all of it is wanted, as in ``make chaos``."""
    return bool(request.config.getoption("--chaos") == "full")


@pytest.fixture(scope="session")
def pair() -> Pair:
    """The newest servers that were found."""
    brokers, stores = servers.brokers(), servers.stores()
    if not brokers or not stores:
        pytest.skip("no RabbitMQ or no Redis was found")
    return Pair(brokers[0], stores[0])


@pytest.fixture(scope="session")
def chronicle(pair: Pair, full: bool, request: pytest.FixtureRequest) -> Iterator[Chronicle]:
    """Collects what every ordeal came to; told at the end of the session."""
    chronicle = Chronicle(f"{pair.broker.name}, {pair.store.name}", full)
    yield chronicle
    if hasattr(request.config, "workerinput"):
        return  # beside others, this process has only a part of it to tell
    chronicle.write(REPORT)
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        chronicle.show(Console(width=140))
