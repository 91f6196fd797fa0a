"""What happened survives on disk, as it was, up to the line that a kill cut short."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from latecomer_simulator.history import (
    KINDS,
    Acknowledged,
    Attempted,
    Committed,
    Dropped,
    Ended,
    Event,
    Faulted,
    Healed,
    Held,
    History,
    Journal,
    Led,
    Measured,
    Refused,
    Sent,
)

EVERY_BYTE = bytes(range(256))

#: One of each kind.
EVENTS: list[Event] = [
    Attempted(1.0, "w1", "w1:boot:1", EVERY_BYTE, b"\n{}"),
    Sent(2.0, "w1", "w1:boot:1"),
    Acknowledged(3.5, "w1", "w1:boot:1"),
    Dropped(4.0, "w1", "w1:boot:0"),
    Led(5.0, "aggregator-a", 7),
    Committed(6.0, "aggregator-a", 7, EVERY_BYTE[::-1], 5.5),
    Refused(7.0, "aggregator-a", "w1:boot:1", "too_stale", 3, 6.5),
    Held(8.0, "aggregator-a", 32),
    Measured(9.0, "aggregator-a", 4711, 2**40),
    Faulted(10.0, "world", 'a "quoted"\nfault, größer'),
    Healed(11.0, "world", "killed"),
    Ended(12.25, "world"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w1.jsonl"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with closing(Journal(path)) as journal:
        yield journal


def test_every_kind_of_event_comes_back_from_disk_as_it_was(journal: Journal, path: Path) -> None:
    for event in EVENTS:
        journal.append(event)
    assert {type(event) for event in EVENTS} == set(KINDS.values())
    assert History.merged([path]).events == EVENTS


def test_a_line_has_left_the_process_when_append_returns(journal: Journal, path: Path) -> None:
    journal.append(EVENTS[0])
    assert path.read_bytes().count(b"\n") == 1
    journal.append(EVENTS[1])
    assert path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("lost_bytes", [1, 5, 40])
def test_a_last_line_that_was_cut_short_is_dropped(
    journal: Journal, path: Path, lost_bytes: int
) -> None:
    for event in EVENTS:
        journal.append(event)
    path.write_bytes(path.read_bytes()[:-lost_bytes])
    assert History.merged([path]).events == EVENTS[:-1]


def test_who_starts_again_goes_on_after_what_is_whole(journal: Journal, path: Path) -> None:
    journal.append(EVENTS[0])
    journal.append(EVENTS[1])
    path.write_bytes(path.read_bytes()[:-5])
    with closing(Journal(path)) as again:
        again.append(EVENTS[2])
    assert History.merged([path]).events == [EVENTS[0], EVENTS[2]]


def test_journals_of_several_processes_merge_by_time_and_keep_their_own_order(
    tmp_path: Path,
) -> None:
    of = {
        "a": [Led(1.0, "a", 1), Held(5.0, "a", 1), Held(5.0, "a", 2)],
        "b": [Led(0.5, "b", 2), Held(3.0, "b", 1), Ended(9.0, "b")],
    }
    for name, events in of.items():
        with closing(Journal(tmp_path / name)) as journal:
            for event in events:
                journal.append(event)
    assert History.merged([tmp_path / "a", tmp_path / "b"]).events == [
        of["b"][0],
        of["a"][0],
        of["b"][1],
        *of["a"][1:],
        of["b"][2],
    ]


def test_a_journal_in_which_nothing_was_written_is_no_event(journal: Journal, path: Path) -> None:
    assert History.merged([path]).events == []


def test_the_events_of_one_kind_are_found_in_their_order() -> None:
    history = History()
    for event in (Led(1.0, "a", 1), Ended(2.0, "a"), Led(3.0, "b", 2)):
        history.append(event)
    assert list(history.all(Led)) == [Led(1.0, "a", 1), Led(3.0, "b", 2)]
    assert list(history.all(Sent)) == []
