"""The laws of ``latecomer.recommenders.port``, for every family."""

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from latecomer.errors import BadConfiguration, ExitCode
from latecomer.interactions.splits import History
from latecomer.recommenders.port import Plan, Recommender, Trained
from latecomer.recommenders.settings import MODELS, PREDICTORS
from latecomer.tensors import Array, Layout, applied, check_delta, difference, norm
from unit.latecomer.recommenders.families_under_test import (
    FAMILIES,
    ITEMS,
    PREDICTIVE,
    STEPWISE,
    USERS,
    Family,
    answers,
    checkerboard,
    history,
)


def test_every_family_that_ranks_is_held_to_these_laws() -> None:
    assert {each.settings.family for each in FAMILIES} == MODELS.keys() - PREDICTORS


CASES = [
    pytest.param(each, plan, id=f"{each.name}-{number}")
    for each in FAMILIES
    for number, plan in enumerate(each.plans)
]
STEPWISE_CASES = [case for case in CASES if case.values[0] in STEPWISE]


@pytest.fixture(params=FAMILIES, ids=lambda each: each.name)
def under_test(request: pytest.FixtureRequest) -> Family:
    assert isinstance(request.param, Family)
    return request.param


@pytest.fixture(params=STEPWISE, ids=lambda each: each.name)
def stepwise(request: pytest.FixtureRequest) -> Family:
    assert isinstance(request.param, Family)
    return request.param


@pytest.fixture(params=PREDICTIVE, ids=lambda each: each.name)
def predictive(request: pytest.FixtureRequest) -> Family:
    assert isinstance(request.param, Family)
    return request.param


@pytest.fixture
def recommender(under_test: Family) -> Recommender:
    return under_test.make()


@dataclass
class StopAfter:
    """Lets ``batches`` batches pass."""

    batches: int
    asked: int = field(default=0, init=False)

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked > self.batches


def never() -> bool:
    return False


def train(
    recommender: Recommender,
    known: History,
    plan: Plan,
    *,
    model: Mapping[str, Array] | None = None,
    private: Mapping[str, Array] | None = None,
    items: int = ITEMS,
    seed: int = 0,
    should_stop: Callable[[], bool] = never,
) -> Trained:
    return recommender.train(
        model or recommender.initial(items, seed=1),
        private or recommender.initial_private(len(known.lengths)),
        known,
        plan=plan,
        rng=np.random.default_rng(seed),
        should_stop=should_stop,
    )


def assert_same(left: Mapping[str, Array], right: Mapping[str, Array]) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert array.tobytes() == right[name].tobytes(), name


def values_of(trained: Trained) -> dict[str, Array]:
    return {name: np.asarray(change.values) for name, change in trained.additions.items()}


def sealed(state: Mapping[str, Array]) -> dict[str, Array]:
    """The same numbers, which nobody can write to: as decoded from a message or a store."""
    copies = {name: array.copy() for name, array in state.items()}
    for array in copies.values():
        array.setflags(write=False)
    return copies


def test_a_layout_comes_back_from_a_manifest(recommender: Recommender) -> None:
    layout = recommender.layout(ITEMS)
    assert Layout.from_json(layout.to_json()) == layout


def test_the_layout_depends_on_nothing_but_settings_and_items(under_test: Family) -> None:
    assert under_test.make().layout(ITEMS).digest == under_test.make().layout(ITEMS).digest
    assert under_test.make().layout(ITEMS).digest != under_test.make().layout(ITEMS + 1).digest


def test_version_0_fits_the_layout_and_follows_from_its_seed(recommender: Recommender) -> None:
    first = recommender.initial(ITEMS, seed=3)
    recommender.layout(ITEMS).check(first)
    assert_same(first, recommender.initial(ITEMS, seed=3))


def test_another_seed_is_another_version_0(stepwise: Family) -> None:
    first, other = (stepwise.make().initial(ITEMS, seed=seed) for seed in (3, 4))
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_the_private_state_has_one_slice_per_user(recommender: Recommender) -> None:
    for users in (0, 1, 7):
        private = recommender.initial_private(users)
        assert all(len(array) == users for array in private.values())
        assert all(array.dtype == np.float32 for array in private.values())


