import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

from latecomer_aggregator import background as module
from latecomer_aggregator.background import Background, BackgroundThread, Foreground

PATIENCE_S = 30.0

#: Many times as long as a pause between two repetitions here.
LULL_S = 0.05


def fail() -> None:
    raise ValueError("the disk is full")


@pytest.fixture(params=["foreground", "thread"])
def background(request: pytest.FixtureRequest) -> Iterator[Background]:
    made = Foreground() if request.param == "foreground" else BackgroundThread("test")
    yield made
    made.close()


def test_nothing_is_busy_before_it_was_begun(background: Background) -> None:
    assert not background.busy
    assert background.ended(0.0)


def test_a_task_is_over_when_its_end_was_heard_of(background: Background) -> None:
    done: list[int] = []
    background.begin(lambda: done.append(1))
    assert background.busy
    assert background.ended(PATIENCE_S)
    assert (done, background.busy) == ([1], False)


def test_what_a_task_raised_is_raised_where_its_end_is_asked_for_and_another_may_begin(
    background: Background,
) -> None:
    background.begin(fail)
    with pytest.raises(ValueError, match="the disk is full"):
        background.ended(PATIENCE_S)
    assert not background.busy
    background.begin(lambda: None)
    assert background.ended(PATIENCE_S)


def test_a_thread_goes_on_beside_its_owner_until_it_ends() -> None:
    gate, done = threading.Event(), list[bool]()
    background = BackgroundThread("test")
    background.begin(lambda: done.append(gate.wait(PATIENCE_S)))
    assert not background.ended(0.0)
    assert not background.ended(0.01)
    assert background.busy
    gate.set()
    assert background.ended(PATIENCE_S)
    assert done == [True]
    background.close()


def test_who_does_not_wait_hears_of_an_end_too() -> None:
    background = BackgroundThread("test")
    background.begin(lambda: None)
    latest_s = time.monotonic() + PATIENCE_S
    while not background.ended(0.0):
        assert time.monotonic() < latest_s
    assert not background.busy
    background.close()


def test_who_closes_does_not_wait_for_a_task_that_goes_on_to_its_end() -> None:
    gate, done = threading.Event(), list[bool]()
    background = BackgroundThread("test")
    background.begin(lambda: done.append(gate.wait(PATIENCE_S)))
    background.close()
    gate.set()
    assert background.ended(PATIENCE_S)
    assert done == [True]


def test_beside_an_owner_who_takes_long_a_task_is_repeated_until_he_is_done() -> None:
    done, twice = list[int](), threading.Event()

    def task() -> None:
        done.append(1)
        if len(done) == 2:
            twice.set()

    background = BackgroundThread("test")
    with background.repeated(task, 0.01):
        assert twice.wait(PATIENCE_S)
    background.close()
    assert not [each for each in threading.enumerate() if each.name == "test"]


def test_what_is_repeated_stops_with_its_owner_and_the_next_one_gets_the_same_thread() -> None:
    seen: list[tuple[int, threading.Thread]] = []
    again = threading.Event()

    def task(number: int) -> None:
        seen.append((number, threading.current_thread()))
        again.set()

    background = BackgroundThread("test")
    for number in range(2):
        again.clear()
        with background.repeated(partial(task, number), 0.001):
            assert again.wait(PATIENCE_S)
    (standing_by,) = [each for each in threading.enumerate() if each.name == "test"]
    assert standing_by.daemon  # an owner who dies does not stay for its sake
    background.close()
    numbers = [number for number, _ in seen]
    assert (numbers, set(numbers)) == (sorted(numbers), {0, 1})
    assert len({thread for _, thread in seen}) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_repeated_once_its_owner_is_done_or_failed(*, fails: bool) -> None:
    """Else a lease would be kept for somebody who hangs, or died of it."""
    background, again = BackgroundThread("test"), threading.Event()
    with suppress(LookupError), background.repeated(again.set, 0.001):
        assert again.wait(PATIENCE_S)
        if fails:
            raise LookupError
    again.clear()
    assert not again.wait(LULL_S)
    background.close()


def test_an_owner_who_is_done_waits_for_what_runs_beside_him_just_now() -> None:
    """What goes on behind his back would touch what he closes next."""
    background = BackgroundThread("test")
    began, gate, done = threading.Event(), threading.Event(), list[bool]()

    def task() -> None:
        began.set()
        done.append(gate.wait(PATIENCE_S))

    with background.repeated(task, 0.001):
        assert began.wait(PATIENCE_S)
        threading.Timer(LULL_S, gate.set).start()
    assert done == [True]
    background.close()


def test_who_hangs_is_not_covered_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_S", 0.003)
    background, done, third = BackgroundThread("test"), list[int](), threading.Event()

    def task() -> None:
        done.append(1)
        if len(done) == 3:
            third.set()

    with background.repeated(task, 0.001):
        assert third.wait(PATIENCE_S)
        third.clear()
        assert not third.wait(LULL_S)
    background.close()
    assert len(done) == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_raises_when_it_is_repeated_does_not_take_the_next_one_along() -> None:
    background, done = BackgroundThread("test"), threading.Event()
    with background.repeated(fail, 0.001):
        for thread in threading.enumerate():
            if thread.name == "test":
                thread.join(PATIENCE_S)
    with background.repeated(done.set, 0.001):
        assert done.wait(PATIENCE_S)
    background.close()


def test_without_a_thread_nothing_is_beside_the_owner() -> None:
    done: list[int] = []
    with Foreground().repeated(lambda: done.append(1), 0.0):
        assert not done
