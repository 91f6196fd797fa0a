"""The words of the report, on runs of which everything is known."""

from dataclasses import replace

import pytest

from latecomer.store.port import Verdict
from latecomer_simulator.evidence import Evidence
from latecomer_simulator.history import (
    Acknowledged,
    Committed,
    Ended,
    Faulted,
    Healed,
    History,
    Sent,
)
from latecomer_simulator.tally import NOTHING, Tally, recoveries, tally
from unit.simulator.broken import end_s, fold_of, with_events, with_fold, with_model, with_verdicts

#: What the honest run in ``conftest`` came to.
HONEST = Tally(attempted=26, acknowledged=26, lost=0, duplicated=0, unexpected=0, recovered=0)


def with_cell(evidence: Evidence, row: int, slot: int, value: float) -> Evidence:
    cells = evidence.lineages[0].last.model["cells"].copy()
    cells[row, slot] = value
    return with_model(evidence, {"cells": cells})


def test_an_honest_run_loses_and_repeats_nothing(honest: Evidence) -> None:
    assert tally(honest) == HONEST


def test_what_was_sent_in_vain_is_attempted_and_not_acknowledged(honest: Evidence) -> None:
    sent = with_events(honest, Sent(end_s(honest), "w0", "w0:boot1:99"))
    assert tally(sent) == replace(HONEST, attempted=27)


def test_what_was_sent_again_and_settled_is_recovered(honest: Evidence) -> None:
    again = [Sent(end_s(honest), "w0", "w0:boot1:1") for _ in range(2)]
    unsettled = [Sent(end_s(honest), "w0", "w0:boot1:99") for _ in range(2)]
    assert tally(with_events(honest, *again)) == replace(HONEST, recovered=1)
    assert tally(with_events(honest, *unsettled)) == replace(HONEST, attempted=27)


def test_what_was_confirmed_and_has_no_verdict_is_lost(honest: Evidence) -> None:
    confirmed = (Sent(end_s(honest), "w0", "x"), Acknowledged(end_s(honest), "w0", "x"))
    forgotten = with_events(honest, *confirmed)
    assert tally(forgotten) == replace(HONEST, attempted=27, acknowledged=27, lost=1)
    refused = with_verdicts(forgotten, {"x": Verdict(folded=False, reason="too_stale")})
    assert tally(refused) == replace(HONEST, attempted=27, acknowledged=27)


def test_what_the_ledger_has_and_the_model_has_not_is_lost(honest: Evidence) -> None:
    assert tally(with_cell(honest, 2, 0, 0.0)) == replace(HONEST, lost=1)


def test_what_neither_the_ledger_nor_the_model_has_is_lost_once(honest: Evidence) -> None:
    missing = with_cell(with_verdicts(honest, {"w2:boot1:1": None}), 2, 0, 0.0)
    assert tally(missing) == replace(HONEST, lost=1)


def test_what_is_in_two_versions_is_duplicated(honest: Evidence) -> None:
    twice = with_fold(honest, 3, 3, fold_of(honest, 1, 2))
    assert tally(twice) == replace(HONEST, duplicated=1)


def test_what_is_in_the_model_twice_is_duplicated(honest: Evidence) -> None:
    assert tally(with_cell(honest, 0, 0, 2.0)) == replace(HONEST, duplicated=1)


def test_what_is_in_two_versions_and_in_the_model_twice_is_one_duplicate(honest: Evidence) -> None:
    twice = with_cell(with_fold(honest, 3, 3, fold_of(honest, 1, 2)), 0, 0, 2.0)
    assert tally(twice) == replace(HONEST, duplicated=1)


def test_what_is_in_a_version_though_nobody_sent_it_is_unexpected(honest: Evidence) -> None:
    forged = replace(fold_of(honest, 1), update_id="w0:forged:1")
    assert tally(with_fold(honest, 1, 3, forged)) == replace(HONEST, unexpected=1)


def test_what_is_in_the_model_though_nobody_sent_it_is_unexpected(honest: Evidence) -> None:
    assert tally(with_cell(honest, 0, 150, 1.0)) == replace(HONEST, unexpected=1)


def test_tallies_add_up_word_by_word() -> None:
    assert Tally(1, 2, 3, 4, 5, 6) + Tally(10, 20, 30, 40, 50, 60) == Tally(11, 22, 33, 44, 55, 66)
    assert sum([HONEST, HONEST], NOTHING) == Tally(52, 52, 0, 0, 0, 0)


def committed(at_s: float) -> Committed:
    return Committed(at_s, "a", 1, b"", at_s)


def healed(at_s: float, fault: str = "alarm") -> Healed:
    return Healed(at_s, "world", fault)


def faulted(at_s: float, fault: str = "alarm") -> Faulted:
    return Faulted(at_s, "world", fault)


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([], []),
        ([committed(1), Ended(9, "world")], []),
        ([faulted(1), healed(3), committed(7), committed(8)], [("alarm", 4)]),
        ([faulted(1), committed(2), healed(3), committed(4)], [("alarm", 1)]),
        (
            [faulted(1), healed(3), faulted(5, "noise"), healed(6, "noise"), committed(7)],
            [("noise", 1)],
        ),
        (
            [faulted(1), healed(3), faulted(34, "noise"), healed(35, "noise"), committed(36)],
            [("alarm", 31), ("noise", 1)],
        ),
        (
            [faulted(1), faulted(1, "noise"), healed(2), healed(3, "noise"), committed(5)],
            [("alarm", 3), ("noise", 2)],
        ),
        ([faulted(1), healed(3), Ended(40, "world")], [("alarm", 37)]),
        ([faulted(1), Ended(40, "world")], []),
    ],
    ids=[
        "nothing happened",
        "no fault",
        "the first version after it counts",
        "a version during the fault does not count",
        "the next fault came first: the last to heal is blamed",
        "the next fault came too late to be an excuse",
        "two faults at once recover each from its own end",
        "who never recovered waited until the end",
        "a fault that never healed is nobody's recovery",
    ],
)
def test_a_recovery_is_from_the_end_of_a_fault_to_the_next_version(
    events: list[Committed | Healed | Faulted | Ended], found: list[tuple[str, float]]
) -> None:
    assert recoveries(History([*events])) == found
