"""Who may go on at a moment of virtual time, found without looking at everybody who sleeps.

A step costs the same however many sleep: their moments are kept in a heap, and only who waits for a
condition is asked again and again.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar


def never() -> bool:
    """The condition of who only sleeps."""
    return False


@dataclass(eq=False)
class Waiter:
    """Whoever waits for something.

    Attributes:
        number: In the order in which they came to be; nobody else has it, ever.
        wakes_s: When it goes on at the latest.
        frozen_until_s: Not before this, whatever it waits for (SIGSTOP).
        ready: What it waits for besides.
    """

    number: int
    wakes_s: float
    frozen_until_s: float = float("-inf")
    ready: Callable[[], bool] = never

    @property
    def due_s(self) -> float:
        """When it goes on, though its condition does not come."""
        return max(self.wakes_s, self.frozen_until_s)

    def moments_s(self) -> set[float]:
        """When it has to be looked at: when due, and if it thaws before that, then as well."""
        return {self.due_s, self.frozen_until_s}


AnyWaiter = TypeVar("AnyWaiter", bound=Waiter)

NUMBER = attrgetter("number")


class Crowd(Generic[AnyWaiter]):
    """Everybody who waits.

    The law: whoever may go on now is found in the order of their numbers.
    """

    def __init__(self) -> None:
        self._due: list[AnyWaiter] = []
        self._waiting: list[AnyWaiter] = []
        # Of each waiter the moments at which it has to be looked at, and some that are no more.
        self._moments: list[tuple[float, int, AnyWaiter]] = []
        self._all: dict[int, AnyWaiter] = {}

    def __iter__(self) -> Iterator[AnyWaiter]:
        return iter([*self._all.values()])

    def __contains__(self, waiter: AnyWaiter) -> bool:
        return waiter.number in self._all

    def add(self, waiter: AnyWaiter, now_s: float) -> None:
        """It waits from now on, or for something else than before."""
        self.remove(waiter)
        self._all[waiter.number] = waiter
        if waiter.ready is not never:
            insort(self._waiting, waiter, key=NUMBER)
        if now_s >= waiter.due_s:
            insort(self._due, waiter, key=NUMBER)
            return
        for moment_s in waiter.moments_s():
            if moment_s > now_s:
                heapq.heappush(self._moments, (moment_s, waiter.number, waiter))

    def remove(self, waiter: AnyWaiter) -> None:
        """It waits no more."""
        if self._all.pop(waiter.number, None) is not None:
            _discard(self._due, waiter)
            _discard(self._waiting, waiter)

    def runnable(self, now_s: float) -> list[AnyWaiter]:
        """Whoever is not frozen, and whose time or condition has come."""
        while self._moments and self._moments[0][0] <= now_s:
            _, _, waiter = heapq.heappop(self._moments)
            if waiter in self and now_s >= waiter.due_s:
                _discard(self._due, waiter)
                insort(self._due, waiter, key=NUMBER)
        ready = [
            each
            for each in self._waiting
            if each.wakes_s > now_s >= each.frozen_until_s and each.ready()
        ]
        return sorted(self._due + ready, key=NUMBER) if ready else self._due

    def upcoming_s(self) -> float:
        """The next moment at which somebody has to be looked at; asked after ``runnable``."""
        while self._moments:
            moment_s, _, waiter = self._moments[0]
            if waiter in self and moment_s in waiter.moments_s():
                return moment_s
            heapq.heappop(self._moments)
        return float("inf")


def _discard(waiters: list[AnyWaiter], waiter: AnyWaiter) -> None:
    at = bisect_left(waiters, waiter.number, key=NUMBER)
    if at < len(waiters) and waiters[at] is waiter:
        del waiters[at]
