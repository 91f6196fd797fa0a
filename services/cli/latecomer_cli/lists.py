"""Top-N lists, computed where the users' data is: what a user has is never recommended to him.

Of an example, the one thing that may come of it, and how probably.

B users of a batch, I items.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import structlog

from latecomer.errors import BadData, NothingLearned
from latecomer.evaluation.baselines import popularity
from latecomer.evaluation.candidates import known_mask
from latecomer.evaluation.ranking import NO_ITEM, Mask, Scores, top_k
from latecomer.events import Version
from latecomer.interactions.schema import Catalogue
from latecomer.outcomes.fields import Fields
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer.recommenders.port import Scorer
from latecomer.tensors import State
from latecomer_worker.personal import PersonalTrainer
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer

log = structlog.get_logger()

#: What to ask where there are no users.
NOBODY = "is the export of this worker's data complete?"

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
        version: Which.
        made_at_s: When it was made, in Unix seconds.
        model: Its tensors.
        trainer: The worker's family, over its site.
        catalogue: What is recommended, or what is predicted.
        shown: (I,) items that may be recommended; None for all.
    """

    version: Version
    made_at_s: float
    model: State
    trainer: Trainer
    catalogue: Catalogue | Fields
    shown: Mask | None = None

    def only(self, items: Sequence[str]) -> "Served":
        """The same, of which nothing but ``items`` is recommended.

        What a shop sells since the catalogue was agreed on is no reason to stop: it is counted.

        Raises:
            BadData: None of them is in the catalogue, or outcomes are predicted.
        """
        if isinstance(self.catalogue, Fields):
            raise BadData("an outcome is predicted, and no item recommended", hint="name no items")
        unknown = [each for each in items if each not in self.catalogue.rows]
        if len(unknown) == len(items):
            raise BadData(
                f"none of {len(items)} items to choose from is in the catalogue",
                hint=f"it has {', '.join(self.catalogue.items[:3])}, …: one id a line",
            )
        if unknown:
            log.warning("items.unknown", count=len(unknown), of=len(items), first=unknown[0])
        shown = np.zeros(len(self.catalogue), np.bool_)
        shown[[row for each in items if (row := self.catalogue.rows.get(each)) is not None]] = True
        return replace(self, shown=shown)

    def everybody(self) -> list[str]:
        """The worker's users, each once."""
        return [*dict.fromkeys(self.trainer.site.users)]

    def to(self, users: Sequence[str], k: int) -> Iterator[tuple[str, list[Suggestion]]]:
        """For each of ``users`` the ``k`` best items that he does not have, a batch at a time.

        Of whom the version tells nothing, and scores every item alike, it is what most users have.
        Of examples, what may come of each of his.

        Raises:
            BadData: One of them is not known here; some that are, are named.
            NothingLearned: It is version 0.
        """
        if not self.version.number:
            raise NothingLearned(self.version)
        rows = self._rows()
        for user in users:
            if user not in rows:
                raise self._unknown(user, [*rows])
        score = self.trainer.scorer(self.model)
        if isinstance(self.catalogue, Fields):
            return ((user, self._outcomes(self.catalogue, score, rows[user])) for user in users)
        return self._ranked(self.catalogue, score, users, [rows[user][0] for user in users], k)

    def to_anybody(self, k: int) -> list[Suggestion]:
        """What most users have, scored by how many: for those of whom nothing is known.

        Raises:
            BadData: Outcomes are predicted, and there is no example.
        """
        if isinstance(self.catalogue, Fields):
            raise BadData("an outcome is predicted of an example", hint="name one of this worker's")
        popular = self._popularity(self.catalogue)[None]  # (1, I)
        nobodys = popular == 0  # that is no recommendation
        (found,) = _best(self.catalogue, popular, self._hidden(self.catalogue) | nobodys, k)
        return found

    def _popularity(self, catalogue: Catalogue) -> Scores:
        """(I,) how many users have each item."""
        return popularity(self.trainer.site.split.everything(), len(catalogue))

    def _hidden(self, catalogue: Catalogue) -> Mask:
        """(I,) what may not be recommended to anybody."""
        return np.zeros(len(catalogue), np.bool_) if self.shown is None else ~self.shown

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
            hint=f"try one of {', '.join(known[:3])}{somebody_new}" if known else NOBODY,
        )

    def _ranked(
        self,
        catalogue: Catalogue,
        score: Scorer,
        users: Sequence[str],
        rows: Sequence[int],
        k: int,
    ) -> Iterator[tuple[str, list[Suggestion]]]:
        history = self.trainer.site.split.everything()
        hidden, popular = self._hidden(catalogue), self._popularity(catalogue)
        at_a_time = max(1, min(USERS_AT_A_TIME, CELLS_AT_A_TIME // len(catalogue)))
        for start in range(0, len(rows), at_a_time):
            some = np.array(rows[start : start + at_a_time])  # (B,)
            scores = score(some)  # (B, I)
            excluded = known_mask(history, some, len(catalogue)) | hidden  # (B, I)
            told = np.where(_are_alike(scores, excluded), popular, scores)  # (B, I)
            yield from zip(users[start:], _best(catalogue, told, excluded, k), strict=False)

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


def _are_alike(scores: Scores, excluded: Mask) -> Mask:
    """(B, 1) whose items (B, I) that may be recommended, and are several, all score the same."""
    candidates = ~excluded
    lowest = scores.min(axis=1, where=candidates, initial=np.inf, keepdims=True)
    highest = scores.max(axis=1, where=candidates, initial=-np.inf, keepdims=True)
    return np.asarray((lowest == highest) & (candidates.sum(axis=1, keepdims=True) > 1))


def _best(
    catalogue: Catalogue, scores: Scores, excluded: Mask, k: int
) -> Iterator[list[Suggestion]]:
    """Of each row of (B, I) scores, the ``k`` best; fewer, where more are excluded."""
    for best, own in zip(top_k(scores, excluded, k), scores, strict=True):
        yield [
            Suggestion(catalogue.items[item], catalogue.descriptions[item], float(own[item]))
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
