"""Sequences of groups: what was done together has no order, and is cut in two to learn from."""

import numpy as np

from latecomer.interactions import sequences
from latecomer.interactions.sequences import Sequences
from unit.latecomer.recommenders.families_under_test import history

KNOWN = history([[0, 1], [2], [3, 4, 5]], [], [[6]])


def groups(found: Sequences) -> list[list[set[int]]]:
    """Of every sequence its groups, as sets."""
    bags = [set(bag.tolist()) for bag in np.split(found.items, found.offsets[1:])]
    return [
        bags[end - n : end] for n, end in zip(found.lengths, found.lengths.cumsum(), strict=True)
    ]


def test_to_score_from_the_last_baskets_are_taken_whole() -> None:
    found = sequences.everything(KNOWN, np.array([2, 0, 1, 0]), 2)
    assert groups(found) == [[{6}], [{2}, {3, 4, 5}], [], [{2}, {3, 4, 5}]]
    assert found.place.tolist() == [0, 0, 1, 0, 1]
    assert found.sequence.tolist() == [0, 1, 1, 3, 3]


def test_to_learn_from_every_basket_of_two_or_more_is_cut_in_two() -> None:
    seen = set()
    for seed in range(60):
        found = sequences.cut(KNOWN, np.arange(3), 10, np.random.default_rng(seed))
        first, second, third = groups(found)
        assert (second, third) == ([], [{6}])
        assert [first[0] | first[1], first[2], first[3] | first[4]] == [{0, 1}, {2}, {3, 4, 5}]
        assert sum(map(len, first)) == 6
        seen |= {(*sorted(first[0]), *sorted(first[1])), (len(first[3]), len(first[4]))}
    assert seen == {(0, 1), (1, 0), (1, 2), (2, 1)}


def test_a_long_history_is_looked_at_through_a_window_at_any_place() -> None:
    known = history([[item] for item in range(6)])
    windows = {
        tuple(sequences.cut(known, np.array([0]), 3, np.random.default_rng(seed)).items.tolist())
        for seed in range(60)
    }
    assert windows == {(0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5)}


def test_what_comes_next_is_an_item_of_the_next_group_and_nothing_after_the_last() -> None:
    found = sequences.everything(KNOWN, np.array([0, 1, 2, 0]), 10)
    drawn = [found.next_items(np.random.default_rng(seed)).tolist() for seed in range(60)]
    assert {tuple(each[:1] + each[2:5]) for each in drawn} == {(2, -1, -1, 2)}
    assert {each[1] for each in drawn} == {3, 4, 5}
    assert {each[-1] for each in drawn} == {-1}


def test_nobody_has_no_groups() -> None:
    for known, users in ((KNOWN, np.array([], np.int64)), (KNOWN, np.array([1]))):
        found = sequences.cut(known, users, 3, np.random.default_rng(0))
        assert len(found.items) == len(found.next_items(np.random.default_rng(0))) == 0
