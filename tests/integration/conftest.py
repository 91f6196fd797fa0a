"""Real servers in pairs: every broker found meets a store, and every store found a broker."""

import itertools

import pytest

import servers
from deployment import Pair


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" not in metafunc.fixturenames:
        return
    brokers, stores = servers.brokers(), servers.stores()
    count = max(len(brokers), len(stores)) if brokers and stores else 0
    cycled = zip(itertools.cycle(brokers), itertools.cycle(stores), strict=False)
    pairs = [Pair(*each) for each in itertools.islice(cycled, count)]
    metafunc.parametrize("pair", pairs, ids=str)
