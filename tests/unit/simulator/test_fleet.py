"""A fleet in virtual time: who was there when, what became of it, and the same again per seed."""

import itertools
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from latecomer.errors import BadConfiguration
from latecomer.interactions.schema import Interactions
from latecomer.recipe import Recipe
from latecomer_simulator import fleet, record
from latecomer_simulator.outcome import Limits, Outcome
from latecomer_simulator.traces import Trace
from latecomer_worker.site import Site
from scenes import ITEM_CATALOGUE, checkerboard, make_recipe, make_site

#: Twelve customers of a device, six purchases each to learn from, four passes.
EXAMPLES = 12 * 6 * 4


def sites(devices: int) -> dict[str, Site]:
    return {
        f"w{number}": make_site(checkerboard(12, first=12 * number)) for number in range(devices)
    }


def scene(simulation: dict[str, Any] | None = None, **aggregation: Any) -> Recipe:
    """Devices that need a second for a round and no time for anything else."""
    calm = {
        "examples_per_s": EXAMPLES,
        "spread": 0.0,
        "latency_s": 0.0,
        "down_bytes_per_s": 1e12,
        "up_bytes_per_s": 1e12,
    }
    body = make_recipe(**aggregation).model_dump()
    return Recipe.model_validate(body | {"simulation": calm | (simulation or {})})


def run(recipe: Recipe, devices: int = 4, updates: int = 12, **options: Any) -> Outcome:
    limits = options.pop("limits", Limits(updates, virtual_s=10_000.0))
    return fleet.run(
        recipe, sites(devices), ITEM_CATALOGUE, limits=limits, **{"seed": 1, **options}
    )


def times(outcome: Outcome, kind: str) -> list[float]:
    return [round(event["t_s"], 3) for event in outcome.events if event["event"] == kind]


def test_equally_fast_devices_finish_a_round_every_second() -> None:
    outcome = run(scene(updates_per_version=4))
    assert times(outcome, "trained") == pytest.approx([1.0] * 4 + [2.0] * 4 + [3.0] * 4, abs=1e-3)
    assert [len(each.folds) for each in outcome.history] == [4, 4, 4]
    assert outcome.staleness == {0: 12}


def test_the_same_seed_gives_the_same_timeline_byte_for_byte() -> None:
    recipe = scene({"spread": 1.0, "dropout": 0.2, "availability": "windows", "period_s": 10.0})

    def lines(seed: int) -> str:
        limits = Limits(16, virtual_s=10_000.0, evaluate_every=2)
        return "".join(record.lines(run(recipe, limits=limits, seed=seed).events))

    assert lines(7) == lines(7)
    assert lines(7) != lines(8)


def test_the_timeline_tells_how_good_each_judged_version_was_by_whatever_metric() -> None:
    outcome = run(scene(), limits=Limits(12, virtual_s=10_000.0, evaluate_every=2))
    told = {
        event["version"]: event["quality"]
        for event in outcome.events
        if event["event"] == "committed" and event["quality"] is not None
    }
    judged = {version: round(found, 6) for version, _, found in outcome.quality}
    assert told.items() <= judged.items()
    assert told.keys() == {number for number in judged if number and not number % 2}


def test_modes_differ_at_equal_work() -> None:
    recipe = scene({"spread": 1.0}, updates_per_version=4)
    found = {mode: run(recipe, mode=mode) for mode in ("fedbuff", "fedasync", "sync")}
    assert {outcome.trained for outcome in found.values()} == {12}
    assert len(found["fedasync"].history) == 12
    assert len(found["sync"].history) == 3
    assert set(found["sync"].staleness) == {0}
    assert max(found["fedasync"].staleness) > 0


def test_a_synchronous_round_lasts_as_long_as_its_slowest_device() -> None:
    traces = {f"w{number}": Trace(((0.0, 1e6),), 1.0) for number in range(3)}
    slow = traces | {"w3": Trace(((0.0, 1e6),), 0.1)}
    recipe = scene(updates_per_version=4)
    sync, fedbuff = (run(recipe, mode=mode, traces=slow) for mode in ("sync", "fedasync"))
    assert times(sync, "committed") == pytest.approx([10.0, 20.0, 30.0], abs=1e-2)
    assert times(fedbuff, "committed")[:6] == pytest.approx([1, 1, 1, 2, 2, 2], abs=1e-2)


