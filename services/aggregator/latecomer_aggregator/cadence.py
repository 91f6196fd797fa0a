"""K where a recipe names the staleness that it wants instead: more updates per version, less of it.

The law: with ``c`` workers training at once and K updates per version, an update is about
``c / K`` versions behind when it is folded (Nguyen et al. 2022, FedBuff, section 5). Staleness and
what versions were made of are both observed, so ``c`` need not be known: the K that meets the
target is what versions were made of x staleness / target.

What was observed is part of each version's manifest, and the next K is a function of it: whoever
takes over goes on where the former leader was, and a replay comes to the same K.
"""

from collections.abc import Sequence
from dataclasses import replace

from latecomer.aggregation import Aggregation
from latecomer.store.port import Cadence, Fold

#: Within these multiples of the target K stays. Widest where K is small: from K = 2 to 3 staleness
#: falls to 0.67 of what it was, and a narrower band would go back and forth between the two.
LOW, HIGH = 0.7, 1.3

#: K changes by at most this factor, for what is judged was made under the former K in part.
MOST = 2

#: A window lasts this many times as many versions as its updates are stale in the mean. An update
#: takes that long from fetch to fold, so that about a quarter of a window was fetched under the
#: former K. With the right K, and staleness twice or half of the target before, it measures
#: 1/4 x 2 + 3/4 = 1.25 or 1/4 x 0.5 + 3/4 = 0.875 of the target: inside the band, no step back.
TURNS = 4

#: Fewer updates say too little: staleness spreads about as widely as its mean is large, so that the
#: mean of this many has a standard error of 0.07 of itself, and the band is four of them wide.
UPDATES = 200


def initial(limits: Aggregation) -> Cadence | None:
    """Before anything was observed: the recipe's K; None where K is not to follow anything."""
    if limits.target_staleness is None or limits.mode != "fedbuff":
        return None
    return Cadence(updates=limits.updates_per_version)


def after(before: Cadence | None, folds: Sequence[Fold], limits: Aggregation) -> Cadence | None:
    """What holds once a version of these folds is committed; see the module."""
    now = before or initial(limits)
    if now is None or limits.target_staleness is None:
        return None
    seen = replace(
        now,
        versions=now.versions + 1,
        folded=now.folded + len(folds),
        behind=now.behind + sum(fold.staleness for fold in folds),
    )
    if seen.folded < UPDATES or seen.versions * seen.folded < TURNS * seen.behind:
        return seen
    return Cadence(updates=_next(seen, limits.target_staleness, limits.most_updates_per_version))


def _next(seen: Cadence, target: float, most: int) -> int:
    """The K that a full window asks for.

    Versions may be made of fewer than K updates: T was over, or fewer workers are alive. A larger K
    would change nothing then, and is not asked for.
    """
    excess = seen.behind / seen.folded / target
    if LOW <= excess <= HIGH:
        return seen.updates
    wanted = round(seen.folded / seen.versions * excess)
    if excess > 1:
        return min(max(seen.updates, wanted), MOST * seen.updates, most)
    return max(min(seen.updates, wanted), seen.updates // MOST, 1)
