"""The laws of ``latecomer.recommenders.port``, for families that predict outcomes."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from latecomer.errors import BadConfiguration, LayoutMismatch
from latecomer.outcomes.examples import UNKNOWN, Examples
from latecomer.recommenders.families import family
from latecomer.recommenders.network_settings import DeepFmModel, MlpModel
from latecomer.recommenders.port import Plan, Predictor, Trained
from latecomer.recommenders.settings import Model
from latecomer.tensors import Array, Layout, State, applied, check_delta, norm

#: Two inputs, and one that says nothing.
INPUTS = 3
PLAN: Plan = {"passes": 100, "learning_rate": 0.02, "examples_per_batch": 16}
BRIEF: Plan = {**PLAN, "passes": 2}

FAMILIES: dict[str, Model] = {
    "one hidden layer": MlpModel(hidden=(16,)),
    "two hidden layers": MlpModel(hidden=(16, 8)),
    "factorisation machine and perceptron": DeepFmModel(hidden=(16,), widths=(1, 1, 1)),
}


@pytest.fixture(params=FAMILIES)
def predictor(request: pytest.FixtureRequest) -> Predictor:
    return family(FAMILIES[request.param])


def exclusive_or(examples: int = 64) -> Examples:
    """An outcome that no input tells alone: exactly one of the first two is set."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 2, (examples, INPUTS)).astype(np.float32)
    return Examples(inputs, (inputs[:, 0] != inputs[:, 1]).astype(np.int64))


def hidden(examples: Examples) -> Examples:
    return Examples(examples.inputs, np.full(len(examples.labels), UNKNOWN))


