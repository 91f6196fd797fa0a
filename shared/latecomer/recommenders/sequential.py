"""A transformer over what a user did, in order: the user is the sequence, and nothing is private.

SASRec (Kang and McAuley 2018, "Self-Attentive Sequential Recommendation"), with groups (see
``latecomer.interactions.sequences``) in the places of items: place t is x_t = the mean of its
group's rows of the item table + the embedding of its distance from the end. N blocks of causal
attention and a feed-forward network, each x <- x + f(norm(x)), give states h_t, and

    score(i | what was done up to t) = norm(h_t).q_i + b_i.

Item rows q and biases b are shared by input and output. The loss is the softmax cross entropy of
an item of the next group, over negatives that may be the held-out item; over all items where there
are no more than ``negatives``, as overconfidence comes from few (Petrov and Macdonald 2023,
"gSASRec").

U users, I items, D dimension, L places, B sequences of a batch, G groups, C candidates, T targets.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding_bag

from latecomer.interactions import sequences
from latecomer.interactions.negatives import candidates, log_inclusion, mask, shares
from latecomer.interactions.sequences import Sequences
from latecomer.interactions.splits import History
from latecomer.recommenders import passes, transformer
from latecomer.recommenders.descent import MASKED, optimizer, tensor
from latecomer.recommenders.descent_settings import SequentialModel, SequentialTraining
from latecomer.recommenders.port import Plan, Scorer, Trained
from latecomer.recommenders.settings import checked
from latecomer.recommenders.transformer import Dropout
from latecomer.tensors import Array, Kind, Layout, State, TensorSpec

Ids = npt.NDArray[np.int64]

FACTORS = "item.factors"
BIAS = "item.bias"
PLACE = "place.factors"

#: Who did so many things has one to predict from another.
PREDICTABLE = 2


class Sequential:
    """The family with its settings bound; see the module for the model."""

    def __init__(self, settings: SequentialModel) -> None:
        self._settings = settings

    def layout(self, items: int) -> Layout:
        """The item table (I, D), the biases (I, 1), the places (L, D) and the transformer."""
        settings = self._settings
        shapes = {
            PLACE: (settings.length, settings.dimension),
            **transformer.shapes(settings.blocks, settings.dimension),
        }
        return Layout(
            (
                TensorSpec(FACTORS, Kind.ROWS, (items, settings.dimension)),
                TensorSpec(BIAS, Kind.ROWS, (items, 1)),
                *(TensorSpec(name, Kind.DENSE, shape) for name, shape in shapes.items()),
            )
        )

    def initial(self, items: int, *, seed: int) -> dict[str, Array]:
        """Normal tables, no bias, and the transformer's own beginning."""
        rng = np.random.default_rng(seed)
        settings = self._settings
        scale = np.float32(settings.initial_scale)
        width = settings.dimension
        return {
            FACTORS: rng.standard_normal((items, width), np.float32) * scale,
            BIAS: np.zeros((items, 1), np.float32),
            PLACE: rng.standard_normal((settings.length, width), np.float32) * scale,
            **transformer.initial(settings.blocks, width, rng),
        }

    def initial_private(self, users: int) -> dict[str, Array]:
        """Nothing: a user is what he did."""
        del users
        return {}

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
        """Passes over the users in random order, one optimiser step per batch of sequences."""
        del private
        training = checked(SequentialTraining, plan)
        run = _Run(self._settings, training, model, history, rng)
        losses: list[float] = []
        examples = 0
        for users in passes.over(
            np.flatnonzero(history.lengths >= PREDICTABLE),
            training.passes,
            training.contexts_per_batch,
            rng,
        ):
            if should_stop():
                break
            # One group more than is looked at: the last is only ever a target.
            batch = sequences.cut(history, users, self._settings.length + 1, rng)
            following = batch.next_items(rng)
            targets = following[following >= 0]
            losses.append(run.step(batch.without_last(), targets))
            examples += len(targets)
        loss = float(np.mean(losses)) if losses else math.nan
        return Trained(run.result(), {}, examples, len(losses), loss)

    def scorer(self, model: State, private: Mapping[str, Array], history: History) -> Scorer:
        """Scores from the last places of ``history``."""
        del private
        tensors = {name: tensor(array) for name, array in model.items()}

        def score(users: Ids) -> Array:
            known_of = sequences.everything(history, users, self._settings.length)
            with torch.no_grad():
                states = encoded(self._settings, tensors, known_of)  # (B, L, D)
                last = np.maximum(known_of.lengths - 1, 0)
                state = states[torch.arange(len(users)), tensor(last)]  # (B, D)
                logits = state @ tensors[FACTORS].T + tensors[BIAS][:, 0]  # (B, I)
            return np.asarray(logits.numpy())

        return score


