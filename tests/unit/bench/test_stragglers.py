"""Stragglers: who is compared with whom, and how a ratio with an interval comes about."""

from dataclasses import replace
from typing import Any

import pytest

from latecomer.errors import BadConfiguration
from latecomer.fleet import Simulation
from latecomer_bench import stragglers as bench
from latecomer_bench.peers import Peer
from latecomer_bench.runs import Run, speedup
from latecomer_bench.stragglers import Scene
from latecomer_bench.ways import MANY, Race, Way
from scenes import ITEM_CATALOGUE, checkerboard, make_recipe, make_site

RACE = Race((), devices=4, target=0.2, updates=60)


def took(seconds: float, *, reached: bool = True) -> Run:
    return Run(seconds, reached=reached, trained=10, staleness=1.0, refused=2)


BUFFERED = Way("fedbuff", 5, 20)
SELECTED = Way("sync", 15, 20)
BARRIER, SHORT = Way("sync", 20, 20), Way("sync", 20, 20, wait_s=60.0, rate=2.0)


def report(barrier: list[Run], short: list[Run]) -> dict[str, Any]:
    quick = [took(10.0), took(20.0)]
    ways = {BUFFERED: quick, Way("fedasync", 1, 20): quick, BARRIER: barrier, SHORT: short}
    ways[SELECTED] = [took(60.0), took(60.0)]
    return bench.report(ways, RACE)


def test_the_best_of_each_mode_is_compared_and_ratios_are_paired() -> None:
    found = report([took(90.0), took(90.0)], [took(40.0), took(40.0)])
    assert found["async_s"] == 15.0
    assert found["sync_s"] == 40.0
    assert found["baseline"]["wait_s"] == 60.0
    assert found["speedup"]["mean"] == 2.83  # the root of 40 / 10 x 40 / 20
    assert found["speedup_over_barrier"]["mean"] == 6.36
    assert found["speedup_over_selected"]["mean"] == 4.24
    assert found["rows"][0]["reached"] == "2/2"


def test_of_ours_the_way_that_was_chosen_before_is_compared_and_not_the_luckiest() -> None:
    lucky = Way("fedbuff", 10, 20)
    ways = {BUFFERED: [took(10.0)], lucky: [took(5.0)], Way("fedasync", 1, 20): [took(9.0)]}
    ways |= {BARRIER: [took(90.0)], SELECTED: [took(60.0)]}
    others = [Peer("p", "1", 20, {}, (took(20.0),))]
    found = bench.report(ways, RACE, others)
    assert found["async"]["k"] == 5
    assert found["peers"]["p"]["speedup"]["mean"] == 2.0


def test_between_equals_that_vary_nobody_is_faster() -> None:
    one, other = [took(10.0), took(30.0)], [took(30.0), took(10.0)]
    assert speedup(one, other)["mean"] == speedup(other, one)["mean"] == 1.0


def test_a_peer_is_compared_with_what_trains_as_many_devices_at_once() -> None:
    wide = Way("fedbuff", 5, 40)
    ways = {BUFFERED: [took(10.0)], wide: [took(5.0)], Way("fedasync", 1, 20): [took(9.0)]}
    ways |= {BARRIER: [took(90.0)], SELECTED: [took(60.0)], Way("sync", 40, 40): [took(50.0)]}
    others = [Peer("p", "1", at_once, {}, (took(20.0),)) for at_once in (20, 40)]
    found = bench.report(ways, RACE, others)
    assert found["async_s"] == 10.0
    assert found["peers"]["p"]["speedup"]["mean"] == 2.0
    assert found["peers"]["p, 40 at once"]["speedup"]["mean"] == 4.0
    assert [row["speedup"]["mean"] for row in found["rows"] if row["concurrency"] == 40] == [10, 1]


def test_of_many_devices_at_once_those_are_compared() -> None:
    found = bench.report({way: [took(way.wait_s + way.k)] for way in MANY.ways}, MANY)
    assert (found["async"]["k"], found["barrier"]["k"]) == (5, 200)
    assert found["over_selection"]["k"] == 100
    assert found["baseline"]["wait_s"] == 15.0


def test_a_way_that_reaches_the_target_more_often_is_better_than_one_that_gives_up_early() -> None:
    found = report([took(50.0), took(50.0)], [took(5.0, reached=False), took(5.0)])
    assert found["sync_s"] == 50.0


def test_ways_differ_in_nothing_but_aggregation_and_concurrency() -> None:
    recipe = make_recipe(target_staleness=3.0, optimizer={"name": "sgd", "decay_after": 2})
    a, b = (bench.adapted(recipe, way) for way in (BUFFERED, SHORT))
    same = {"aggregation": recipe.aggregation, "simulation": Simulation()}
    assert a.model_copy(update=same) == b.model_copy(update=same)
    assert a.simulation == b.simulation
    assert a.aggregation.target_staleness is None, "a row says which K it had"
    assert a.aggregation.optimizer.decay_after is None, "it counts versions"
    assert b.aggregation.optimizer.learning_rate == 2 * a.aggregation.optimizer.learning_rate


def test_one_run_ends_at_the_target_or_when_its_work_is_spent() -> None:
    sites = {f"w{number}": make_site(checkerboard(6, first=6 * number)) for number in range(4)}
    scene = Scene(make_recipe(), sites, ITEM_CATALOGUE)
    way = Way("fedbuff", 2, 2)
    done = bench.run(scene, way, 1, RACE)
    assert done.reached
    assert done.trained <= 60
    with pytest.raises(BadConfiguration, match="already"):
        bench.run(scene, way, 1, replace(RACE, target=0.0))
    never = bench.run(scene, way, 1, replace(RACE, target=2.0, updates=8))
    assert not never.reached
    assert never.trained == 8
