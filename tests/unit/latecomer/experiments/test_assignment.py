"""An arm follows from names alone: by lot among users, and never otherwise than before."""

from math import sqrt

import pytest

from latecomer.experiments.assignment import arm

USERS = [f"customer-{number}" for number in range(10_000)]


def treated(experiment: str, share: float = 0.5) -> set[str]:
    return {user for user in USERS if arm(experiment, user, share=share) == "treatment"}


def test_an_arm_is_what_it_was_in_every_release() -> None:
    # Another answer would put people into other arms in the middle of an experiment.
    assert [arm("spring", user) for user in ("17850", "13047", "Zoë")] == [
        "control",
        "treatment",
        "control",
    ]


@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_as_many_are_treated_as_the_share_says(share: float) -> None:
    spread = sqrt(len(USERS) * share * (1 - share))
    assert abs(len(treated("spring", share)) - share * len(USERS)) < 4 * spread


def test_with_a_larger_share_nobody_leaves_the_treatment() -> None:
    assert treated("spring", 0.1) < treated("spring", 0.2) < treated("spring", 0.9)


def test_two_experiments_are_independent() -> None:
    both = len(treated("spring") & treated("summer"))
    assert abs(both - len(USERS) / 4) < 4 * sqrt(len(USERS) * 3 / 16)
