"""Finds real servers for tests: given URLs, containers, local binaries.

URLs given in the environment are used alone. Otherwise images (if a Docker engine answers) and
local binaries (on private ports, with their own data) are all exercised, started on first use.
"""

import contextlib
import functools
import gc
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
from docker.errors import DockerException

from server import Container, GivenServer, LocalRabbit, LocalRedis, Server

#: Where Debian keeps the programs that are not wrappers for the ``rabbitmq`` user.
RABBITMQ_BIN = Path("/usr/lib/rabbitmq/bin")

#: What every session exercises that asks for servers at all.
EMBEDDED = {"brokers": "memory", "stores": "fakeredis"}

_wanted: dict[str, list[Server]] = {}

#: By kind, what other processes of the session exercised: with pytest-xdist each has its own.
_elsewhere: dict[str, list[str]] = {}


def brokers() -> list[Server]:
    """Every RabbitMQ that tests can reach; none is started yet."""
    return _find("brokers")


def stores() -> list[Server]:
    """Every Redis and Valkey that tests can reach; none is started yet."""
    return _find("stores")


def told() -> dict[str, list[str]]:
    """By kind of server that tests asked for, which of them were exercised."""
    return {kind: _exercised(kind) for kind in _wanted}


def heard(of_a_process: dict[str, list[str]]) -> None:
    """Count what another process of this session ``told``."""
    for kind, exercised in of_a_process.items():
        _find(kind)
        _elsewhere[kind] = list(dict.fromkeys([*_elsewhere.get(kind, []), *exercised]))


def report() -> list[str]:
    """What was exercised, and what was looked for in vain: one line each."""
    parts = [f"{kind} {', '.join([EMBEDDED[kind], *_exercised(kind)])}" for kind in sorted(_wanted)]
    lines = [f"exercised: {' | '.join(parts)}"] if parts else []
    return [f"not exercised: {each}" for each in missing()] + lines


def missing() -> list[str]:
    """Kinds of server that tests asked for and that were not exercised, with the reason."""
    programs = {"brokers": "RabbitMQ", "stores": "Redis"}
    idle = [kind for kind in sorted(_wanted) if not _exercised(kind)]
    return [f"{programs[kind]} ({_why_not(kind)})" for kind in idle]


def discard_all() -> None:
    """Stop everything that was started."""
    for server in [each for found in _wanted.values() for each in found]:
        server.discard()


def _exercised(kind: str) -> list[str]:
    here = [f"{each.name} ({each.how})" for each in _wanted.get(kind, []) if each.exercised]
    return here + _elsewhere.get(kind, [])


def _why_not(kind: str) -> str:
    if _wanted[kind]:
        return "found, but no test ran on it"
    binary = {"brokers": "rabbitmq-server", "stores": "redis-server"}[kind]
    return f"no URL, no Docker engine, no {binary}"


def _find(kind: str) -> list[Server]:
    if kind not in _wanted:
        variable, search = SEARCH[kind]
        urls = [url for url in os.environ.get(variable, "").split(",") if url]
        _wanted[kind] = [GivenServer(url) for url in urls] or list(search())
    return _wanted[kind]


def _rabbits() -> Iterator[Server]:
    if _docker_answers():
        yield Container("rabbitmq:4-management", "amqp", 5672)
    binary = shutil.which("rabbitmq-server", path=f"{RABBITMQ_BIN}:{os.environ.get('PATH', '')}")
    if binary is not None:
        yield LocalRabbit(binary)


def _redises() -> Iterator[Server]:
    durable = "--appendonly yes --appendfsync always --protected-mode no"
    if _docker_answers():
        yield Container("redis:8", "redis", 6379, f"redis-server {durable}")
        yield Container("valkey/valkey:8", "redis", 6379, f"valkey-server {durable}")
    for name in ("redis-server", "valkey-server"):
        binary = shutil.which(name)
        if binary is not None:
            yield LocalRedis(binary)


#: The variable with URLs of a kind of server, and what to look for without.
SEARCH: dict[str, tuple[str, Callable[[], Iterator[Server]]]] = {
    "brokers": ("LATECOMER_TEST_AMQP_URLS", _rabbits),
    "stores": ("LATECOMER_TEST_REDIS_URLS", _redises),
}


@functools.cache
def _docker_answers() -> bool:
    with warnings.catch_warnings():
        # Where nobody listens, docker-py leaves its socket to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            with contextlib.closing(docker.from_env(timeout=10)) as client:
                answers = bool(client.ping())
        except DockerException:
            answers = False
        gc.collect()
    return answers
