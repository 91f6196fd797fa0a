import numpy as np
import pytest

from latecomer.errors import BadData, NotFinite
from latecomer.evaluation import intervals
from latecomer.evaluation.intervals import (
    bootstrap,
    paired_bootstrap,
    standard_error,
    student_t,
    t_975,
)


def test_the_bootstrap_of_many_users_is_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, size=10_000)
    interval = bootstrap(values, seed=1, n_resamples=4000)
    half = 1.96 * values.std() / 100
    assert interval.mean == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=half / 10)
    assert interval.high == pytest.approx(values.mean() + half, abs=half / 10)


def test_the_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    samples = [rng.random(40) for _ in range(400)]
    covered = [not bootstrap(x, seed=0, n_resamples=300, level=0.8).excludes(0.5) for x in samples]
    assert np.mean(covered) == pytest.approx(0.8, abs=0.06)


def test_what_is_of_one_person_is_no_evidence_of_many() -> None:
    """100 people of 30 examples each, all alike: as wide as of 100 examples."""
    of_people = np.random.default_rng(0).normal(size=100)
    groups = np.repeat(np.arange(100), 30)
    one_each = bootstrap(of_people, seed=1)
    together = bootstrap(np.repeat(of_people, 30), seed=1, groups=groups)
    assert (together.low, together.high) == pytest.approx((one_each.low, one_each.high))
    alone = bootstrap(np.repeat(of_people, 30), seed=1)
    assert (one_each.high - one_each.low) > 4 * (alone.high - alone.low)


def test_groups_count_by_their_size_and_may_have_any_numbers() -> None:
    """Means of two draws from (1 + 1, 5): 1, 7 / 3 or 5."""
    values, groups = np.array([1.0, 5.0, 1.0]), np.array([7, 9, 7])
    interval = paired_bootstrap(values, np.zeros(3), seed=0, groups=groups)
    assert (interval.low, interval.high) == (1.0, 5.0)
    assert interval.mean == pytest.approx(7 / 3)


def test_the_bootstrap_of_groups_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    covered = [
        not bootstrap(x, seed=0, n_resamples=300, level=0.8, groups=groups).excludes(0.0)
        for x in (rng.normal(size=60)[groups] + rng.normal(size=600) for _ in range(400))
    ]
    assert np.mean(covered) == pytest.approx(0.8, abs=0.06)


def test_a_seed_reproduces_the_interval_and_another_changes_it() -> None:
    values = np.random.default_rng(0).random(50)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1)
    assert bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_blocks_do_not_drop_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(50)
    whole = bootstrap(values, seed=1, n_resamples=1003)
    monkeypatch.setattr(intervals, "BLOCK_DRAWS", 500)
    assert bootstrap(values, seed=1, n_resamples=1003) == whole


def test_users_that_all_agree_leave_no_doubt() -> None:
    interval = bootstrap(np.full(9, 0.25), seed=0)
    assert (interval.low, interval.mean, interval.high) == (0.25, 0.25, 0.25)


def test_pairing_finds_a_difference_that_separate_intervals_hide() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.random(300)
    baseline = hardness
    system = hardness + 0.02 + rng.normal(0, 0.01, size=300)
    assert bootstrap(system, seed=0).low < bootstrap(baseline, seed=0).high
    assert paired_bootstrap(system, baseline, seed=0).excludes(0.0)
    assert not paired_bootstrap(baseline, baseline, seed=0).excludes(0.0)


def test_systems_tested_on_different_users_cannot_be_paired() -> None:
    with pytest.raises(BadData, match="3 users cannot be paired with 1"):
        paired_bootstrap(np.zeros(3), np.zeros(1), seed=0)


def test_the_standard_error_of_groups_by_hand() -> None:
    values = np.array([0.1] * 6 + [-0.1] * 2)
    # The mean is 0.05; sums of 0.6 and -0.2 are 0.3 above and below what their sizes let expect.
    of_two = standard_error(values, np.array([7] * 6 + [3] * 2))
    assert of_two == pytest.approx(np.sqrt(2 * (0.3**2 + 0.3**2)) / 8)
    assert standard_error(values, np.arange(8)) == pytest.approx(standard_error(values))
    assert standard_error(values) == pytest.approx(values.std(ddof=1) / np.sqrt(8))


def test_three_seeds_by_hand() -> None:
    interval = student_t(np.array([1.0, 2.0, 3.0]))
    assert interval.mean == 2.0
    assert interval.high - 2.0 == pytest.approx(4.303 / np.sqrt(3))
    assert 2.0 - interval.low == pytest.approx(4.303 / np.sqrt(3))


@pytest.mark.parametrize(
    ("df", "quantile"),
    [(1, 12.706), (10, 2.228), (11, 2.201), (20, 2.086), (30, 2.042), (100, 1.984), (10**9, 1.96)],
)
def test_the_quantiles_are_those_of_printed_tables(df: int, quantile: float) -> None:
    assert t_975(df) == pytest.approx(quantile, abs=5e-4)


def test_the_quantiles_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    assert [t_975(df) for df in range(1, 200)] == pytest.approx(
        list(stats.t.ppf(0.975, np.arange(1, 200))), abs=5e-4
    )


def test_intervals_of_too_little_are_refused() -> None:
    with pytest.raises(BadData, match="at least 1 user"):
        bootstrap(np.empty(0), seed=0)
    with pytest.raises(BadData, match="at least 2 seed"):
        student_t(np.array([1.0]))


def test_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(NotFinite, match="user 1"):
        bootstrap(np.array([1.0, np.nan]), seed=0)
    with pytest.raises(NotFinite, match="seed 0"):
        student_t(np.array([np.inf, 1.0]))
