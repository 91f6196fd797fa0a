"""Server optimisers: from a version and a mean delta to the next version.

The mean delta is an ascent direction (trained minus base), so every rule adds. Each is a pure
function of (model, its own state, mean delta); what changes comes out as new arrays, so that a
commit that fails leaves the old version intact. Rows that nobody touched do not move, and their
state does not either. ``sum`` tensors are statistics: what came in is added, whatever the
optimiser; and what a family derives from them is derived again.

Sources: Reddi et al. 2021, "Adaptive Federated Optimization", Algorithm 2; Loshchilov and Hutter
2019 for decoupled weight decay; row-wise Adagrad as in Naumov et al. 2019 (DLRM), section 2;
damping as in Wang et al. 2024, "FADAS: Towards Federated Adaptive Asynchronous Optimization";
decay as in Li et al. 2020, "On the Convergence of FedAvg on Non-IID Data".
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from latecomer.aggregation import Adagrad, AdamW, Optimizer, Sgd
from latecomer.errors import Unsolvable
from latecomer.store.port import Fold
from latecomer.tensors import Array, Kind, Layout, TensorDelta, TensorSpec

Mutable = dict[str, Array]

#: The arrays that a rule keeps beside one tensor.
Slots = Mapping[str, Array]

#: Index of everything: a dense tensor is touched as a whole.
ALL = slice(None)

Touched = slice | npt.NDArray[np.uint32]


class ServerOptimizer(Protocol):
    """One rule. ``slots`` names the arrays that it keeps beside each tensor."""

    def slots(self, spec: TensorSpec) -> Iterable[tuple[str, tuple[int, ...]]]:
        """Name and shape of each array kept for a tensor."""
        ...

    def move(self, value: Array, slots: Slots, touched: Touched, g: Array) -> Array:
        """The value, changed where it is touched by the mean delta ``g``; the slots, in place."""
        ...


class SgdRule:
    """m <- beta m + g; x <- x + lr m. With beta = 0 no state is kept."""

    def __init__(self, settings: Sgd) -> None:
        self._lr = np.float32(settings.learning_rate)
        self._beta = np.float32(settings.momentum)

    def slots(self, spec: TensorSpec) -> Iterable[tuple[str, tuple[int, ...]]]:
        """The momentum m, of the tensor's shape."""
        return [("momentum", spec.shape)] if self._beta else []

    def move(self, value: Array, slots: Slots, touched: Touched, g: Array) -> Array:
        """See the class."""
        if self._beta:
            g = self._beta * slots["momentum"][touched] + g
            slots["momentum"][touched] = g
        return _moved(value, touched, g if self._lr == 1 else self._lr * g)


class AdamWRule:
    """Adam with bias correction and decoupled weight decay.

    t <- t + 1; m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2;
    x <- x + lr (m / (1-b1^t) / (sqrt(v / (1-b2^t)) + eps) - wd x), with one t per row of a table,
    because a row that is touched for the first time has no history to correct for.
    """

    def __init__(self, settings: AdamW) -> None:
        self._settings = settings

    def slots(self, spec: TensorSpec) -> Iterable[tuple[str, tuple[int, ...]]]:
        """Both moments, of the tensor's shape, and the step count: one per row of a table."""
        steps = (spec.shape[0], 1) if spec.kind is Kind.ROWS else (1,) * len(spec.shape)
        return [("mean", spec.shape), ("variance", spec.shape), ("steps", steps)]

    def move(self, value: Array, slots: Slots, touched: Touched, g: Array) -> Array:
        """See the class."""
        rule = self._settings
        b1, b2 = np.float32(rule.beta1), np.float32(rule.beta2)
        t = slots["steps"][touched] + np.float32(1)
        m = b1 * slots["mean"][touched] + (1 - b1) * g
        v = b2 * slots["variance"][touched] + (1 - b2) * np.square(g)
        slots["steps"][touched], slots["mean"][touched], slots["variance"][touched] = t, m, v
        adapted = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + np.float32(rule.epsilon))
        decay = np.float32(rule.weight_decay) * value[touched]
        return _moved(value, touched, np.float32(rule.learning_rate) * (adapted - decay))


class AdagradRule:
    """s <- s + mean of g^2 over the row; x <- x + lr g / (sqrt(s) + eps).

    One accumulator per row of a table, one per element of a dense tensor: popular rows calm down
    while rare ones still learn at full speed.
    """

    def __init__(self, settings: Adagrad) -> None:
        self._settings = settings

    def slots(self, spec: TensorSpec) -> Iterable[tuple[str, tuple[int, ...]]]:
        """The sum of squares s."""
        return [("squares", (spec.shape[0], 1) if spec.kind is Kind.ROWS else spec.shape)]

    def move(self, value: Array, slots: Slots, touched: Touched, g: Array) -> Array:
        """See the class."""
        squares = np.square(g)
        if slots["squares"].shape != value.shape:
            squares = squares.mean(axis=1, keepdims=True)
        s = slots["squares"][touched] + squares
        slots["squares"][touched] = s
        lr, epsilon = np.float32(self._settings.learning_rate), np.float32(self._settings.epsilon)
        return _moved(value, touched, lr * g / (np.sqrt(s) + epsilon))


