"""A multilayer perceptron over the inputs of fields: how probably something comes of an example.

p(x) = sigmoid(W_L h_(L-1) + b_L), h_0 = x, h_l = relu(W_l h_(l-1) + b_l): the 128-128-1 network of
click and outcome prediction; without hidden layers it is logistic regression. Everything is shared;
nothing is private but the examples.

N examples, D inputs, B examples of a batch, H_l width of layer l.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, linear, relu

from latecomer.outcomes.examples import Examples
from latecomer.recommenders.port import Plan, Scorer, Trained
from latecomer.recommenders.settings import MlpModel, MlpTraining, checked
from latecomer.tensors import Array, Kind, Layout, State, TensorSpec

Ids = npt.NDArray[np.int64]


class Mlp:
    """The family with its settings bound; see the module for the model."""

    def __init__(self, settings: MlpModel) -> None:
        self._settings = settings

    def layout(self, items: int) -> Layout:
        """Of every layer the weights (H_l, H_(l-1)) and biases (H_l,), for ``items`` inputs."""
        widths = [items, *self._settings.hidden, 1]
        specs: list[TensorSpec] = []
        for layer, (before, width) in enumerate(pairwise(widths)):
            specs += [
                TensorSpec(f"layer{layer}.weight", Kind.DENSE, (width, before)),
                TensorSpec(f"layer{layer}.bias", Kind.DENSE, (width,)),
            ]
        return Layout(tuple(specs))

    def initial(self, items: int, *, seed: int) -> dict[str, Array]:
        """He et al. 2015, equation 10, for hidden layers; no bias, and a last layer of zeros.

        Before it has learned, it thus says 1/2 of everything.
        """
        rng = np.random.default_rng(seed)
        model = self.layout(items).zeros()
        for layer, width in enumerate(self._settings.hidden):
            before = model[f"layer{layer}.weight"].shape[1]
            scale = np.float32(math.sqrt(2.0 / before))
            model[f"layer{layer}.weight"] = scale * rng.standard_normal((width, before), np.float32)
        return model

    def initial_private(self, users: int) -> dict[str, Array]:
        """Nothing of an example is private but itself."""
        del users
        return {}

    def train(
        self,
        model: State,
        private: Mapping[str, Array],
        history: Examples,
        *,
        plan: Plan,
        rng: np.random.Generator,
        should_stop: Callable[[], bool],
    ) -> Trained:
        """Passes over the examples in random order, one optimiser step per batch of them."""
        training = checked(MlpTraining, plan)
        known = history.known
        tensors = {name: _tensor(array.copy()).requires_grad_() for name, array in model.items()}
        optimizer = torch.optim.AdamW(
            tensors.values(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        losses: list[float] = []
        examples = 0
        for batch in _batches(known, training, rng):
            if should_stop():
                break
            logits = _logits(tensors, _tensor(batch.inputs), training.dropout, generator)
            loss = binary_cross_entropy_with_logits(logits, _tensor(batch.labels).float())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
            examples += len(batch.labels)
        trained = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
        mean = float(np.mean(losses)) if losses else math.nan
        return Trained(trained, dict(private), examples, len(losses), mean)

    def scorer(self, model: State, private: Mapping[str, Array], history: Examples) -> Scorer:
        """The probability (B,) that something comes of each example."""
        del private
        tensors = {name: _tensor(array) for name, array in model.items()}

        def score(rows: Ids) -> Array:
            with torch.no_grad():
                logits = _logits(tensors, _tensor(history.inputs[rows]))
            return np.asarray(torch.sigmoid(logits).numpy())

        return score


def _logits(
    tensors: Mapping[str, Tensor],
    inputs: Tensor,
    drop: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """(B, D) -> (B,)."""
    layers = len(tensors) // 2
    h = inputs
    for layer in range(layers):
        h = linear(h, tensors[f"layer{layer}.weight"], tensors[f"layer{layer}.bias"])  # (B, H_l)
        if layer < layers - 1:
            h = _dropped(relu(h), drop, generator)
    return h[:, 0]


def _dropped(h: Tensor, drop: float, generator: torch.Generator | None) -> Tensor:
    """Inverted dropout from a generator of our own: torch's takes the process's."""
    if not drop:
        return h
    kept = torch.rand(h.shape, generator=generator) >= drop
    return h * kept / (1.0 - drop)


def _batches(
    known: Examples, training: MlpTraining, rng: np.random.Generator
) -> Iterator[Examples]:
    for _ in range(training.passes):
        order = rng.permutation(len(known.labels))[: training.examples_per_pass or None]
        for start in range(0, len(order), training.examples_per_batch):
            yield known[order[start : start + training.examples_per_batch]]


def _tensor(array: npt.NDArray[np.generic]) -> Tensor:
    # What was decoded is a read-only view, which torch cannot promise to leave alone.
    return torch.from_numpy(np.require(array, requirements="W"))
