"""Solving for users and stepping the item table, against answers worked out by other means."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest

from latecomer.interactions.splits import History
from latecomer.recommenders.als import FACTORS, MOMENT, SHARE, Als
from latecomer.recommenders.port import Trained
from latecomer.recommenders.settings import AlsModel
from latecomer.tensors import Array
from unit.latecomer.recommenders.families_under_test import (
    ITEMS,
    USERS,
    checkerboard,
    history,
)

SETTINGS = AlsModel(dimension=4, unobserved=0.2, l2=0.01)


def train(
    known: History, model: Mapping[str, Array], settings: AlsModel = SETTINGS, **plan: float
) -> Trained:
    return Als(settings).train(
        model,
        {},
        known,
        plan={"learning_rate": 1.0, **plan},
        rng=np.random.default_rng(0),
        should_stop=lambda: False,
    )


@pytest.fixture(scope="module")
def stationary() -> dict[str, Array]:
    """Where training on the whole checkerboard ends."""
    model = Als(SETTINGS).initial(ITEMS, seed=1)
    return train(checkerboard(), model, passes=300, learning_rate=0.5).model


def objective(settings: AlsModel, vectors: Array, factors: Array, known: History) -> float:
    """Hu et al. and Rendle et al., term by term, from dense (U, I) matrices."""
    has = np.zeros((len(known.lengths), len(factors)))
    has[known.user, known.items] = 1
    scores = vectors.astype(float) @ factors.T.astype(float)
    a, l2 = settings.unobserved, settings.l2
    users, items = has.shape
    return float(
        (has * (1 - scores) ** 2).sum()
        + a * (scores**2).sum()
        + l2 * ((has.sum(axis=1) + a * items) * (vectors**2).sum(axis=1)).sum()
        + l2 * ((has.sum(axis=0) + a * users) * (factors**2).sum(axis=1)).sum()
    )


def vectors_of(settings: AlsModel, factors: Array, known: History) -> Array:
    """(U, D) minimisers of the objective, each solved from its dense normal equations."""
    found = []
    for user in range(len(known.lengths)):
        own = factors[known.of_user(user).items].astype(float)
        ridge = settings.l2 * (len(own) + settings.unobserved * len(factors))
        matrix = settings.unobserved * factors.T @ factors + own.T @ own
        found.append(np.linalg.solve(matrix + ridge * np.eye(len(matrix)), own.sum(axis=0)))
    return np.array(found)


def slope(known: History, factors: Array) -> npt.NDArray[np.float64]:
    """(I, D) of the objective per user, by central differences with the vectors held."""
    vectors, nudge = vectors_of(SETTINGS, factors, known), 1e-4
    found = np.zeros(factors.shape)
    for at in np.ndindex(factors.shape):
        both = []
        for sign in (1, -1):
            moved = factors.astype(float)
            moved[at] += sign * nudge
            both.append(objective(SETTINGS, vectors, moved, known))
        found[at] = (both[0] - both[1]) / (2 * nudge) / len(vectors)
    return found


def test_a_score_is_the_closed_form_of_one_user_alone() -> None:
    """q = (1, 2), a = 0.5, l2 = 0.1: p = 1 / (0.5 * 5 + 1 + 0.1 * (1 + 0.5 * 2)) = 1 / 3.7."""
    settings = AlsModel(dimension=1, unobserved=0.5, l2=0.1)
    model = Als(settings).initial(2, seed=0)
    model[FACTORS][:, 0] = [1.0, 2.0]
    scores = Als(settings).scorer(model, {}, history([[0]]))(np.array([0]))
    assert scores[0].tolist() == pytest.approx([1 / 3.7, 2 / 3.7])


def test_an_old_basket_weighs_less_in_a_score() -> None:
    """With weights 1 and 1/2: p = 1.5 / (0.5 * 2 + 1.5 + 0.1 * (1.5 + 0.5 * 2)) = 1.5 / 2.75."""
    settings = AlsModel(dimension=1, unobserved=0.5, l2=0.1, decay=1.0)
    model = Als(settings).initial(2, seed=0)
    model[FACTORS][:, 0] = 1.0
    scores = Als(settings).scorer(model, {}, history([[0], [1]]))(np.array([0]))
    assert scores[0].tolist() == pytest.approx([1.5 / 2.75] * 2)


def test_the_loss_is_the_published_objective_per_user() -> None:
    model = Als(SETTINGS).initial(ITEMS, seed=1)
    known = checkerboard()
    vectors = vectors_of(SETTINGS, model[FACTORS], known)
    expected = objective(SETTINGS, vectors, model[FACTORS], known) / USERS
    assert train(known, model).loss == pytest.approx(expected, rel=1e-5)


def test_a_step_is_down_the_slope_in_the_shared_metric() -> None:
    """Shares and moment of a metric of one's own choice: the slope follows from the step."""
    model = Als(SETTINGS).initial(ITEMS, seed=1)
    model[FACTORS] *= 10
    model[SHARE][:] = np.linspace(0.1, 0.9, ITEMS)[:, None]
    model[MOMENT][:] = np.diag([1.0, 2.0, 3.0, 4.0]) + 0.5
    step = train(checkerboard(), model, learning_rate=0.25).model[FACTORS] - model[FACTORS]
    metric = model[MOMENT] + SETTINGS.l2 * np.eye(4)
    found = -step / 0.25 * (model[SHARE] + SETTINGS.unobserved) @ metric
    assert found == pytest.approx(slope(checkerboard(), model[FACTORS]) / 2, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("sites", [3, 6, USERS], ids=["thirds", "sixths", "devices"])
def test_where_training_on_everybody_ends_the_mean_of_the_sites_steps_is_zero(
    stationary: dict[str, Array], sites: int
) -> None:
    model, known = stationary, checkerboard()
    steps = []
    for part in np.split(np.arange(USERS), sites):
        start, end = known.indptr[part[0]], known.indptr[part[-1] + 1]
        indptr = known.indptr[part[0] : part[-1] + 2] - start
        own = History(indptr, known.items[start:end], known.time_s[start:end])
        steps.append(train(own, model).model[FACTORS] - model[FACTORS])
    typical = np.abs(steps).mean()
    assert typical > 1e-2
    assert np.abs(np.mean(steps, axis=0)).max() < 1e-3


def test_shares_and_moment_are_running_means_over_users() -> None:
    settings = AlsModel(dimension=2, unobserved=0.5, l2=0.1)
    model = Als(settings).initial(3, seed=0)
    model[SHARE][:, 0] = [0.5, 0.5, 0.0]
    known = history([[0]], [[0], [2]])
    trained = train(known, model, settings, learning_rate=0.5)
    assert trained.model[SHARE][:, 0].tolist() == [0.75, 0.25, 0.25]
    vectors = vectors_of(settings, model[FACTORS], known)
    assert trained.model[MOMENT] == pytest.approx(vectors.T @ vectors / 4, rel=1e-4)
    assert trained.examples == 2


def test_a_few_passes_come_close_to_where_many_end(stationary: dict[str, Array]) -> None:
    model = Als(SETTINGS).initial(ITEMS, seed=1)
    least = train(checkerboard(), stationary).loss
    few = train(checkerboard(), model, passes=8).model
    assert not math.isclose(train(checkerboard(), model).loss, least, rel_tol=0.5)
    assert train(checkerboard(), few).loss == pytest.approx(least, rel=0.02)


def test_a_moment_that_nobody_can_have_is_trained_past() -> None:
    """With minus l2 on its diagonal there would be no step to solve for, on any worker."""
    model = Als(SETTINGS).initial(ITEMS, seed=1)
    model[MOMENT][:] = -SETTINGS.l2 * np.eye(4)
    model[SHARE][:] = -SETTINGS.unobserved
    assert not train(checkerboard(), model).diverged()