class _Run:
    """One local training: the tensors that change, and the step that changes them."""

    def __init__(
        self,
        settings: SequentialModel,
        training: SequentialTraining,
        model: State,
        history: History,
        rng: np.random.Generator,
    ) -> None:
        self._settings = settings
        self._training = training
        self._history = history
        self._rng = rng
        self._shares = shares(history, len(model[BIAS]))  # (I,)
        self._tensors = {
            name: tensor(array.copy()).requires_grad_() for name, array in model.items()
        }
        self._dropout = Dropout(training.dropout, seed=int(rng.integers(1 << 62)))
        self._optimizer = optimizer(
            training.optimizer,
            [*self._tensors.values()],
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
        )

    def step(self, batch: Sequences, targets: Ids) -> float:
        """One optimiser step; returns the loss before it."""
        loss = self._loss(batch, targets)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach())

    def result(self) -> dict[str, Array]:
        """The shared state as it is now."""
        return {name: each.detach().numpy() for name, each in self._tensors.items()}

    def _loss(self, batch: Sequences, item: Ids) -> Tensor:
        context, place = batch.sequence, batch.place  # (T,): each place predicts an item
        items, negatives = len(self._shares), self._training.negatives
        offered = candidates(item, items, negatives, self._rng)  # (C,)
        states = encoded(self._settings, self._tensors, batch, self._dropout)  # (B, L, D)
        chosen = tensor(offered)
        logits = states[tensor(context), tensor(place)] @ self._tensors[FACTORS][chosen].T  # (T, C)
        logits = logits + self._tensors[BIAS][chosen, 0]
        answer = np.searchsorted(offered, item)  # (T,)
        masked = mask(self._history, batch.users, items)[:, offered][context]  # (T, C)
        masked[np.arange(len(answer)), answer] = False
        inclusion = log_inclusion(
            self._shares, negatives=negatives, targets=len(item), contexts=len(batch.users)
        )[offered]
        logits = (logits - tensor(inclusion)).masked_fill(tensor(masked), MASKED)
        return cross_entropy(logits, tensor(answer))


def encoded(
    settings: SequentialModel,
    tensors: Mapping[str, Tensor],
    batch: Sequences,
    dropout: Dropout | None = None,
) -> Tensor:
    """(B, L, D) states after each place; what is beyond a sequence's end means nothing."""
    rows, length = len(batch.users), settings.length
    groups = embedding_bag(
        tensor(batch.items), tensors[FACTORS], tensor(batch.offsets), mode="mean"
    )  # (G, D)
    from_end = length - batch.lengths[batch.sequence] + batch.place  # (G,)
    groups = groups + tensors[PLACE][tensor(from_end)]
    flat = groups.new_zeros(rows * length, settings.dimension)
    flat = flat.index_copy(0, tensor(batch.sequence * length + batch.place), groups)
    return transformer.forward(
        tensors,
        flat.view(rows, length, settings.dimension),
        blocks=settings.blocks,
        heads=settings.heads,
        dropout=dropout or Dropout(0.0, seed=0),
    )
