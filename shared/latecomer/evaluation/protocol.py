"""How a recommender is tested, as one object: the same question to every system and every site.

Leave-one-out: one item of each tested user is held out, all that the user was trained on is masked,
and the held-out item is ranked among the candidates. Sites report sums over users, since sums can
be added up where means cannot.

U users, T tested users, B users of a batch, I items, K list length.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Literal, get_args

import numpy as np

from latecomer.errors import BadConfiguration, BadData, LayoutMismatch
from latecomer.evaluation.candidates import (
    Known,
    all_but_given,
    all_but_sampled,
    check_items,
    check_unseen,
    known_mask,
)
from latecomer.evaluation.ranking import Floats, Ids, Scores, of_held_out, rank_of, top_k
from latecomer.evaluation.results import Regions, Sums, averaged, seeded, summed
from latecomer.events import ALL_REGIONS

#: Users (B,) to scores (B, I); higher is better, and I is the same for all users.
Score = Callable[[Ids], Scores]
Candidates = Literal["full", "sampled-99", "given"]

#: The region that stands for all of them.
ALL = ALL_REGIONS
#: In the target array: nothing of this user is held out.
NOT_TESTED = -1
#: As published: the positive competes with 99 others.
N_NEGATIVES = 99
#: With one held-out item each, hit rate is recall, and F1 and precision are multiples of it.
REPORTED = ("recall", "precision", "f1", "ndcg")


@dataclass(frozen=True, slots=True)
class RankingResult:
    """The rank that each tested user's held-out item reached.

    Attributes:
        users: (T,) rows of the history, increasing.
        rank: (T,) 1 is best.
        k: Places that count.
        lists: (T, K) what each would be shown out of all items it does not know, or None if not
            asked for. Equal scores fall by item number here, so that a list may show a held-out
            item whose rank, by the rule that ties hurt, is beyond k.
    """

    users: Ids
    rank: Ids
    k: int
    lists: Ids | None = None

    def per_user(self) -> dict[str, Floats]:
        """Each metric's (T,) values, named as in "ndcg@10": what intervals are computed from."""
        return {
            f"{name}@{self.k}": values for name, values in of_held_out(self.rank, self.k).items()
        }

    def sums(self, by: Regions) -> dict[str, dict[str, float]]:
        """Users and sums of the reported metrics per region; of two sites they add up to the whole.

        Args:
            by: (U,) region of every user, tested or not.

        Returns:
            ``{region: {"users": n, "recall@10": …, "precision@10": …, "f1@10": …, "ndcg@10": …}}``;
            a region without tested users is left out.
        """
        return summed(self.users, self._reported(), by)

    def means(self) -> dict[str, float]:
        """Users and the reported metrics' means over all tested users; empty if none was tested."""
        return averaged(self.users, self._reported())

    def _reported(self) -> dict[str, Floats]:
        values = self.per_user()
        return {name: values[name] for name in (f"{metric}@{self.k}" for metric in REPORTED)}


