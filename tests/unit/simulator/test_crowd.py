"""Who may go on is found as if everybody had been looked at, whatever they wait for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import hypothesis.strategies as st
from hypothesis import given

from latecomer_simulator.crowd import Crowd, Waiter, never

#: Few, so that many fall together.
moments_s = st.integers(0, 6).map(float)

seats = st.integers(0, 4)


@dataclass
class Hall:
    """A crowd, and the same people in a list, each on a seat."""

    crowd: Crowd[Waiter] = field(default_factory=Crowd)
    people: dict[int, Waiter] = field(default_factory=dict)
    open_doors: set[int] = field(default_factory=set)
    now_s: float = 0.0
    _numbers: Iterator[int] = field(default_factory=count)

    def sleep(self, seat: int, after_s: float) -> None:
        self._sit(seat, after_s, never)

    def wait(self, seat: int, after_s: float) -> None:
        self._sit(seat, after_s, lambda: seat in self.open_doors)

    def freeze(self, seat: int, after_s: float) -> None:
        if seat in self.people:
            self.people[seat].frozen_until_s = self.now_s + after_s
            self.crowd.add(self.people[seat], self.now_s)

    def leave(self, seat: int, _after_s: float) -> None:
        if seat in self.people:
            self.crowd.remove(self.people.pop(seat))

    def turn(self, seat: int, _after_s: float) -> None:
        """A condition comes true, or is true no more."""
        self.open_doors ^= {seat}

    def go_on(self, _seat: int, _after_s: float) -> None:
        self.now_s = min(self.upcoming_s(), self.now_s + 10.0)

    def runnable(self) -> list[Waiter]:
        return [
            each
            for each in sorted(self.people.values(), key=lambda each: each.number)
            if self.now_s >= each.frozen_until_s and (self.now_s >= each.wakes_s or each.ready())
        ]

    def upcoming_s(self) -> float:
        moments = [max(each.wakes_s, each.frozen_until_s) for each in self.people.values()]
        moments += [each.frozen_until_s for each in self.people.values()]
        return min((each for each in moments if each > self.now_s), default=float("inf"))

    def _sit(self, seat: int, after_s: float, ready: Callable[[], bool]) -> None:
        self.leave(seat, 0.0)
        waiter = Waiter(next(self._numbers), self.now_s + after_s, ready=ready)
        self.people[seat] = waiter
        self.crowd.add(waiter, self.now_s)


Happening = Callable[[Hall, int, float], None]

happenings = st.tuples(
    st.sampled_from([Hall.sleep, Hall.wait, Hall.freeze, Hall.leave, Hall.turn, Hall.go_on]),
    seats,
    moments_s,
)


@given(st.lists(happenings, max_size=40))
def test_who_may_go_on_and_when_the_next_may_is_as_if_all_were_looked_at(
    happened: list[tuple[Happening, int, float]],
) -> None:
    hall = Hall()
    for happening, seat, after_s in happened:
        happening(hall, seat, after_s)
        assert hall.crowd.runnable(hall.now_s) == hall.runnable()
        assert hall.crowd.upcoming_s() == hall.upcoming_s()
        assert {*hall.crowd} == {*hall.people.values()}


def test_thousands_of_sleepers_are_not_asked() -> None:
    asked: list[int] = []

    def ready() -> bool:
        asked.append(1000)
        return False

    crowd: Crowd[Waiter] = Crowd()
    for number in range(1000):
        crowd.add(Waiter(number, 1.0), 0.0)
    crowd.add(Waiter(1000, 1.0, ready=ready), 0.0)
    assert crowd.runnable(0.5) == []
    assert asked == [1000]
    assert len(crowd.runnable(1.0)) == 1001
