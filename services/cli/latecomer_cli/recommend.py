"""Top-N for one user, computed where the user's data is: what he has is never recommended.

Of an example, the one thing that may come of it, and how probably.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latecomer.errors import BadData
from latecomer.evaluation.baselines import popularity
from latecomer.evaluation.ranking import Scores, top_k
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
    """The ``k`` best items that ``user`` does not have; of examples, what may come of each.

    Raises:
        BadData: The user is not known here; some that are, are named.
    """
    site = trained.site
    if user not in site.users:
        somebody_new = "" if isinstance(catalogue, Fields) else "; for somebody new, name nobody"
        raise BadData(
            f"user {user!r} is not among the {len(site.users)} users of this worker",
            hint=f"try one of {', '.join(site.users[:3])}{somebody_new}",
        )
    if isinstance(catalogue, Fields):
        return list(_outcomes(trained, model, catalogue, user))
    row = site.users.index(user)
    scores = trained.scores(model, row)[None]  # (1, I)
    history = site.split.everything()
    seen = np.zeros(scores.shape, dtype=bool)
    seen[0, history.items[history.indptr[row] : history.indptr[row + 1]]] = True
    return _best(scores, seen, catalogue, k)


def _outcomes(trained: Trainer, model: State, fields: Fields, user: str) -> Iterator[Suggestion]:
    """What may come of every example of this id, in their order; of several, which one it is."""
    site, name = trained.site, fields.outcome
    rows = [row for row, each in enumerate(site.users) if each == user]
    inputs = site.split.everything().inputs
    for number, row in enumerate(rows, start=1):
        probability = float(trained.scores(model, row))
        known = ", ".join(fields.described(inputs[row]))
        which = f", example {number} of {len(rows)} ({known})" if len(rows) > 1 else ""
        yield Suggestion(name, f"{name}: probability {probability:.3f}{which}", probability)


def for_anybody(site: Site, catalogue: Catalogue | Fields, k: int) -> list[Suggestion]:
    """What most users of a site have, scored by how many: for those of whom nothing is known.

    Raises:
        BadData: Outcomes are predicted, and there is no example.
    """
    if isinstance(catalogue, Fields):
        raise BadData("an outcome is predicted of an example", hint="name one of this worker's")
    scores = popularity(site.split.everything(), len(catalogue))[None]  # (1, I)
    return _best(scores, scores == 0, catalogue, k)


def _best(
    scores: Scores, unwanted: npt.NDArray[np.bool_], catalogue: Catalogue, k: int
) -> list[Suggestion]:
    """Of one row (1, I) of scores, the best items that are wanted."""
    return [
        Suggestion(catalogue.items[item], catalogue.descriptions[item], float(scores[0, item]))
        for item in top_k(scores, unwanted, k)[0]
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
