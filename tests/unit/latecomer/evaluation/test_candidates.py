import numpy as np
import pytest

from latecomer.errors import BadData
from latecomer.evaluation.candidates import (
    all_but_given,
    all_but_sampled,
    check_unseen,
    known_mask,
)
from unit.latecomer.evaluation.histories import history

HISTORY = history([2, 0], [], [1, 1, 3])


def test_the_mask_has_each_users_items_in_the_order_asked() -> None:
    mask = known_mask(HISTORY, np.array([2, 0]), 4)
    assert [np.flatnonzero(row).tolist() for row in mask] == [[1, 3], [0, 2]]


def test_a_user_without_history_knows_nothing() -> None:
    assert not known_mask(HISTORY, np.array([1]), 4).any()


def test_no_users_make_an_empty_mask() -> None:
    assert known_mask(HISTORY, np.empty(0, np.int64), 4).shape == (0, 4)


@pytest.mark.parametrize("item", [-1, 4])
def test_an_item_outside_the_catalogue_is_bad_data(item: int) -> None:
    with pytest.raises(BadData, match=f"item {item} is not among the 4"):
        known_mask(history([item]), np.array([0]), 4)


def test_a_held_out_item_in_its_own_history_is_bad_data() -> None:
    users = np.array([0, 2])
    known = known_mask(HISTORY, users, 4)
    check_unseen(known, users, np.array([1, 0]))
    with pytest.raises(BadData, match="user 2 has its held-out item 3"):
        check_unseen(known, users, np.array([1, 3]))


def test_sampled_negatives_are_distinct_unknown_and_never_the_positive() -> None:
    users, positive = np.arange(200), np.full(200, 7)
    known = np.zeros((200, 20), np.bool_)
    known[:, :5] = True
    compete = ~all_but_sampled(known, users, positive, 9, seed=0)
    assert compete.sum(axis=1).tolist() == [10] * 200
    assert compete[:, 7].all()
    assert not compete[:, :5].any()


def test_every_unknown_item_is_equally_likely_to_be_drawn() -> None:
    known = np.zeros((2000, 20), np.bool_)
    compete = ~all_but_sampled(known, np.arange(2000), np.zeros(2000, np.int64), 5, seed=0)
    share = compete[:, 1:].mean(axis=0)
    # Five standard deviations of a share over 2000 users.
    assert np.abs(share - 5 / 19).max() < 5 * np.sqrt(5 / 19 * 14 / 19 / 2000)


def test_another_users_held_out_item_is_drawable() -> None:
    known = np.zeros((2, 3), np.bool_)
    compete = ~all_but_sampled(known, np.arange(2), np.array([0, 1]), 2, seed=0)
    assert compete.all()


def test_a_draw_depends_on_seed_and_user_alone() -> None:
    known, positive = np.zeros((3, 500), np.bool_), np.array([1, 1, 1])
    together = all_but_sampled(known, np.array([4, 5, 6]), positive, 9, seed=3)
    alone = all_but_sampled(known[:1], np.array([5]), positive[:1], 9, seed=3)
    reseeded = all_but_sampled(known[:1], np.array([5]), positive[:1], 9, seed=4)
    assert (together[1] == alone[0]).all()
    assert (together[0] != together[1]).any()
    assert (reseeded != alone).any()


def test_too_few_items_to_draw_from_are_bad_data() -> None:
    known = np.array([[False, False, True]])
    with pytest.raises(BadData, match="user 8 leaves 1 items of 2"):
        all_but_sampled(known, np.array([8]), np.array([0]), 2, seed=0)


def test_given_negatives_compete_unless_the_user_knows_them() -> None:
    known = known_mask(HISTORY, np.array([0, 2]), 5)
    excluded = all_but_given(known, np.array([1, 4]), np.array([[0, 3], [2, -1]]))
    assert [np.flatnonzero(~row).tolist() for row in excluded] == [[1, 3], [2, 4]]


def test_a_user_without_a_competitor_is_bad_data() -> None:
    known = known_mask(HISTORY, np.array([0]), 4)
    for nothing in ([[0, 2]], [[-1, -1]], np.empty((1, 0))):
        with pytest.raises(BadData, match="nothing competes with held-out item 1"):
            all_but_given(known, np.array([1]), np.array(nothing, np.int64))


def test_a_given_item_outside_the_catalogue_is_bad_data() -> None:
    known = known_mask(HISTORY, np.array([0]), 4)
    with pytest.raises(BadData, match="item 4 is not among the 4"):
        all_but_given(known, np.array([1]), np.array([[4]]))


def test_devices_of_one_user_each_do_not_draw_alike() -> None:
    """Each is row 0 at home: what one of them competes with says nothing of the next."""
    drawn = set()
    for item in range(20):
        known = np.zeros((1, 50), np.bool_)
        known[0, 20 : 21 + item] = True
        compete = ~all_but_sampled(known, np.array([0]), np.array([item]), 5, seed=0)
        drawn.add(tuple(np.flatnonzero(compete[0])[np.flatnonzero(compete[0]) != item]))
    assert len(drawn) == 20
