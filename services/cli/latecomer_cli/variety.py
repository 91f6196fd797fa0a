"""What a system's lists are like apart from hits, over the tested users of all sites."""

from collections.abc import Sequence

import numpy as np

from latecomer.evaluation.beyond_accuracy import (
    catalogue_coverage,
    exposure_gini,
    intra_list_diversity,
    novelty,
    personalisation,
)
from latecomer.evaluation.protocol import RankingResult
from latecomer.evaluation.ranking import Floats
from latecomer.evaluation.results import Result
from latecomer.interactions.splits import History
from latecomer_worker.site import Site

#: An item is who knows it; projected onto so many random directions, two items keep their cosine
#: within about 1 / sqrt(128), and a list has 45 pairs (Achlioptas 2003).
DIRECTIONS = 128


def variety(results: Sequence[Result], sites: Sequence[Site], items: int) -> dict[str, float]:
    """Coverage, Gini, diversity, novelty and personalisation; nothing where nothing is shown."""
    shown = [each for each in results if isinstance(each, RankingResult)]
    if not shown or any(each.lists is None for each in shown):
        return {}
    lists = np.concatenate([each.lists for each in shown if each.lists is not None])  # (T, K)
    known = [site.split.known("test") for site in sites]
    popularity = np.bincount(np.concatenate([each.items for each in known]), minlength=items)
    users = sum(len(site.users) for site in sites)
    k = shown[0].k
    return {
        f"coverage@{k}": catalogue_coverage(lists, items),
        f"gini@{k}": exposure_gini(lists, items),
        f"diversity@{k}": float(intra_list_diversity(lists, _vectors(known, items)).mean()),
        f"novelty@{k}": float(novelty(lists, popularity.astype(np.float64), users).mean()),
        f"personalisation@{k}": personalisation(lists, items),
    }


def _vectors(known: Sequence[History], items: int) -> Floats:
    """(I, D) the sum of a random sign vector of everybody who knows the item."""
    rng = np.random.default_rng(0)
    vectors = np.zeros((items, DIRECTIONS))
    for history in known:
        signs = rng.choice((-1.0, 1.0), size=(len(history.lengths), DIRECTIONS))  # (U, D)
        np.add.at(vectors, history.items, signs[history.user])
    return vectors
