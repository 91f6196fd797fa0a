"""What is held out depends on ids and seed alone, and is never known when it is asked for."""

import numpy as np

from latecomer.outcomes.examples import UNKNOWN, Cohort, Examples, OutcomeSplit
from latecomer.outcomes.splits import hashed_split

GROUPS = 500


def cohort(groups: int = GROUPS) -> Cohort:
    """Two examples of every group, of which the second came to something."""
    users = tuple(f"e{n}" for n in range(2 * groups))
    inputs = np.arange(2 * groups, dtype=np.float32)[:, None]
    labels = np.arange(2 * groups) % 2
    names = tuple(f"p{n // 2}" for n in range(2 * groups))
    return Cohort(users, ("",) * len(users), names, Examples(inputs, labels))


def test_a_fifth_is_the_test_and_another_fifth_the_validation() -> None:
    split = hashed_split(cohort(), seed=1)
    for held_out in (split.test, split.validation):
        assert 0.15 < (held_out != UNKNOWN).mean() < 0.25
    assert not ((split.test != UNKNOWN) & (split.validation != UNKNOWN)).any()


def test_without_validation_its_part_is_trained_on_and_the_test_stays() -> None:
    chosen, final = (hashed_split(cohort(), seed=1, validation=each) for each in (True, False))
    assert (final.validation == UNKNOWN).all()
    assert (final.test == chosen.test).all()
    assert final.train.size == chosen.train.size + (chosen.validation != UNKNOWN).sum()


def test_what_is_one_group_is_held_out_together() -> None:
    split = hashed_split(cohort(), seed=1)
    for held_out in (split.test, split.validation):
        tested = (held_out != UNKNOWN).reshape(-1, 2)
        assert (tested[:, 0] == tested[:, 1]).all()


def test_a_held_out_outcome_is_unknown_where_it_is_to_be_predicted() -> None:
    split = hashed_split(cohort(), seed=1)
    test, validation = split.test != UNKNOWN, split.validation != UNKNOWN
    assert (split.train.labels[test | validation] == UNKNOWN).all()
    assert split.train.size == (~(test | validation)).sum()
    assert (split.known("validation").labels == split.train.labels).all()
    assert ((split.known("test").labels == UNKNOWN) == test).all()
    assert (split.everything().labels != UNKNOWN).all()


def test_the_same_ids_and_seed_hold_out_the_same_and_another_seed_others() -> None:
    first, again, other = (hashed_split(cohort(), seed=seed).test for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_who_has_a_part_of_the_examples_holds_out_the_same_of_them() -> None:
    everybody = cohort()
    keep = np.arange(2 * GROUPS) < GROUPS
    part = hashed_split(everybody.of_users(keep), seed=1)
    assert (part.test == hashed_split(everybody, seed=1).test[keep]).all()


def test_sites_pooled_are_one_after_another() -> None:
    everybody = hashed_split(cohort(), seed=1)
    parts = [hashed_split(cohort().of_users(np.arange(1000) // 500 == n), seed=1) for n in (0, 1)]
    pooled = OutcomeSplit.pooled(parts)
    assert (pooled.test == everybody.test).all()
    assert (pooled.train.labels == everybody.train.labels).all()
    assert (pooled.everything().inputs == everybody.everything().inputs).all()


def test_one_example_alone_keeps_its_part() -> None:
    everybody = hashed_split(cohort(), seed=1)
    tested = int(np.flatnonzero(everybody.test != UNKNOWN)[3])
    alone = everybody.of_user(tested)
    assert alone.test.tolist() == [everybody.test[tested]]
    assert alone.train.size == 0
