"""How far to trust a mean: over users by the bootstrap, over seeds by Student's t.

U users, S seeds.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from latecomer.errors import BadData, NotFinite
from latecomer.evaluation.ranking import Floats, Ids

#: Draws held at once: 32 MiB of indices, whatever the number of users.
BLOCK_DRAWS = 2**22

#: Upper 2.5% point of Student's t for 1 to 10 degrees of freedom (NIST/SEMATECH e-Handbook of
#: Statistical Methods, section 1.3.6.7.2).
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
#: Upper 2.5% point of the normal distribution.
Z_975 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the confidence interval around it."""

    mean: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether ``value`` lies outside: a paired difference that excludes 0 is significant."""
        return not self.low <= value <= self.high


def bootstrap(
    values: Floats,
    *,
    seed: int,
    n_resamples: int = 1000,
    level: float = 0.95,
    groups: Ids | None = None,
) -> Interval:
    """Percentile interval of the mean over users (Efron & Tibshirani, 1993, chapter 13).

    Draw U users with replacement, take their mean, repeat; the interval lies between the
    (1 - level) / 2 and the (1 + level) / 2 quantile of the means. One seed, one answer.

    The stays of one patient are alike: as if they were of many, the interval would be too narrow.
    With ``groups``, groups are drawn, each with all that is in it (Davison & Hinkley, 1997, section
    3.8), and the mean is over what was drawn.

    Args:
        values: (U,) a metric per user.
        seed: Of the draws.
        n_resamples: Means to draw.
        level: Confidence, in (0, 1).
        groups: (U,) which group each is of, from 0; without, everybody is one of his own.

    Raises:
        BadData: There are no users.
        NotFinite: A value is NaN or infinite.
    """
    _check(values, at_least=1, of="user")
    sums, sizes = (values, None) if groups is None else _added(values, groups)
    n_groups, draw = len(sums), np.random.default_rng(seed)
    per_block = max(1, BLOCK_DRAWS // n_groups)
    means = []
    for at in range(0, n_resamples, per_block):
        drawn = draw.integers(n_groups, size=(min(per_block, n_resamples - at), n_groups))
        mean = sums[drawn].mean(axis=1)
        means.append(mean if sizes is None else mean / sizes[drawn].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def paired_bootstrap(
    system: Floats,
    baseline: Floats,
    *,
    seed: int,
    n_resamples: int = 1000,
    level: float = 0.95,
    groups: Ids | None = None,
) -> Interval:
    """Percentile interval of the mean of system minus baseline, user by user.

    Users are drawn in pairs, so that what makes a user hard for both systems cancels out; two
    separate intervals may overlap where this one excludes 0.

    Args:
        system: (U,) a metric per user.
        baseline: (U,) the same metric of the same users.
        seed: Of the draws.
        n_resamples: Means to draw.
        level: Confidence, in (0, 1).
        groups: As of ``bootstrap``.

    Raises:
        BadData: There are no users, or not the same.
        NotFinite: A value is NaN or infinite.
    """
    if system.shape != baseline.shape:
        raise BadData(f"{len(system)} users cannot be paired with {len(baseline)}")
    return bootstrap(
        system - baseline, seed=seed, n_resamples=n_resamples, level=level, groups=groups
    )


def student_t(values: Floats) -> Interval:
    """95% interval of the mean over few seeds: mean ± t_0.975(S - 1) s / sqrt(S).

    s is the sample's standard deviation with S - 1 in the denominator.

    Args:
        values: (S,) a metric per seed.

    Raises:
        BadData: Fewer than two seeds say nothing about their spread.
        NotFinite: A value is NaN or infinite.
    """
    _check(values, at_least=2, of="seed")
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    margin = t_975(len(values) - 1) * spread / sqrt(len(values))
    return Interval(mean, mean - margin, mean + margin)


def standard_error(values: Floats, groups: Ids | None = None) -> float:
    """Of the mean: s / sqrt(U), with U - 1 in the denominator of the variance s^2.

    With G ``groups``, of the ratio of sums that the mean is then: the square root of
    G / (G - 1) sum_g (S_g - m n_g)^2 / U^2, S_g the sum of n_g values (Cochran 1977, section 2.11).

    Args:
        values: (U,), of at least two groups.
        groups: (U,) as of ``bootstrap``.
    """
    sums, sizes = (values, np.ones(len(values))) if groups is None else _added(values, groups)
    beside = sums - values.mean() * sizes
    n_groups = len(sums)
    return float(sqrt(n_groups / (n_groups - 1) * (beside**2).sum()) / len(values))


def t_975(df: int) -> float:
    """Upper 2.5% point of Student's t with ``df`` >= 1 degrees of freedom, to three decimals.

    Tabled up to 10; beyond, the expansion around the normal point z in powers of 1 / df
    (Abramowitz & Stegun, 26.7.5), which there is off by less than 0.00001.
    """
    if df <= len(T_975):
        return T_975[df - 1]
    z = Z_975
    return (
        z
        + (z**3 + z) / (4 * df)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * df**4)
    )


def _added(values: Floats, groups: Ids) -> tuple[Floats, Ids]:
    """Of every group that there is, the sum of its values and how many they are."""
    found, group = np.unique(groups, return_inverse=True)
    sums, sizes = np.zeros(len(found)), np.zeros(len(found), np.int64)
    np.add.at(sums, group, values)
    np.add.at(sizes, group, 1)
    return sums, sizes


def _check(values: Floats, *, at_least: int, of: str) -> None:
    if len(values) < at_least:
        raise BadData(f"an interval needs at least {at_least} {of}(s), not {len(values)}")
    if not np.isfinite(values).all():
        raise NotFinite(f"the value of {of} {np.flatnonzero(~np.isfinite(values))[0]} is no number")