def test_private_state_is_not_in_the_shared_state(under_test: Family) -> None:
    recommender = under_test.make()
    trained = train(recommender, checkerboard(), under_test.brief_plan())
    check_delta(layout := recommender.layout(ITEMS), trained.additions)
    assert {*trained.model, *trained.additions} <= {spec.name for spec in layout}
    private = recommender.initial_private(USERS)
    assert trained.private.keys() == private.keys()
    assert not trained.private.keys() & {*trained.model, *trained.additions}
    for name, array in trained.private.items():
        assert (array.shape, array.dtype) == (private[name].shape, private[name].dtype)
        assert not any(np.shares_memory(array, shared) for shared in trained.model.values())


def test_no_users_private_numbers_are_in_an_update(under_test: Family) -> None:
    """Of copies it tells; what else an update is made of, a reviewer has to look at."""
    recommender = under_test.make()
    base, layout = recommender.initial(ITEMS, seed=1), recommender.layout(ITEMS)
    trained = train(recommender, checkerboard(), under_test.brief_plan(), model=base)
    sent = [change.values for change in trained.delta(layout, base).values()]
    numbers = np.concatenate([np.ravel(each) for each in (*sent, *trained.model.values())])
    for own in trained.private.values():
        real = own[own != np.round(own)]  # counts and sets of items are like others
        assert not real.size or np.isin(real, numbers).mean() < 0.01


def test_a_device_of_one_user_learns(under_test: Family) -> None:
    trained = train(under_test.make(), checkerboard().of_user(0), under_test.brief_plan())
    assert trained.examples
    assert not trained.diverged()


def test_what_is_held_out_is_no_example_where_it_is_spared_as_a_negative(
    under_test: Family,
) -> None:
    """As under ``pfedrec-compat``, which leaks enough without."""
    known, plan = checkerboard(), under_test.brief_plan()
    held_out = np.array([[(answer + 1) % ITEMS] for answer in answers()])
    spared = History(known.indptr, known.items, known.time_s, held_out)
    clean, leaky = (train(under_test.make(), each, plan) for each in (known, spared))
    assert clean.examples == leaky.examples
    if under_test not in STEPWISE:  # who draws no negatives spares none
        assert_same(clean.model, leaky.model)
        assert_same(values_of(clean), values_of(leaky))


NOTHING = {"nobody": history(), "nothing bought": history([], [], [])}
NOTHING_TO_PREDICT = {"one item each": history([[0]], [], [[3]])}


@pytest.mark.parametrize("nothing", NOTHING.values(), ids=NOTHING)
def test_training_on_nothing_changes_nothing(under_test: Family, nothing: History) -> None:
    assert_nothing_is_learned(under_test, nothing)


@pytest.mark.parametrize("nothing", NOTHING_TO_PREDICT.values(), ids=NOTHING_TO_PREDICT)
def test_where_nothing_can_be_predicted_nothing_changes(
    predictive: Family, nothing: History
) -> None:
    assert_nothing_is_learned(predictive, nothing)


def assert_nothing_is_learned(under_test: Family, nothing: History) -> None:
    recommender = under_test.make()
    model = recommender.initial(ITEMS, seed=1)
    private = recommender.initial_private(len(nothing.lengths))
    for plan in under_test.plans:
        trained = train(recommender, nothing, plan, model=model, private=private)
        assert trained.delta(recommender.layout(ITEMS), model) == {}
        assert (trained.examples, trained.steps) == (0, 0)
        assert math.isnan(trained.loss)


def test_the_same_arguments_give_the_same_result(under_test: Family) -> None:
    """Of one instance as well: whatever it remembered of a round, another worker would not."""
    recommender, plan = under_test.make(), under_test.brief_plan()
    first = train(recommender, checkerboard(), plan, seed=5)
    for other in (recommender, under_test.make()):
        second = train(other, checkerboard(), plan, seed=5)
        assert_same(first.model, second.model)
        assert_same(values_of(first), values_of(second))
        assert_same(first.private, second.private)
        assert (first.examples, first.steps) == (second.examples, second.steps)
        assert first.loss == second.loss or math.isnan(first.loss)


def test_another_draw_gives_another_result(stepwise: Family) -> None:
    plan = stepwise.brief_plan()
    first, second = (train(stepwise.make(), checkerboard(), plan, seed=seed) for seed in (5, 6))
    assert any(not np.array_equal(first.model[name], second.model[name]) for name in first.model)


