"""Top-N lists, computed where the users' data is: what a user has is never recommended to him.

Of an example, the one thing that may come of it, and how probably.

B users of a batch, I items, K items of a list.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from latecomer.errors import BadData
from latecomer.evaluation.baselines import popularity
from latecomer.evaluation.candidates import known_mask
from latecomer.evaluation.ranking import NO_ITEM, Ids, top_k
from latecomer.interactions.schema import Catalogue
from latecomer.outcomes.fields import Fields
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer.recommenders.port import Scorer
from latecomer.tensors import Array, State
from latecomer_worker.personal import PersonalTrainer
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer

#: So many users' scores are computed at once, or fewer of a large catalogue: 64 MiB of them. Beside
#: scores there is what a family makes of each user, and more is no faster.
USERS_AT_A_TIME = 256
CELLS_AT_A_TIME = 16 * 1024 * 1024


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


@dataclass(frozen=True)
class Served:
    """A version, as a worker's people are served from it.

    Attributes:
        version: Which; for people.
        model: Its tensors.
        trainer: The worker's family, over its site.
        catalogue: What is recommended, or what is predicted.
    """

    version: str
    model: State
    trainer: Trainer
    catalogue: Catalogue | Fields

    def everybody(self) -> list[str]:
        """The worker's users, each once."""
        return [*dict.fromkeys(self.trainer.site.users)]

    def to(self, users: Sequence[str], k: int) -> Iterator[tuple[str, list[Suggestion]]]:
        """For each of ``users`` the ``k`` best items that he does not have, a batch at a time.

        Of examples, what may come of each of his.

        Raises:
            BadData: One of them is not known here; some that are, are named.
        """
        rows = self._rows()
        for user in users:
            if user not in rows:
                raise self._unknown(user, [*rows])
        score = self.trainer.scorer(self.model)
        if isinstance(self.catalogue, Fields):
            return ((user, self._outcomes(self.catalogue, score, rows[user])) for user in users)
        return self._best(self.catalogue, score, users, [rows[user][0] for user in users], k)

    def to_anybody(self, k: int) -> list[Suggestion]:
        """What most users have, scored by how many: for those of whom nothing is known.

        Raises:
            BadData: Outcomes are predicted, and there is no example.
        """
        if isinstance(self.catalogue, Fields):
            raise BadData("an outcome is predicted of an example", hint="name one of this worker's")
        history = self.trainer.site.split.everything()
        scores = popularity(history, len(self.catalogue))[None]  # (1, I)
        (best,) = top_k(scores, scores == 0, k)
        return _suggested(self.catalogue, best, scores[0])

    def _rows(self) -> dict[str, list[int]]:
        """Of every user, his row; of who has several examples, theirs."""
        rows: dict[str, list[int]] = {}
        for row, user in enumerate(self.trainer.site.users):
            rows.setdefault(user, []).append(row)
        return rows

    def _unknown(self, user: str, known: Sequence[str]) -> BadData:
        ranked = isinstance(self.catalogue, Catalogue)
        somebody_new = "; for somebody new, name nobody" if ranked else ""
        return BadData(
            f"user {user!r} is not among the {len(known)} users of this worker",
            hint=f"try one of {', '.join(known[:3])}{somebody_new}",
        )

    def _best(
        self,
        catalogue: Catalogue,
        score: Scorer,
        users: Sequence[str],
        rows: Sequence[int],
        k: int,
    ) -> Iterator[tuple[str, list[Suggestion]]]:
        history = self.trainer.site.split.everything()
        at_a_time = max(1, min(USERS_AT_A_TIME, CELLS_AT_A_TIME // len(catalogue)))
        for start in range(0, len(rows), at_a_time):
            some = np.array(rows[start : start + at_a_time])  # (B,)
            scores = score(some)  # (B, I)
            best = top_k(scores, known_mask(history, some, len(catalogue)), k)  # (B, K)
            for user, his, own in zip(users[start:], best, scores, strict=False):
                yield user, _suggested(catalogue, his, own)

    def _outcomes(self, fields: Fields, score: Scorer, rows: Sequence[int]) -> list[Suggestion]:
        """What may come of the examples of one id, in their order; of several, which one it is."""
        inputs = self.trainer.site.split.everything().inputs
        found = []
        for number, row in enumerate(rows, start=1):
            (probability,) = score(np.array([row])).tolist()
            known = ", ".join(fields.described(inputs[row]))
            which = f", example {number} of {len(rows)} ({known})" if len(rows) > 1 else ""
            description = f"{fields.outcome}: probability {probability:.3f}{which}"
            found.append(Suggestion(fields.outcome, description, probability))
        return found


def _suggested(catalogue: Catalogue, best: Ids, scores: Array) -> list[Suggestion]:
    """Of one user's list (K,), which may be shorter, and his scores (I,)."""
    return [
        Suggestion(catalogue.items[item], catalogue.descriptions[item], float(scores[item]))
        for item in best
        if item != NO_ITEM
    ]


def introduced(site: Site, catalogue: Catalogue | Fields, user: str, n: int) -> str:
    """A user by the last ``n`` items he bought, newest first; or what is known of an example."""
    row = site.users.index(user)
    known = site.split.everything()
    if isinstance(catalogue, Fields):
        return f"{user}: {', '.join(catalogue.described(known.inputs[row]))}"
    items = known.items[known.indptr[row] : known.indptr[row + 1]][-n:][::-1]
    return f"customer {user} bought: {'; '.join(catalogue.descriptions[item] for item in items)}"
