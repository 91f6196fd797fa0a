"""Real servers in pairs: every broker found meets a store, and every store found a broker."""

import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from broker_scene import purge
from deployment import Deployment, Pair
from latecomer.broker.topology import DEAD


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" not in metafunc.fixturenames:
        return
    brokers, stores = servers.brokers(), servers.stores()
    count = max(len(brokers), len(stores)) if brokers and stores else 0
    cycled = zip(itertools.cycle(brokers), itertools.cycle(stores), strict=False)
    pairs = [Pair(*each) for each in itertools.islice(cycled, count)]
    metafunc.parametrize("pair", pairs, ids=str)


@pytest.fixture
def deployed(pair: Pair, tmp_path: Path) -> Iterator[Deployment]:
    """A federation that was founded, and nobody runs yet."""
    deployment = Deployment(pair, tmp_path, f"t-{uuid.uuid4().hex[:8]}")
    assert deployment.call("init", deployment.recipe).returncode == 0
    # All federations of a server share it: what others left there is not this one's.
    purge(pair.broker.url, DEAD)
    yield deployment
    deployment.discard()
