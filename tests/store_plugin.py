"""A pytest plugin that gives tests a store: which one, is asked for by the fixture's name.

``stores`` runs a test over the embedded store and every server found, ``real_stores`` over the
servers alone.
"""

from collections.abc import Iterator

import pytest

import servers
from server import Server
from store_scene import Stores


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = {"stores", "real_stores"} & set(metafunc.fixturenames)
    for name in names:
        kinds = [*([None] if name == "stores" else []), *servers.stores()]
        metafunc.parametrize(name, kinds, ids=_name, indirect=True)


@pytest.fixture
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    yield from _scene(request.param)


@pytest.fixture
def real_stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    yield from _scene(request.param)


def _scene(server: Server | None) -> Iterator[Stores]:
    if server is not None:
        # Asking for the name starts it, or skips (in CI fails) the test that wanted it.
        assert server.name
    scene = Stores(server)
    yield scene
    scene.clean()


def _name(server: Server | None) -> str:
    return "fakeredis" if server is None else str(server)
