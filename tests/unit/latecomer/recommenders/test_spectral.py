"""The projection that counts give, against directions that can be worked out by hand."""

import numpy as np
import numpy.typing as npt
import pytest

from latecomer.recommenders import gram, spectral
from latecomer.recommenders.gram import ENTRANCES, EXITS, PAIRS, Gram
from latecomer.recommenders.settings import GramModel
from latecomer.tensors import Array
from unit.latecomer.recommenders.families_under_test import history

Floats = npt.NDArray[np.float64]

#: Sixteen users have items 0 and 1, one has 2 and 3, nobody has 4.
TWO_WORLDS = np.zeros((5, 5))
TWO_WORLDS[:2, :2] = 16
TWO_WORLDS[2:4, 2:4] = 1


def projected(counts: Floats, rank: int, weight: float = 1.0) -> Array:
    """(I, I) both matrices in one: from an item of a user to a score."""
    entrances, exits = spectral.projection(counts, rank=rank, weight=weight, exponent=1 / 4)
    assert entrances.shape == exits.shape == (len(counts), rank)
    return np.asarray(entrances @ exits.T)


def test_the_first_direction_is_what_most_have_in_common() -> None:
    """D^-1/4 is 1/2 for items 0 and 1: 4 [[1, 1], [1, 1]] has (1, 1) / sqrt 2, and half goes in."""
    expected = np.zeros((5, 5))
    expected[:2, :2] = 1 / 4
    assert projected(TWO_WORLDS, 1) == pytest.approx(expected, abs=1e-6)


def test_the_second_direction_favours_what_is_rare() -> None:
    """Of items 2 and 3, D is 1: what goes in is whole, and twice that of the popular pair."""
    expected = np.zeros((5, 5))
    expected[:2, :2], expected[2:4, 2:4] = 3 / 4, 3 / 2
    assert projected(TWO_WORLDS, 2, weight=3.0) == pytest.approx(expected, abs=1e-6)


def test_an_exponent_of_nothing_is_pure_svd() -> None:
    entrances, exits = spectral.projection(TWO_WORLDS, rank=2, weight=1.0, exponent=0.0)
    expected = np.zeros((5, 5))
    expected[:2, :2] = expected[2:4, 2:4] = 1 / 2
    assert entrances @ exits.T == pytest.approx(expected, abs=1e-6)


def test_directions_that_the_counts_do_not_have_are_nothing() -> None:
    assert projected(TWO_WORLDS, 4) == pytest.approx(projected(TWO_WORLDS, 2), abs=1e-6)
    assert not projected(np.zeros((3, 3)), 2).any()


def test_many_directions_are_those_of_a_full_decomposition() -> None:
    """Six crowds of different sizes, each with fifteen items of its own, and some of others."""
    rng = np.random.default_rng(0)
    crowd = rng.choice(6, size=600, p=np.array([8, 7, 6, 5, 4, 3]) / 33)
    own = crowd[:, None] == np.arange(90) // 15
    has = (rng.random(own.shape) < np.where(own, 0.5, 0.05)).astype(float)
    counts = has.T @ has
    scale = np.diag(counts) ** -0.25
    values, vectors = np.linalg.eigh(scale[:, None] * counts * scale)
    assert values[-6] > 2 * values[-7], "the seventh direction is of no crowd"
    expected = scale[:, None] * (vectors[:, -6:] @ vectors[:, -6:].T)
    assert np.abs(projected(counts, 6) - expected).max() < 1e-6


def test_the_same_counts_give_the_same_projection() -> None:
    first, second = (
        spectral.projection(TWO_WORLDS, rank=2, weight=1.0, exponent=1 / 4) for _ in range(2)
    )
    assert [each.tobytes() for each in first] == [each.tobytes() for each in second]


def test_whoever_leads_may_breathe_after_every_step() -> None:
    breaths: list[int] = []
    spectral.projection(
        TWO_WORLDS, rank=2, weight=1.0, exponent=1 / 4, between=lambda: breaths.append(1)
    )
    assert len(breaths) == spectral.STEPS


def test_the_best_few_are_put_in_exact_order_above_all_others() -> None:
    rough = np.array([[5.0, 4.0, 3.0, 9.0, 1.0]], np.float32)
    exact = np.array([[0.1, 0.4, 0.2, 0.9, 0.8]], np.float32)
    has = np.array([[False, False, False, True, False]])
    scores = spectral.head_first(rough, exact, has, 3)
    assert scores[0].tolist() == pytest.approx([9.0, 9.3, 9.1, 9.0, 1.0])


def test_without_places_nothing_is_put_above_anything() -> None:
    rough = np.array([[5.0, 4.0]], np.float32)
    assert spectral.head_first(rough, rough[:, ::-1], np.zeros((1, 2), bool), 0) is rough


def test_more_places_than_items_order_them_all() -> None:
    rough, exact = np.array([[3.0, 2.0, 1.0]], np.float32), np.array([[0.0, 0.5, 1.0]], np.float32)
    scores = spectral.head_first(rough, exact, np.zeros((1, 3), bool), 10)
    assert scores[0].tolist() == [3.0, 3.5, 4.0]


def test_of_whom_nothing_is_known_all_items_stay_alike() -> None:
    nothing = np.zeros((2, 6), np.float32)
    assert not spectral.head_first(nothing, nothing, nothing > 0, 3).any()


def model(settings: GramModel) -> dict[str, Array]:
    state = Gram(settings).initial(5, seed=0)
    state[PAIRS][:, 0] = TWO_WORLDS[np.triu_indices(5)]
    return state | gram.solved(settings, state)


def test_scores_are_those_of_the_weights_and_the_projection_together() -> None:
    """One of each pair is known: the other scores its weight, and 3 / 4 or 3 / 2 beside it."""
    plain = GramModel(l2=1.0, sources=5)
    both = GramModel(l2=1.0, sources=5, factors=2, factor_weight=3.0)
    known = history([[0]], [[2]])
    alone = Gram(plain).scorer(model(plain), {}, known)(np.arange(2))
    scores = Gram(both).scorer(model(both), {}, known)(np.arange(2))
    assert (scores - alone)[[0, 1], [1, 3]].tolist() == pytest.approx([3 / 4, 3 / 2], abs=1e-5)


def test_without_factors_nothing_is_published_of_them() -> None:
    assert {ENTRANCES, EXITS}.isdisjoint(model(GramModel()))


def test_a_head_needs_factors() -> None:
    with pytest.raises(ValueError, match="head needs factors"):
        GramModel(head=10)
