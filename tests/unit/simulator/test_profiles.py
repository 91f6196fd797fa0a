"""Devices are drawn from what the recipe says of them."""

from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest

from latecomer.fleet import Simulation
from latecomer_simulator.profiles import draw, slowness, windows


def drawn(seed: int = 1, **settings: Any) -> tuple[Simulation, np.random.Generator]:
    return Simulation.model_validate(settings), np.random.default_rng(seed)


@pytest.mark.parametrize(("speed", "median"), [("lognormal", 1.0), ("pareto", 2.0**0.7)])
def test_log_slowness_has_the_given_spread(speed: str, median: float) -> None:
    settings, rng = drawn(speed=speed, spread=0.7)
    found = np.array([slowness(settings, rng) for _ in range(20_000)])
    assert np.log(found).std() == pytest.approx(0.7, rel=0.03)
    assert np.median(found) == pytest.approx(median, rel=0.03)


@pytest.mark.parametrize("availability", ["windows", "diurnal"])
def test_windows_follow_each_other_once_a_period(availability: str) -> None:
    settings, rng = drawn(availability=availability, online_share=0.8, period_s=100.0)
    found = list(islice(windows(settings, rng), 5))
    assert [b[0] - a[0] for a, b in pairwise(found[1:])] == pytest.approx([100.0] * 3)
    assert [end_s - start_s for start_s, end_s in found[1:]] == pytest.approx([80.0] * 4)
    assert found[0][0] >= 0


def test_diurnal_windows_are_shared_and_others_are_not() -> None:
    def begins(availability: str) -> list[float]:
        settings = Simulation.model_validate({"availability": availability, "period_s": 100.0})
        each = [windows(settings, np.random.default_rng(seed)) for seed in range(50)]
        return [list(islice(found, 3))[2][0] % 100.0 for found in each]

    assert np.ptp(begins("diurnal")) <= 10.0
    assert np.ptp(begins("windows")) > 80.0


def test_who_lives_for_a_while_leaves_for_good() -> None:
    settings, rng = drawn(lifetime_s=50.0)
    ((start_s, end_s),) = draw(settings, rng).windows
    assert start_s == 0
    assert 0 < end_s < np.inf
