"""Counting pairs and solving for weights, against answers that can be worked out by hand."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.errors import BadConfiguration, Unsolvable
from latecomer.interactions.splits import History
from latecomer.recommenders import gram
from latecomer.recommenders.gram import COUNTED, PAIRS, SOURCES, WEIGHTS, Gram
from latecomer.recommenders.port import Trained
from latecomer.recommenders.settings import GramModel
from latecomer.tensors import Array, applied
from unit.latecomer.recommenders.families_under_test import history

Baskets = Sequence[Sequence[Sequence[int]]]

#: Two users have items 0 and 1, one has 1 and 2.
THREE: Baskets = [[[0], [1]], [[1, 0]], [[1], [2]]]


def count(known: History, items: int, before: Trained | None = None) -> Trained:
    family = Gram(GramModel())
    return family.train(
        family.initial(items, seed=0),
        before.private if before else family.initial_private(len(known.lengths)),
        known,
        plan={},
        rng=np.random.default_rng(0),
        should_stop=lambda: False,
    )


def pairs(trained: Trained, items: int) -> Array:
    """(C,) what is to be added."""
    layout = Gram(GramModel()).layout(items)
    return applied(layout, layout.zeros(), trained.additions)[PAIRS][:, 0]


def matrix(cells: Array, items: int) -> Array:
    upper = np.zeros((items, items), np.float32)
    upper[np.triu_indices(items)] = cells
    return upper + np.triu(upper, 1).T


def solve(settings: GramModel, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(I, I) weights, column j for target j, from dense counts."""
    items = len(counts)
    model = Gram(settings).initial(items, seed=0)
    model[PAIRS][:, 0] = counts[np.triu_indices(items)]
    found = gram.solved(settings, model)
    weights = np.zeros((items, items))
    np.put_along_axis(weights, found[SOURCES].astype(int), found[WEIGHTS].astype(float), axis=1)
    return weights.T


def test_pairs_are_counted_once_per_user_and_every_item_with_itself() -> None:
    trained = count(history(*THREE), 3)
    assert matrix(pairs(trained, 3), 3).tolist() == [[2, 2, 0], [2, 3, 1], [0, 1, 1]]
    assert trained.private[COUNTED][:, 0].tolist() == [0b011, 0b011, 0b110]
    assert trained.examples == 6


def test_only_the_pairs_that_are_there_travel() -> None:
    change = count(history([[0], [2]]), 4).additions[PAIRS]
    assert change.rows is not None
    assert change.rows.tolist() == [0, 2, 7]  # 0-0, 0-2, 2-2 of the rows 0-0..0-3, 1-1..1-3, 2-2..


def test_the_weights_are_the_published_closed_form() -> None:
    """G = [[1, 1], [1, 2]] and l2 = 1: P = [[3, -1], [-1, 2]] / 5, so B_10 = 1/3 and B_01 = 1/2."""
    weights = solve(GramModel(l2=1.0), np.array([[1.0, 1.0], [1.0, 2.0]]))
    assert weights == pytest.approx(np.array([[0, 1 / 2], [1 / 3, 0]]), abs=1e-7)


def test_dropout_adds_to_an_items_penalty_what_is_counted_of_it() -> None:
    """With half dropped, D = diag(2, 3): P = [[5, -1], [-1, 3]] / 14, B_10 = 1/5, B_01 = 1/3."""
    weights = solve(GramModel(l2=1.0, dropout=0.5), np.array([[1.0, 1.0], [1.0, 2.0]]))
    assert weights == pytest.approx(np.array([[0, 1 / 3], [1 / 5, 0]]), abs=1e-7)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_is_a_part(dropout: float) -> None:
    with pytest.raises(ValueError, match="dropout"):
        GramModel(dropout=dropout)


def test_more_items_than_one_block_are_inverted_as_well() -> None:
    rng = np.random.default_rng(0)
    has = (rng.random((400, gram.BLOCK + 30)) < 0.05).astype(float)
    counts = has.T @ has
    inverse = np.linalg.inv(counts + 5.0 * np.eye(len(counts)))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    assert np.abs(solve(GramModel(l2=5.0), counts) - expected).max() < 1e-6


def test_of_every_target_the_largest_weights_are_kept() -> None:
    rng = np.random.default_rng(1)
    has = (rng.random((200, 12)) < 0.3).astype(float)
    every = solve(GramModel(l2=1.0), has.T @ has)
    few = solve(GramModel(l2=1.0, sources=3), has.T @ has)
    for target in range(12):
        kept = np.flatnonzero(few[:, target])
        assert set(kept) == set(np.argsort(-np.abs(every[:, target]))[:3])
        assert few[kept, target] == pytest.approx(every[kept, target])


def test_whoever_leads_may_breathe_between_two_blocks() -> None:
    items = 2 * gram.BLOCK + 1
    model = Gram(GramModel()).initial(items, seed=0)
    breaths: list[int] = []
    gram.solved(GramModel(), model, lambda: breaths.append(1))
    assert len(breaths) == 3


def test_an_old_basket_weighs_less() -> None:
    family = Gram(GramModel(l2=1.0, decay=1.0))
    model = family.initial(3, seed=0)
    model[SOURCES][2] = [0, 1, 2]
    model[WEIGHTS][2] = [1.0, 1.0, 0.0]
    known = history([[0], [1]], [[1], [0]], [[0, 1]])
    scores = family.scorer(model, {}, known)(np.arange(3))
    assert scores[:, 2].tolist() == pytest.approx([1.5, 1.5, 2.0])


@given(
    then=st.lists(st.sets(st.integers(0, 39)), min_size=3, max_size=3),
    now=st.lists(st.sets(st.integers(0, 39)), min_size=3, max_size=3),
)
def test_what_changed_since_added_to_what_was_counted_is_what_there_is(
    then: list[set[int]], now: list[set[int]]
) -> None:
    """Also where items were put before what was counted, or were taken back."""
    former = history(*[[[item] for item in each] for each in then])
    latter = history(*[[[item] for item in each] for each in now])
    first = count(former, 40)
    since = count(latter, 40, before=first)
    assert since.examples == sum(len(a ^ b) for a, b in zip(then, now, strict=True))
    assert np.array_equal(pairs(first, 40) + pairs(since, 40), pairs(count(latter, 40), 40))


def test_who_has_nothing_new_adds_nothing() -> None:
    known = history(*THREE)
    trained = count(known, 3, before=count(known, 3))
    assert (trained.examples, trained.additions) == (0, {})


def test_the_last_item_of_the_largest_catalogue_is_remembered() -> None:
    last = gram.MAX_ITEMS - 1
    words = gram._words(history([[0], [last]]))
    assert gram._items(words[0]).tolist() == [0, last]


@pytest.mark.parametrize(
    "counts",
    [[[-1.0, 0.0], [0.0, 1.0]], [[1.0, 5.0], [5.0, 1.0]], [[-3.0, 0.0], [0.0, 1.0]]],
    ids=["singular", "more together than alone", "negative"],
)
def test_pairs_that_nobodys_items_make_cannot_be_solved(counts: list[list[float]]) -> None:
    with pytest.raises(Unsolvable, match="positive definite"):
        solve(GramModel(l2=1.0), np.array(counts))


def test_a_catalogue_that_takes_too_long_to_solve_is_refused_with_a_way_out() -> None:
    with pytest.raises(BadConfiguration, match="up to 8192 items") as error:
        Gram(GramModel()).layout(gram.MAX_ITEMS + 1)
    assert "two_tower" in (error.value.hint or "")
