"""What a system's lists are like apart from hits, over the tested users of all sites."""

from collections.abc import Sequence

import numpy as np

from latecomer.evaluation.beyond_accuracy import (
    acquaintance,
    catalogue_coverage,
    exposure_gini,
    intra_list_diversity,
    novelty,
    personalisation,
)
from latecomer.evaluation.protocol import RankingResult
from latecomer.evaluation.ranking import Ids
from latecomer.evaluation.results import Result
from latecomer.interactions.splits import History
from latecomer_worker.site import Site


def variety(results: Sequence[Result], sites: Sequence[Site], items: int) -> dict[str, float]:
    """Coverage, Gini, diversity, novelty and personalisation; nothing where nothing is shown."""
    shown = [each for each in results if isinstance(each, RankingResult)]
    if not shown or any(each.lists is None for each in shown):
        return {}
    lists = np.concatenate([each.lists for each in shown if each.lists is not None])  # (T, K)
    known = [site.split.known("test") for site in sites]
    popularity = np.bincount(np.concatenate([each.items for each in known]), minlength=items)
    users = sum(len(site.users) for site in sites)
    alike = acquaintance(*_who_knows_what(known), items)
    k = shown[0].k
    return {
        f"coverage@{k}": catalogue_coverage(lists, items),
        f"gini@{k}": exposure_gini(lists, items),
        f"diversity@{k}": float(intra_list_diversity(lists, alike).mean()),
        f"novelty@{k}": float(novelty(lists, popularity.astype(np.float64), users).mean()),
        f"personalisation@{k}": personalisation(lists, items),
    }


def _who_knows_what(known: Sequence[History]) -> tuple[Ids, Ids]:
    """(N,) users of all sites, numbered throughout, and (N,) the items that each knows."""
    begins = np.cumsum([0, *(len(each.lengths) for each in known)])
    users = [begin + each.user for begin, each in zip(begins, known, strict=False)]
    return np.concatenate(users), np.concatenate([each.items for each in known])
