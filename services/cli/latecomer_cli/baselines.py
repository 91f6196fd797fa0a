"""What a federation must beat, computed from the same sites by the same protocol."""

from collections.abc import Mapping, Sequence

import numpy as np

from latecomer.data import ExampleData
from latecomer.evaluation.baselines import always, popularity, prevalence, same_for_all
from latecomer.evaluation.outcomes import Probability
from latecomer.evaluation.protocol import Score
from latecomer.evaluation.results import Result
from latecomer.interactions.splits import Target
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer.tensors import Array
from latecomer_cli.alone import alone
from latecomer_worker.nearby import nearby
from latecomer_worker.personal import Personal
from latecomer_worker.site import Site, Split, together


def most_popular(recipe: Recipe, sites: Sequence[Site], items: int, target: Target) -> list[Result]:
    """Everybody is recommended what most customers of all sites bought.

    Of every example is said how often the outcome came about. A federation would have to add up its
    sites' counts for it; it is the bar, not a competitor.
    """
    known = [_once(site).known(target) for site in sites]
    if isinstance(recipe.data, ExampleData):
        score = always(prevalence(known))
    else:
        score = same_for_all(np.sum([popularity(each, items) for each in known], axis=0))
    return [asked(recipe, site, score, target) for site in sites]


def rounds_alone(taken: Mapping[str, int]) -> dict[str, int]:
    """How many rounds each site learns alone, by those that it took part in.

    Alone nobody is slow or absent: nobody has fewer than all had on average.
    """
    often = on_average(taken)
    return {name: max(own, often) for name, own in taken.items()}


def on_average(taken: Mapping[str, int]) -> int:
    """Rounds that a site took part in, which are those of one place."""
    return round(float(np.mean([*taken.values()])))


def local_only(recipe: Recipe, site: Site, items: int, *, rounds: int, seed: int) -> Result:
    """The same model, trained by one site alone in as many ``rounds``, or fewer; see ``alone``."""
    model, private = alone(
        recipe, [site.split], items, rounds=rounds, seed=seed, groups=together([site])
    )
    return judged(recipe, site, model, private)


def centralised(
    recipe: Recipe, sites: Sequence[Site], items: int, *, rounds: int, seed: int
) -> list[Result]:
    """The same, trained on everybody's data in one place; judged site by site."""
    work = _scaled(recipe, len(sites))
    model, private = alone(
        work, _splits(sites), items, rounds=rounds, seed=seed, groups=together(sites)
    )
    ends = np.cumsum([len(site.users) for site in sites])
    starts = ends - [len(site.users) for site in sites]
    return [
        judged(recipe, site, model, {name: each[start:end] for name, each in private.items()})
        for site, start, end in zip(sites, starts, ends, strict=True)
    ]


def pooled(sites: Sequence[Site]) -> Split:
    """Everybody's data; nobody's counts twice."""
    splits = _splits(sites)
    return type(splits[0]).pooled(splits)


def _splits(sites: Sequence[Site]) -> list[Split]:
    return [_once(site) for site in sites]


def _once(site: Site) -> Split:
    """A site's data, but of who is tested at another one: there it counts."""
    return site.split if site.elsewhere is None else site.split.without(site.elsewhere)


def judged(
    recipe: Recipe, site: Site, model: Mapping[str, Array], private: Mapping[str, Array]
) -> Result:
    """A model and its users' private state on a site's test items."""
    known = site.split.known("test")
    score = family(recipe.model).scorer(model, private, known)
    return asked(recipe, site, nearby(score, site, recipe.social))


def personalised(
    recipe: Recipe,
    site: Site,
    items: int,
    model: Mapping[str, Array],
    private: Mapping[str, Array],
) -> Result:
    """The same, mixed with what the site trained alone as far as that helps there."""
    own = Personal(recipe, site, items)
    weight = own.weight(model, private)
    return asked(recipe, site, own.scorer(model, private, "test", weight=weight))


def asked(
    recipe: Recipe, site: Site, score: Score | Probability, target: Target = "test"
) -> Result:
    """A site's questions, as the recipe asks them."""
    known = site.split.known(target)
    held_out = site.asked(target)
    return recipe.protocol.evaluate(score, known, held_out, given=site.given, lists=True)


def _scaled(recipe: Recipe, sites: int) -> Recipe:
    """With as many examples in a pass as all sites draw together, where that is limited."""
    most = getattr(recipe.training, "examples_per_pass", 0)
    if not most:
        return recipe
    training = recipe.training.model_copy(update={"examples_per_pass": most * sites})
    return recipe.model_copy(update={"training": training})