@pytest.mark.parametrize("writable", [True, False])
def test_training_works_on_copies(under_test: Family, writable: bool) -> None:
    recommender = under_test.make()
    known = checkerboard()
    model = sealed(recommender.initial(ITEMS, seed=1))
    private = sealed(recommender.initial_private(USERS))
    arguments = [*model.values(), *private.values()]
    everything: list[npt.NDArray[Any]] = [known.indptr, known.items, known.time_s, *arguments]
    for array in everything:
        array.setflags(write=writable)
    before = {name: array.copy() for name, array in {**model, **private}.items()}
    trained = train(recommender, known, under_test.brief_plan(), model=model, private=private)
    assert_same({**model, **private}, before)
    assert known.items.tobytes() == checkerboard().items.tobytes()
    for learned in (*trained.model.values(), *trained.private.values()):
        assert not any(np.shares_memory(learned, own) for own in arguments)


def test_what_was_learned_is_a_finite_delta_that_fits_the_layout(under_test: Family) -> None:
    recommender = under_test.make()
    base, layout = recommender.initial(ITEMS, seed=1), recommender.layout(ITEMS)
    trained = train(recommender, checkerboard(), under_test.brief_plan(), model=base)
    delta = trained.delta(layout, base)
    assert delta
    assert trained.examples, "what no example was learned from is not sent"
    check_delta(layout, delta)
    assert math.isfinite(norm(delta))
    result = applied(layout, base, delta)
    for name, array in trained.model.items():
        assert np.allclose(array, result[name], atol=1e-6)


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_training_stops_between_batches_when_told_to(stepwise: Family, batches: int) -> None:
    recommender = stepwise.make()
    plan = {**stepwise.plans[0], "passes": 3, "contexts_per_batch": 10}
    whole = train(recommender, checkerboard(), plan)
    assert whole.steps == 3 * 5
    told = StopAfter(batches)
    stopped = train(recommender, checkerboard(), plan, should_stop=told)
    assert stopped.steps == batches
    assert told.asked == batches + 1, "who was told to stop begins no other pass"
    assert stopped.examples <= whole.examples * (batches + 1) / whole.steps
    assert math.isnan(stopped.loss) is (batches == 0)


def test_who_is_stopped_before_the_first_batch_changed_nothing(under_test: Family) -> None:
    recommender = under_test.make()
    model = recommender.initial(ITEMS, seed=1)
    plan = under_test.plans[0]
    stopped = train(recommender, checkerboard(), plan, model=model, should_stop=StopAfter(0))
    assert stopped.delta(recommender.layout(ITEMS), model) == {}


@pytest.mark.parametrize(("under", "plan"), STEPWISE_CASES)
def test_training_lowers_the_loss(under: Family, plan: Plan) -> None:
    recommender, known = under.make(), checkerboard()
    first = train(recommender, known, {**plan, "passes": 1})
    trained = train(recommender, known, plan)
    again = train(
        recommender, known, {**plan, "passes": 1}, model=trained.model, private=trained.private
    )
    assert again.loss < 0.75 * first.loss


@pytest.mark.parametrize(("under", "plan"), CASES)
def test_training_finds_the_one_item_that_is_missing(under: Family, plan: Plan) -> None:
    recommender, known = under.make(), checkerboard()
    base = recommender.initial(ITEMS, seed=1)
    trained = train(recommender, known, plan, model=base)
    model = under.next_model(base, trained)
    scores = recommender.scorer(model, trained.private, known)(np.arange(USERS))
    scores[known.user, known.items] = -np.inf
    assert scores.argmax(axis=1).tolist() == answers()


def test_an_untrained_model_does_not_know_the_answer_to_what_it_is_asked(
    predictive: Family,
) -> None:
    """The target is in its user's history, and must be taken out before it is predicted."""
    rng = np.random.default_rng(0)
    pairs = history(*[[rng.permutation(ITEMS)[:2].tolist()] for _ in range(500)])
    for plan in predictive.plans:
        first = train(predictive.make(), pairs, {**plan, "passes": 1, "contexts_per_batch": 500})
        assert first.steps == 1
        assert first.loss >= predictive.guessing[str(plan["loss"])]