def _moved(value: Array, touched: Touched, change: npt.NDArray[np.floating[Any]]) -> Array:
    """A new array, made in one pass where everything is touched."""
    if isinstance(touched, slice):
        return value + change
    moved = value.copy()
    moved[touched] += change
    return moved


def _part(part: float, before: Array, after: Array) -> Array:
    return after if part == 1 else before + np.float32(part) * (after - before)


def build(settings: Optimizer) -> ServerOptimizer:
    """The rule that a recipe names."""
    match settings:
        case Sgd():
            return SgdRule(settings)
        case AdamW():
            return AdamWRule(settings)
        case Adagrad():
            return AdagradRule(settings)


def part_taken(settings: Optimizer, versions: int, folds: Iterable[Fold]) -> float:
    """The part of a step that is taken: how far it is damped, times how far it has decayed.

    Args:
        settings: Whether it is damped, and decays.
        versions: That the epoch had before this one.
        folds: What this one is made of.
    """
    damped = _damping(settings, (fold.staleness for fold in folds))
    return damped * _decay(settings, versions)


def _decay(settings: Optimizer, versions: int) -> float:
    """1 at first, then N / versions.

    With a constant step FedAvg stays at a distance from the optimum that is proportional to it
    (theorem 4); one that shrinks as 1 / t closes it (theorem 1).
    """
    after = settings.decay_after
    return 1.0 if after is None or versions <= after else after / versions


def _damping(settings: Optimizer, staleness: Iterable[int]) -> float:
    """As FADAS's code adapts its rate to delays.

    1 where nobody is further behind than the threshold, else 1 / the largest staleness. (The paper
    says min(rate, 1 / the largest staleness), which is the same at a rate of 1.) One straggler
    slows the whole version down, so the threshold belongs above the usual staleness.
    """
    furthest = max(staleness, default=0)
    beyond = settings.damp_beyond is not None and furthest > settings.damp_beyond
    return 1.0 / furthest if beyond else 1.0


def state_layout(optimizer: ServerOptimizer, model: Layout) -> Layout:
    """The optimiser's own tensors, named ``<tensor>/<slot>``; they travel in the manifest."""
    return Layout(
        tuple(
            TensorSpec(f"{spec.name}/{slot}", Kind.DENSE, shape)
            for spec in model
            if spec.kind in {Kind.DENSE, Kind.ROWS}
            for slot, shape in optimizer.slots(spec)
        )
    )


def step(
    optimizer: ServerOptimizer,
    layout: Layout,
    model: Mapping[str, Array],
    state: Mapping[str, Array],
    mean: Mapping[str, TensorDelta],
    derive: Callable[[Mapping[str, Array]], Mutable] | None = None,
    *,
    part: float,
) -> tuple[Mutable, Mutable]:
    """The next version's model and optimiser state; the arguments stay as they are.

    Args:
        optimizer: Moves ``dense`` and ``rows`` tensors.
        layout: Of the model.
        model: Of the version before.
        state: The optimiser's own, of the version before.
        mean: What the buffer made of the updates.
        derive: The family's, from the sums to its ``derived`` tensors; None if it has none.
        part: Of the step, that is taken; what the optimiser remembers is of the whole. See
            ``part_taken``.

    Raises:
        Unsolvable: The next version would hold what is no number, and nobody could use it.
    """
    next_model, next_state = dict(model), dict(state)
    for name, change in mean.items():
        spec = layout[name]
        if spec.kind is Kind.SUM:
            next_model[name] = model[name] + change.values
            continue
        touched: Touched = ALL if change.rows is None else change.rows
        slots = {slot: state[f"{name}/{slot}"].copy() for slot, _ in optimizer.slots(spec)}
        g = change.values.astype(np.float32, copy=False)
        next_model[name] = _part(part, model[name], optimizer.move(model[name], slots, touched, g))
        moved = (next_model[name], *slots.values())
        if not all(np.isfinite(array[touched]).all() for array in moved):
            raise Unsolvable(
                f"{name}, or what is remembered of it, would hold what is no number: "
                "aggregation.optimizer.learning_rate is too large for these updates, or they for it"
            )
        next_state |= {f"{name}/{slot}": array for slot, array in slots.items()}
    if derive is not None:
        next_model |= derive(next_model)
    return next_model, next_state
