"""Every promise, broken once by hand: its own checker says so, and no other one does.

Ids, times and numbers below are those of the honest run in ``conftest``, whose seed is fixed.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from latecomer.aggregation import ExampleWeight
from latecomer.store.port import Verdict
from latecomer_simulator.evidence import Evidence
from latecomer_simulator.history import (
    Acknowledged,
    Committed,
    Faulted,
    Healed,
    Held,
    Led,
    Measured,
    Refused,
)
from latecomer_simulator.invariants import (
    CHECKERS,
    GROWTH_BYTES,
    a_worker_has_one_place_per_version,
    every_confirmed_update_counts_once,
    memory_is_bounded,
    no_update_has_two_verdicts,
    no_update_is_in_two_versions,
    progress_resumes_after_every_fault,
    the_model_is_its_ledger_replayed,
    violations,
    weights_follow_staleness,
    zombies_give_no_verdict,
    zombies_never_move_the_head,
)
from latecomer_simulator.tally import RECOVERY_S
from unit.simulator.broken import (
    end_s,
    fold_of,
    with_events,
    with_fold,
    with_lineage,
    with_manifests,
    with_model,
    with_verdicts,
)

MIB = 1024 * 1024

#: What breaks a promise, the one checker that notices, and what it says.
Broken = tuple[Callable[[Evidence], Evidence], str, list[str]]
BROKEN: dict[str, Broken] = {}


def breaks(checker: Callable[[Evidence], list[str]], *sentences: str) -> Callable[..., None]:
    def noted(breaking: Callable[[Evidence], Evidence]) -> None:
        BROKEN[breaking.__name__] = (breaking, checker.__name__, list(sentences))

    return noted


@breaks(every_confirmed_update_counts_once, "w9:boot1:1 was confirmed and has no verdict")
def confirmed_and_forgotten(evidence: Evidence) -> Evidence:
    return with_events(evidence, Acknowledged(end_s(evidence), "w9", "w9:boot1:1"))


@breaks(
    every_confirmed_update_counts_once,
    "w2:boot1:1: the ledger says Verdict(folded=False, reason='too_stale'), and 1 versions hold it",
)
def folded_and_refused(evidence: Evidence) -> Evidence:
    return with_verdicts(evidence, {"w2:boot1:1": Verdict(folded=False, reason="too_stale")})


@breaks(
    every_confirmed_update_counts_once,
    "w9:boot1:1: the ledger says Verdict(folded=True, reason=''), and 0 versions hold it",
)
def folded_into_nothing(evidence: Evidence) -> Evidence:
    return with_verdicts(evidence, {"w9:boot1:1": Verdict(folded=True)})


@breaks(no_update_is_in_two_versions, "aggregator-b committed another 1700000000.2")
def two_versions_of_one_number(evidence: Evidence) -> Evidence:
    event = next(evidence.history.all(Committed))
    second = evidence.lineages[0].manifests[2]
    other = replace(second, divisor=7).to_bytes()
    return with_events(
        evidence, replace(event, at_s=end_s(evidence), process="aggregator-b", manifest=other)
    )


@breaks(the_model_is_its_ledger_replayed, "dense of 1700000000.9 differs from its replay")
def one_bit_of_one_float(evidence: Evidence) -> Evidence:
    dense = evidence.lineages[0].last.model["dense"].copy()
    dense[3] = np.nextafter(dense[3], np.float32(1.0))
    return with_model(evidence, {"dense": dense})


@breaks(
    weights_follow_staleness,
    "w1:boot1:1 in 1700000000.2: staleness 2 for 1, "
    "weight 0.7071067811865476 for 0.7071067811865476",
)
def a_staleness_that_is_not_the_distance(evidence: Evidence) -> Evidence:
    return with_fold(evidence, 2, 0, replace(fold_of(evidence, 2), staleness=2))


@breaks(zombies_never_move_the_head, "aggregator-a committed under fence 1 after 5 was taken")
def a_commit_under_a_former_fence(evidence: Evidence) -> Evidence:
    last = list(evidence.history.all(Committed))[-1]
    return with_events(
        evidence,
        Led(last.at_s + 0.1, "aggregator-b", 5),
        replace(last, at_s=last.at_s + 0.2, asked_s=last.at_s + 0.2, fence=1),
    )


def test_who_was_frozen_before_it_heard_of_its_commit_is_no_zombie(honest: Evidence) -> None:
    last = list(honest.history.all(Committed))[-1]
    led = Led(last.at_s + 0.1, "aggregator-b", 5)
    heard = replace(last, at_s=last.at_s + 0.2, asked_s=last.at_s)
    assert zombies_never_move_the_head(with_events(honest, led, heard)) == []


@breaks(memory_is_bounded, "aggregator-a held 33 deliveries, allowed 32")
def more_deliveries_than_prefetched(evidence: Evidence) -> Evidence:
    return with_events(
        evidence,
        Held(end_s(evidence), "aggregator-a", 32),
        Held(end_s(evidence), "aggregator-a", 33),
    )


def measured(evidence: Evidence, process: str, sizes: list[int]) -> Iterator[Measured]:
    """One every half a minute; the first two are taken before it is warm."""
    return (
        Measured(end_s(evidence) + 30.0 * place, process, 1, size)
        for place, size in enumerate(sizes)
    )


@breaks(memory_is_bounded, "aggregator-b grew by 30 MiB")
def a_process_that_grows(evidence: Evidence) -> Evidence:
    return with_events(
        evidence,
        *measured(evidence, "aggregator-a", [10 * MIB, 50 * MIB, *[100 * MIB] * 6]),
        *measured(evidence, "aggregator-b", [(100 + 10 * each) * MIB for each in range(6)]),
    )


@breaks(
    progress_resumes_after_every_fault,
    "broker down healed, and no version came for 32 s",
    "alarm healed, and no version came for 31 s",
)
def nothing_moves_after_a_fault(evidence: Evidence) -> Evidence:
    at_s = end_s(evidence)
    return with_events(
        evidence,
        Faulted(at_s, "world", "broker down"),
        Faulted(at_s, "world", "alarm"),
        Healed(at_s + 1.0, "world", "broker down"),
        Healed(at_s + 2.0, "world", "alarm"),
        Measured(at_s + RECOVERY_S + 3.0, "world", 1, MIB),
    )


@breaks(a_worker_has_one_place_per_version, "w2 has 2 places in 1700000000.1")
def two_places_in_a_buffer(evidence: Evidence) -> Evidence:
    return with_fold(evidence, 1, 0, replace(fold_of(evidence, 1, 0), worker="w2"))


def test_an_honest_run_keeps_every_promise_and_not_for_want_of_anything(honest: Evidence) -> None:
    assert violations(honest) == {}
    (lineage,) = honest.lineages
    assert len(lineage.manifests) == 10
    assert len(honest.acknowledged) == len(honest.verdicts) == sum(honest.folded.values()) == 26
    assert {fold.staleness for _, fold in lineage.folds()} == {0, 1, 2}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_found_by_its_own_checker_and_by_no_other(
    honest: Evidence, name: str
) -> None:
    breaking, checker, sentences = BROKEN[name]
    assert violations(breaking(honest)) == {checker: sentences}


def test_every_checker_has_a_promise_that_is_broken_here() -> None:
    assert {checker for _, checker, _ in BROKEN.values()} == {each.__name__ for each in CHECKERS}


# What cannot be broken alone: an update that counts twice is wrong in more than one way.


def test_an_update_in_two_versions_is_found(honest: Evidence) -> None:
    twice = with_fold(honest, 3, 3, fold_of(honest, 1, 2))
    assert no_update_is_in_two_versions(twice) == ["w0:boot1:1 is in 2 versions"]
    assert every_confirmed_update_counts_once(twice) == [
        "w0:boot1:1: the ledger says Verdict(folded=True, reason=''), and 2 versions hold it"
    ]


def test_an_update_twice_in_one_version_is_found(honest: Evidence) -> None:
    twice = with_fold(honest, 1, 3, fold_of(honest, 1, 2))
    assert no_update_is_in_two_versions(twice) == ["w0:boot1:1 is in 2 versions"]
    assert a_worker_has_one_place_per_version(twice) == ["w0 has 2 places in 1700000000.1"]


def test_a_version_that_is_skipped_is_found(honest: Evidence) -> None:
    manifests = honest.lineages[0].manifests
    skipped = with_manifests(honest, manifests[:2] + manifests[3:])
    assert no_update_is_in_two_versions(skipped) == [
        "epoch 1700000000 has the versions [0, 1, 3, 4, 5, 6, 7, 8, 9]"
    ]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0.0, "Cell(worker=2, slot=0) of epoch 1700000000 is 0, and 1 of its updates were folded"),
        (2.0, "Cell(worker=2, slot=0) of epoch 1700000000 is 2, and 1 of its updates were folded"),
    ],
    ids=["lost", "counted twice"],
)
def test_a_model_that_disagrees_with_its_ledger_is_found(
    honest: Evidence, value: float, sentence: str
) -> None:
    cells = honest.lineages[0].last.model["cells"].copy()
    cells[2, 0] = value
    disagrees = with_model(honest, {"cells": cells})
    assert every_confirmed_update_counts_once(disagrees) == [sentence]
    assert the_model_is_its_ledger_replayed(disagrees) == [
        "cells of 1700000000.9 differs from its replay"
    ]


def test_a_fold_that_nobody_sent_is_found(honest: Evidence) -> None:
    forged = replace(fold_of(honest, 1), update_id="w0:forged:1")
    assert the_model_is_its_ledger_replayed(with_fold(honest, 1, 0, forged)) == [
        "nobody sent ['w0:forged:1']"
    ]


def test_a_weight_that_its_rule_does_not_give_is_found(honest: Evidence) -> None:
    wrong = with_fold(honest, 1, 0, replace(fold_of(honest, 1), weight=0.5))
    assert weights_follow_staleness(wrong) == [
        "w3:boot1:1 in 1700000000.1: staleness 0 for 0, weight 0.5 for 1.0"
    ]


def test_a_weight_that_leaves_its_examples_out_is_found(honest: Evidence) -> None:
    half = ExampleWeight(rule="linear", reference=2 * fold_of(honest, 1).examples)
    limits = honest.recipe.aggregation.model_copy(update={"example_weight": half})
    weighed = replace(honest, recipe=honest.recipe.model_copy(update={"aggregation": limits}))
    wrong = weights_follow_staleness(weighed)
    assert "w3:boot1:1 in 1700000000.1: staleness 0 for 0, weight 1.0 for 0.5" in wrong


def test_a_fold_that_names_another_base_than_its_update_is_found(honest: Evidence) -> None:
    """The distance is from what the update itself says."""
    fold = fold_of(honest, 2)
    base = fold.base._replace(number=1)
    wrong = with_fold(honest, 2, 0, replace(fold, base=base, staleness=0, weight=1.0))
    assert weights_follow_staleness(wrong) == [
        "w1:boot1:1 in 1700000000.2: staleness 0 for 1, weight 1.0 for 0.7071067811865476"
    ]


def test_a_version_0_that_was_another_one_is_found(honest: Evidence) -> None:
    (lineage,) = honest.lineages
    other = {**lineage.first.model, "dense": lineage.first.model["dense"] + np.float32(1.0)}
    moved = with_lineage(honest, replace(lineage, first=replace(lineage.first, model=other)))
    assert the_model_is_its_ledger_replayed(moved) == [
        "dense of 1700000000.9 differs from its replay"
    ]


def refused(at_s: float, update_id: str = "w1:boot9:1", fence: int = 9) -> Refused:
    return Refused(at_s, "aggregator-a", update_id, "too_stale", fence, at_s)


@breaks(no_update_has_two_verdicts, "w1:boot9:1 was refused 2 times, and 0 versions hold it")
def an_update_that_is_refused_twice(evidence: Evidence) -> Evidence:
    at_s = end_s(evidence)
    return with_events(evidence, refused(at_s), refused(at_s + 1))


@breaks(no_update_has_two_verdicts, "w1:boot1:1 was refused 1 times, and 1 versions hold it")
def an_update_that_is_folded_and_refused(evidence: Evidence) -> Evidence:
    return with_events(evidence, refused(end_s(evidence), "w1:boot1:1"))


@breaks(zombies_give_no_verdict, "aggregator-a refused w1:boot9:1 under fence 9 after 10 was taken")
def a_refusal_under_a_former_fence(evidence: Evidence) -> Evidence:
    at_s = end_s(evidence)
    return with_events(evidence, Led(at_s, "aggregator-b", 10), refused(at_s + 1))


# Where a promise ends.


def test_a_store_that_lost_everything_refuses_anew(honest: Evidence) -> None:
    at_s = end_s(honest)
    flushed = Faulted(at_s + 1, "world", "store flushed")
    again = with_events(honest, refused(at_s), flushed, refused(at_s + 2))
    assert no_update_has_two_verdicts(again) == []


def test_a_store_that_lost_everything_counts_its_fences_from_the_start(honest: Evidence) -> None:
    at_s = end_s(honest)
    commit = replace(next(honest.history.all(Committed)), at_s=at_s + 3, fence=1)
    events = (Led(at_s, "a", 9), Faulted(at_s + 1, "world", "store flushed"), commit)
    assert zombies_never_move_the_head(with_events(honest, *events)) == []
    assert zombies_never_move_the_head(with_events(honest, events[0], commit)) != []


def test_no_other_fault_excuses_a_former_fence(honest: Evidence) -> None:
    at_s = end_s(honest)
    commit = replace(next(honest.history.all(Committed)), at_s=at_s + 3, asked_s=at_s + 3, fence=1)
    events = (Led(at_s, "a", 9), Faulted(at_s + 1, "world", "paused"), commit)
    assert zombies_never_move_the_head(with_events(honest, *events)) == [
        "aggregator-a committed under fence 1 after 9 was taken"
    ]


def test_the_same_fence_may_commit_again_and_so_may_a_higher_one(honest: Evidence) -> None:
    at_s = end_s(honest)
    commit = next(honest.history.all(Committed))
    fine = with_events(honest, replace(commit, at_s=at_s), replace(commit, at_s=at_s, fence=7))
    assert zombies_never_move_the_head(fine) == []


def test_a_version_within_thirty_seconds_is_soon_enough(honest: Evidence) -> None:
    at_s = math.ceil(end_s(honest))  # thirty seconds after a tenth are more than thirty, to a float
    commit = next(honest.history.all(Committed))

    def after(wait_s: float) -> list[str]:
        healed = Healed(at_s, "world", "alarm")
        follows = replace(commit, at_s=at_s + wait_s)
        return progress_resumes_after_every_fault(with_events(honest, healed, follows))

    assert after(RECOVERY_S) == []
    assert after(RECOVERY_S + 1.0) == ["alarm healed, and no version came for 31 s"]


def test_a_process_may_breathe(honest: Evidence) -> None:
    """A peak in the middle is no growth, nor is exactly what is allowed."""
    sizes = [100 * MIB] * 3 + [500 * MIB] + [100 * MIB + GROWTH_BYTES] * 3
    assert memory_is_bounded(with_events(honest, *measured(honest, "a", sizes))) == []


def test_a_process_that_starts_again_may_need_more_and_is_judged_anew(honest: Evidence) -> None:
    at_s = end_s(honest)
    starts = [(1, 100 * MIB), (2, 100 * MIB + 2 * GROWTH_BYTES)]
    sizes = [
        Measured(at_s + 200.0 * pid + 60.0 * place, "a", pid, size)
        for pid, size in starts
        for place in range(3)
    ]
    assert memory_is_bounded(with_events(honest, *sizes)) == []


def test_a_larger_buffer_allows_more_deliveries_in_hand(honest: Evidence) -> None:
    terms = honest.recipe.aggregation.model_copy(update={"updates_per_version": 20})
    roomy = replace(honest, recipe=honest.recipe.model_copy(update={"aggregation": terms}))
    held = with_events(roomy, Held(end_s(honest), "a", 40), Held(end_s(honest), "b", 41))
    assert memory_is_bounded(held) == ["b held 41 deliveries, allowed 40"]
