from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.errors import BadConfiguration, BadData, LayoutMismatch, NotFinite
from latecomer.evaluation.baselines import at_random, same_for_all
from latecomer.evaluation.protocol import (
    NOT_TESTED,
    Candidates,
    RankingProtocol,
    RankingResult,
    Score,
    mean_of_sums,
)
from latecomer.evaluation.ranking import Floats, Ids
from unit.latecomer.evaluation.histories import History, history

BOTH: list[Candidates] = ["full", "sampled-99"]


def table(scores: Floats) -> Score:
    return lambda users: scores[users]


def world(n_users: int = 60, n_items: int = 130) -> tuple[History, Ids]:
    rng = np.random.default_rng(0)
    rows = [rng.permutation(n_items)[: rng.integers(1, 20)].tolist() for _ in range(n_users)]
    target = np.array([row.pop() for row in rows])
    target[::7] = NOT_TESTED
    return history(*rows), target


def test_known_items_neither_compete_nor_are_shown() -> None:
    scores = table(np.array([[0.9, 0.8, 0.7, 0.6]]))
    result = RankingProtocol(k=2).evaluate(scores, history([0]), np.array([2]), lists=True)
    assert result.rank.tolist() == [2]
    assert result.lists is not None
    assert result.lists.tolist() == [[1, 2]]


def test_only_users_with_something_held_out_are_tested() -> None:
    scores = table(np.array([[0.1, 0.2], [0.1, 0.2], [0.1, 0.2]]))
    target = np.array([0, NOT_TESTED, 1])
    result = RankingProtocol().evaluate(scores, history([], [0], []), target)
    assert result.users.tolist() == [0, 2]
    assert result.rank.tolist() == [2, 1]
    assert result.lists is None


@pytest.mark.parametrize("candidates", BOTH)
def test_a_constant_scorer_hits_nothing(candidates: Candidates) -> None:
    known, target = world()
    score = same_for_all(np.ones(130))
    means = RankingProtocol(candidates=candidates).evaluate(score, known, target).means()
    assert means["recall@10"] == 0.0
    assert means["ndcg@10"] == 0.0


def test_chance_hits_one_in_ten_among_99_sampled_negatives() -> None:
    n_users = 4000
    known = history(*[[user % 150] for user in range(n_users)])
    target = (np.arange(n_users) + 1) % 150
    protocol = RankingProtocol(candidates="sampled-99")
    means = protocol.evaluate(at_random(150, seed=1), known, target).means()
    assert means["recall@10"] == pytest.approx(0.10, abs=0.02)


def test_an_oracle_is_always_first() -> None:
    known, target = world()
    result = RankingProtocol().evaluate(lambda users: np.eye(130)[target[users]], known, target)
    assert result.means() == {
        "users": 51,
        "recall@10": 1.0,
        "precision@10": pytest.approx(0.1),
        "f1@10": pytest.approx(2 / 11),
        "ndcg@10": 1.0,
    }


@pytest.mark.parametrize("candidates", BOTH)
@pytest.mark.parametrize("batch", [1, 7, 51, 1000])
def test_batches_equal_one_pass(candidates: Candidates, batch: int) -> None:
    known, target = world()
    protocol, score = RankingProtocol(candidates=candidates), at_random(130, seed=2)
    whole = protocol.evaluate(score, known, target, batch=len(target), lists=True)
    parts = protocol.evaluate(score, known, target, batch=batch, lists=True)
    assert whole.users.tolist() == parts.users.tolist()
    assert whole.rank.tolist() == parts.rank.tolist()
    assert whole.lists is not None
    assert parts.lists is not None
    assert whole.lists.tolist() == parts.lists.tolist()


def test_lists_are_out_of_the_whole_catalogue_even_if_negatives_are_sampled() -> None:
    known, target = world(n_items=1000)
    full, sampled = (
        RankingProtocol(candidates=candidates).evaluate(
            at_random(1000, seed=0), known, target, lists=True
        )
        for candidates in BOTH
    )
    assert full.lists is not None
    assert sampled.lists is not None
    assert full.lists.tolist() == sampled.lists.tolist()


