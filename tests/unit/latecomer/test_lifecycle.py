import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.lifecycle import Backoff, full_jitter_s, stop_signal

#: What ``sys.settrace`` takes.
Tracer: TypeAlias = Callable[[FrameType, str, Any], Any]

BOTH = [signal.SIGTERM, signal.SIGINT]


class Always(random.Random):
    """Draws the same place between the bounds every time."""

    def __init__(self, place: float) -> None:
        super().__init__(0)
        self._place = place

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self._place


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    former = [(number, signal.getsignal(number)) for number in BOTH]
    yield
    for number, handler in former:
        signal.signal(number, handler)


def too_late(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError("it hangs")


def pauses(backoff: Backoff, count: int) -> list[float]:
    return [backoff.next_s() for _ in range(count)]


def test_the_longest_pause_doubles_up_to_the_ceiling() -> None:
    backoff = Backoff(first_s=0.5, ceiling_s=5.0, rng=Always(1.0))
    assert pauses(backoff, 6) == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_success_starts_the_pauses_again() -> None:
    backoff = Backoff(first_s=0.5, ceiling_s=5.0, rng=Always(1.0))
    pauses(backoff, 4)
    backoff.reset()
    assert pauses(backoff, 2) == [0.5, 1.0]


def test_the_shortest_pause_is_none() -> None:
    assert pauses(Backoff(first_s=0.5, ceiling_s=5.0, rng=Always(0.0)), 3) == [0.0] * 3


def test_ten_thousand_failures_do_not_overflow() -> None:
    assert max(pauses(Backoff(first_s=0.5, ceiling_s=5.0, rng=Always(1.0)), 10_000)) == 5.0


def test_a_fleet_that_failed_together_does_not_come_back_together() -> None:
    fleet = [Backoff(first_s=1.0, ceiling_s=9.0, rng=random.Random(seed)) for seed in range(50)]
    assert len({backoff.next_s() for backoff in fleet}) == 50


@given(
    failures=st.integers(0, 5000),
    first_s=st.floats(0.001, 10.0),
    ceiling_s=st.floats(0.001, 600.0),
    seed=st.integers(0, 2**32),
)
def test_a_pause_is_between_nothing_and_the_ceiling(
    failures: int, first_s: float, ceiling_s: float, seed: int
) -> None:
    pause_s = full_jitter_s(failures, first_s=first_s, ceiling_s=ceiling_s, rng=random.Random(seed))
    assert 0.0 <= pause_s <= ceiling_s
    assert pause_s <= first_s * 2.0 ** min(failures, 60)


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_sets_the_event_and_nothing_dies(number: signal.Signals) -> None:
    with stop_signal() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(timeout=10)


def test_a_pause_is_as_long_as_it_was_asked_for_and_nobody_was_told_to_stop() -> None:
    with stop_signal() as stop:
        began_s = time.monotonic()
        assert not stop.wait(0.05)
        assert time.monotonic() - began_s >= 0.05


def test_who_waits_is_woken_by_what_comes_meanwhile() -> None:
    """However long it was to be: a service that is told to stop does not sit its pause out."""
    signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, 10.0)
    with stop_signal() as stop:
        threading.Timer(0.05, stop.set).start()
        assert stop.wait()
    signal.setitimer(signal.ITIMER_REAL, 0.0)


@pytest.mark.parametrize("line", range(8))
def test_a_signal_may_come_at_any_line_of_a_wait(line: int) -> None:
    """A lock that both the wait and the handler take would never be given back."""
    hit = 0

    def at_the_line(_frame: FrameType, event: str, _argument: object) -> "Tracer":
        nonlocal hit
        hit += event == "line"
        if hit == line:
            signal.raise_signal(signal.SIGTERM)
        return at_the_line

    signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, 10.0)
    with stop_signal() as stop:
        sys.settrace(at_the_line)
        stop.wait(0.01)
        sys.settrace(None)
        # Later than the wait's last line: it comes with the next thing that is done.
        signal.raise_signal(signal.SIGTERM)
        assert stop.wait(10.0)
    signal.setitimer(signal.ITIMER_REAL, 0.0)


def test_what_was_set_is_still_known_afterwards() -> None:
    with stop_signal() as stop:
        signal.raise_signal(signal.SIGTERM)
    assert stop.is_set()
    assert stop.wait(10.0)


def test_a_second_interrupt_is_for_who_cannot_wait() -> None:
    with stop_signal() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_second_termination_waits_like_the_first() -> None:
    with stop_signal() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()


def fails() -> None:
    raise LookupError


@pytest.mark.parametrize("work", [lambda: None, fails], ids=["well", "badly"])
def test_the_former_handlers_return_however_it_ended(work: Callable[[], None]) -> None:
    received: list[int] = []
    for number in BOTH:
        signal.signal(number, lambda each, _frame: received.append(each))
    try:
        with stop_signal():
            work()
    except LookupError:
        pass
    for number in BOTH:
        signal.raise_signal(number)
    assert received == BOTH
