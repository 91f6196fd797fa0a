"""Hundreds of disasters: whole deployments in virtual time, and nothing is ever lost."""

import json

import pytest

from latecomer_bench import faults

SEEDS = range(330)


@pytest.mark.timeout(300)
def test_no_seed_breaks_a_promise_and_every_planted_bug_is_caught() -> None:
    report = faults.measure(SEEDS)
    broken, planted = report["violations"], report["planted"]
    assert faults.kept(report), (
        f"seeds {sorted(broken, key=int)} broke a promise, replay each with "
        f"`latecomer bench faults --seeds 1 --first SEED --format json`; plants not caught: "
        f"{[name for name, seed in planted.items() if seed is None]}\n"
        f"{json.dumps(broken, indent=2)}"
    )
    assert report["seeds"] == len(SEEDS)
    assert report["faults"] > len(SEEDS)
    assert report["acknowledged"] > 10_000
