from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.aggregation import Staleness
from latecomer_aggregator import staleness

RULES = [
    Staleness(rule="constant"),
    Staleness(rule="polynomial", exponent=0.5),
    Staleness(rule="polynomial", exponent=2.0),
    Staleness(rule="hinge", slope=10.0, grace=4),
    Staleness(rule="hinge", slope=0.5, grace=0),
]
every_rule = pytest.mark.parametrize("settings", RULES, ids=str)


def test_every_rule_is_held_to_these_laws() -> None:
    assert {each.rule for each in RULES} == {*get_args(Staleness.model_fields["rule"].annotation)}


@every_rule
def test_a_fresh_update_weighs_one(settings: Staleness) -> None:
    assert staleness.rule(settings)(0) == 1.0


@every_rule
@given(tau=st.integers(0, 10_000))
def test_a_staler_update_never_weighs_more_and_never_nothing(settings: Staleness, tau: int) -> None:
    weigh = staleness.rule(settings)
    assert 0.0 < weigh(tau + 1) <= weigh(tau) <= 1.0


@pytest.mark.parametrize(
    ("tau", "weight"), [(0, 1.0), (1, 0.70711), (3, 0.5), (9, 0.31623), (15, 0.25), (99, 0.1)]
)
def test_the_polynomial_rule_of_fedbuff_is_one_over_the_root(tau: int, weight: float) -> None:
    assert staleness.polynomial(tau, exponent=0.5) == pytest.approx(weight, abs=5e-6)


@pytest.mark.parametrize(
    ("tau", "weight"), [(0, 1.0), (4, 1.0), (5, 1 / 11), (9, 1 / 51), (99, 1 / 951)]
)
def test_the_hinge_forgives_its_grace_and_then_falls_as_in_the_paper(
    tau: int, weight: float
) -> None:
    assert staleness.hinge(tau, slope=10.0, grace=4) == pytest.approx(weight)


def test_a_constant_weight_does_not_look_at_staleness() -> None:
    assert {staleness.constant(tau) for tau in (0, 1, 1000)} == {1.0}


@pytest.mark.parametrize(
    ("settings", "tau", "weight"),
    [
        (Staleness(rule="constant"), 99, 1.0),
        (Staleness(rule="polynomial", exponent=2.0), 1, 0.25),
        (Staleness(rule="hinge", slope=0.5, grace=2), 2, 1.0),
        (Staleness(rule="hinge", slope=0.5, grace=2), 4, 0.5),
    ],
)
def test_a_rule_weighs_by_the_numbers_of_its_recipe(
    settings: Staleness, tau: int, weight: float
) -> None:
    assert staleness.rule(settings)(tau) == weight
