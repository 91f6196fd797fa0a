"""Real servers in pairs: every broker found meets a store, and every store found a broker."""

import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from deployment import Deployment, Pair


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
    yield deployment
    deployment.discard()
