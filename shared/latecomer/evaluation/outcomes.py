"""How an outcome predictor is tested: probabilities of held-out outcomes, example by example.

Every metric is a mean over examples, so that it can be reported by regions and added up over sites
like those of rankings. For AUC that takes an identity: give each example the share of its own
site's examples of the other outcome that it is ordered rightly against, ties counting half. The
mean of these placements over the positives is the site's AUC, and so is their mean over the
negatives (DeLong et al. 1988, equations 2 and 3), and therefore over all. Over several sites the
mean is that of their AUCs: a model gains nothing by knowing which hospital sees sicker patients.

N examples, T tested ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from latecomer.errors import LayoutMismatch, NotFinite
from latecomer.evaluation.classification import CLIP
from latecomer.evaluation.ranking import Floats, Ids, Scores
from latecomer.evaluation.results import Regions, averaged, seeded, summed

#: Rows (B,) to the probability of each (B,).
Probability = Callable[[Ids], Scores]

#: In the target array: the outcome of this example is not held out.
NOT_TESTED = -1

REPORTED = ("auc", "accuracy", "log_loss", "brier")

#: Of two outcomes. Where a site's tested examples all came to the same, no pair can be ordered, and
#: its AUC is that of chance.
CHANCE = 0.5


@dataclass(frozen=True, slots=True)
class OutcomeResult:
    """Predicted probabilities of one site's held-out outcomes.

    Attributes:
        users: (T,) rows of the tested examples, increasing.
        labels: (T,) what came of them, 0 or 1.
        probability: (T,) of a 1, as predicted.
    """

    users: Ids
    labels: Ids
    probability: Floats

    def per_user(self) -> dict[str, Floats]:
        """Each metric's (T,) values: of AUC, right or wrong, surprise, squared error.

        Log loss is in nats, of probabilities clipped to [1e-7, 1 - 1e-7]; with it and with the
        Brier score (Brier 1950, for two outcomes), less is better.
        """
        shares = self._shares()
        return {**shares, "auc": linearised(self.labels, shares["auc"])}

    def _shares(self) -> dict[str, Floats]:
        """The same, with placements for AUC: what adds up over regions."""
        p = np.clip(self.probability, CLIP, 1.0 - CLIP)
        return {
            "auc": placements(self.labels, self.probability),
            "accuracy": ((self.probability >= CHANCE) == (self.labels == 1)).astype(np.float64),
            "log_loss": -np.log(np.where(self.labels == 1, p, 1.0 - p)),
            "brier": (self.probability - self.labels) ** 2,
        }

    def sums(self, by: Regions) -> dict[str, dict[str, float]]:
        """Tested examples and sums of the metrics per region; see ``results.summed``."""
        return summed(self.users, self._shares(), by)

    def means(self) -> dict[str, float]:
        """Tested examples and the metrics' means; empty if none was tested."""
        return averaged(self.users, self._shares())


def placements(labels: Ids, scores: Floats) -> Floats:
    """(T,) of each example, the share of the others' outcome that it is ordered rightly against."""
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if not len(positive) or not len(negative):
        return np.full(len(labels), CHANCE)
    above = _below(negative, scores) / len(negative)  # (T,)
    below = 1.0 - _below(positive, scores) / len(positive)  # (T,)
    return np.where(labels == 1, above, below)


def linearised(labels: Ids, placed: Floats) -> Floats:
    """(T,) placements, so that their variance / T is DeLong's variance of their mean, the AUC.

    AUC + T / P (V10 - AUC) of the P positives, and AUC + T / Q (V01 - AUC) of the Q negatives.
    """
    positive = labels == 1
    share = positive.mean() if len(labels) else 0.0
    if not 0.0 < share < 1.0:
        return placed
    auc = placed[positive].mean()
    return np.asarray(auc + (placed - auc) / np.where(positive, share, 1.0 - share))


def _below(others: Floats, scores: Floats) -> Floats:
    """(T,) how many of the sorted ``others`` lie below each score, equal ones counting half."""
    return (
        np.searchsorted(others, scores, side="left") + np.searchsorted(others, scores, side="right")
    ) / 2.0


@dataclass(frozen=True, slots=True)
class OutcomeProtocol:
    """Held-out outcomes of a hashed fifth of the examples; ``seed`` says which fifth."""

    seed: int = 0

    @property
    def metric(self) -> str:
        """By which systems are compared; more is better."""
        return "auc"

    @property
    def reported(self) -> tuple[str, ...]:
        """What workers report and tables show."""
        return REPORTED

    @property
    def measured(self) -> tuple[str, ...]:
        """All that an evaluation measures; ``ece`` is the expected calibration error."""
        return (*REPORTED, "ece")

    def label(self, seeds: Sequence[int] = ()) -> str:
        """What to write beside every number that this test produced; see ``results``."""
        fifth = seeded(seeds or (self.seed,))
        return f"outcomes of a held-out fifth ({fifth}), AUC within each site"

    def evaluate(
        self,
        score: Probability,
        known: object,
        target: Ids,
        *,
        given: Ids | None = None,
        lists: bool = False,
    ) -> OutcomeResult:
        """Predict every tested example.

        Args:
            score: Called once, with all tested rows in increasing order.
            known: Not looked at: an outcome competes with nothing.
            target: (N,) held-out outcomes, ``NOT_TESTED`` where there is none.
            given: Not looked at either.
            lists: Nothing is shown, so there is nothing to keep.

        Raises:
            NotFinite: A probability is NaN or infinite.
            LayoutMismatch: ``score`` did not return one probability per row.
        """
        del known, given, lists
        rows = np.flatnonzero(target != NOT_TESTED)  # (T,)
        probability = np.asarray(score(rows), np.float64)
        if probability.shape != rows.shape:
            raise LayoutMismatch(
                f"probabilities of {len(rows)} examples have shape {probability.shape}"
            )
        if not np.isfinite(probability).all():
            raise NotFinite(
                f"the probability of example {rows[~np.isfinite(probability)][0]} is no number"
            )
        return OutcomeResult(rows, target[rows], probability)
