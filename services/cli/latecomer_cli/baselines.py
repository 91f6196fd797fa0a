"""What a federation must beat, computed from the same sites by the same protocol."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from latecomer.evaluation.baselines import popularity, same_for_all
from latecomer.evaluation.protocol import RankingProtocol, RankingResult, Score
from latecomer.evaluation.ranking import Ids
from latecomer.interactions.splits import History, Target, pooled
from latecomer.recipe import Recipe
from latecomer.recommenders import derived
from latecomer.recommenders.families import family
from latecomer.recommenders.port import Plan
from latecomer.recommenders.social import smoothed
from latecomer.tensors import Array, applied
from latecomer_cli.recommend import protocol_of
from latecomer_worker.site import Site

#: From what is known of everybody, and how many items there are.
ScoreFrom = Callable[[History, int], Score]


def most_popular(
    sites: Iterable[Site], items: int, protocol: RankingProtocol, target: Target
) -> list[RankingResult]:
    """Everybody is recommended what most customers of all sites bought.

    A federation would have to add up its sites' counts for it; it is the bar, not a competitor.
    """
    sites = list(sites)
    counts = np.sum([popularity(site.split.known(target), items) for site in sites], axis=0)
    score = same_for_all(counts)
    return [
        protocol.evaluate(score, site.split.known(target), held_out(site, target), given=site.given)
        for site in sites
    ]


def linear(
    score_from: ScoreFrom,
    sites: Sequence[Site],
    items: int,
    protocol: RankingProtocol,
) -> list[RankingResult]:
    """Item-item weights from everything that is known of everybody before his test item."""
    everybody = pooled([site.split for site in sites]).known("test")
    score = score_from(everybody, items)
    starts = np.cumsum([0, *(len(site.users) for site in sites)])
    return [
        protocol.evaluate(
            _from(score, start), site.split.known("test"), site.split.test, given=site.given
        )
        for start, site in zip(starts, sites, strict=False)
    ]


def _from(score: Score, start: int) -> Score:
    """Of one site's users, who begin at ``start`` among everybody's."""
    return lambda users: score(users + start)


def local_only(recipe: Recipe, site: Site, items: int, *, rounds: int, seed: int) -> RankingResult:
    """The same model, trained by one site alone with as many passes as it took part in rounds."""
    model, private = _trained(recipe, site.split.train, items, rounds=rounds, seed=seed)
    return judged(recipe, site, model, private)


def centralised(
    recipe: Recipe, sites: Sequence[Site], items: int, *, rounds: int, seed: int
) -> list[RankingResult]:
    """The same model, trained on everybody's data in one place; judged site by site."""
    everybody = pooled([site.split for site in sites])
    model, private = _trained(recipe, everybody.train, items, rounds=rounds, seed=seed)
    ends = np.cumsum([len(site.users) for site in sites])
    starts = ends - [len(site.users) for site in sites]
    return [
        judged(recipe, site, model, {name: each[start:end] for name, each in private.items()})
        for site, start, end in zip(sites, starts, ends, strict=True)
    ]


def _trained(
    recipe: Recipe, train: History, items: int, *, rounds: int, seed: int
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The shared and the private state that one owner of ``train`` ends with."""
    model_family = family(recipe.model)
    layout, model = model_family.layout(items), model_family.initial(items, seed=recipe.seed)
    trained = model_family.train(
        {spec.name: model[spec.name] for spec in layout.held},
        model_family.initial_private(len(train.lengths)),
        train,
        plan=_repeated(recipe, max(1, rounds)),
        rng=np.random.default_rng(seed),
        should_stop=lambda: False,
    )
    model = applied(layout, model, trained.delta(layout, model))
    if (derive := derived.rule(recipe.model)) is not None:
        model |= derive(model)
    return model, trained.private


def judged(
    recipe: Recipe, site: Site, model: Mapping[str, Array], private: Mapping[str, Array]
) -> RankingResult:
    """A model and its users' private state on a site's test items."""
    known = site.split.known("test")
    score = family(recipe.model).scorer(model, private, known)
    smooth = smoothed(score, site.edges, recipe.social.weight)
    return protocol_of(recipe).evaluate(smooth, known, site.split.test, given=site.given)


def _repeated(recipe: Recipe, rounds: int) -> Plan:
    """The plan of a round as one of so many; statistics are counted once in any case."""
    plan = recipe.training.model_dump(mode="json")
    return {**plan, "passes": rounds * plan["passes"]} if "passes" in plan else plan


def held_out(site: Site, target: Target) -> Ids:
    """(U,) the items to predict."""
    return site.split.validation if target == "validation" else site.split.test
