"""What all sites learned together, mixed with what a site learned alone as far as that helps there.

    score'(u) = (1 - w) z(shared(u)) + w z(own(u)),

where z takes a user's scores of all items to mean 0 and standard deviation 1, so that two models of
any scale can be added; probabilities are mixed as log-odds. A site takes the weight w that does
best on its own validation items, as ``gated`` says. Nothing of its own model is sent.

B users of a batch, I items, T tested users.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latecomer.evaluation.intervals import standard_error, t_975
from latecomer.evaluation.ranking import Floats, Ids
from latecomer.recommenders import derived
from latecomer.recommenders.families import family
from latecomer.recommenders.port import Plan, Scorer
from latecomer.recommenders.settings import Model
from latecomer.tensors import Array, applied

#: Probabilities are kept this far from 0 and 1: nearer to 1, float32 knows nothing finer.
CLIP = 1e-7

#: Where nothing helps, all of five groups gain in one case of 32, of four in one of 16.
FEWEST = 5

#: A user whose scores are all alike has no deviation to divide by.
TINY = 1e-12


def trained_alone(
    settings: Model,
    known: Any,
    *,
    users: int,
    items: int,
    plan: Plan,
    rounds: int,
    seed: int,
    rng: np.random.Generator,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The shared and the private state that one owner of ``known`` ends with.

    Starts from version 0 as ``seed`` draws it, and learns as in so many ``rounds`` of the plan;
    statistics are counted once in any case.
    """
    model_family = family(settings)
    layout, model = model_family.layout(items), model_family.initial(items, seed=seed)
    passes = {"passes": max(1, rounds) * plan["passes"]} if "passes" in plan else {}
    trained = model_family.train(
        {spec.name: model[spec.name] for spec in layout.held},
        model_family.initial_private(users),
        known,
        plan={**plan, **passes},
        rng=rng,
        should_stop=lambda: False,
    )
    model = applied(layout, model, trained.delta(layout, model))
    if (derive := derived.rule(settings)) is not None:
        model |= derive(model)
    return model, trained.private


def mixed(shared: Scorer, own: Scorer, weight: float) -> Scorer:
    """The module's equation; a weight of 0 leaves the shared scores as they are."""
    if not weight:
        return shared

    def score(users: npt.NDArray[np.int64]) -> Array:
        ours, theirs = shared(users), own(users)
        if ours.ndim == 1:
            odds = (1 - weight) * _log_odds(ours) + weight * _log_odds(theirs)
            return np.asarray(1 / (1 + np.exp(-odds)), np.float32)
        return np.asarray((1 - weight) * _standard(ours) + weight * _standard(theirs), np.float32)

    return score


def gated(
    weights: Sequence[float],
    values: Callable[[float], Floats],
    groups: Ids | None = None,
    *,
    errors: Callable[[int], float] = lambda _groups: 1.0,
) -> float:
    """The weight that serves a site's users best on average, or 0, which is the simplest model.

    It must do so by more than ``errors`` standard errors of the difference (Breiman et al. 1984,
    section 3.4.3: of models within one standard error, the simplest): a few users are lucky with
    any model.

    Args:
        weights: To choose from, beside 0.
        values: What each tested user (T,) gets with a weight; more is better.
        groups: (T,) which group each is of, where several are of one: they are lucky together.
        errors: How many standard errors a gain over so many groups must exceed, ``certain`` say.
    """
    without = values(0.0)
    count = len(without if groups is None else set(groups))
    if count < 2:  # noqa: PLR2004 - one has no error
        return 0.0
    gains = {weight: values(weight) - without for weight in sorted(weights)}
    best = max(gains, key=lambda weight: (gains[weight].mean(), -weight), default=0.0)
    beyond = best and gains[best].mean() > errors(count) * standard_error(gains[best], groups)
    return best if beyond else 0.0


def certain(groups: int) -> float:
    """Standard errors beyond which a gain is none of luck: Student's t at 95 %.

    Luck alone exceeds one error at one site of six. Few groups know their own error badly, and of
    fewer than ``FEWEST`` all may gain by luck.
    """
    return t_975(groups - 1) if groups >= FEWEST else math.inf


def _standard(scores: Array) -> Array:
    """(B, I) each user's scores with mean 0 and standard deviation 1."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    return np.asarray(centred / (scores.std(axis=1, keepdims=True) + TINY))


def _log_odds(probability: Array) -> Array:
    p = np.clip(probability.astype(np.float64), CLIP, 1 - CLIP)
    return np.asarray(np.log(p) - np.log1p(-p))
