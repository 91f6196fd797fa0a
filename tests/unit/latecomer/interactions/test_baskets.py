import numpy as np

from latecomer.interactions.baskets import Baskets
from latecomer.interactions.splits import History

#: Anna bought 1 and 2 together, then 3; Bert bought 4, 5 and 6 together; Carl bought 7.
HISTORY = History(
    indptr=np.array([0, 3, 6, 7]),
    items=np.array([1, 2, 3, 4, 5, 6, 7]),
    time_s=np.array([10.0, 10.0, 20.0, 20.0, 20.0, 20.0, 20.0]),
)


def test_older_baskets_weigh_less_and_a_basket_weighs_alike() -> None:
    contexts = Baskets(HISTORY, decay=2.0).everything(np.array([0, 1]))
    assert contexts.items.tolist() == [1, 2, 3, 4, 5, 6]
    assert contexts.offsets.tolist() == [0, 3]
    assert contexts.weights.tolist() == [0.25, 0.25, 1, 1, 1, 1]
    assert contexts.totals.tolist() == [1.5, 3]


def test_equal_times_of_two_users_are_two_baskets() -> None:
    contexts = Baskets(HISTORY, decay=1.0).everything(np.array([2, 0]))
    assert contexts.items.tolist() == [7, 1, 2, 3]
    assert contexts.weights.tolist() == [1, 0.5, 0.5, 1]


def test_a_target_is_never_known_to_its_own_context() -> None:
    baskets, rng = Baskets(HISTORY, decay=1.0), np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        for contexts, targets in baskets.batches(contexts=2, targets=2, rng=rng):
            ends = np.append(contexts.offsets, len(contexts.items))
            for context, item, own in zip(
                targets.context.tolist(), targets.item.tolist(), targets.own_weight, strict=True
            ):
                bag = contexts.items[ends[context] : ends[context + 1]].tolist()
                user = int(contexts.users[context])
                seen.add((user, item))
                # Either it is in the bag and its weight of the newest basket is taken out, or it
                # was alone in its basket and the bag ends before.
                assert (item in bag) == (own == 1.0)
                assert len(bag) - (item in bag) > 0
    assert seen == {(0, 1), (0, 2), (0, 3), (1, 4), (1, 5), (1, 6)}


def test_who_has_one_interaction_is_in_no_batch() -> None:
    rng = np.random.default_rng(0)
    for contexts, _ in Baskets(HISTORY, decay=1.0).batches(contexts=8, targets=4, rng=rng):
        assert 2 not in contexts.users
