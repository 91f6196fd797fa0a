"""Regions of people of whom none is published: where they are most often, or whom they know.

Where a data set says who knows whom and not where anybody lives, a site is a circle of friends:
friends like alike, so that circles differ in taste by nature, and relations inside one need not
leave it.

U users, C circles.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from latecomer.datasets.port import Edges

#: How many there are of each data set without regions.
CIRCLES = 12


def homes(visits: Iterable[tuple[str, str]]) -> dict[str, str]:
    """User -> the place of most of his (user, place) ``visits``; of equal ones the first."""
    counts = Counter(visits)
    found: dict[str, str] = {}
    for user, place in sorted(counts, key=lambda visit: (-counts[visit], visit)):
        found.setdefault(user, place)
    return found


def circles(users: Iterable[str], edges: Edges) -> dict[str, str]:
    """User -> ``circle-1`` to ``circle-12``.

    Linear deterministic greedy (Stanton and Kliot 2012, "Streaming graph partitioning for large
    distributed graphs", section 4.1): people come one after another, each next to those he knows,
    and everybody joins the circle c with the largest

        (friends in c) x (1 - |c| / capacity),  capacity = U / C, rounded up;

    of equal ones the smallest. Nobody's friends are everybody's: who has none fills the gaps.
    """
    friends = _friends(users, edges)
    capacity = -(-len(friends) // CIRCLES)
    sizes = [0] * CIRCLES
    found: dict[str, int] = {}
    for user in _next_to_each_other(friends):
        there = [0] * CIRCLES
        for friend in friends[user]:
            if friend in found:
                there[found[friend]] += 1
        best = min(
            range(CIRCLES), key=lambda c: (-there[c] * (1 - sizes[c] / capacity), sizes[c], c)
        )
        found[user] = best
        sizes[best] += 1
    return {user: f"circle-{circle + 1}" for user, circle in found.items()}


def _friends(users: Iterable[str], edges: Edges) -> dict[str, list[str]]:
    """Of every user, whom he knows or is known by."""
    known = {user: set[str]() for user in users}
    for user, other in edges:
        if user in known and other in known and user != other:
            known[user].add(other)
            known[other].add(user)
    return {user: sorted(known[user]) for user in sorted(known)}


def _next_to_each_other(friends: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Breadth first, from whoever knows the most people of those not met yet."""
    met: set[str] = set()
    for first in sorted(friends, key=lambda user: -len(friends[user])):
        waiting = deque([] if first in met else [first])
        met.add(first)
        while waiting:
            user = waiting.popleft()
            yield user
            news = [each for each in friends[user] if each not in met]
            met.update(news)
            waiting.extend(news)