def test_scores_are_one_finite_number_per_user_and_item(recommender: Recommender) -> None:
    known = history([[0, 1], [2]], [], [[3]], [[4], [5], [6]])
    score = recommender.scorer(
        recommender.initial(ITEMS, seed=1), recommender.initial_private(4), known
    )
    for users in ([0], [3, 1], [2, 2, 0, 1, 3], []):
        scores = score(np.array(users, np.int64))
        assert scores.shape == (len(users), ITEMS)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()


def test_a_score_does_not_depend_on_who_else_is_asked_for(under_test: Family) -> None:
    recommender, known = under_test.make(), checkerboard()
    base = recommender.initial(ITEMS, seed=1)
    trained = train(recommender, known, under_test.brief_plan(), model=base)
    score = recommender.scorer(under_test.next_model(base, trained), trained.private, known)
    together = score(np.arange(USERS))
    for user in range(0, USERS, 7):
        assert np.allclose(score(np.array([user]))[0], together[user], atol=1e-5)
    backwards = score(np.arange(USERS)[::-1].copy())
    assert np.allclose(backwards[::-1], together, atol=1e-5)


def test_scoring_reads_what_a_store_gave_and_changes_nothing(recommender: Recommender) -> None:
    known = checkerboard()
    model, private = recommender.initial(ITEMS, seed=1), recommender.initial_private(USERS)
    before = recommender.scorer(model, private, known)(np.arange(USERS))
    for array in (known.indptr, known.items, known.time_s):
        array.setflags(write=False)
    score = recommender.scorer(sealed(model), sealed(private), known)
    assert score(np.arange(USERS)).tobytes() == before.tobytes()


def test_two_who_did_the_same_at_other_times_of_day_score_the_same(
    recommender: Recommender,
) -> None:
    both = history([[0, 1], [2]], [[1, 0], [2]])
    later = History(both.indptr, both.items, both.time_s * 3600 + 17)
    model, private = recommender.initial(ITEMS, seed=1), recommender.initial_private(2)
    scores = recommender.scorer(model, private, both)(np.arange(2))
    assert np.allclose(scores[0], scores[1], atol=1e-6)
    assert np.allclose(recommender.scorer(model, private, later)(np.arange(2)), scores, atol=1e-6)


def test_an_item_that_nobody_bought_is_pushed_away_as_a_negative(stepwise: Family) -> None:
    recommender = stepwise.make()
    unsold = ITEMS
    model = recommender.initial(ITEMS + 1, seed=1)
    for plan in stepwise.plans:
        trained = train(
            recommender, checkerboard(), {**plan, "passes": 3}, model=model, items=ITEMS + 1
        )
        delta = difference(recommender.layout(ITEMS + 1), model, trained.model)
        touched = {
            row for change in delta.values() if change.rows is not None for row in change.rows
        }
        assert unsold in touched
        before, after = (
            recommender.scorer(state, recommender.initial_private(USERS), checkerboard())(
                np.arange(USERS)
            )
            for state in (model, trained.model)
        )
        fell = (after[:, unsold] - after.mean(axis=1)) - (before[:, unsold] - before.mean(axis=1))
        assert fell.mean() < 0


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"learning_rat": 0.1}, "learning_rat"),
        ({"passes": 0}, "passes"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"loss": "mse"}, "loss"),
        ({"optimizer": "lion"}, "optimizer"),
    ],
)
def test_a_plan_with_a_wrong_value_is_refused_by_key(
    stepwise: Family, plan: Plan, said: str
) -> None:
    with pytest.raises(BadConfiguration, match=rf"training\.{said}: "):
        train(stepwise.make(), checkerboard(), plan)


def test_a_plan_that_the_family_does_not_know_is_refused_by_key(recommender: Recommender) -> None:
    with pytest.raises(BadConfiguration, match=r"training\.learning_rat: "):
        train(recommender, checkerboard(), {"learning_rat": 0.1})


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import latecomer_cli.fleet, latecomer_cli.work, latecomer_worker.app
from latecomer.recommenders.families import family
from latecomer.recommenders.settings import AlsModel, GramModel
from latecomer_cli import app
family(GramModel()), family(AlsModel())
sys.exit(app.run(["demo", "recipes/retail.toml"]))
"""


def test_a_worker_that_counts_or_solves_needs_no_torch_and_who_does_is_told() -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.BAD_USAGE
    assert done.stderr.startswith(
        "latecomer: this needs torch, which is not installed; pip install"
    )
