"""The product and the network, against scores and losses worked out by hand."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from latecomer.recommenders import neural_cf
from latecomer.recommenders.descent_settings import NeuralCfModel
from latecomer.recommenders.neural_cf import (
    BIAS,
    FACTORS,
    HIDDEN,
    OUTPUT,
    PRODUCT,
    SQUARES,
    VECTOR,
    NeuralCf,
)
from latecomer.recommenders.port import Trained
from latecomer.tensors import Array
from unit.latecomer.recommenders.families_under_test import ITEMS, USERS, checkerboard, history

SETTINGS = NeuralCfModel(dimension=1, hidden=2)

#: Two items: rows (q, m) = (2, 1) and (-1, 3).
MODEL = {
    FACTORS: np.array([[2, 1], [-1, 3]], np.float32),
    BIAS: np.array([[0.5], [0]], np.float32),
    PRODUCT: np.array([3], np.float32),
    HIDDEN: np.array([[1, 1, -1], [-1, 2, 0]], np.float32),
    OUTPUT: np.array([10, 1], np.float32),
}


def private(*vectors: list[float]) -> dict[str, Array]:
    return {
        VECTOR: np.array(vectors, np.float32),
        SQUARES: np.zeros((len(vectors), 1), np.float32),
    }


def learn(
    model: Mapping[str, Array],
    own: Mapping[str, Array],
    settings: NeuralCfModel = SETTINGS,
    **plan: float,
) -> Trained:
    return NeuralCf(settings).train(
        model,
        own,
        history([[0]]),
        plan=plan,
        rng=np.random.default_rng(0),
        should_stop=lambda: False,
    )


def test_a_score_is_the_product_plus_the_network_plus_the_bias() -> None:
    """User (p, v) = (1, 4): 3 * 1 * 2 + 10 relu(4 + 1 - 1) + relu(-4 + 2) + 0.5 = 46.5."""
    score = NeuralCf(SETTINGS).scorer(MODEL, private([1, 4], [0, 0]), history([], []))
    scores = score(np.array([0, 1]))
    assert scores[0].tolist() == [46.5, 3 * 1 * -1 + 10 * (4 + 3 - 1) + (-4 + 6)]
    assert scores[1].tolist() == [0 + 10 * 0 + 2 + 0.5, 10 * 2 + 6]


def test_users_are_scored_a_few_at_a_time_where_there_are_many_items(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = private([1, 4], [0, 0], [2, -1])
    users = np.array([2, 0, 1, 0])
    whole = NeuralCf(SETTINGS).scorer(MODEL, own, history([], [], []))(users)
    monkeypatch.setattr(neural_cf, "HIDDEN_AT_A_TIME", 4)
    assert NeuralCf(SETTINGS).scorer(MODEL, own, history([], [], []))(users).tolist() == (
        whole.tolist()
    )
    assert whole[1].tolist() == whole[3].tolist() == [46.5, 59.0]


def test_the_loss_is_cross_entropy_half_of_targets_half_of_negatives() -> None:
    """One user has item 0, and item 1 is the only negative: logits 2.5 and 26."""
    trained = learn(MODEL, private([0, 0]), passes=1)
    positive, negative = math.log1p(math.exp(-2.5)), 26.0
    assert trained.loss == pytest.approx((positive + negative) / 2, rel=1e-5)
    assert trained.examples == 1


def test_who_never_trained_gets_what_is_liked_in_general() -> None:
    family = NeuralCf(NeuralCfModel(dimension=4, hidden=8))
    known = history(*[[[item] for item in range(user % 4 + 1)] for user in range(40)])
    trained = family.train(
        family.initial(ITEMS, seed=1),
        family.initial_private(40),
        known,
        plan={"passes": 80, "private_learning_rate": 0.0},
        rng=np.random.default_rng(0),
        should_stop=lambda: False,
    )
    scores = family.scorer(trained.model, family.initial_private(1), history([]))(np.array([0]))
    assert np.argsort(-scores[0])[:4].tolist() == [0, 1, 2, 3]


def test_only_users_of_a_batch_change_and_only_at_home() -> None:
    family = NeuralCf(NeuralCfModel(dimension=4, hidden=8))
    users = history([[0], [1]], [], [[2]])
    trained = family.train(
        family.initial(ITEMS, seed=1),
        family.initial_private(3),
        users,
        plan={},
        rng=np.random.default_rng(0),
        should_stop=lambda: False,
    )
    moved = trained.private[VECTOR].any(axis=1)
    assert moved.tolist() == [True, False, True]
    assert {VECTOR, SQUARES}.isdisjoint(trained.model)


def test_a_users_step_does_not_depend_on_how_many_share_the_batch() -> None:
    """The gradient of a mean over users is taken as that of the user alone."""
    family = NeuralCf(NeuralCfModel(dimension=4, hidden=8))
    model = family.initial(ITEMS, seed=1)
    moved = []
    for known in (history([[0]]), history([[0]], [[0]], [[0]])):
        trained = family.train(
            model,
            family.initial_private(len(known.lengths)),
            known,
            plan={"private_decay": 0.0},
            rng=np.random.default_rng(0),
            should_stop=lambda: False,
        )
        moved.append(trained.private)
    assert np.allclose(moved[0][SQUARES][0], moved[1][SQUARES][0], rtol=1e-4)
    assert np.allclose(moved[0][VECTOR][0], moved[1][VECTOR][0], rtol=1e-4)


def test_the_held_out_item_is_a_negative_like_any_other() -> None:
    """Whatever a user does not have in training is pushed down, the missing item included."""
    family = NeuralCf(NeuralCfModel(dimension=4, hidden=8))
    known = checkerboard()
    model, own = family.initial(ITEMS, seed=1), family.initial_private(USERS)
    missing = np.arange(USERS), np.arange(USERS) % ITEMS
    before = family.scorer(model, own, known)(np.arange(USERS))[missing]
    trained = family.train(
        model,
        own,
        known,
        plan={"passes": 300, "private_learning_rate": 0.5},
        rng=np.random.default_rng(0),
        should_stop=lambda: False,
    )
    after = family.scorer(trained.model, trained.private, known)(np.arange(USERS))
    has = np.zeros(after.shape, bool)
    has[known.user, known.items] = True
    assert after[missing].mean() < before.mean() - 1
    assert after[has].min() > after[missing].max()
