"""An arm follows from names alone: by lot among users, and never otherwise than before."""

from math import sqrt

import pytest

from latecomer.errors import BadConfiguration, BadData
from latecomer.experiments.assignment import arm

USERS = [f"customer-{number}" for number in range(10_000)]


def treated(experiment: str, share: float = 0.5, site: str | None = "beijing") -> set[str]:
    return {user for user in USERS if arm(experiment, user, site=site, share=share) == "treatment"}


@pytest.mark.parametrize(
    ("site", "arms"),
    [
        ("beijing", ["treatment", "control", "treatment"]),
        ("shanghai", ["control", "control", "control"]),
        (None, ["treatment", "control", "control"]),
    ],
)
def test_an_arm_is_what_it_was_in_every_release(site: str | None, arms: list[str]) -> None:
    # Another answer would put people into other arms in the middle of an experiment.
    assert [arm("spring", user, site=site) for user in ("17850", "13047", "Zoë")] == arms


@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_as_many_are_treated_as_the_share_says(share: float) -> None:
    spread = sqrt(len(USERS) * share * (1 - share))
    assert abs(len(treated("spring", share)) - share * len(USERS)) < 4 * spread


def test_with_a_larger_share_nobody_leaves_the_treatment() -> None:
    assert treated("spring", 0.1) < treated("spring", 0.2) < treated("spring", 0.9)


@pytest.mark.parametrize(
    ("experiment", "site"), [("summer", "beijing"), ("spring", "shanghai"), ("spring", None)]
)
def test_lots_of_another_experiment_or_site_are_independent(
    experiment: str, site: str | None
) -> None:
    both = len(treated("spring") & treated(experiment, site=site))
    assert abs(both - len(USERS) / 4) < 4 * sqrt(len(USERS) * 3 / 16)


def test_what_stands_around_a_name_does_not_matter() -> None:
    for user in USERS[:20]:
        assert arm(" spring", f" {user}\n", site="beijing ") == arm("spring", user, site="beijing")


@pytest.mark.parametrize("user", [13047, 13047.0, None, "", "  "])
def test_who_has_no_id_as_text_has_no_arm(user: object) -> None:
    # As a number 13047 would be somebody else than in the log.
    with pytest.raises(BadData, match="no id of a user"):
        arm("spring", user, site="beijing")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "x" * 201, "\x1b[2J", "\u2028", "\udcff"])
def test_what_is_not_one_line_is_no_name(name: str) -> None:
    with pytest.raises(BadConfiguration, match="no name of an experiment"):
        arm(f"a{name}b" if name.strip() else name, "1", site="beijing")
    with pytest.raises(BadConfiguration, match="no name of a site"):
        arm("spring", "1", site=f"a{name}b" if name.strip() else name)


def test_no_site_is_called_as_all_of_them_are() -> None:
    with pytest.raises(BadConfiguration, match="no name of a site: 'all'"):
        arm("spring", "1", site="all")
