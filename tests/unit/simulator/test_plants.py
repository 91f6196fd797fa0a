"""Bugs on purpose: a checker that finds none of them would prove nothing."""

import pytest

from latecomer_simulator.invariants import CHECKERS
from latecomer_simulator.plants import PLANTS, Plant

#: As ``latecomer bench faults``: what so many seeds do not catch is not caught.
SEEDS = range(60)


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_caught_by_its_own_checker(name: str) -> None:
    plant = PLANTS[name]
    honest = getattr(plant.owner, plant.attribute)
    assert plant.seed_that_catches_it(SEEDS) is not None
    assert getattr(plant.owner, plant.attribute) is honest


def test_what_catches_them_are_checkers_of_which_none_stands_in_for_another() -> None:
    catchers = [plant.caught_by for plant in PLANTS.values()]
    assert len(set(catchers)) == len(catchers)
    assert {*catchers} <= {each.__name__ for each in CHECKERS}


class Shop:
    """Production code, for once of our own."""

    def price(self) -> int:
        return 7


CHEAP = Plant(Shop, "price", lambda _self: 0, "memory_is_bounded")


def test_a_bug_is_there_inside_and_nowhere_else() -> None:
    honest = Shop.price
    with CHEAP.planted():
        assert Shop().price() == 0
    assert Shop().price() == 7
    assert Shop.price is honest


def test_a_bug_is_dug_up_though_the_run_failed() -> None:
    with pytest.raises(LookupError), CHEAP.planted():
        raise LookupError
    assert Shop().price() == 7


def test_a_bug_that_breaks_no_promise_is_not_caught() -> None:
    assert CHEAP.seed_that_catches_it(range(2)) is None
