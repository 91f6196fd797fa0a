"""One scene per kind of broker: every contract test runs on each."""

from collections.abc import Iterator

import pytest

import servers
from broker_scene import MemoryScene, RabbitScene, Scene
from server import Server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    real = servers.brokers() if {"scene", "rabbit"} & set(metafunc.fixturenames) else []
    if "scene" in metafunc.fixturenames:
        metafunc.parametrize("scene", [None, *real], ids=_name, indirect=True)
    if "rabbit" in metafunc.fixturenames:
        metafunc.parametrize("rabbit", real, ids=_name, indirect=True)


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    scene = MemoryScene() if request.param is None else _rabbit_scene(request.param)
    yield scene
    scene.clean()


@pytest.fixture
def rabbit(request: pytest.FixtureRequest) -> Iterator[RabbitScene]:
    scene = _rabbit_scene(request.param)
    yield scene
    scene.clean()


def _rabbit_scene(server: Server) -> RabbitScene:
    # Asking for the name starts it, or skips (in CI fails) the test that wanted it.
    assert server.name.startswith("RabbitMQ")
    return RabbitScene(server)


def _name(server: Server | None) -> str:
    return "memory" if server is None else str(server)
