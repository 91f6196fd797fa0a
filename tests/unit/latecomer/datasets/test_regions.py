"""Circles of friends, where it is plain who belongs together."""

from collections import Counter
from itertools import combinations

from latecomer.datasets.regions import CIRCLES, circles

#: Twelve groups of five in which everybody knows everybody.
GROUPS = [[f"{group}-{person}" for person in range(5)] for group in range(CIRCLES)]
EVERYBODY = [user for group in GROUPS for user in group]
EDGES = [pair for group in GROUPS for pair in combinations(group, 2)]


def test_groups_that_know_nobody_else_stay_whole() -> None:
    found = circles(EVERYBODY, EDGES)
    assert all(len({found[user] for user in group}) == 1 for group in GROUPS)
    assert Counter(found.values()) == {f"circle-{n}": 5 for n in range(1, CIRCLES + 1)}


def test_who_has_no_friends_fills_the_gaps() -> None:
    found = circles([*EVERYBODY, *(f"loner-{n}" for n in range(CIRCLES))], EDGES)
    assert Counter(found.values()) == {f"circle-{n}": 6 for n in range(1, CIRCLES + 1)}


def test_neither_the_order_of_users_nor_that_of_edges_matters() -> None:
    turned = [(other, user) for user, other in reversed(EDGES)]
    assert circles(reversed(EVERYBODY), turned) == circles(EVERYBODY, EDGES)


def test_friends_who_did_nothing_here_are_not_placed() -> None:
    assert circles(["a"], [("a", "stranger"), ("stranger", "a"), ("a", "a")]) == {"a": "circle-1"}