def train(
    predictor: Predictor,
    known: Examples,
    plan: Plan = BRIEF,
    *,
    model: State | None = None,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trained:
    return predictor.train(
        model or predictor.initial(INPUTS, seed=1),
        predictor.initial_private(len(known.labels)),
        known,
        plan=plan,
        rng=np.random.default_rng(seed),
        should_stop=should_stop,
    )


def probability(predictor: Predictor, model: State, known: Examples) -> Array:
    return predictor.scorer(model, {}, known)(np.arange(len(known.labels)))


def test_a_layout_comes_back_from_a_manifest_and_fits_version_0(predictor: Predictor) -> None:
    layout = predictor.layout(INPUTS)
    assert Layout.from_json(layout.to_json()) == layout
    layout.check(predictor.initial(INPUTS, seed=3))


def test_version_0_follows_from_its_seed_and_says_one_half_of_everything(
    predictor: Predictor,
) -> None:
    first, again, other = (predictor.initial(INPUTS, seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)
    assert probability(predictor, first, exclusive_or()) == pytest.approx(0.5, abs=0.02)


def test_training_finds_what_no_input_says_alone(predictor: Predictor) -> None:
    known = exclusive_or()
    trained = train(predictor, known, PLAN)
    found = probability(predictor, trained.model, hidden(known))
    assert ((found > 0.5) == (known.labels == 1)).all()
    assert trained.loss < math.log(2)


def test_without_hidden_layers_it_is_logistic_regression() -> None:
    """Of 3 positives among 4 alike, the likeliest probability is 3/4."""
    logistic = family(MlpModel(hidden=()))
    known = Examples(np.zeros((4, INPUTS), np.float32), np.array([1, 1, 1, 0]))
    trained = train(logistic, known, {"passes": 1000, "learning_rate": 0.01})
    assert probability(logistic, trained.model, known) == pytest.approx(0.75, abs=0.01)


def test_a_factorisation_machine_adds_the_products_of_its_fields_embeddings() -> None:
    """Two fields of two inputs each, worked out by hand; the perceptron is silent at first."""
    machine = family(DeepFmModel(hidden=(), dimension=2, widths=(2, 2)))
    model = machine.initial(4, seed=1)
    model["input.weights"][:, 0] = [0.5, 0, 0, -0.25]
    model["input.vectors"][:] = [[1, 2], [9, 9], [9, 9], [3, -1]]
    known = Examples(np.array([[1, 0, 0, 1], [0.5, 0, 0, 1]], np.float32), np.array([0, 0]))
    # Of the first, 0.5 - 0.25 + (1 x 3 + 2 x -1); of the second, half of its first field.
    expected = [1 / (1 + math.exp(-1.25)), 1 / (1 + math.exp(-0.5))]
    assert probability(machine, model, known) == pytest.approx(expected)


def test_fields_have_to_add_up_to_the_inputs() -> None:
    with pytest.raises(LayoutMismatch, match="fields of 3 inputs, and 4 were agreed on"):
        family(DeepFmModel(widths=(1, 2))).layout(4)


def test_an_input_that_no_example_has_is_not_sent() -> None:
    machine = family(DeepFmModel(hidden=(4,), widths=(2, 2)))
    known = Examples(np.array([[1, 0, 1, 0], [1, 0, 0, 1]], np.float32), np.array([1, 0]))
    base = machine.initial(4, seed=1)
    trained = train(machine, known, {**BRIEF, "weight_decay": 0.1}, model=base)
    delta = trained.delta(machine.layout(4), base)
    rows = delta["input.vectors"].rows
    assert rows is not None
    assert rows.tolist() == [0, 2, 3]


def test_what_is_held_out_is_not_learned_from(predictor: Predictor) -> None:
    known = exclusive_or()
    first = train(predictor, known)
    more = Examples(
        np.concatenate([known.inputs, 1 - known.inputs]),
        np.concatenate([known.labels, np.full(len(known.labels), UNKNOWN)]),
    )
    again = train(predictor, more)
    assert again.examples == first.examples == 2 * known.size
    assert all(np.array_equal(first.model[name], again.model[name]) for name in first.model)


@pytest.mark.parametrize("nothing", [hidden(exclusive_or()), exclusive_or(0)])
def test_training_on_nothing_changes_nothing(predictor: Predictor, nothing: Examples) -> None:
    base = predictor.initial(INPUTS, seed=1)
    trained = train(predictor, nothing, model=base)
    assert trained.delta(predictor.layout(INPUTS), base) == {}
    assert (trained.examples, trained.steps, trained.private) == (0, 0, {})
    assert math.isnan(trained.loss)


def test_the_same_arguments_give_the_same_result_and_another_draw_another(
    predictor: Predictor,
) -> None:
    plan = {**BRIEF, "dropout": 0.5}
    first, again, other = (
        train(predictor, exclusive_or(), plan, seed=seed).model for seed in (5, 5, 6)
    )
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_training_works_on_copies_of_what_a_store_gave(predictor: Predictor) -> None:
    base = predictor.initial(INPUTS, seed=1)
    before = {name: array.copy() for name, array in base.items()}
    for array in base.values():
        array.setflags(write=False)
    trained = train(predictor, exclusive_or(), model=base)
    assert all(np.array_equal(base[name], before[name]) for name in base)
    assert not any(np.shares_memory(trained.model[name], base[name]) for name in base)


def test_what_was_learned_is_a_finite_delta_that_fits_the_layout(predictor: Predictor) -> None:
    base, layout = predictor.initial(INPUTS, seed=1), predictor.layout(INPUTS)
    trained = train(predictor, exclusive_or(), model=base)
    delta = trained.delta(layout, base)
    check_delta(layout, delta)
    assert math.isfinite(norm(delta))
    for name, array in applied(layout, base, delta).items():
        assert np.allclose(array, trained.model[name], atol=1e-6)


def test_training_stops_between_batches_when_told_to(predictor: Predictor) -> None:
    answers = iter([False, False, True])
    trained = train(predictor, exclusive_or(), should_stop=lambda: next(answers))
    assert (trained.steps, trained.examples) == (2, 32)


def test_a_pass_over_some_of_the_examples_draws_others_each_time(predictor: Predictor) -> None:
    plan = {**BRIEF, "passes": 3, "examples_per_pass": 20}
    some = train(predictor, exclusive_or(), plan)
    assert (some.examples, some.steps) == (60, 6)
    again = train(predictor, exclusive_or(), plan, seed=1)
    assert any(not np.array_equal(some.model[name], again.model[name]) for name in some.model)


@pytest.mark.parametrize("wrong", [{"passes": 0}, {"dropout": 1.0}, {"negatives": 5}])
def test_a_plan_with_a_wrong_value_is_refused_by_key(predictor: Predictor, wrong: Plan) -> None:
    with pytest.raises(BadConfiguration, match=rf"training\.{next(iter(wrong))}: "):
        train(predictor, exclusive_or(), wrong)
