"""Neural collaborative filtering: a product and a network over item rows and a user's own vectors.

He et al. 2017, "Neural Collaborative Filtering", equation 12 (NeuMF): of every item the rows q and
m and the bias b are shared, of every user the vectors p and v are private and never sent, and

    score(u, i) = h.(p_u * q_i) + W2 relu(W1 [v_u, m_i] + c) + b_i.

Private vectors begin at zero, where the product is silent and the network sees items alone: who
never trained gets what is liked in general. The loss is binary cross entropy, of each target
beside as many negatives as its users share, drawn from all that they did not do in training: the
held-out item may be one.

U users, I items, D dimension, H hidden units, B users of a batch, C candidates, T targets.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from latecomer.interactions.negatives import candidates, mask, ranges
from latecomer.interactions.splits import History
from latecomer.recommenders import passes
from latecomer.recommenders.descent import adagrad_step, optimizer, tensor
from latecomer.recommenders.descent_settings import NeuralCfModel, NeuralCfTraining
from latecomer.recommenders.port import Plan, Scorer, Trained
from latecomer.recommenders.settings import checked
from latecomer.tensors import Array, Kind, Layout, State, TensorSpec

Ids = npt.NDArray[np.int64]

FACTORS = "item.factors"
BIAS = "item.bias"
PRODUCT = "product.weights"
HIDDEN = "network.hidden"
OUTPUT = "network.output"
VECTOR = "user.vector"

#: All items.
EVERY = slice(None)

#: Scoring holds two arrays of so many values: users x items x hidden units would be gigabytes.
HIDDEN_AT_A_TIME = 2**22

#: Row-wise Adagrad's accumulator of a user's vectors; kept with them, so that steps shrink.
SQUARES = "user.squares"


class NeuralCf:
    """The family with its settings bound; see the module for the model."""

    def __init__(self, settings: NeuralCfModel) -> None:
        self._settings = settings

    def layout(self, items: int) -> Layout:
        """Rows q and m side by side (I, 2 D), biases (I, 1); h (D,), W1 with c (H, 2 D + 1), W2."""
        width, hidden = self._settings.dimension, self._settings.hidden
        return Layout(
            (
                TensorSpec(FACTORS, Kind.ROWS, (items, 2 * width)),
                TensorSpec(BIAS, Kind.ROWS, (items, 1)),
                TensorSpec(PRODUCT, Kind.DENSE, (width,)),
                TensorSpec(HIDDEN, Kind.DENSE, (hidden, 2 * width + 1)),
                TensorSpec(OUTPUT, Kind.DENSE, (hidden,)),
            )
        )

    def initial(self, items: int, *, seed: int) -> dict[str, Array]:
        """Normal rows and matrices; h is 1, a plain inner product; no bias."""
        rng = np.random.default_rng(seed)
        width, hidden = self._settings.dimension, self._settings.hidden
        factors = rng.standard_normal((items, 2 * width), np.float32)
        return {
            FACTORS: factors * np.float32(self._settings.initial_scale),
            BIAS: np.zeros((items, 1), np.float32),
            PRODUCT: np.ones(width, np.float32),
            HIDDEN: rng.standard_normal((hidden, 2 * width + 1), np.float32)
            / np.float32(math.sqrt(width)),
            OUTPUT: rng.standard_normal(hidden, np.float32) / np.float32(math.sqrt(hidden)),
        }

    def initial_private(self, users: int) -> dict[str, Array]:
        """Vectors p and v side by side (U, 2 D) of zeros."""
        return {
            VECTOR: np.zeros((users, 2 * self._settings.dimension), np.float32),
            SQUARES: np.zeros((users, 1), np.float32),
        }

    def train(
        self,
        model: State,
        private: Mapping[str, Array],
        history: History,
        *,
        plan: Plan,
        rng: np.random.Generator,
        should_stop: Callable[[], bool],
    ) -> Trained:
        """Passes over the users in random order, one optimiser step per batch of users."""
        training = checked(NeuralCfTraining, plan)
        run = _Run(training, model, private, history)
        losses: list[float] = []
        examples = 0
        everybody = np.flatnonzero(history.lengths)
        for users in passes.over(everybody, training.passes, training.contexts_per_batch, rng):
            if should_stop():
                break
            context, item = _targets(history, users, training.targets_per_context, rng)
            losses.append(run.step(users, context, item, rng))
            examples += len(item)
        loss = float(np.mean(losses)) if losses else math.nan
        return Trained(*run.result(), examples, len(losses), loss)

    def scorer(self, model: State, private: Mapping[str, Array], history: History) -> Scorer:
        """Scores from private vectors: ``history`` was learned from, and says nothing more."""
        del history
        tensors = {name: tensor(array) for name, array in model.items()}
        at_a_time = max(1, HIDDEN_AT_A_TIME // (len(model[BIAS]) * self._settings.hidden))

        def score(users: Ids) -> Array:
            parts = max(1, math.ceil(len(users) / at_a_time))
            with torch.no_grad():
                vectors = tensor(private[VECTOR][users])  # (B, 2 D)
                some = (logits(tensors, each, EVERY) for each in vectors.chunk(parts))
                return np.asarray(torch.cat([*some]).numpy())  # (B, I)

        return score


class _Run:
    """One local training: the tensors that change, and the step that changes them."""

    def __init__(
        self,
        training: NeuralCfTraining,
        model: State,
        private: Mapping[str, Array],
        history: History,
    ) -> None:
        self._training = training
        self._history = history
        self._tensors = {
            name: tensor(array.copy()).requires_grad_() for name, array in model.items()
        }
        self._vectors = tensor(private[VECTOR].copy())  # (U, 2 D)
        self._squares = tensor(private[SQUARES].copy())  # (U, 1)
        self._optimizer = optimizer(
            training.optimizer,
            [*self._tensors.values()],
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
        )

    def step(self, users: Ids, context: Ids, item: Ids, rng: np.random.Generator) -> float:
        """One optimiser step; returns the loss before it."""
        vectors = self._vectors[tensor(users)].requires_grad_()  # (B, 2 D)
        loss = self._loss(users, vectors, context, item, rng)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        assert vectors.grad is not None, "the loss depends on the users' vectors"
        self._step_private(tensor(users), vectors.detach(), vectors.grad * len(users))
        return float(loss.detach())

    def result(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """The shared and the private state as they are now."""
        model = {name: each.detach().numpy() for name, each in self._tensors.items()}
        return model, {VECTOR: self._vectors.numpy(), SQUARES: self._squares.numpy()}

    def _loss(
        self, users: Ids, vectors: Tensor, context: Ids, item: Ids, rng: np.random.Generator
    ) -> Tensor:
        """Half of what is looked at is targets, by weight; the other half is negatives."""
        items = len(self._tensors[BIAS])
        offered = candidates(item, items, self._training.negatives, rng)  # (C,)
        wanted = np.zeros((len(users), len(offered)), np.float32)  # (B, C)
        wanted[context, np.searchsorted(offered, item)] = 1
        competes = ~mask(self._history, users, items)[:, offered]  # (B, C)
        weights = wanted / wanted.sum() + competes / max(1, competes.sum())  # (B, C)
        scores = logits(self._tensors, vectors, tensor(offered))
        weighted = tensor(weights.astype(np.float32))
        both = binary_cross_entropy_with_logits(scores, tensor(wanted), weighted, reduction="sum")
        return both / 2

    def _step_private(self, users: Tensor, vectors: Tensor, gradient: Tensor) -> None:
        """Row-wise Adagrad on the private vectors; its state stays here as well."""
        gradient = gradient + self._training.private_decay * vectors
        squares, rate = self._squares[users], self._training.private_learning_rate
        self._vectors[users] = adagrad_step(vectors, squares, gradient, learning_rate=rate)
        self._squares[users] = squares


def logits(tensors: Mapping[str, Tensor], vectors: Tensor, chosen: Tensor | slice) -> Tensor:
    """(B, C) scores of the chosen items for users with these vectors (B, 2 D).

    W1 [v, m] = W1v v + W1m m, so that users and items are multiplied once each, not once a pair.
    """
    q, m = tensors[FACTORS][chosen].chunk(2, dim=1)  # (C, D) each
    p, v = vectors.chunk(2, dim=1)  # (B, D) each
    width, weights = v.shape[1], tensors[HIDDEN]
    of_users = v @ weights[:, :width].T  # (B, H)
    of_items = m @ weights[:, width:-1].T + weights[:, -1]  # (C, H)
    hidden = relu(of_users[:, None] + of_items)  # (B, C, H)
    product = (p * tensors[PRODUCT]) @ q.T  # (B, C)
    return product + hidden @ tensors[OUTPUT] + tensors[BIAS][chosen, 0]


def _targets(history: History, users: Ids, most: int, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """(T,) up to ``most`` items of each user, from a random place on, and whose they are."""
    lengths = history.lengths[users]
    counts = np.minimum(lengths, most)
    context = np.repeat(np.arange(len(users)), counts)
    place = (rng.random(len(users)) * lengths).astype(np.int64)[context]
    run = ranges(np.zeros_like(counts), counts)
    return context, history.items[history.indptr[users][context] + (place + run) % lengths[context]]
