import numpy as np
import pytest
from pydantic import ValidationError

from latecomer.events import RoundStarted, UpdateSubmitted, Version
from latecomer.tensors import TensorDelta
from unit.latecomer.test_wire import a_round
from wire_scene import an_update


def test_versions_are_ordered_by_epoch_then_number() -> None:
    assert Version(1, 9) < Version(1, 10) < Version(2, 0)
    assert str(Version(2, 10)) == "2.10"


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        a_round().max_staleness = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        an_update().examples = 3  # type: ignore[misc]


def test_an_event_says_its_schema() -> None:
    assert a_round().model_dump(by_alias=True)["schema"] == 1
    assert an_update().model_dump(by_alias=True)["schema"] == 1


def test_an_update_keeps_its_tensors_out_of_dumps_and_logs() -> None:
    update = an_update({"bias": TensorDelta(np.array([0.125], np.float32))})
    assert "delta" not in update.model_dump()
    assert "0.125" not in repr(update)


@pytest.mark.parametrize("name", ["a", "uk-1", "x" * 40, "0"])
def test_names_of_letters_digits_and_inner_hyphens_are_names(name: str) -> None:
    assert an_update(worker=name, federation=name).worker == name
    assert a_round(cohort=name).cohort == name


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a.b", "a b", "*", "#", "é", "x" * 41, "a\n"]
)
def test_what_would_surprise_a_routing_key_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        an_update(worker=name)
    with pytest.raises(ValidationError, match="pattern"):
        an_update(federation=name)
    with pytest.raises(ValidationError, match="pattern"):
        a_round(cohort=name)


@pytest.mark.parametrize("event", [RoundStarted, UpdateSubmitted])
def test_an_event_without_its_facts_is_none(event: type[RoundStarted | UpdateSubmitted]) -> None:
    with pytest.raises(ValidationError, match="federation"):
        event.model_validate({})
