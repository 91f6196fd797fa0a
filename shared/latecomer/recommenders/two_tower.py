"""Two towers over one item table: a user is what he did, plus a private vector that stays at home.

score(u, i) = cos(z_u, q_i) / temperature + b_i, with z_u = p_u + the recency-weighted mean of the
rows q_j of u's own items. Shared are the table q (rows) and the biases b (rows); private is p_u.
With an empty history it is plain matrix factorisation; with p_u = 0 an item-based tower.

U users, I items, D dimension, B contexts of a batch, C candidates, T targets, M items of all
contexts.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding_bag, normalize, softplus

from latecomer.interactions.baskets import Baskets, Contexts, Targets
from latecomer.interactions.negatives import candidates, log_inclusion, mask, shares
from latecomer.interactions.splits import History
from latecomer.recommenders.descent import MASKED, TINY, adagrad_step, optimizer, tensor
from latecomer.recommenders.descent_settings import TwoTowerModel, TwoTowerTraining
from latecomer.recommenders.port import Plan, Scorer, Trained
from latecomer.recommenders.settings import checked
from latecomer.tensors import Array, Kind, Layout, State, TensorSpec

Ids = npt.NDArray[np.int64]

FACTORS = "item.factors"
BIAS = "item.bias"
VECTOR = "user.vector"

#: Row-wise Adagrad's accumulator of a private vector; kept with it, so that steps go on shrinking.
SQUARES = "user.squares"


class TwoTower:
    """The family with its settings bound; see the module for the model."""

    def __init__(self, settings: TwoTowerModel) -> None:
        self._settings = settings

    def layout(self, items: int) -> Layout:
        """The item table (I, D) and the biases (I, 1)."""
        return Layout(
            (
                TensorSpec(FACTORS, Kind.ROWS, (items, self._settings.dimension)),
                TensorSpec(BIAS, Kind.ROWS, (items, 1)),
            )
        )

    def initial(self, items: int, *, seed: int) -> dict[str, Array]:
        """Normal factors, no bias."""
        rng = np.random.default_rng(seed)
        factors = rng.standard_normal((items, self._settings.dimension), np.float32)
        return {
            FACTORS: factors * np.float32(self._settings.initial_scale),
            BIAS: np.zeros((items, 1), np.float32),
        }

    def initial_private(self, users: int) -> dict[str, Array]:
        """Vectors (U, D) of zeros: a new user is what he did."""
        return {
            VECTOR: np.zeros((users, self._settings.dimension), np.float32),
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
        """Passes over the users in random order, one optimiser step per batch of contexts."""
        training = checked(TwoTowerTraining, plan)
        run = _Run(self._settings, training, model, private, history)
        baskets = Baskets(history, self._settings.decay)
        losses: list[float] = []
        examples = 0
        batches = partial(
            baskets.batches,
            contexts=training.contexts_per_batch,
            targets=training.targets_per_context,
            rng=rng,
        )
        for contexts, targets in (each for _ in range(training.passes) for each in batches()):
            if should_stop():
                break
            losses.append(run.step(contexts, targets, rng))
            examples += len(targets.item)
        loss = float(np.mean(losses)) if losses else math.nan
        return Trained(*run.result(), examples, len(losses), loss)

    def scorer(self, model: State, private: Mapping[str, Array], history: History) -> Scorer:
        """Scores from everything in ``history``."""
        factors = normalize(tensor(model[FACTORS]), dim=1)  # (I, D)
        bias = tensor(model[BIAS])[:, 0]  # (I,)
        baskets = Baskets(history, self._settings.decay)

        def score(users: Ids) -> Array:
            contexts = baskets.everything(users)
            total = _bag_sums(tensor(model[FACTORS]), contexts)  # (B, D)
            mean = total / tensor(contexts.totals)[:, None].clamp(min=TINY)
            z = normalize(mean + tensor(private[VECTOR][users]), dim=1)  # (B, D)
            logits = z @ factors.T / self._settings.temperature + bias  # (B, I)
            return np.asarray(logits.numpy())

        return score


class _Run:
    """One local training: the tensors that change, and the step that changes them."""

    def __init__(
        self,
        settings: TwoTowerModel,
        training: TwoTowerTraining,
        model: State,
        private: Mapping[str, Array],
        history: History,
    ) -> None:
        self._settings = settings
        self._training = training
        self._history = history
        self._shares = shares(history, len(model[BIAS]))  # (I,)
        self._factors = tensor(model[FACTORS].copy()).requires_grad_()  # (I, D)
        self._bias = tensor(model[BIAS].copy()).requires_grad_()  # (I, 1)
        self._vectors = tensor(private[VECTOR].copy())  # (U, D)
        self._squares = tensor(private[SQUARES].copy())  # (U, 1)
        self._optimizer = optimizer(
            training.optimizer,
            [self._factors, self._bias],
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
        )

    def step(self, contexts: Contexts, targets: Targets, rng: np.random.Generator) -> float:
        """One optimiser step; returns the loss before it."""
        users = tensor(contexts.users)
        vectors = self._vectors[users].requires_grad_()  # (B, D)
        loss = self._loss(contexts, targets, vectors, rng)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        assert vectors.grad is not None, "the loss depends on the users' vectors"
        self._step_private(users, vectors.detach(), vectors.grad * len(users))
        return float(loss.detach())

    def result(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """The shared and the private state as they are now."""
        model = {FACTORS: self._factors.detach().numpy(), BIAS: self._bias.detach().numpy()}
        return model, {VECTOR: self._vectors.numpy(), SQUARES: self._squares.numpy()}

    def _loss(
        self, contexts: Contexts, targets: Targets, vectors: Tensor, rng: np.random.Generator
    ) -> Tensor:
        items = len(self._factors)
        offered = candidates(targets.item, items, self._training.negatives, rng)  # (C,)
        logits = self._logits(contexts, targets, vectors, offered)  # (T, C)
        place = np.searchsorted(offered, targets.item)  # (T,)
        masked = mask(self._history, contexts.users, items)[:, offered][targets.context]  # (T, C)
        masked[np.arange(len(place)), place] = False
        logits = logits.masked_fill(tensor(masked), MASKED)
        if self._training.loss == "bpr":
            return _bpr(logits, tensor(place), tensor(masked))
        if self._training.popularity_correction:
            inclusion = log_inclusion(
                self._shares,
                negatives=self._training.negatives,
                targets=len(targets.item),
                contexts=len(contexts.users),
            )[offered]
            logits = logits - self._training.popularity_correction * tensor(inclusion)
        return cross_entropy(logits, tensor(place))

    def _logits(
        self,
        contexts: Contexts,
        targets: Targets,
        vectors: Tensor,
        offered: Ids,
    ) -> Tensor:
        """Logits of the candidates, each target predicted from a context without itself."""
        context, item = tensor(targets.context), tensor(targets.item)
        own = tensor(targets.own_weight)[:, None]  # (T, 1)
        total = _bag_sums(self._factors, contexts)[context]  # (T, D)
        rest = tensor(contexts.totals)[context][:, None] - own  # (T, 1)
        mean = (total - own * self._factors[item]) / rest.clamp(min=TINY)
        z = normalize(mean + vectors[context], dim=1, eps=TINY)  # (T, D)
        chosen = tensor(offered)
        q = normalize(self._factors[chosen], dim=1, eps=TINY)  # (C, D)
        return z @ q.T / self._settings.temperature + self._bias[chosen, 0]  # (T, C)

    def _step_private(self, users: Tensor, vectors: Tensor, gradient: Tensor) -> None:
        """Row-wise Adagrad on the private vectors; its state stays here as well."""
        gradient = gradient + self._training.private_decay * vectors
        squares, rate = self._squares[users], self._training.private_learning_rate
        self._vectors[users] = adagrad_step(vectors, squares, gradient, learning_rate=rate)
        self._squares[users] = squares


def _bag_sums(table: Tensor, contexts: Contexts) -> Tensor:
    """(B, D) weighted sum of each context's rows of ``table`` (I, D)."""
    return embedding_bag(
        tensor(contexts.items),
        table,
        tensor(contexts.offsets),
        mode="sum",
        per_sample_weights=tensor(contexts.weights),
    )


def _bpr(logits: Tensor, place: Tensor, masked: Tensor) -> Tensor:
    """Mean over negatives of -log sigmoid(s_target - s_negative) (Rendle et al. 2009, BPR-Opt)."""
    target = logits.gather(1, place[:, None])  # (T, 1)
    competes = (~masked).scatter(1, place[:, None], value=False)  # (T, C)
    return softplus(logits - target)[competes].sum() / competes.sum().clamp(min=1)
