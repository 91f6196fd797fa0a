import pytest

from latecomer.clock import ManualClock


def test_a_manual_clock_s_two_times_pass_alike_and_are_never_taken_for_each_other() -> None:
    clock = ManualClock(1_700_000_000.0)
    assert (clock.now_s(), clock.monotonic_s()) == (1_700_000_000.0, 0.0)
    clock.advance(2.5)
    assert (clock.now_s(), clock.monotonic_s()) == (1_700_000_002.5, 2.5)


def test_a_manual_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1.0)
