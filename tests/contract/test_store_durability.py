"""What every store says of disk and memory, and what it fails for, before anything is lost."""

import threading
from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from latecomer.broker.memory import MemoryBroker, MemoryServer
from latecomer.clock import ManualClock
from latecomer.config import Settings
from latecomer.errors import BadConfiguration, StoreUnreachable
from latecomer.store import server as store_server
from latecomer_aggregator import app as aggregator
from store_scene import (
    Stores,
    as_replica,
    lead,
    need_disk_answers,
    need_ours,
    publish,
    reconfigured,
)

pytest_plugins = ["store_plugin"]


def _on_disk(stores: Stores) -> str:
    """What is said of a server as it should be."""
    if stores.server.name.startswith("Redis 7.0"):
        return store_server.WITHOUT_BARRIER
    return store_server.ON_DISK


def test_an_embedded_store_says_that_nothing_survives() -> None:
    store = Stores(None).open()
    assert store.durability() == "embedded: nothing survives the end of this process"
    assert store.keeps_writes() == store.durability()


def test_durability_is_said_in_words(real_stores: Stores) -> None:
    need_ours(real_stores)
    assert real_stores.open().durability() == _on_disk(real_stores)


def test_without_an_append_only_file_commits_work_and_durability_says_so(
    real_stores: Stores,
) -> None:
    need_ours(real_stores)
    store = real_stores.open()
    real_stores.raw.config_set("appendonly", "no")
    try:
        publish(store, lead(store), 0, b"v0..")
        words = store.durability()
    finally:
        real_stores.raw.config_set("appendonly", "yes")
    assert words == "no append-only file: nothing survives a restart of the server"


def test_a_server_that_forgets_when_it_is_full_or_takes_no_writes_is_said_to(
    real_stores: Stores,
) -> None:
    with reconfigured(real_stores, "maxmemory-policy", "allkeys-lru", usually="noeviction"):
        words = real_stores.open().durability()
    assert words == "maxmemory-policy allkeys-lru: when it is full it forgets what was counted"
    with as_replica(real_stores):
        assert real_stores.open().durability() == "a replica: it takes no writes"


def test_a_server_as_it_should_be_keeps_writes_and_not_the_probe(real_stores: Stores) -> None:
    need_ours(real_stores)
    for appendfsync in ("everysec", "always"):
        with reconfigured(real_stores, "appendfsync", appendfsync, usually="always"):
            assert real_stores.open().keeps_writes() == _on_disk(real_stores)
    left_s = real_stores.left_s(real_stores.keys.probe)
    assert left_s is not None
    assert left_s <= store_server.PROBE_S


def test_a_server_that_never_forces_its_disk_keeps_no_writes(
    real_stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_disk_answers(real_stores)
    monkeypatch.setattr(store_server, "FSYNC_TIMEOUT_MS", 50)
    with (
        reconfigured(real_stores, "appendfsync", "no", usually="always"),
        pytest.raises(StoreUnreachable, match="did not write a probe to its disk") as refused,
    ):
        real_stores.open().keeps_writes()
    assert "appendfsync must be everysec or always, as in infra/redis" in refused.value.hint


@pytest.mark.parametrize(
    ("setting", "value", "usually", "why"),
    [
        ("appendonly", "no", "yes", "no append-only file: nothing survives a restart"),
        ("maxmemory-policy", "allkeys-lru", "noeviction", "maxmemory-policy allkeys-lru"),
    ],
)
def test_a_server_on_which_nothing_is_safe_keeps_no_writes_and_an_aggregator_says_so(
    real_stores: Stores, setting: str, value: str, usually: str, why: str
) -> None:
    with reconfigured(real_stores, setting, value, usually=usually):
        with pytest.raises(BadConfiguration, match=why) as refused:
            real_stores.open().keeps_writes()
        assert "infra/redis/redis.conf" in refused.value.hint
        (warning,) = [each for each in _logs(real_stores) if each["log_level"] == "warning"]
    assert warning["event"] == "store.not_durable"
    assert why in warning["cause"]
    assert warning["hint"] == refused.value.hint


def test_an_aggregator_has_nothing_to_say_of_a_server_as_it_should_be(stores: Stores) -> None:
    assert [each["event"] for each in _logs(stores)] == ["aggregator.started", "aggregator.stopped"]


def test_a_replica_keeps_no_writes(real_stores: Stores) -> None:
    with (
        as_replica(real_stores),
        pytest.raises(BadConfiguration, match="a replica: it takes no writes"),
    ):
        real_stores.open().keeps_writes()


def test_a_full_server_is_told_of_once_and_what_was_not_tried_is_not_claimed(
    real_stores: Stores,
) -> None:
    with reconfigured(real_stores, "maxmemory", "1", usually="0"):
        assert real_stores.open().keeps_writes() == store_server.UNTRIED


def test_how_full_a_server_is_is_said_in_words(real_stores: Stores) -> None:
    assert "without maxmemory" in real_stores.open().takes_writes()
    with reconfigured(real_stores, "maxmemory", str(2**40), usually="0"):
        assert " of 1048576 MB in use" in real_stores.open().takes_writes()


def test_a_server_with_no_room_for_another_version_is_full_although_it_takes_what_is_small(
    real_stores: Stores,
) -> None:
    used = int(real_stores.raw.info("memory")["used_memory"])
    with (
        reconfigured(real_stores, "maxmemory", str(int(used * 1.04)), usually="0"),
        pytest.raises(StoreUnreachable, match="is full: it holds") as refused,
    ):
        real_stores.open().takes_writes()
    assert "maxmemory" in refused.value.hint


def test_a_server_that_forgets_or_takes_no_writes_keeps_no_federation(real_stores: Stores) -> None:
    with (
        reconfigured(real_stores, "maxmemory-policy", "volatile-ttl", usually="noeviction"),
        pytest.raises(BadConfiguration, match="maxmemory-policy volatile-ttl"),
    ):
        real_stores.open().takes_writes()
    with (
        as_replica(real_stores),
        pytest.raises(BadConfiguration, match="a replica: it takes no writes"),
    ):
        real_stores.open().takes_writes()


def _logs(stores: Stores) -> list[MutableMapping[str, Any]]:
    """What an aggregator says that is stopped as soon as it has started."""
    stopped, server = threading.Event(), MemoryServer(ManualClock())
    stopped.set()
    with capture_logs() as logs:
        aggregator.run(
            Settings(federation=stores.federation),
            stopped,
            open_broker=lambda *_, **__: MemoryBroker(server, "aggregator"),
            open_store=lambda *_, **__: stores.open(),
        )
    return logs
