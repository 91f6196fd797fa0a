from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from latecomer.aggregation import OPTIMIZERS, Adagrad, AdamW, Optimizer, Sgd
from latecomer.errors import Unsolvable
from latecomer.events import Version
from latecomer.store.port import Fold
from latecomer.tensors import Array, TensorDelta
from latecomer_aggregator import optimizer
from scenes import LAYOUT, net, rows

RULES: list[Optimizer] = [
    Sgd(),
    Sgd(momentum=0.9),
    AdamW(name="adamw"),
    AdamW(name="adamw", weight_decay=0.1),
    Adagrad(name="adagrad"),
]
every_rule = pytest.mark.parametrize("settings", RULES, ids=str)

EPOCH_0 = Version(1, 0)

State = Mapping[str, Array]


def fresh(settings: Optimizer) -> tuple[dict[str, Array], dict[str, Array]]:
    """A model of ones, and the optimiser's first state."""
    layout = optimizer.state_layout(optimizer.build(settings), LAYOUT)
    return {name: array + np.float32(1) for name, array in LAYOUT.zeros().items()}, layout.zeros()


def after(
    settings: Optimizer, *means: Mapping[str, TensorDelta]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The model of ones and the state, after a step per mean delta."""
    rule = optimizer.build(settings)
    model, state = fresh(settings)
    for mean in means:
        model, state = optimizer.step(rule, LAYOUT, model, state, mean, part=1.0)
    return model, state


def folds(staleness: Sequence[int]) -> list[Fold]:
    return [Fold(f"w{n}:b:1", f"w{n}", EPOCH_0, tau, 1.0, 1) for n, tau in enumerate(staleness)]


def test_every_optimiser_is_held_to_these_laws() -> None:
    assert {each.name for each in RULES} == OPTIMIZERS.keys()


def test_sgd_adds_the_mean_times_the_rate() -> None:
    model, state = after(Sgd(learning_rate=0.5), net(2.0, -4.0) | rows({2: (1.0, 3.0)}))
    assert model["net"].tolist() == [2.0, -1.0]
    assert model["items"].tolist() == [[1, 1], [1, 1], [1.5, 2.5], [1, 1]]
    assert state == {}


def test_momentum_remembers_the_step_before() -> None:
    """m1 = 2, x1 = 1 + 2; m2 = 0.5 x 2 + 4 = 5, x2 = 3 + 5."""
    model, state = after(Sgd(momentum=0.5), net(2.0, 0.0), net(4.0, 0.0))
    assert model["net"].tolist() == [8.0, 1.0]
    assert state["net/momentum"].tolist() == [5.0, 0.0]


@pytest.mark.parametrize(
    ("staleness", "part"),
    [((), 1.0), ((0, 1), 1.0), ((4, 0), 1.0), ((5, 0), 0.2), ((1, 10, 5), 0.1)],
)
def test_who_is_too_far_behind_divides_the_step(staleness: Sequence[int], part: float) -> None:
    assert optimizer.part_taken(Sgd(damp_beyond=4), 100, folds(staleness)) == part
    assert optimizer.part_taken(Sgd(), 100, folds(staleness)) == 1.0


@pytest.mark.parametrize(("versions", "part"), [(0, 1.0), (50, 1.0), (100, 0.5), (200, 0.25)])
def test_after_so_many_versions_the_step_shrinks_with_their_number(
    versions: int, part: float
) -> None:
    assert optimizer.part_taken(Sgd(decay_after=50), versions, folds([9])) == part


def test_a_step_is_damped_and_decays() -> None:
    both = Sgd(damp_beyond=4, decay_after=50)
    assert optimizer.part_taken(both, 100, folds([5])) == 0.2 * 0.5


@every_rule
def test_of_a_damped_step_a_part_is_taken_and_the_whole_remembered(settings: Optimizer) -> None:
    rule, mean = optimizer.build(settings), net(2.0, -4.0) | rows({2: (1.0, 3.0)})
    before, empty = fresh(settings)
    whole, remembered = optimizer.step(rule, LAYOUT, before, empty, mean, part=1.0)
    quarter, state = optimizer.step(rule, LAYOUT, before, empty, mean, part=0.25)
    for name, array in before.items():
        moved = whole[name] - array
        np.testing.assert_allclose(quarter[name] - array, 0.25 * moved, atol=1e-6)
    assert {name: each.tolist() for name, each in state.items()} == {
        name: each.tolist() for name, each in remembered.items()
    }


def test_adamw_starts_with_a_step_of_its_rate_in_the_direction_of_the_mean() -> None:
    """m / (1 - b1) = g and v / (1 - b2) = g^2: the first step is lr x sign(g)."""
    settings = AdamW(name="adamw", learning_rate=0.1)
    model, state = after(settings, net(3.0, -0.5) | rows({1: (7.0, 0.0)}))
    assert model["net"] == pytest.approx([1.1, 0.9])
    assert model["items"][1] == pytest.approx([1.1, 1.0])
    assert state["net/mean"] == pytest.approx([0.3, -0.05])
    assert state["net/variance"] == pytest.approx([0.09, 0.0025])
    assert state["net/steps"].tolist() == [1.0]


def test_adamw_by_hand_at_its_second_step() -> None:
    """g = 1, then 3: m = .39 / .19, v = (.0099 + .09) / .0199."""
    model, _ = after(AdamW(name="adamw", learning_rate=1.0), net(1.0, 1.0), net(3.0, 3.0))
    adapted = (0.39 / 0.19) / np.sqrt(0.0999 / 0.0199)
    assert model["net"] == pytest.approx([2.0 + adapted] * 2, rel=1e-5)


def test_adamw_decays_weights_beside_the_adapted_step() -> None:
    """1 + 0.1 x (1 - 0.5 x 1)."""
    settings = AdamW(name="adamw", learning_rate=0.1, weight_decay=0.5)
    model, _ = after(settings, net(2.0, 2.0))
    assert model["net"] == pytest.approx([1.05, 1.05])


def test_adamw_corrects_each_row_by_its_own_history() -> None:
    """Row 3 is touched for the first time at the third step, and takes a full first step."""
    first, late = rows({0: (1.0, 1.0)}), rows({0: (1.0, 1.0), 3: (1.0, 1.0)})
    model, state = after(AdamW(name="adamw", learning_rate=0.1), first, first, late)
    assert state["items/steps"].tolist() == [[3.0], [0.0], [0.0], [1.0]]
    assert model["items"][3] == pytest.approx([1.1, 1.1])
    assert model["items"][0] == pytest.approx([1.3, 1.3])


def test_adagrad_has_one_accumulator_per_row_and_one_per_dense_element() -> None:
    """Row: s = (9 + 16) / 2; element: s = g^2, so that the first step is the rate."""
    settings = Adagrad(name="adagrad", learning_rate=0.5)
    model, state = after(settings, rows({1: (3.0, 4.0)}) | net(2.0, -8.0))
    assert state["items/squares"].tolist() == [[0.0], [12.5], [0.0], [0.0]]
    root = np.sqrt(12.5)
    assert model["items"][1] == pytest.approx([1 + 1.5 / root, 1 + 2.0 / root])
    assert model["net"] == pytest.approx([1.5, 0.5])


def test_adagrad_calms_down() -> None:
    """s = 1, then 1 + 1: steps of 1 and 1 / sqrt(2)."""
    settings = Adagrad(name="adagrad", learning_rate=1.0)
    model, _ = after(settings, net(1.0, 1.0), net(1.0, 1.0))
    assert model["net"] == pytest.approx([2 + 1 / np.sqrt(2)] * 2)


@every_rule
def test_rows_that_nobody_touched_do_not_move_and_keep_their_state(settings: Optimizer) -> None:
    everything = rows(dict.fromkeys(range(4), (1.0, 2.0)))
    model, state = after(settings, everything)
    moved, moved_state = after(settings, everything, rows({2: (5.0, 5.0)}))
    others = [0, 1, 3]
    assert not np.array_equal(moved["items"][2], model["items"][2])
    np.testing.assert_array_equal(moved["items"][others], model["items"][others])
    np.testing.assert_array_equal(moved["net"], model["net"])
    for name in state:
        touched = moved_state[name][others] if name.startswith("items/") else moved_state[name]
        before = state[name][others] if name.startswith("items/") else state[name]
        np.testing.assert_array_equal(touched, before)


@every_rule
def test_the_arguments_stay_as_they_are(settings: Optimizer) -> None:
    rule = optimizer.build(settings)
    model, state = fresh(settings)
    mean = net(1.0, 2.0) | rows({1: (3.0, 4.0)}) | {"seen": net(1.0, 1.0)["net"]}
    optimizer.step(rule, LAYOUT, model, state, mean, part=1.0)
    untouched_model, untouched_state = fresh(settings)
    for name, array in model.items():
        np.testing.assert_array_equal(array, untouched_model[name])
    for name, array in state.items():
        np.testing.assert_array_equal(array, untouched_state[name])
    assert mean["net"].values.tolist() == [1.0, 2.0]
    assert mean["items"].values.tolist() == [[3.0, 4.0]]


@every_rule
def test_statistics_are_added_whatever_the_optimiser(settings: Optimizer) -> None:
    model, state = after(settings, {"seen": TensorDelta(np.array([5.0, 7.0], np.float32))})
    assert model["seen"].tolist() == [6.0, 8.0]
    assert not any(name.startswith("seen/") for name in state)


@every_rule
def test_everything_stays_float32(settings: Optimizer) -> None:
    half = {"net": TensorDelta(np.array([1.0, 2.0], np.float16))}
    model, state = after(settings, half | rows({0: (1.0, 1.0)}))
    assert {array.dtype for array in [*model.values(), *state.values()]} == {np.dtype(np.float32)}
    LAYOUT.check(model)
    optimizer.state_layout(optimizer.build(settings), LAYOUT).check(state)


def test_no_version_is_made_of_what_is_no_number() -> None:
    """The mean is finite and so is the model: their sum in float32 is not."""
    rule = optimizer.build(Sgd(learning_rate=1e30))
    mean = {"net": TensorDelta(np.array([1e10, 0.0], np.float32))}
    with (
        np.errstate(over="ignore"),
        pytest.raises(Unsolvable, match=r"net, .* aggregation\.optimizer\.learning_rate"),
    ):
        optimizer.step(rule, LAYOUT, LAYOUT.zeros(), {}, mean, part=1.0)


def test_nothing_is_remembered_of_what_is_no_number() -> None:
    """The model moves by little; its squares are infinite, and it would never move again."""
    with np.errstate(over="ignore"), pytest.raises(Unsolvable, match="what is remembered of it"):
        after(
            Adagrad(name="adagrad", learning_rate=0.1),
            {"net": TensorDelta(np.array([1e20, 0.0], np.float32))},
        )
