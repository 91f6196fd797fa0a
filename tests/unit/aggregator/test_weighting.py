import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.aggregation import ExampleWeight
from latecomer_aggregator.weighting import example_weight

RELATIVE = ("sqrt", "linear")


@pytest.mark.parametrize("rule", RELATIVE)
def test_an_update_of_the_reference_size_weighs_one(rule: str) -> None:
    settings = ExampleWeight.model_validate({"rule": rule, "reference": 250})
    assert example_weight(250, settings) == 1.0


@pytest.mark.parametrize(
    ("rule", "examples", "weight"),
    [
        ("sqrt", 250, 0.5),
        ("sqrt", 2250, 1.5),
        ("linear", 250, 0.25),
        ("linear", 1500, 1.5),
    ],
)
def test_weights_are_relative_to_the_reference(rule: str, examples: int, weight: float) -> None:
    settings = ExampleWeight.model_validate({"rule": rule, "reference": 1000})
    assert example_weight(examples, settings) == pytest.approx(weight)


@pytest.mark.parametrize("rule", RELATIVE)
@given(examples=st.integers(1, 2**53 - 1))
def test_nobody_gains_more_than_the_cap_by_claiming_examples(rule: str, examples: int) -> None:
    settings = ExampleWeight.model_validate({"rule": rule, "reference": 1000, "cap": 3.0})
    assert 0.0 < example_weight(examples, settings) <= 3.0


@given(examples=st.integers(1, 2**53 - 1))
def test_where_all_are_equal_examples_do_not_count(examples: int) -> None:
    assert example_weight(examples, ExampleWeight()) == 1.0