@dataclass(frozen=True, slots=True)
class RankingProtocol:
    """Leave-one-out ranking: who competes with the held-out item, and how many places count.

    Attributes:
        k: Places that count.
        candidates: ``full``: all items that the user does not know. ``sampled-99``: 99 of them,
            drawn per user; flatters every system, and is comparable only with itself. ``given``:
            those that were published with the data, less what the user knows.
        seed: Of the draw; not negative.
        leaky: Whether training gave away what is held out, as under ``pfedrec-compat``: every
            number has to say so.
    """

    k: int = 10
    candidates: Candidates = "full"
    seed: int = 0
    leaky: bool = False

    def __post_init__(self) -> None:
        if self.k < 1:
            raise BadConfiguration(f"evaluation.k is {self.k}; it must be at least 1")
        if self.candidates not in get_args(Candidates):
            allowed = " or ".join(get_args(Candidates))
            raise BadConfiguration(f"evaluation.candidates is {self.candidates!r}, not {allowed}")
        if self.seed < 0:
            raise BadConfiguration(f"evaluation.seed is {self.seed}; it must not be negative")

    @property
    def metric(self) -> str:
        """By which systems are compared; more is better."""
        return f"ndcg@{self.k}"

    @property
    def reported(self) -> tuple[str, ...]:
        """What workers report and tables show."""
        return tuple(f"{name}@{self.k}" for name in REPORTED)

    @property
    def measured(self) -> tuple[str, ...]:
        """All that an evaluation measures: of one held-out item, recall is the hit rate as well."""
        return (f"hr@{self.k}", *self.reported)

    def label(self, seeds: Sequence[int] = ()) -> str:
        """What to write beside every number that this protocol produced; see ``results``."""
        sampled = f"{N_NEGATIVES} sampled negatives ({seeded(seeds or (self.seed,))})"
        ranking = {"full": "full ranking", "sampled-99": sampled, "given": "published negatives"}
        leak = "; LEAKY (pfedrec-compat): held-out items are never drawn as negatives"
        label = f"{ranking[self.candidates]}, leave-one-out, k={self.k}"
        return label + leak if self.leaky else label

    def evaluate(
        self,
        score: Score,
        known: Known,
        target: Ids,
        *,
        given: Ids | None = None,
        batch: int = 256,
        lists: bool = False,
    ) -> RankingResult:
        """Rank every tested user's held-out item; the result does not depend on ``batch``.

        Args:
            score: Called once per batch of tested users, in increasing order.
            known: U histories; their items neither compete nor are shown.
            target: (U,) held-out items, ``NOT_TESTED`` where there is none.
            given: (U, C) published negatives, -1 where a user has fewer; only ``given`` needs them.
            batch: Users scored at once; memory is B x I.
            lists: Whether to keep the top k of each tested user.

        Raises:
            BadData: A held-out item is in its own user's history, an item is not scored, a user
                leaves fewer than 99 items to draw, ``known`` and ``target`` differ in users, or
                there are no published negatives where they are asked for.
            NotFinite: A candidate scores NaN or infinity.
            LayoutMismatch: ``score`` did not return one row per user.
        """
        if len(known.indptr) != len(target) + 1:
            raise BadData(f"{len(known.indptr) - 1} histories for {len(target)} held-out items")
        if self.candidates == "given" and given is None:
            raise BadData(
                "evaluation.candidates is 'given', and this data has no published negatives",
                hint="see docs/data.md for their file, or say 'sampled-99' or 'full'",
            )
        users = np.flatnonzero(target != NOT_TESTED)  # (T,)
        ranks, shown = [np.empty(0, np.int64)], [np.empty((0, self.k), np.int64)]
        for start in range(0, len(users), batch):
            some = users[start : start + batch]  # (B,)
            negatives = None if given is None else given[some]
            rank, top = self._evaluate_batch(
                score(some), known, some, target[some], negatives, lists=lists
            )
            ranks.append(rank)
            shown.append(top)
        return RankingResult(
            users, np.concatenate(ranks), self.k, np.concatenate(shown) if lists else None
        )

    def _evaluate_batch(
        self,
        scores: Scores,
        known: Known,
        users: Ids,
        positive: Ids,
        given: Ids | None,
        *,
        lists: bool,
    ) -> tuple[Ids, Ids]:
        if scores.ndim != 2 or len(scores) != len(users):  # noqa: PLR2004 - (B, I)
            raise LayoutMismatch(f"scores of {len(users)} users have shape {scores.shape}")
        n_items = scores.shape[1]
        check_items(positive, n_items)
        seen = known_mask(known, users, n_items)  # (B, I)
        check_unseen(seen, users, positive)
        excluded = seen
        if self.candidates == "sampled-99":
            excluded = all_but_sampled(seen, users, positive, N_NEGATIVES, self.seed)
        elif self.candidates == "given" and given is not None:
            excluded = all_but_given(seen, positive, given)
        shown = top_k(scores, seen, self.k) if lists else np.empty((0, self.k), np.int64)
        return rank_of(scores, positive, excluded), shown


def mean_of_sums(sites: Iterable[Sums]) -> dict[str, dict[str, float]]:
    """Means per region over the users of all sites, and over everybody as "all".

    mean = sum of the sites' sums / sum of their users, so that it is the same whether users are
    pooled or spread over sites. "users" is how many the means are over; a region without users
    has no means and is left out.

    Raises:
        BadData: Sites report different metrics, or call a region "all".
    """
    reports: dict[str, list[Mapping[str, float]]] = {}
    for site in sites:
        refuse_all(site)
        for region, sums in site.items():
            # Fewer than none were reported to former releases, and may cancel out others.
            if sums["users"] <= 0:
                continue
            reports.setdefault(region, []).append(sums)
            reports.setdefault(ALL, []).append(sums)
    return {region: _mean(reports[region]) for region in sorted(reports)}


def refuse_all(regions: Iterable[str]) -> None:
    """Pass if no region is called as all of them together are.

    Raises:
        BadData: One is.
    """
    if ALL in regions:
        raise BadData(
            f"a region is called {ALL!r}, which stands for all of them",
            hint="call it something else, or give its worker a label in [[fleet.workers]]",
        )


def _mean(reports: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = reports[0].keys()
    if any(report.keys() != names for report in reports):
        raise BadData("sites report different metrics: they were not tested by one protocol")
    totals = {name: fsum(report[name] for report in reports) for name in names}
    users = totals["users"]
    return {name: users if name == "users" else total / users for name, total in totals.items()}