def test_a_synchronous_round_is_of_k_devices_and_nobody_trains_for_it_in_vain() -> None:
    recipe = scene({"spread": 1.0}, updates_per_version=4)
    outcome = run(recipe, devices=10, updates=40, mode="sync")
    assert [len(version.folds) for version in outcome.history] == [4] * 10
    assert outcome.refused == {}
    # Another four each time, out of everybody.
    assert len({fold.worker for version in outcome.history for fold in version.folds}) == 10


def test_the_place_in_a_round_of_whose_update_is_refused_is_anothers() -> None:
    """Else a round of one would never end."""
    large = sites(2) | {"w2": make_site(checkerboard(400))}
    recipe = scene(updates_per_version=1, max_update_norm=8.0)
    limits = Limits(12, virtual_s=10_000.0)
    outcome = fleet.run(recipe, large, ITEM_CATALOGUE, seed=1, limits=limits, mode="sync")
    assert outcome.cut_short == ""
    assert outcome.refused == {"too_large_norm": 12 - len(outcome.history)}
    assert 0 < len(outcome.history) < 12


def test_the_place_in_a_round_of_who_left_for_good_is_anothers() -> None:
    late = Trace(((2.0, 1e6),), 1.0)
    traces = {"w0": Trace(((0.0, 0.5),), 1.0), "w1": late, "w2": late}
    recipe = scene(updates_per_version=1)
    outcome = run(recipe, devices=3, updates=6, mode="sync", traces=traces)
    assert times(outcome, "committed") == pytest.approx([3.0, 4.0, 5.0, 6.0, 7.0], abs=0.01)


def test_whose_line_goes_away_while_it_fetches_has_its_place_back_in_the_same_round() -> None:
    """Else a round of everybody waits for nobody until its T is over."""
    traces = {"w0": Trace(((0.0, 1.0), (10.0, 1e6)), 1.0), "w1": Trace(((0.0, 1e6),), 1.0)}
    recipe = scene({"latency_s": 1.0}, updates_per_version=2, max_wait_s=300.0)
    outcome = run(recipe, devices=2, updates=8, mode="sync", traces=traces)
    assert times(outcome, "committed") == pytest.approx([18.0, 24.0, 30.0, 36.0], abs=0.1)
    assert [len(version.folds) for version in outcome.history] == [2, 2, 2, 2]


def test_who_was_away_and_has_said_its_part_takes_no_second_place_in_a_round() -> None:
    traces = {f"w{number}": Trace(((0.0, 1e6),), 1.0) for number in range(2)}
    traces["w0"] = Trace(((0.0, 4.0), (5.0, 6.0), (7.0, 1e6)), 1.0)
    traces["w2"] = Trace(((8.0, 1e6),), 1.0)
    recipe = scene(updates_per_version=3, max_wait_s=300.0)
    outcome = run(recipe, devices=3, updates=6, mode="sync", traces=traces)
    assert times(outcome, "committed") == pytest.approx([9.0, 10.0], abs=0.1)


def test_a_round_that_is_lost_midway_sends_nothing_and_the_device_comes_back() -> None:
    outcome = run(scene({"dropout": 0.5, "restart_s": 5.0}))
    kinds = Counter(event["event"] for event in outcome.events)
    assert kinds["dropped_out"] > 0
    assert kinds["trained"] == kinds["published"] == 12
    assert kinds["fetched"] == kinds["trained"] + kinds["dropped_out"]


def test_who_trains_without_network_hands_in_when_it_is_back() -> None:
    traces = {
        "w0": Trace(((0.0, 100.0),), 1.0),
        "w1": Trace(((0.0, 0.5), (9.0, 100.0)), 1.0),
    }
    recipe = scene({"offline": "trains"}, updates_per_version=1)
    outcome = run(recipe, devices=2, updates=16, traces=traces)
    late = next(e for e in outcome.events if e["event"] == "folded" and e["worker"] == "w1")
    assert late["t_s"] >= 9.0
    assert late["staleness"] > 0


