"""Fitting and asking whatever gives one logit per example: what families of predictors share.

p(x) = sigmoid(logit(x)), fitted by mini-batches of AdamW (Loshchilov and Hutter 2019) on the mean
cross-entropy of known outcomes.

N examples, D inputs, B examples of a batch.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, linear, relu

from latecomer.outcomes.examples import Examples
from latecomer.recommenders import passes
from latecomer.recommenders.descent import tensor
from latecomer.recommenders.network_settings import NetworkTraining
from latecomer.recommenders.port import Scorer, Trained
from latecomer.tensors import Array, Kind, State, TensorSpec

Ids = npt.NDArray[np.int64]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Dropout:
    """Inverted dropout from a generator of our own: torch's would take the process's."""

    share: float = 0.0
    generator: torch.Generator | None = None

    def __call__(self, h: Tensor) -> Tensor:
        """Of any shape."""
        if not self.share:
            return h
        kept = torch.rand(h.shape, generator=self.generator) >= self.share
        return h * kept / (1.0 - self.share)


#: Inputs (B, D) -> logits (B,).
Logits = Callable[[Tensors, Tensor, Dropout], Tensor]


def fitted(
    logits: Logits,
    model: State,
    history: Examples,
    *,
    training: NetworkTraining,
    rng: np.random.Generator,
    should_stop: Callable[[], bool],
) -> Trained:
    """Passes over the examples in random order, one optimiser step per batch of them.

    Only weights are decayed, not rows of tables: what no example has does not change.
    """
    tensors = {name: tensor(array.copy()).requires_grad_() for name, array in model.items()}
    tables = [each for name, each in tensors.items() if name.startswith(TABLES)]
    weights = [each for name, each in tensors.items() if not name.startswith(TABLES)]
    optimizer = torch.optim.AdamW(
        [
            {"params": weights, "weight_decay": training.weight_decay},
            {"params": tables, "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
    )
    drop = Dropout(training.dropout, torch.Generator().manual_seed(int(rng.integers(2**63))))
    losses: list[float] = []
    examples = 0
    known = history.known
    for rows in passes.over(
        np.arange(len(known.labels)),
        training.passes,
        training.examples_per_batch,
        rng,
        most=training.examples_per_pass,
    ):
        if should_stop():
            break
        batch = known[rows]
        found = logits(tensors, tensor(batch.inputs), drop)
        loss = binary_cross_entropy_with_logits(found, tensor(batch.labels).float())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
        examples += len(batch.labels)
    trained = {name: each.detach().numpy() for name, each in tensors.items()}
    mean = float(np.mean(losses)) if losses else math.nan
    return Trained(trained, {}, examples, len(losses), mean)


def probabilities(logits: Logits, model: State, history: Examples) -> Scorer:
    """Rows (B,) of ``history`` -> the probability (B,) that something comes of each."""
    tensors = {name: tensor(array) for name, array in model.items()}

    def score(rows: Ids) -> Array:
        with torch.no_grad():
            found = logits(tensors, tensor(history.inputs[rows]), Dropout())
        return np.asarray(torch.sigmoid(found).numpy())

    return score


#: Tables of one row per input are called so.
TABLES = "input."


def layers(widths: tuple[int, ...]) -> list[TensorSpec]:
    """Of every layer of a perceptron the weights (H_l, H_(l-1)) and biases (H_l,)."""
    return [
        spec
        for layer, (before, width) in enumerate(pairwise(widths))
        for spec in (
            TensorSpec(f"layer{layer}.weight", Kind.DENSE, (width, before)),
            TensorSpec(f"layer{layer}.bias", Kind.DENSE, (width,)),
        )
    ]


def start_layers(model: dict[str, Array], hidden: int, rng: np.random.Generator) -> None:
    """Draw the weights of ``hidden`` layers (He et al. 2015, equation 10); the last stays zero."""
    for layer in range(hidden):
        width, before = model[f"layer{layer}.weight"].shape
        scale = np.float32(math.sqrt(2.0 / before))
        model[f"layer{layer}.weight"] = scale * rng.standard_normal((width, before), np.float32)


def perceptron(tensors: Tensors, h: Tensor, hidden: int, drop: Dropout) -> Tensor:
    """(B, H_0) -> (B,): ``hidden`` layers of rectified units, and a last one of one unit."""
    for layer in range(hidden + 1):
        h = linear(h, tensors[f"layer{layer}.weight"], tensors[f"layer{layer}.bias"])  # (B, H_l)
        h = drop(relu(h)) if layer < hidden else h
    return h[:, 0]
