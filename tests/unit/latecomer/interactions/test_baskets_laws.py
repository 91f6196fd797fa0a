"""What holds of any history: nothing that is learned from depends on the order inside a basket."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.interactions.baskets import Baskets, Contexts, Targets
from latecomer.interactions.splits import History
from unit.latecomer.recommenders.families_under_test import history

#: Users as lists of baskets; nobody has an item twice.
ITEMS = 12
baskets_of_a_user = st.permutations(range(ITEMS)).flatmap(
    lambda items: st.lists(st.integers(1, 3), max_size=4).map(
        lambda sizes: [
            items[start : start + size]
            for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False)
        ]
    )
)
histories = st.lists(baskets_of_a_user, min_size=1, max_size=5)


def bags(contexts: Contexts) -> list[list[tuple[int, float]]]:
    """Each context as a sorted bag of (item, weight)."""
    ends = [*contexts.offsets.tolist()[1:], len(contexts.items)]
    pairs = list(zip(contexts.items.tolist(), contexts.weights.tolist(), strict=True))
    return [
        sorted(pairs[start:end]) for start, end in zip(contexts.offsets.tolist(), ends, strict=True)
    ]


def batches(known: History, *, decay: float = 1.0, seed: int = 0) -> list[tuple[Contexts, Targets]]:
    rng = np.random.default_rng(seed)
    return list(Baskets(known, decay).batches(contexts=3, targets=2, rng=rng))


def only_batch(known: History, *, decay: float = 1.0, targets: int = 9) -> tuple[Contexts, Targets]:
    """Of one user who is asked until the draw falls on the last basket."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        for contexts, found in Baskets(known, decay).batches(contexts=1, targets=targets, rng=rng):
            if int(known.items[-1]) in found.item:
                return contexts, found
    raise AssertionError("the last basket was never drawn")


def test_a_target_among_others_weighs_as_much_as_the_newest_basket() -> None:
    contexts, targets = only_batch(history([[3], [4, 5], [6, 7]]), decay=1.0)
    assert bags(contexts) == [[(3, pytest.approx(1 / 3)), (4, 0.5), (5, 0.5), (6, 1), (7, 1)]]
    assert contexts.totals.tolist() == pytest.approx([1 / 3 + 0.5 + 0.5 + 1 + 1])
    assert sorted(targets.item.tolist()) == [6, 7]
    assert targets.own_weight.tolist() == [1, 1]
    assert targets.context.tolist() == [0, 0]


def test_a_target_that_is_alone_in_its_basket_is_predicted_from_the_baskets_before() -> None:
    contexts, targets = only_batch(history([[3], [4, 5], [6]]), decay=2.0)
    assert bags(contexts) == [[(3, 0.25), (4, 1), (5, 1)]]
    assert targets.item.tolist() == [6]
    assert targets.own_weight.tolist() == [0]


def test_a_first_basket_of_one_item_cannot_be_predicted_from_anything() -> None:
    drawn = {
        item
        for seed in range(50)
        for _, targets in batches(history([[3], [4]]), seed=seed)
        for item in targets.item.tolist()
    }
    assert drawn == {4}


def test_without_decay_all_baskets_weigh_the_same() -> None:
    contexts = Baskets(history([[0], [1, 2], [3]]), decay=0.0).everything(np.array([0]))
    assert contexts.weights.tolist() == [1, 1, 1, 1]


def test_of_a_large_basket_at_most_so_many_are_targets_and_all_have_their_turn() -> None:
    known = history([list(range(10))])
    seen: set[int] = set()
    for seed in range(60):
        for contexts, targets in batches(known, seed=seed):
            assert len(targets.item) == len(set(targets.item.tolist())) == 2
            assert sorted(contexts.items.tolist()) == list(range(10))
            seen |= set(targets.item.tolist())
    assert seen == set(range(10))


def test_who_is_asked_twice_is_answered_twice_and_who_did_nothing_has_an_empty_bag() -> None:
    contexts = Baskets(history([[0, 1]], [], [[2]]), 1.0).everything(np.array([2, 1, 0, 2]))
    assert bags(contexts) == [[(2, 1)], [], [(0, 1), (1, 1)], [(2, 1)]]
    assert contexts.totals.tolist() == [1, 0, 2, 1]


@given(users=histories, decay=st.floats(0, 4), seed=st.integers(0, 99))
def test_the_order_inside_a_basket_changes_no_context(
    users: list[list[list[int]]], decay: float, seed: int
) -> None:
    known = history(*users)
    mixed = history(*[[basket[::-1] for basket in baskets] for baskets in users])
    everybody = np.arange(len(users))
    assert bags(Baskets(known, decay).everything(everybody)) == bags(
        Baskets(mixed, decay).everything(everybody)
    )
    pairs = zip(
        batches(known, decay=decay, seed=seed), batches(mixed, decay=decay, seed=seed), strict=True
    )
    for (contexts, targets), (other, other_targets) in pairs:
        assert contexts.users.tolist() == other.users.tolist()
        assert bags(contexts) == bags(other)
        assert targets.context.tolist() == other_targets.context.tolist()
        assert targets.own_weight.tolist() == other_targets.own_weight.tolist()


@given(users=histories, decay=st.floats(0, 4), seed=st.integers(0, 99))
def test_every_context_is_what_came_up_to_its_targets(
    users: list[list[list[int]]], decay: float, seed: int
) -> None:
    answered: list[int] = []
    for contexts, targets in batches(history(*users), decay=decay, seed=seed):
        answered += contexts.users.tolist()
        assert set(targets.context.tolist()) == set(range(len(contexts.users)))
        for at, (user, bag) in enumerate(zip(contexts.users.tolist(), bags(contexts), strict=True)):
            mine = targets.context == at
            chosen = set(targets.item[mine].tolist())
            number = next(n for n, each in enumerate(users[user]) if chosen & set(each))
            basket = set(users[user][number])
            before = [item for earlier in users[user][:number] for item in earlier]
            assert chosen <= basket
            assert len(chosen) == min(2, len(basket))
            expected = sorted([*before, *(basket if len(basket) > 1 else [])])
            assert [item for item, _ in bag] == expected
            assert (targets.own_weight[mine] == (len(basket) > 1)).all()
            total = sum(weight for _, weight in bag)
            assert contexts.totals[at] == pytest.approx(total, rel=1e-5)
            assert total - targets.own_weight[mine].max() > 0 or decay > 0
    assert len(answered) == len(set(answered))


@given(users=histories, decay=st.floats(0, 4))
def test_weights_follow_from_how_many_baskets_ago(
    users: list[list[list[int]]], decay: float
) -> None:
    contexts = Baskets(history(*users), decay).everything(np.arange(len(users)))
    for baskets, bag in zip(users, bags(contexts), strict=True):
        ago = {item: len(baskets) - 1 - n for n, each in enumerate(baskets) for item in each}
        for item, weight in bag:
            assert weight == pytest.approx((1 + ago[item]) ** -decay, rel=1e-5)