def test_nothing_passes_an_absence_that_it_began_before_and_ended_after() -> None:
    traces = {"w0": Trace(((0.0, 10.0), (240.0, 250.0), (2000.0, 4000.0)), 1.0)}
    recipe = scene({"up_bytes_per_s": 10.0, "network_spread": 0.0}, updates_per_version=1)
    outcome = run(recipe, devices=1, updates=1, traces=traces)
    (update,) = (event for event in outcome.events if event["event"] == "published")
    assert update["t_s"] >= 2000.0 + update["bytes"] / 10.0
    assert outcome.bytes_up >= 2 * update["bytes"]


def test_handing_in_takes_no_place_among_those_who_train() -> None:
    traces = {
        "w0": Trace(((0.6, 1e4),), 0.01),  # it trains from 1.0 to 101.0, and nobody beside it
        "w1": Trace(((0.0, 0.5), (9.0, 1e4)), 1.0),
    }
    recipe = scene({"concurrency": 1}, updates_per_version=1)
    outcome = run(recipe, devices=2, updates=2, traces=traces)
    assert times(outcome, "trained") == pytest.approx([1.0, 101.0], abs=0.01)
    assert times(outcome, "published") == pytest.approx([9.0, 101.0], abs=0.01)


def test_who_has_added_all_that_it_has_is_not_asked_again() -> None:
    body = scene(updates_per_version=1).model_dump() | {"model": {"family": "gram"}}
    recipe = Recipe.model_validate({key: body[key] for key in body if key != "training"})
    slow = {f"w{number}": Trace(((0.0, 1e4),), 1.0 if number else 0.1) for number in range(4)}
    outcome = run(recipe, updates=8, traces=slow)
    assert len(times(outcome, "folded")) == 4
    assert set(times(outcome, "downloaded")) == {0.0}  # of the first version, and never again


def test_a_run_ends_when_nobody_has_anything_left_to_do() -> None:
    body = scene({"availability": "windows", "period_s": 10.0}, updates_per_version=1).model_dump()
    body |= {"model": {"family": "gram"}}
    recipe = Recipe.model_validate({key: body[key] for key in body if key != "training"})
    outcome = run(recipe, updates=100)
    assert len(times(outcome, "folded")) == 4
    assert outcome.events[-1]["event"] == "committed"
    gone = run(scene(), updates=100, traces={"w0": Trace(((0.0, 3.5),), 1.0)})
    assert gone.events[-1]["t_s"] < 100.0


def test_who_stops_without_network_loses_the_round() -> None:
    traces = {
        "w0": Trace(((0.0, 100.0),), 1.0),
        "w1": Trace(((0.0, 0.5), (60.0, 100.0)), 1.0),
    }
    recipe = scene({"offline": "stops"}, updates_per_version=1)
    outcome = run(recipe, devices=2, updates=8, traces=traces)
    assert times(outcome, "dropped_out") == [0.5]
    assert {each["worker"] for each in outcome.events if each["event"] == "folded"} == {"w0"}


def test_no_more_devices_take_part_at_a_time_than_allowed() -> None:
    outcome = run(scene({"concurrency": 2}, updates_per_version=1), devices=4)
    busy = most = 0
    for event in outcome.events:
        busy += (event["event"] == "fetched") - (event["event"] == "published")
        most = max(most, busy)
    assert most == 2


def test_bandwidth_and_bytes_add_up() -> None:
    outcome = run(scene({"up_bytes_per_s": 1000.0, "network_spread": 0.0}), devices=2, updates=2)
    sizes = [each["bytes"] for each in outcome.events if each["event"] == "published"]
    assert outcome.bytes_up == sum(sizes)
    assert times(outcome, "published") == pytest.approx(
        sorted(1.0 + size / 1000 for size in sizes), abs=0.01
    )
    assert outcome.bytes_down == sum(
        each["bytes"] for each in outcome.events if each["event"] == "downloaded"
    )


