"""What a federation must beat, computed from the same sites by the same protocol."""

from collections.abc import Mapping, Sequence

import numpy as np

from latecomer.evaluation.baselines import always, popularity, prevalence, same_for_all
from latecomer.evaluation.ranking import Ids
from latecomer.evaluation.results import Result
from latecomer.interactions.splits import Target
from latecomer.recipe import ExampleData, Recipe
from latecomer.recommenders import derived
from latecomer.recommenders.families import family
from latecomer.recommenders.port import Plan
from latecomer.tensors import Array, applied
from latecomer_worker.site import Site, Split


def most_popular(recipe: Recipe, sites: Sequence[Site], items: int, target: Target) -> list[Result]:
    """Everybody is recommended what most customers of all sites bought.

    Of every example is said how often the outcome came about. A federation would have to add up its
    sites' counts for it; it is the bar, not a competitor.
    """
    known = [site.split.known(target) for site in sites]
    if isinstance(recipe.data, ExampleData):
        score = always(prevalence(known))
    else:
        score = same_for_all(np.sum([popularity(each, items) for each in known], axis=0))
    return [
        recipe.protocol.evaluate(score, each, held_out(site, target))
        for each, site in zip(known, sites, strict=True)
    ]


def local_only(recipe: Recipe, site: Site, items: int, *, rounds: int, seed: int) -> Result:
    """The same model, trained by one site alone with as many passes as it took part in rounds."""
    model, private = _trained(recipe, site.split, items, rounds=rounds, seed=seed)
    return judged(recipe, site, model, private)


def centralised(
    recipe: Recipe, sites: Sequence[Site], items: int, *, rounds: int, seed: int
) -> list[Result]:
    """The same model, trained on everybody's data in one place; judged site by site."""
    splits = [site.split for site in sites]
    everybody = type(splits[0]).pooled(splits)
    model, private = _trained(recipe, everybody, items, rounds=rounds, seed=seed)
    ends = np.cumsum([len(site.users) for site in sites])
    starts = ends - [len(site.users) for site in sites]
    return [
        judged(recipe, site, model, {name: each[start:end] for name, each in private.items()})
        for site, start, end in zip(sites, starts, ends, strict=True)
    ]


def _trained(
    recipe: Recipe, split: Split, items: int, *, rounds: int, seed: int
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The shared and the private state that one owner of ``split`` ends with."""
    model_family = family(recipe.model)
    layout, model = model_family.layout(items), model_family.initial(items, seed=recipe.seed)
    trained = model_family.train(
        {spec.name: model[spec.name] for spec in layout.held},
        model_family.initial_private(len(split.test)),
        split.train,
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
) -> Result:
    """A model and its users' private state on a site's test items."""
    known = site.split.known("test")
    score = family(recipe.model).scorer(model, private, known)
    return recipe.protocol.evaluate(score, known, site.split.test)


def _repeated(recipe: Recipe, rounds: int) -> Plan:
    """The plan of a round as one of so many; statistics are counted once in any case."""
    plan = recipe.training.model_dump(mode="json")
    return {**plan, "passes": rounds * plan["passes"]} if "passes" in plan else plan


def held_out(site: Site, target: Target) -> Ids:
    """(U,) the items to predict."""
    return site.split.validation if target == "validation" else site.split.test
