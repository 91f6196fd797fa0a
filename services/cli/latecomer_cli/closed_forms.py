"""What others do in closed form with everybody's data in one place: shown beside, no criterion.

A bar that nobody tuned is a low one (Ferrari Dacrema et al. 2019, "Are we really making much
progress?"). Settings are therefore chosen as a recipe's own should be: of a grid, those that best
predict the last item before each user's test item, which is then known like all others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np

from latecomer.evaluation.baselines import ease, item_knn
from latecomer.evaluation.protocol import RankingProtocol, Score
from latecomer.evaluation.results import Result
from latecomer.interactions.splits import History, Split
from latecomer.recipe import Recipe
from latecomer_cli import baselines
from latecomer_worker.site import Site

#: From what is known of everybody, and how many items there are.
ScoreFrom = Callable[[History, int], Score]

#: Beyond, one of them takes minutes and gigabytes.
MAX_ITEMS = 8192

#: From few neighbours up and from no shrinkage up, as there; steps so small that hardly anything
#: better lies between them.
NEIGHBOURS = (5, 10, 20, 50, 200)
SHRINKAGES = (0.0, 10.0, 100.0)
REGULARISATIONS = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)


@dataclass(frozen=True)
class ClosedForm:
    """One of them, with its settings bound."""

    score_from: ScoreFrom
    settings: Mapping[str, float]

    def results(self, recipe: Recipe, sites: Sequence[Site], items: int) -> list[Result]:
        """Site by site, from everything that is known of everybody before his test item."""
        score = self.score_from(baselines.pooled(sites).known("test"), items)
        starts = np.cumsum([0, *(len(site.users) for site in sites)])
        return [
            baselines.asked(recipe, site, _from(score, start))
            for start, site in zip(starts, sites, strict=False)
        ]


def chosen(recipe: Recipe, sites: Sequence[Site], items: int) -> dict[str, ClosedForm]:
    """Each with the settings of its grid that predict best; none of outcomes, or of many items.

    Candidates are those of the recipe; where they are published, they are of test items alone, and
    as many are drawn.
    """
    split, protocol = baselines.pooled(sites), recipe.protocol
    if not (isinstance(split, Split) and isinstance(protocol, RankingProtocol)):
        return {}
    if items > MAX_ITEMS:
        return {}
    if protocol.candidates == "given":
        protocol = replace(protocol, candidates="sampled-99")
    value = partial(_value, protocol=protocol, split=split.rehearsed(), items=items)
    return {"item_knn": max(_item_knns(), key=value), "ease": max(_eases(), key=value)}


def _value(form: ClosedForm, *, protocol: RankingProtocol, split: Split, items: int) -> float:
    known = split.known("test")
    found = protocol.evaluate(form.score_from(known, items), known, split.test)
    return found.means()[protocol.metric]


def _item_knns() -> Iterator[ClosedForm]:
    for neighbours, shrinkage in product(NEIGHBOURS, SHRINKAGES):
        yield ClosedForm(
            partial(item_knn, neighbours=neighbours, shrinkage=shrinkage),
            {"neighbours": neighbours, "shrinkage": shrinkage},
        )


def _eases() -> Iterator[ClosedForm]:
    for regularisation in REGULARISATIONS:
        yield ClosedForm(
            partial(ease, regularisation=regularisation), {"regularisation": regularisation}
        )


def _from(score: Score, start: int) -> Score:
    """Of one site's users, who begin at ``start`` among everybody's."""
    return lambda users: score(users + start)
