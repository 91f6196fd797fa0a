"""Top-N for one user, computed where the user's data is: what he has is never recommended.

Of an example, the one thing that may come of it, and how probably.
"""

from dataclasses import dataclass

import numpy as np

from latecomer.errors import BadData
from latecomer.evaluation.ranking import top_k
from latecomer.interactions.schema import Catalogue
from latecomer.outcomes.fields import Fields
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer.tensors import State
from latecomer_worker.personal import PersonalTrainer
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer


@dataclass(frozen=True)
class Suggestion:
    """One line of a list."""

    item: str
    description: str
    score: float


def trainer(recipe: Recipe, site: Site, state: WorkerState, *, items: int) -> Trainer:
    """A recipe's family over a site, beside the site's own model where the recipe says so."""
    if recipe.personal.weights:
        return PersonalTrainer(recipe, site, state, items)
    return Trainer(
        family(recipe.model),
        site,
        recipe.protocol,
        state,
        social=recipe.social,
    )


def suggestions(
    trained: Trainer, model: State, catalogue: Catalogue | Fields, user: str, k: int
) -> list[Suggestion]:
    """The ``k`` best items that ``user`` does not have.

    Raises:
        BadData: The user is not known here; some that are, are named.
    """
    site = trained.site
    if user not in site.users:
        raise BadData(
            f"user {user!r} is not among the {len(site.users)} users of this worker",
            hint=f"try one of {', '.join(site.users[:3])}",
        )
    row = site.users.index(user)
    if isinstance(catalogue, Fields):
        name, probability = catalogue.outcome, float(trained.scores(model, row))
        return [Suggestion(name, f"{name}: probability {probability:.3f}", probability)]
    scores = trained.scores(model, row)[None]  # (1, I)
    history = site.split.everything()
    seen = np.zeros(scores.shape, dtype=bool)
    seen[0, history.items[history.indptr[row] : history.indptr[row + 1]]] = True
    best = top_k(scores, seen, k)[0]
    return [
        Suggestion(catalogue.items[item], catalogue.descriptions[item], float(scores[0, item]))
        for item in best
        if item >= 0
    ]


def introduced(site: Site, catalogue: Catalogue | Fields, user: str, n: int) -> str:
    """A user by the last ``n`` items he bought, newest first; or what is known of an example."""
    row = site.users.index(user)
    known = site.split.everything()
    if isinstance(catalogue, Fields):
        return f"{user}: {', '.join(catalogue.described(known.inputs[row]))}"
    items = known.items[known.indptr[row] : known.indptr[row + 1]][-n:][::-1]
    return f"customer {user} bought: {'; '.join(catalogue.descriptions[item] for item in items)}"
