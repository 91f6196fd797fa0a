"""Whoever founds an epoch gets what a data owner's own recipe declares, and no more."""

from typing import Any

import pytest

from latecomer.errors import BadConfiguration
from latecomer.interactions.schema import Catalogue
from latecomer.recipe import Recipe
from latecomer_cli import consent

COUGH = {"name": "cough", "values": ["no", "yes"]}
AGE = {"name": "age", "edges": [0, 50, 100]}
ITEMS = Catalogue(("i0", "i1"), ("", ""))


def wards(*fields: dict[str, Any], **others: Any) -> Recipe:
    data = {
        "format": "examples",
        "source": "patients.csv",
        "outcome": {"column": "ill", "positive": ["yes"]},
        "fields": fields,
    }
    network = {"model": {"family": "mlp"}, "training": {}}
    return Recipe.model_validate({"federation": "wards", "data": data, **network, **others})


def shop(family: str) -> Recipe:
    return Recipe.model_validate(
        {
            "federation": "shop",
            "data": {"format": "ml-100k"},
            "model": {"family": family},
            "training": {},
        }
    )


def asks(own: Recipe, agreed: Recipe) -> None:
    consent.check(own, agreed, agreed.data.agreed)  # type: ignore[union-attr]


def test_what_everybody_declares_is_learned_from() -> None:
    asks(wards(COUGH, AGE), wards(COUGH, AGE, training={"passes": 20}))
    asks(wards(COUGH, AGE), wards(AGE))
    consent.check(shop("gram"), shop("gram"), ITEMS)


@pytest.mark.parametrize(
    "more",
    [
        {"name": "surname", "values": ["Alba", "Bond"]},
        {"name": "age", "edges": [0, 41, 42, 100]},
        {"name": "cough", "values": ["no", "yes", "blood"]},
    ],
)
def test_a_field_that_is_not_declared_as_it_is_asked_for_is_not_read(more: dict[str, Any]) -> None:
    with pytest.raises(BadConfiguration, match=f"does not declare.*: {more['name']}$"):
        asks(wards(COUGH, AGE), wards(more))


def test_every_field_that_is_not_declared_is_named() -> None:
    with pytest.raises(BadConfiguration, match=r"does not declare.*: surname, age$"):
        asks(wards(COUGH), wards({"name": "surname", "values": ["Alba", "Bond"]}, COUGH, AGE))


def test_another_family_sends_other_things_and_is_not_followed() -> None:
    with pytest.raises(BadConfiguration, match="learns by gram, and this recipe says two_tower"):
        consent.check(shop("two_tower"), shop("gram"), ITEMS)
    with pytest.raises(BadConfiguration, match="learns by mlp, and this recipe says als"):
        asks(shop("als"), wards(COUGH))