def test_a_seed_reproduces_the_draw_and_another_changes_it() -> None:
    known, target = world(n_items=1000)
    first, again, other = (
        RankingProtocol(candidates="sampled-99", seed=seed)
        .evaluate(at_random(1000, seed=0), known, target)
        .rank.tolist()
        for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("candidates", BOTH)
def test_sites_add_up_to_the_pool(candidates: Candidates) -> None:
    known, target = world()
    regions = np.array(["north", "south", "west"])[np.arange(60) % 3]
    protocol, score = RankingProtocol(candidates=candidates), at_random(130, seed=2)
    sites = [
        protocol.evaluate(score, known, np.where(mine, target, NOT_TESTED)).sums(by=regions)
        for mine in (np.arange(60) < 11, np.arange(60) >= 11)
    ]
    pooled = protocol.evaluate(score, known, target)
    together = mean_of_sums([pooled.sums(by=regions)])
    assert mean_of_sums(sites) == {
        region: pytest.approx(means) for region, means in together.items()
    }
    assert together["all"] == pytest.approx(pooled.means())


def test_sums_are_per_region_of_the_tested_users() -> None:
    result = RankingResult(users=np.array([0, 2, 3]), rank=np.array([1, 3, 11]), k=10)
    assert result.sums(by=["b", "never tested", "a", "b"]) == {
        "a": {
            "users": 1,
            "recall@10": 1.0,
            "precision@10": 0.1,
            "f1@10": pytest.approx(2 / 11),
            "ndcg@10": 0.5,
        },
        "b": {
            "users": 2,
            "recall@10": 1.0,
            "precision@10": 0.1,
            "f1@10": pytest.approx(2 / 11),
            "ndcg@10": 1.0,
        },
    }


def test_the_mean_of_sums_weighs_users_and_not_sites() -> None:
    sites = [{"a": {"users": 1, "recall@10": 1.0}}, {"a": {"users": 3, "recall@10": 1.0}}]
    assert mean_of_sums(sites) == {
        "a": {"users": 4, "recall@10": 0.5},
        "all": {"users": 4, "recall@10": 0.5},
    }


@given(ranks=st.lists(st.integers(1, 30), min_size=1), cut=st.integers(0, 100))
def test_merging_does_not_depend_on_who_holds_which_user(ranks: list[int], cut: int) -> None:
    def sums(users: Iterable[int]) -> dict[str, dict[str, float]]:
        held = np.array(list(users), np.int64)
        result = RankingResult(held, np.array(ranks, np.int64)[held], k=10)
        return result.sums(by=["odd" if rank % 2 else "even" for rank in ranks])

    n_users = len(ranks)
    split = [sums(range(min(cut, n_users))), sums(range(min(cut, n_users), n_users))]
    whole = mean_of_sums([sums(range(n_users))])
    assert mean_of_sums(split) == {name: pytest.approx(means) for name, means in whole.items()}


def test_nobody_tested_means_nothing_reported() -> None:
    result = RankingProtocol(k=3).evaluate(
        at_random(5, seed=0), history([1], []), np.array([NOT_TESTED, NOT_TESTED]), lists=True
    )
    assert result.lists is not None
    assert result.lists.shape == (0, 3)
    assert result.sums(by=["a", "b"]) == {}
    assert result.means() == {}
    assert mean_of_sums([]) == {}
    assert mean_of_sums([{"a": {"users": 0, "recall@10": 0.0}}]) == {}


def test_sites_tested_by_different_protocols_do_not_add_up() -> None:
    with pytest.raises(BadData, match="one protocol"):
        mean_of_sums([{"a": {"users": 1, "recall@10": 1.0}}, {"a": {"users": 1, "recall@20": 1.0}}])


def test_no_region_is_called_all() -> None:
    with pytest.raises(BadData, match="'all'"):
        mean_of_sums([{"all": {"users": 1, "recall@10": 1.0}}])


def test_a_held_out_item_in_its_own_history_is_bad_data() -> None:
    with pytest.raises(BadData, match="user 1 has its held-out item 3"):
        RankingProtocol().evaluate(at_random(5, seed=0), history([], [3]), np.array([0, 3]))


@pytest.mark.parametrize("item", [-2, 5])
def test_a_held_out_item_outside_the_catalogue_is_bad_data(item: int) -> None:
    with pytest.raises(BadData, match=f"item {item} is not among the 5"):
        RankingProtocol().evaluate(at_random(5, seed=0), history([]), np.array([item]))


def test_histories_and_held_out_items_are_of_the_same_users() -> None:
    with pytest.raises(BadData, match="1 histories for 2"):
        RankingProtocol().evaluate(at_random(5, seed=0), history([]), np.array([0, 1]))


@pytest.mark.parametrize("candidates", BOTH)
def test_a_score_that_is_no_number_is_an_error(candidates: Candidates) -> None:
    scores = np.zeros((1, 120))
    scores[0, 1:] = np.nan
    with pytest.raises(NotFinite):
        RankingProtocol(candidates=candidates).evaluate(table(scores), history([]), np.array([0]))


def test_a_known_item_may_score_anything() -> None:
    score = table(np.array([[np.nan, 0.5, 0.1]]))
    result = RankingProtocol().evaluate(score, history([0]), np.array([1]), lists=True)
    assert result.rank.tolist() == [1]


@pytest.mark.parametrize("shape", [(5,), (2, 5)])
def test_a_scorer_returns_one_row_per_user(shape: tuple[int, ...]) -> None:
    with pytest.raises(LayoutMismatch, match="scores of 1 users"):
        RankingProtocol().evaluate(lambda _: np.zeros(shape), history([]), np.array([0]))


def test_labels_name_the_protocol() -> None:
    assert RankingProtocol().label() == "full ranking, leave-one-out, k=10"
    sampled = RankingProtocol(k=5, candidates="sampled-99", seed=3)
    assert sampled.label() == "99 sampled negatives (seed 3), leave-one-out, k=5"
    of_many = "99 sampled negatives (seeds 1, 2), leave-one-out, k=5"
    assert sampled.label([1, 2]) == of_many
    leaky = RankingProtocol(leaky=True).label()
    assert leaky.startswith("full ranking, leave-one-out, k=10; LEAKY (pfedrec-compat)")


@pytest.mark.parametrize("wrong", [{"k": 0}, {"candidates": "sampled-100"}, {"seed": -1}])
def test_a_protocol_that_means_nothing_is_bad_configuration(wrong: dict[str, int]) -> None:
    with pytest.raises(BadConfiguration, match=f"evaluation.{next(iter(wrong))}"):
        RankingProtocol(**wrong)  # type: ignore[arg-type]


def test_given_negatives_are_all_that_competes() -> None:
    known = history([0], [1])
    scores = np.array([[0.0, 3.0, 2.0, 1.0]] * 2)
    target, given = np.array([3, 3]), np.array([[2, 0], [1, 0]])
    protocol = RankingProtocol(k=1, candidates="given")
    # The first user knows item 0, so that 2 alone is above 3; the second knows 1, and 0 is below.
    result = protocol.evaluate(lambda users: scores[users], known, target, given=given, batch=1)
    assert result.rank.tolist() == [2, 1]
    assert protocol.label() == "published negatives, leave-one-out, k=1"


def test_negatives_that_nobody_published_are_not_made_up() -> None:
    with pytest.raises(BadData, match="no published negatives"):
        RankingProtocol(candidates="given").evaluate(
            same_for_all(np.zeros(3)), history([0]), np.array([1])
        )
