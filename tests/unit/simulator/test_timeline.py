"""Virtual time: turns by seed, sleeps that cost nothing, SIGSTOP, SIGKILL, and a clean end."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from latecomer_simulator.timeline import Killed, Process, Timeline

#: A thread that was told to end is gone long before this.
GONE_S = 10.0


def turns(seed: int) -> str:
    """Who ran when, of three processes that have ten turns each at the same moments."""
    ran: list[str] = []

    with Timeline(seed) as timeline:

        def main(name: str) -> None:
            for _ in range(10):
                ran.append(name)
                timeline.sleep(1.0)

        for name in "abc":
            timeline.spawn(name, partial(main, name))
        timeline.run(60.0)
    return "".join(ran)


def test_processes_take_turns_by_seed_and_a_seed_replays_the_same() -> None:
    assert turns(1) == turns(1)
    assert sorted(turns(1)) == sorted("abc" * 10)
    assert len({turns(seed) for seed in range(5)}) == 5


def test_at_each_moment_everybody_who_is_due_has_his_turn_before_time_goes_on() -> None:
    ran = turns(1)
    assert all(set(ran[place : place + 3]) == set("abc") for place in range(0, 30, 3))


def test_an_hour_of_sleep_passes_at_once_and_exactly() -> None:
    woke_s = []
    with Timeline(1) as timeline:
        start_s = timeline.clock.monotonic_s()

        def main() -> None:
            for _ in range(60):
                timeline.sleep(60.0)
                woke_s.append(timeline.clock.monotonic_s() - start_s)

        timeline.spawn("sleeper", main)
        timeline.run(3600.0)
    assert woke_s == [60.0 * minute for minute in range(1, 61)]


def test_time_stands_still_for_who_does_not_sleep() -> None:
    seen_s: list[float] = []
    with Timeline(1) as timeline:

        def main() -> None:
            for _ in range(3):
                seen_s.append(timeline.clock.monotonic_s())
                timeline.sleep(0.0)

        start_s = timeline.clock.monotonic_s()
        timeline.spawn("busy", main)
        timeline.run(1.0)
    assert seen_s == [start_s] * 3


def test_who_waits_goes_on_when_it_is_ready_or_at_the_latest_after_so_long() -> None:
    told: list[str] = []
    woke_s: list[float] = []
    with Timeline(1) as timeline:
        start_s = timeline.clock.monotonic_s()

        def main() -> None:
            timeline.wait(10.0, lambda: bool(told))
            woke_s.append(timeline.clock.monotonic_s() - start_s)
            timeline.wait(10.0, lambda: False)
            woke_s.append(timeline.clock.monotonic_s() - start_s)

        timeline.spawn("waiter", main)
        timeline.after(3.0, lambda: told.append("news"))
        timeline.run(60.0)
    assert woke_s == [3.0, 13.0]


def test_outside_of_any_process_a_sleep_lets_nothing_happen() -> None:
    with Timeline(1) as timeline:
        before_s = timeline.clock.monotonic_s()
        timeline.sleep(5.0)
        assert timeline.clock.monotonic_s() == before_s


def woken_s(freeze: Callable[[Timeline, Process], None], ready: Callable[[], bool]) -> float:
    """When a process goes on that would wake after 5 s, or when ``ready``."""
    woke: list[float] = []
    with Timeline(1) as timeline:
        start_s = timeline.clock.monotonic_s()

        def main() -> None:
            timeline.wait(5.0, ready)
            woke.append(timeline.clock.monotonic_s() - start_s)

        process = timeline.spawn("p", main)
        timeline.after(1.0, lambda: freeze(timeline, process))
        timeline.run(60.0)
    (at_s,) = woke
    return at_s


def test_a_frozen_process_sleeps_on_past_its_wake() -> None:
    assert woken_s(lambda timeline, process: timeline.freeze(process, 20.0), lambda: False) == 21.0


def test_a_process_that_thaws_before_its_wake_sleeps_until_then() -> None:
    assert woken_s(lambda timeline, process: timeline.freeze(process, 2.0), lambda: False) == 5.0


def test_a_frozen_process_does_not_hear_what_it_waits_for_until_it_thaws() -> None:
    told: list[str] = []

    def freeze(timeline: Timeline, process: Process) -> None:
        timeline.freeze(process, 2.0)
        told.append("news")

    assert woken_s(freeze, lambda: bool(told)) == 3.0


def test_a_killed_process_unwinds_with_killed_and_its_finally_blocks_run() -> None:
    left: list[str] = []
    with Timeline(1) as timeline:

        def main() -> None:
            try:
                timeline.sleep(60.0)
                left.append("went on")
            except Exception:  # noqa: BLE001 - nothing in between may stop it
                left.append("survived")
            except Killed:
                left.append("killed")
                raise
            finally:
                left.append("finally")

        process = timeline.spawn("victim", main)
        timeline.run(1.0)
        timeline.kill(process)
        assert left == ["killed", "finally"]
        assert process.ended
        assert process.failure is None
        timeline.run(120.0)
    assert left == ["killed", "finally"]


def test_a_process_that_kills_itself_is_gone_and_the_others_go_on() -> None:
    went_on: list[str] = []
    with Timeline(1) as timeline:

        def die() -> None:
            timeline.sleep(1.0)
            raise Killed

        def live() -> None:
            timeline.sleep(2.0)
            went_on.append("live")

        victim = timeline.spawn("victim", die)
        timeline.spawn("live", live)
        timeline.run(10.0)
    assert victim.ended
    assert went_on == ["live"]


def test_who_is_killed_before_its_first_turn_never_begins() -> None:
    began: list[str] = []
    with Timeline(1) as timeline:
        process = timeline.spawn("unborn", lambda: began.append("began"))
        timeline.kill(process)
        timeline.run(1.0)
    assert process.ended
    assert began == []


def test_killing_twice_is_harmless() -> None:
    with Timeline(1) as timeline:
        process = timeline.spawn("victim", lambda: timeline.sleep(60.0))
        timeline.run(1.0)
        timeline.kill(process)
        timeline.kill(process)
        assert process.ended


def test_timers_go_off_in_the_order_of_their_times_and_of_their_setting() -> None:
    went_off: list[tuple[str, float]] = []
    with Timeline(1) as timeline:
        start_s = timeline.clock.monotonic_s()

        def note(name: str) -> Callable[[], None]:
            return lambda: went_off.append((name, timeline.clock.monotonic_s() - start_s))

        timeline.after(2.0, note("late"))
        timeline.at(start_s + 1.0, note("early"))
        timeline.after(2.0, note("later"))
        timeline.after(90.0, note("never"))
        timeline.run(60.0)
    assert went_off == [("early", 1.0), ("late", 2.0), ("later", 2.0)]


def test_a_timer_may_set_the_next_one() -> None:
    went_off: list[float] = []
    with Timeline(1) as timeline:
        start_s = timeline.clock.monotonic_s()

        def tick() -> None:
            went_off.append(timeline.clock.monotonic_s() - start_s)
            timeline.after(1.5, tick)

        timeline.after(1.5, tick)
        timeline.run(5.0)
    assert went_off == [1.5, 3.0, 4.5]


def test_run_ends_as_soon_as_its_condition_holds_and_says_whether_it_did() -> None:
    seen: list[str] = []
    with Timeline(1) as timeline:
        start_s = timeline.clock.monotonic_s()
        timeline.after(4.0, lambda: seen.append("it"))
        assert not timeline.run(3.0, until=lambda: bool(seen))
        assert timeline.clock.monotonic_s() == start_s + 3.0
        assert timeline.run(3.0, until=lambda: bool(seen))
        assert timeline.clock.monotonic_s() == start_s + 4.0


def test_time_passes_though_nobody_has_anything_to_do() -> None:
    with Timeline(1) as timeline:
        start_s = timeline.clock.monotonic_s()
        timeline.run(7.0)
        assert timeline.clock.monotonic_s() == start_s + 7.0


def test_what_a_process_fails_with_reaches_who_runs_the_timeline() -> None:
    with Timeline(1) as timeline:
        start_s = timeline.clock.monotonic_s()

        def main() -> None:
            timeline.sleep(2.0)
            raise ZeroDivisionError("the process's own mistake")

        timeline.spawn("faulty", main)
        with pytest.raises(ZeroDivisionError, match="the process's own mistake"):
            timeline.run(60.0)
        assert timeline.clock.monotonic_s() == start_s + 2.0


def test_leaving_ends_everything_and_no_thread_survives() -> None:
    ended: list[str] = []
    before = threading.active_count()
    with Timeline(1) as timeline:

        def main(name: str) -> None:
            try:
                timeline.sleep(1e9)
            finally:
                ended.append(name)

        for name in "abc":
            timeline.spawn(name, partial(main, name))
        timeline.run(1.0)
        timeline.spawn("unborn", lambda: None)
        threads = [each for each in threading.enumerate() if each.name in {*"abc", "unborn"}]
        assert len(threads) == 4
    assert sorted(ended) == ["a", "b", "c"]
    for thread in threads:
        thread.join(GONE_S)
    assert threading.active_count() == before


def test_leaving_on_an_error_ends_everything_too() -> None:
    def scene() -> None:
        with Timeline(1) as timeline:
            processes.append(timeline.spawn("p", lambda: timeline.sleep(1e9)))
            timeline.run(1.0)
            raise LookupError

    processes: list[Process] = []
    with pytest.raises(LookupError):
        scene()
    assert processes[0].ended
