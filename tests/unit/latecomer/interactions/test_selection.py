import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from latecomer.errors import BadData
from latecomer.interactions.schema import Interactions
from latecomer.interactions.selection import Selection, select


def everybody(count: int, regions: tuple[str, ...] = ("Rome", "Oslo")) -> Interactions:
    """User u came at time u, and did one thing."""
    return Interactions(
        users=tuple(f"user-{number}" for number in range(count)),
        regions=tuple(regions[number % len(regions)] for number in range(count)),
        user=np.arange(count),
        item=np.arange(count),
        time_s=np.arange(count, dtype=np.float64),
    )


def parts(interactions: Interactions, kind: str, of: int) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for part in range(1, of + 1):
        try:
            chosen = select(interactions, Selection.model_validate({kind: f"{part}/{of}"}))
        except BadData:
            found.append(())
        else:
            found.append(chosen.users)
    return found


def test_without_a_condition_everybody_is_selected() -> None:
    assert select(everybody(3), Selection()).users == ("user-0", "user-1", "user-2")


@given(st.integers(1, 60), st.integers(1, 9), st.sampled_from(["shard", "cohort"]))
def test_shards_and_cohorts_are_partitions(count: int, of: int, kind: str) -> None:
    interactions = everybody(count)
    together = [user for part in parts(interactions, kind, of) for user in part]
    assert sorted(together) == sorted(interactions.users)


def test_shards_are_about_equal_and_the_same_on_every_machine() -> None:
    shards = parts(everybody(6_000), "shard", 6)
    assert all(900 < len(shard) < 1_100 for shard in shards)
    # printf user-1 | b2sum -l 64: an even last digit is the first of two shards.
    assert parts(everybody(5), "shard", 2)[0] == ("user-1", "user-2")


def test_a_user_s_shard_does_not_depend_on_who_else_there_is() -> None:
    alone = set(parts(everybody(10), "shard", 3)[0])
    assert alone == set(parts(everybody(500), "shard", 3)[0]) & set(everybody(10).users)


@given(st.integers(1, 60), st.integers(1, 9))
def test_cohorts_follow_each_other_by_first_interaction_and_differ_by_one_at_most(
    count: int, of: int
) -> None:
    interactions = everybody(count)
    cohorts = parts(interactions, "cohort", of)
    assert tuple(user for cohort in cohorts for user in cohort) == interactions.users
    sizes = [len(cohort) for cohort in cohorts]
    assert max(sizes) - min(sizes) <= 1


def test_conditions_are_all_to_be_met() -> None:
    chosen = select(everybody(10), Selection(regions=("Oslo",), cohort="1/2"))
    assert chosen.users == ("user-1", "user-3")
    assert chosen.regions == ("Oslo", "Oslo")
    assert chosen.user.tolist() == [0, 1]
    assert chosen.item.tolist() == [1, 3]


def test_regions_and_all_but_these_regions_are_complements() -> None:
    scene = everybody(9, ("Rome", "Oslo", "Bern"))
    inside = select(scene, Selection(regions=("Rome", "Bern"))).users
    outside = select(scene, Selection(except_regions=("Rome", "Bern"))).users
    assert outside == ("user-1", "user-4", "user-7")
    assert sorted(inside + outside) == sorted(scene.users)
    both = [Selection(regions=("Rome",)), Selection(except_regions=("Rome",)), Selection()]
    assert [each.takes("Rome") for each in both] == [True, False, True]
    assert [each.takes("") for each in both] == [False, True, True]


def test_nobody_left_is_an_error_that_says_what_regions_there_are() -> None:
    with pytest.raises(BadData, match=r"no user is left by .*'Paris'") as caught:
        select(everybody(4), Selection(regions=("Paris",)))
    assert caught.value.hint == "there are 4 users, of regions Oslo, Rome"


def test_nobody_left_where_no_region_is_mapped_says_so() -> None:
    with pytest.raises(BadData) as caught:
        select(everybody(4, ("",)), Selection(regions=("Paris",)))
    assert caught.value.hint == "there are 4 users, of no region: no column is mapped"


@pytest.mark.parametrize("text", ["0/2", "2", "1/0", "-1/2", "1/2 ", "a/b"])
@pytest.mark.parametrize("kind", ["shard", "cohort"])
def test_a_part_is_written_as_one_number_of_another(kind: str, text: str) -> None:
    with pytest.raises(ValidationError):
        Selection.model_validate({kind: text})


def test_a_part_beyond_the_last_is_refused() -> None:
    with pytest.raises(BadData, match="no part 3 of 2"):
        select(everybody(4), Selection(shard="3/2"))
