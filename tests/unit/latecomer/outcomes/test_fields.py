"""Values become inputs by what was declared, and nothing else is believed."""

import numpy as np
import pytest
from pydantic import ValidationError

from latecomer.outcomes.fields import Field, Fields

COLOUR = Field(name="colour", values=("red", "blue"))
AGE = Field(name="age", low=20, high=60)
VISITS = Field(name="visits", edges=(0, 1, 5))


def test_a_category_sets_its_own_input_and_an_unknown_one_the_last() -> None:
    inputs, unknown = COLOUR.encode(["blue", "red", "green", ""])
    assert inputs.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]]
    assert unknown.tolist() == [False, False, True, True]


def test_a_number_is_scaled_between_its_ends_and_missing_outside() -> None:
    inputs, unknown = AGE.encode(["20", "50", "60.0", "61", "-3", "old", "nan"])
    assert inputs[:, 0].tolist() == [0, 0.75, 1, 0, 0, 0, 0]
    assert inputs[:, 1].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert unknown.tolist() == [False] * 3 + [True] * 4


def test_a_bin_includes_its_lower_edge_and_not_its_upper_one() -> None:
    inputs, unknown = VISITS.encode(["0", "0.9", "1", "4", "5", "-1", "x"])
    assert inputs.argmax(axis=1).tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert inputs.sum(axis=1).tolist() == [1] * 7
    assert unknown.tolist() == [False] * 4 + [True] * 3


GENRES = Field(name="genres", values=("war", "drama", "film"), separator="|")


def test_a_value_that_names_several_categories_sets_the_input_of_each() -> None:
    inputs, unknown = GENRES.encode(["film|war", "drama", "drama|opera", "opera", ""])
    assert inputs.tolist() == [
        [1, 0, 1, 0],
        [0, 1, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 1],
    ]
    assert unknown.tolist() == [False, False, True, True, True]
    assert [GENRES.said(each) for each in inputs] == ["war|film", "drama", "drama", "", ""]


def test_nothing_to_encode_is_no_rows() -> None:
    for field in (COLOUR, AGE, VISITS, GENRES):
        inputs, unknown = field.encode([])
        assert inputs.shape == (0, field.width)
        assert len(unknown) == 0


FIELDS = Fields((COLOUR, AGE, VISITS), "ill")


def test_fields_come_back_from_a_manifest_and_are_as_many_as_their_inputs() -> None:
    assert Fields.from_bytes(FIELDS.to_bytes()) == FIELDS
    assert len(FIELDS) == 3 + 2 + 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("blue", "35", "4"), ["colour blue", "age 35", "visits 1 to 5"]),
        (("red", "20", "0"), ["colour red", "age 20", "visits 0 to 1"]),
        (("green", "?", "9"), []),
    ],
)
def test_inputs_can_be_read_again_but_for_what_is_missing(
    values: tuple[str, ...], said: list[str]
) -> None:
    parts = [field.encode([value])[0] for field, value in zip(FIELDS.fields, values, strict=True)]
    assert FIELDS.described(np.concatenate(parts, axis=1)[0]) == said


@pytest.mark.parametrize("value", ["0", "-0.1", "3.5", "8"])
def test_a_number_is_read_again_as_it_was_written(value: str) -> None:
    depression = Field(name="depression", low=-4, high=8)
    assert depression.said(depression.encode([value])[0][0]) == value


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "give values, or edges, or low and high"),
        ({"low": 1}, "give values, or edges, or low and high"),
        ({"values": ["a"], "low": 1, "high": 2}, "give values, or edges, or low and high"),
        ({"values": ["a", "a"]}, "listed twice"),
        ({"edges": [1, 1]}, "have to increase"),
        ({"edges": [1]}, "have to increase"),
        ({"low": 2, "high": 1}, "have to increase"),
        ({"values": ["a"], "colour": 1}, "Extra inputs"),
    ],
)
def test_a_field_that_means_nothing_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Field.model_validate({"name": "x", **wrong})


def test_inputs_are_what_networks_take() -> None:
    assert AGE.encode(["30"])[0].dtype == np.float32
