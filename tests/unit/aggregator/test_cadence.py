"""K follows the staleness that a recipe names: known answers, and a fleet of random devices."""

import heapq
import itertools
from collections.abc import Sequence
from random import Random

import pytest

from latecomer.aggregation import Aggregation
from latecomer.events import Version
from latecomer.sections import PUBLISHED
from latecomer.store.port import Cadence, Fold
from latecomer_aggregator import cadence, rounds


def limits(target: float | None = 2.0, k: int = 10, **more: object) -> Aggregation:
    body = {"target_staleness": target, "updates_per_version": k}
    return Aggregation.model_validate(body | more, context=PUBLISHED)


def folds(*staleness: int) -> tuple[Fold, ...]:
    return tuple(
        Fold(f"w{n}:b:1", f"w{n}", Version(1, 0), tau, 1.0, 1) for n, tau in enumerate(staleness)
    )


def judged(k: int, made_of: int, staleness: float, *, target: float = 2.0, most: int = 100) -> int:
    """K after a window whose versions had so many updates that were so stale."""
    versions = 1000
    full = Cadence(k, versions - 1, made_of * (versions - 1), 0)
    total = round(staleness * made_of * versions)
    last = (*[0] * (made_of - 1), total)
    found = cadence.after(full, folds(*last), limits(target, k, max_updates_per_version=most))
    assert found is not None
    assert found.folded == 0
    return found.updates


@pytest.mark.parametrize(
    ("staleness", "k"),
    [
        (2.0, 10),  # as wanted
        (1.4, 10),  # within 0.7 of it
        (2.6, 10),  # within 1.3
        (1.2, 6),  # 10 x 0.6
        (3.0, 15),  # 10 x 1.5
        (40.0, 20),  # no more than twice
        (0.0, 5),  # no less than half
    ],
)
def test_k_is_what_the_law_asks_for_but_twice_or_half_at_most(staleness: float, k: int) -> None:
    assert judged(10, 10, staleness) == k


def test_k_stays_between_one_and_the_recipes_maximum() -> None:
    assert judged(1, 1, 0.0) == 1
    assert judged(80, 80, 40.0) == 100
    assert judged(80, 80, 40.0, most=90) == 90


def test_a_recipes_k_above_its_maximum_does_not_fall_because_updates_are_too_stale() -> None:
    assert judged(200, 200, 4.0, most=100) == 200


def test_a_k_that_no_version_reaches_is_not_raised_and_comes_down_to_where_it_counts() -> None:
    assert judged(40, 10, 6.0) == 40
    assert judged(40, 10, 1.0) == 20
    assert judged(8, 5, 1.0) == 4


def test_nothing_is_judged_before_there_were_enough_updates() -> None:
    terms = limits(k=7)
    now = None
    for version in range(1, 29):
        now = cadence.after(now, folds(*[0] * 7), terms)
        assert now == Cadence(7, version, 7 * version, 0)
    assert cadence.after(now, folds(*[0] * 7), terms) == Cadence(3)


def test_a_window_lasts_four_times_as_long_as_its_updates_are_behind() -> None:
    terms = limits(k=100, max_updates_per_version=200)
    now = None
    for version in range(1, 20):
        now = cadence.after(now, folds(*[5] * 100), terms)
        assert now == Cadence(100, version, 100 * version, 500 * version)
    assert cadence.after(now, folds(*[5] * 100), terms) == Cadence(200)


@pytest.mark.parametrize(
    "terms", [limits(None), limits(mode="fedasync"), limits(mode="sync")], ids=str
)
def test_without_a_target_and_in_other_modes_k_is_the_recipes(terms: Aggregation) -> None:
    assert cadence.after(None, folds(9, 9), terms) is None


def test_k_in_force_is_the_cadences_and_never_more_than_are_alive() -> None:
    assert rounds.updates_in_force(limits(), None, Cadence(25)) == 25
    assert rounds.updates_in_force(limits(), 12, Cadence(25)) == 12
    assert rounds.prefetch(limits()) == 200


def course(k: int, concurrency: int, *, target: float, versions: int) -> list[Cadence]:
    """What K becomes where so many devices, some of them ten times as slow, train all the time."""
    rng = Random(1)
    terms = limits(target, k, max_updates_per_version=1000)
    found: list[Cadence] = []
    now, head = Cadence(k), 0
    speeds = [rng.lognormvariate(0.0, 0.8) for _ in range(concurrency)]
    due = [(rng.expovariate(1.0 / mean_s), n, 0) for n, mean_s in enumerate(speeds)]
    heapq.heapify(due)
    buffer: list[int] = []
    while head < versions:
        at_s, device, base = heapq.heappop(due)
        buffer.append(head - base)
        if len(buffer) == now.updates:
            now = _stepped(now, buffer, terms)
            found.append(now)
            buffer, head = [], head + 1
        again_s = at_s + rng.expovariate(1.0 / speeds[device])
        heapq.heappush(due, (again_s, device, head))
    return found


def _stepped(now: Cadence, buffer: Sequence[int], terms: Aggregation) -> Cadence:
    after = cadence.after(now, folds(*buffer), terms)
    assert after is not None
    return after


@pytest.mark.parametrize("k", [1, 4, 20, 100, 400])
def test_from_far_off_k_comes_to_what_the_target_needs_and_stays(k: int) -> None:
    ks = [each.updates for each in course(k, 200, target=5.0, versions=3000)]
    assert 40 * cadence.LOW <= ks[-1] <= 40 * cadence.HIGH  # 200 at once / 5 versions behind
    assert len(set(ks[-1500:])) == 1
    ups = [b > a for a, b in itertools.pairwise(ks) if a != b]
    assert sum(a != b for a, b in itertools.pairwise(ups)) <= 1  # past it once at most, and back
