"""The benchmarks over real servers, a second's worth of each: they end, and leave nothing."""

import contextlib
import json
from typing import Any

import pytest
import redis

from deployment import Pair
from latecomer_bench import cold_start, memory, pipeline
from latecomer_cli import app

pytestmark = pytest.mark.timeout(300)


def bench(pair: Pair, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    servers = ("--broker-url", pair.broker.url, "--store-url", pair.store.url)
    assert app.run(["bench", *arguments, *servers, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def left_behind(pair: Pair) -> tuple[list[bytes], list[str]]:
    with contextlib.closing(redis.Redis.from_url(pair.store.url)) as client:
        keys = list(client.scan_iter(match="lc:{bench-*"))
    queues = pair.broker.control("list_queues", "name").split()
    return keys, [each for each in queues if "bench-" in each]


def test_both_sides_of_the_pipeline_are_measured_and_nothing_is_left(
    pair: Pair, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "SIZES", {10_000: 8})
    monkeypatch.setattr(pipeline, "TURNS", 2)
    (row,) = bench(pair, capsys, "pipeline")["rows"]
    assert row["body_bytes"] == 10_000
    assert min(row["updates_per_s"], row["bare_per_s"], row["ratio_low"]) > 0
    assert left_behind(pair) == ([], [])


def test_memory_is_sampled_between_whole_versions(
    pair: Pair, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "SAMPLES", 2)
    body = bench(pair, capsys, "memory", "--updates", "200")
    assert body["updates"] == 192
    assert [done for done, _ in body["samples"]] == [64, 128, 192]
    assert left_behind(pair) == ([], [])


def test_a_cold_start_comes_to_its_first_version(
    pair: Pair, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_start, "TURNS", 1)
    rows = bench(pair, capsys, "cold-start")["rows"]
    steps = [row["step"] for row in rows]
    assert steps[-1] == "aggregator and worker, to version 1"
    assert all(row["seconds"] > 0 for row in rows)
