"""What others do in one place sees everybody's data, is tuned on validation, and judged by site."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from latecomer.errors import BadData
from latecomer.evaluation.baselines import ease, item_knn
from latecomer.evaluation.protocol import Score
from latecomer.interactions.splits import History
from latecomer_cli import closed_forms
from latecomer_cli.closed_forms import ClosedForm, ScoreFrom, chosen
from scenes import ITEMS, checkerboard, make_recipe, make_site

SITES = [make_site(checkerboard(4)), make_site(checkerboard(6, first=4))]
VALIDATION = np.concatenate([site.split.validation for site in SITES])
TEST = np.concatenate([site.split.test for site in SITES])


def knows(answers: npt.NDArray[np.int64]) -> ScoreFrom:
    """Everybody's held-out item first, and nothing else."""

    def score_from(_: History, items: int) -> Score:
        return lambda users: np.asarray(np.arange(items) == answers[users][:, None], np.float64)

    return score_from


def test_a_user_of_a_later_site_gets_his_own_scores() -> None:
    seen: list[History] = []

    def knows_the_answer(known: History, items: int) -> Score:
        seen.append(known)
        return knows(TEST)(known, items)

    first, second = ClosedForm(knows_the_answer, {}).results(make_recipe(), SITES, ITEMS)
    assert first.per_user()["ndcg@5"].tolist() == [1] * 4
    assert second.per_user()["ndcg@5"].tolist() == [1] * 6
    # Once, from everything but the test items.
    assert [known.lengths.tolist() for known in seen] == [[7] * 10]


def test_who_is_at_two_sites_counts_once_in_one_place() -> None:
    seen: list[History] = []

    def popular(known: History, items: int) -> Score:
        seen.append(known)
        return lambda users: np.zeros((len(users), items))

    (site, _) = SITES
    again = replace(site, elsewhere=np.array([True, True, False, True]))
    ClosedForm(popular, {}).results(make_recipe(), [site, again], ITEMS)
    assert [known.lengths.tolist() for known in seen] == [[7] * 4 + [0, 0, 7, 0]]


@pytest.mark.parametrize(("grid", "name"), [("_item_knns", "item_knn"), ("_eases", "ease")])
def test_settings_are_chosen_on_the_item_before_the_test_item(
    monkeypatch: pytest.MonkeyPatch, grid: str, name: str
) -> None:
    forms = [
        ClosedForm(knows(TEST), {"form": 1}),
        ClosedForm(knows(VALIDATION), {"form": 2}),
        ClosedForm(knows(np.full(len(TEST), ITEMS - 1)), {"form": 3}),
    ]
    monkeypatch.setattr(closed_forms, grid, lambda: forms)
    assert chosen(make_recipe(), SITES, ITEMS)[name].settings == {"form": 2}


@pytest.mark.parametrize(
    ("grid", "closed_form"), [("_item_knns", item_knn), ("_eases", ease)], ids=["knn", "ease"]
)
def test_what_is_said_of_a_closed_form_are_the_settings_that_it_scored_by(
    grid: str, closed_form: Callable[..., Score]
) -> None:
    rng, users = np.random.default_rng(0), np.arange(20)
    items = np.concatenate([rng.permutation(ITEMS)[:8] for _ in users])
    known = History(np.arange(21) * 8, items, np.zeros(160))
    forms: list[ClosedForm] = list(getattr(closed_forms, grid)())
    assert len({tuple(each.settings.values()) for each in forms}) == len(forms) > 1
    for each in forms:
        expected = closed_form(known, ITEMS, **each.settings)(users)
        assert each.score_from(known, ITEMS)(users).tolist() == expected.tolist()


def test_published_negatives_are_of_test_items_and_others_are_drawn_to_choose_by() -> None:
    recipe = make_recipe()
    given = recipe.evaluation.model_copy(update={"candidates": "given"})
    with pytest.raises(BadData, match="leaves 33 items of 99 to draw"):
        chosen(recipe.model_copy(update={"evaluation": given}), SITES, ITEMS)


def test_a_catalogue_too_large_for_a_closed_form_has_none() -> None:
    assert chosen(make_recipe(), SITES, closed_forms.MAX_ITEMS + 1) == {}