def test_the_timeline_names_the_version_that_was_trained_from() -> None:
    """On a slow line, the head has moved on before what it was at waking is asked for."""
    slow = {"spread": 1.0, "latency_s": 0.4, "down_bytes_per_s": 1e4}
    outcome = run(scene(slow, updates_per_version=1), updates=16)
    named, based = defaultdict(list), defaultdict(list)
    for event in outcome.events:
        if event["event"] == "trained":
            named[event["worker"]].append(event["version"])
    for commit in outcome.history:
        for fold in commit.folds:
            based[fold.worker].append(fold.base.number)
    assert named == based


def test_what_is_too_stale_is_refused_and_counted() -> None:
    traces = {"w0": Trace(((0.0, 1e4),), 1.0), "w1": Trace(((0.0, 1e4),), 0.1)}
    recipe = scene(updates_per_version=1, max_staleness=3)
    outcome = run(recipe, devices=2, updates=20, traces=traces)
    assert outcome.refused == {"too_stale": 2}


def test_the_outcome_holds_a_better_model_and_private_states() -> None:
    limits = Limits(60, evaluate_every=1, virtual_s=10_000.0)
    outcome = run(scene(updates_per_version=4), limits=limits)
    first, last = outcome.quality[0][2], outcome.quality[-1][2]
    assert last > first + 0.1
    assert set(outcome.trainers) == {"w0", "w1", "w2", "w3"}
    assert outcome.manifest.version.number == len(outcome.history) == outcome.quality[-1][0]
    judged = fleet.quality(outcome.model, outcome.trainers, "ndcg@5")
    assert judged == pytest.approx(last)


@pytest.mark.parametrize(
    ("every", "judged"),
    [(0, []), (1, [0, 1, 2, 3]), (2, [0, 2, 3]), (3, [0, 3]), (100, [0, 3])],
)
def test_the_last_version_is_judged_once_unless_none_is(every: int, judged: list[int]) -> None:
    limits = Limits(12, evaluate_every=every, virtual_s=10_000.0)
    outcome = run(scene(updates_per_version=4), limits=limits)
    assert [version for version, *_ in outcome.quality] == judged
    if judged:
        _, at_s, found = outcome.quality[-1]
        assert at_s == outcome.virtual_s
        assert found == pytest.approx(fleet.quality(outcome.model, outcome.trainers, "ndcg@5"))


def test_where_no_version_is_made_the_first_is_judged_once() -> None:
    limits = Limits(4, evaluate_every=5, virtual_s=100.0)
    outcome = run(scene(), limits=limits, traces={"w0": Trace(((50_000.0, 60_000.0),), None)})
    assert [(version, at_s) for version, at_s, _ in outcome.quality] == [(0, 0.0)]


def test_a_run_ends_as_soon_as_the_model_is_good_enough() -> None:
    limits = Limits(400, quality=0.3, evaluate_every=1, virtual_s=10_000.0)
    outcome = run(scene(updates_per_version=4), limits=limits)
    assert outcome.trained < 400
    assert outcome.reached_s == outcome.virtual_s
    assert outcome.quality[-1][2] >= 0.3 > outcome.quality[-2][2]


def test_a_fleet_that_nobody_is_online_in_ends_at_its_limit() -> None:
    outcome = run(scene(), traces={"w0": Trace(((50_000.0, 60_000.0),), None)})
    assert outcome.trained == 0
    assert outcome.history == []


def test_a_fleet_of_nobody_is_refused() -> None:
    with pytest.raises(BadConfiguration, match="no worker"):
        fleet.run(scene(), {}, ITEM_CATALOGUE, seed=1, limits=Limits(1))


def test_hundreds_of_devices_need_threads_only_while_they_are_awake() -> None:
    import threading  # noqa: PLC0415 - only here

    most = 0

    def observe(_event: dict[str, Any]) -> None:
        nonlocal most
        most = max(most, threading.active_count())

    before = threading.active_count()
    recipe = scene({"concurrency": 5}, updates_per_version=5)
    small = {f"w{number}": make_site(checkerboard(1, first=number)) for number in range(300)}
    outcome = fleet.run(recipe, small, ITEM_CATALOGUE, seed=1, limits=Limits(20), observe=observe)
    assert outcome.trained == 20
    assert most <= before + 5 + 2


