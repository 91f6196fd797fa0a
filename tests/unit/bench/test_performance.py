"""docs/performance.md is written from reports, and every part of it has its place."""

import json
from pathlib import Path
from typing import Any

import pytest

import performance

CONDITIONS: dict[str, Any] = {
    "seed": 1,
    "machine": {"processor": "an abacus", "cores": 2, "python": "3.11"},
    "versions": {"latecomer": "0.1.0"},
    "servers": {"broker": "RabbitMQ 4", "store": "Redis 8"},
}

PIPELINE = CONDITIONS | {
    "k": 32,
    "prefetch": 64,
    "turns": 5,
    "durable": {"ours": "versions", "bare": "acks"},
    "rows": [{"body_bytes": 10_000, "updates_per_s": 1234.5, "ratio": 0.125}],
}


def growth() -> dict[str, Any]:
    rows = [
        {"axis": axis, "at": at, "updates_per_s": 1e6 / at, "update_us": 1.0, "version_us": 2.0}
        | {"version_clock_us": 1.5, "version_share": 0.25}
        for axis in performance.AXES
        for at in (10, 1000)
    ]
    top = [["tensors.digest", 0.81]]
    profiles = [{"axis": "model", "at": 1000, "top": top}]
    return CONDITIONS | {"rows": rows, "profiles": profiles}


@pytest.mark.parametrize("name", performance.PARTS)
def test_every_part_has_its_place_on_the_page(name: str) -> None:
    page = performance.PAGE.read_text(encoding="utf-8")
    assert page.count(f"<!-- {name}: made by `make performance` -->\n") == 1
    assert page.count(f"<!-- end of {name} -->\n") == 1


def test_a_row_is_a_line_of_a_table() -> None:
    lines = performance.pipeline_lines(PIPELINE)
    assert lines[2] == "| 10,000 | 1,234 | 0.125 |"
    assert lines[-1].startswith("RabbitMQ 4, Redis 8. an abacus, 2 cores; Python 3.11")


def test_a_peer_that_is_not_there_has_no_figure() -> None:
    row: dict[str, Any] = {
        "params": 100_000,
        "k": 10,
        "updates_per_s": 12_345.6,
        "numpy_updates_per_s": 49_000.0,
    }
    row |= {"peer_updates_per_s": None, "ratio_numpy": 0.25, "ratio_peer": None}
    nobody: dict[str, Any] = {"peer": None, "peer_arrays_per_s": {}}
    lines = performance.fold_lines(CONDITIONS | {"rows": [row], "dedupe": "a set", **nobody})
    assert lines[2] == "| 100,000 | 10 | 12,346 | 49,000 | - | 0.25 | - |"
    assert "Duplicates: a set. Peer: none here." in lines


def test_an_axis_has_its_table_and_says_where_the_time_goes() -> None:
    lines = performance.growth_lines(growth())
    assert "| 1,000 | 1,000 | 1 | 2 | 1.5 | 0.25 |" in lines
    assert "- at 1,000: `tensors.digest` 81 %" in lines


def test_ways_of_aggregating_are_told_with_their_intervals_or_as_bounds() -> None:
    spread = {"mean": 3.5, "low": 2.5, "high": 4.5}
    row: dict[str, Any] = {"k": 15, "concurrency": 20, "wait_s": 30.0, "rate": 6.0, "row_floor": 15}
    rounds, ours = row | {"mode": "sync"}, row | {"mode": "fedbuff"}
    came = {"seconds": spread, "speedup": spread, "trained": 80.0, "refused": 9.0, "reached": "5/5"}
    peer = came | {"version": "9.9", "settings": {"k": 3, "rate": 0.5}, "at_once": 20}
    lines = performance.stragglers_lines(
        {
            "peers": {"flgo-fedbuff": peer},
            "peer_rows": [],
            "rows": [ours | came, rounds | came | {"reached": "4/5"}],
            "async": ours,
            "over_selection": ours,
            "barrier": ours,
            "speedup": spread,
            "speedup_over_selected": spread,
            "speedup_over_barrier": spread,
            "baseline": rounds,
            "target": 0.05,
            "devices": 100,
            "updates": 400,
            "seeds": [1, 2],
        }
    )
    assert "| fedbuff | 15 | 20 | 30 | 6 | 15 | 3.5 [2.5, 4.5] | 5 of 5 | 80 | 9 |" in lines
    assert "| sync | 15 | 20 | 30 | 6 | 15 | ≥ 3.5 | 4 of 5 | 80 | 9 |" in lines
    assert "over a barrier 3.5 [2.5, 4.5];" in lines[-3]
    assert "(K 15, T 30 s) ≥ 3.5." in lines[-3]
    shown = "k 3, rate 0.5 | 3.5 [2.5, 4.5] | 3.5 [2.5, 4.5] | 5 of 5 | 80 | 9 |"
    assert f"| flgo-fedbuff, 9.9 | {shown}" in lines


def test_devices_say_how_busy_the_machine_was() -> None:
    body = {"users": 943, "items": 1682, "dataset": "ml-100k", "alone_s_per_pass": 8.0}
    body |= {"seconds_per_pass": 0.75, "processor_s_per_pass": 1.25}
    machine = CONDITIONS["machine"] | {"load": 0.5}
    lines = performance.devices_lines(CONDITIONS | body | {"machine": machine})
    assert "| 943 | 1,682 | 0.75 | 1.25 | 8 |" in lines
    assert "ml-100k; load 0.5 of 2 cores meanwhile." in lines


def test_the_same_report_makes_the_same_plot(tmp_path: Path) -> None:
    for name in ("first.svg", "second.svg"):
        performance.plot(growth(), tmp_path / name)
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()


def test_only_what_was_measured_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(performance.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(performance, "PAGE", page)
    monkeypatch.setattr(performance, "REPORTS", tmp_path)
    (tmp_path / "pipeline.json").write_text(json.dumps(PIPELINE), encoding="utf-8")
    before = page.read_text(encoding="utf-8")
    performance.main()
    after = page.read_text(encoding="utf-8")
    assert "| 10,000 | 1,234 | 0.125 |" in after
    assert after.partition("end of growth")[0] == before.partition("end of growth")[0]