def test_who_is_late_takes_nobodys_place_in_the_next_round() -> None:
    traces = {f"w{number}": Trace(((0.0, 1e6),), 1.0) for number in range(4)}
    slow = traces | {"w4": Trace(((0.0, 1e6),), 0.01), "w5": Trace(((0.0, 1e6),), 0.01)}
    recipe = scene({"concurrency": 3}, updates_per_version=3, max_wait_s=4.0, mode="sync")
    outcome = run(recipe, devices=6, updates=24, traces=slow)
    late = [len(each.folds) for each in outcome.history]
    assert late.count(3) >= 5  # once both slow ones are busy, every cohort is complete


@pytest.mark.parametrize(("k", "course"), [(1, [1, 2, 4]), (16, [16, 8, 4])])
def test_k_follows_the_staleness_that_the_recipe_names(k: int, course: list[int]) -> None:
    recipe = scene({"concurrency": 8, "spread": 0.3}, updates_per_version=k, target_staleness=2.0)
    small = {f"w{number}": make_site(checkerboard(1, first=number)) for number in range(20)}
    outcome = fleet.run(recipe, small, ITEM_CATALOGUE, seed=1, limits=Limits(540))
    ks = [each.cadence.updates for each in outcome.history if each.cadence is not None]
    assert [key for key, _ in itertools.groupby(ks)] == course
    assert len(ks) == len(outcome.history)
    late = [fold.staleness for each in outcome.history[-20:] for fold in each.folds]
    assert 1.4 <= sum(late) / len(late) <= 2.6


def sparse(*, useless: bool) -> Site:
    """One user: his first basket is one item, of which nothing is known before; or that is all."""
    day = 86_400.0
    times = [0.0] if useless else [0.0, *[day] * 2]
    return make_site(
        Interactions(
            users=("u",),
            regions=("north",),
            user=np.zeros(len(times), np.int64),
            item=np.arange(len(times)),
            time_s=np.array(times) + 1.6e9,
        )
    )


def test_a_device_whose_draw_hits_nothing_to_learn_from_draws_again() -> None:
    recipe = scene(updates_per_version=1).model_copy(
        update={"training": make_recipe().training.model_copy(update={"passes": 1})}
    )
    fleet_of = {f"u{number}": sparse(useless=False) for number in range(3)}
    limits = Limits(60, virtual_s=100_000.0)
    outcome = fleet.run(recipe, fleet_of, ITEM_CATALOGUE, seed=1, limits=limits)
    assert (outcome.trained, outcome.cut_short) == (60, "")


def test_devices_with_nothing_to_learn_from_end_the_run_and_it_is_said() -> None:
    fleet_of = {"u0": sparse(useless=True)}
    limits = Limits(60, virtual_s=1e6)
    outcome = fleet.run(scene(), fleet_of, ITEM_CATALOGUE, seed=1, limits=limits)
    assert outcome.trained == 0
    assert "nothing more to learn from" in outcome.cut_short


def test_a_run_that_virtual_time_ends_says_so() -> None:
    outcome = run(scene(), limits=Limits(1000, virtual_s=3.5))
    assert outcome.cut_short == f"{3.5 / 86_400:g} days of virtual time are over"


def test_every_byte_that_is_counted_is_in_the_timeline() -> None:
    outcome = run(scene())
    for event, counted in (("uploaded", outcome.bytes_up), ("downloaded", outcome.bytes_down)):
        assert sum(each["bytes"] for each in outcome.events if each["event"] == event) == counted


def test_where_nobody_is_tested_no_quality_is_told() -> None:
    limits = Limits(2, virtual_s=100_000.0, evaluate_every=1)
    recipe, fleet_of = scene(updates_per_version=1), {"u": sparse(useless=False)}
    outcome = fleet.run(recipe, fleet_of, ITEM_CATALOGUE, seed=1, limits=limits)
    assert outcome.quality == []
