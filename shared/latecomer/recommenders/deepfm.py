"""A factorisation machine and a perceptron over the same embeddings of fields.

With x the inputs of an example, and e_f = sum over the inputs d of field f of x_d v_d,

    logit(x) = sum_d w_d x_d + 1/2 sum_k ((sum_f e_fk)^2 - sum_f e_fk^2) + perceptron(e_1, …, e_F)

(Guo et al. 2017, "DeepFM", equations 1 to 4): pairs of fields weigh in by the products of their
embeddings, so that a pair that nobody has seen together is still told something of. Tables of the
inputs are ``rows``: what a worker's examples never have is not averaged with what others learned.

D inputs, F fields, K dimension of an embedding, B examples of a batch.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, split

from latecomer.errors import LayoutMismatch
from latecomer.outcomes.examples import Examples
from latecomer.recommenders import logistic
from latecomer.recommenders.logistic import Dropout, Tensors
from latecomer.recommenders.network_settings import DeepFmModel, DeepFmTraining
from latecomer.recommenders.port import Plan, Scorer, Trained
from latecomer.recommenders.settings import checked
from latecomer.tensors import Array, Kind, Layout, State, TensorSpec

VECTORS = "input.vectors"
WEIGHTS = "input.weights"

#: Of the initial vectors: small, so that products of two begin near zero.
SCALE = np.float32(0.05)


class DeepFm:
    """The family with its settings bound; see the module for the model."""

    def __init__(self, settings: DeepFmModel) -> None:
        self._settings = settings
        self._hidden = len(settings.hidden)

    def layout(self, items: int) -> Layout:
        """Vectors (D, K) and weights (D, 1) of ``items`` inputs, and the perceptron's layers.

        Raises:
            LayoutMismatch: The fields' widths do not add up to ``items``.
        """
        widths, k = self._settings.widths, self._settings.dimension
        if sum(widths) != items:
            raise LayoutMismatch(f"fields of {sum(widths)} inputs, and {items} were agreed on")
        tables = (
            TensorSpec(VECTORS, Kind.ROWS, (items, k)),
            TensorSpec(WEIGHTS, Kind.ROWS, (items, 1)),
        )
        deep = logistic.layers((len(widths) * k, *self._settings.hidden, 1))
        return Layout((*tables, *deep))

    def initial(self, items: int, *, seed: int) -> dict[str, Array]:
        """Vectors and hidden layers are drawn; weights, biases and the last layer are zero."""
        rng = np.random.default_rng(seed)
        model = self.layout(items).zeros()
        model[VECTORS] = SCALE * rng.standard_normal(model[VECTORS].shape, np.float32)
        logistic.start_layers(model, self._hidden, rng)
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
        """See ``logistic.fitted``."""
        del private
        training = checked(DeepFmTraining, plan)
        return logistic.fitted(
            self._logits, model, history, training=training, rng=rng, should_stop=should_stop
        )

    def scorer(self, model: State, private: Mapping[str, Array], history: Examples) -> Scorer:
        """The probability (B,) that something comes of each example."""
        del private
        return logistic.probabilities(self._logits, model, history)

    def _logits(self, tensors: Tensors, inputs: Tensor, drop: Dropout) -> Tensor:
        widths = list(self._settings.widths)
        fields = zip(split(inputs, widths, dim=1), split(tensors[VECTORS], widths), strict=True)
        # Field by field: all inputs' vectors at once would be (B, D, K), and D is the largest.
        e = torch.stack([x @ vectors for x, vectors in fields], dim=1)  # (B, F, K)
        linear = (inputs @ tensors[WEIGHTS])[:, 0]  # (B,)
        pairs = (e.sum(dim=1).square() - e.square().sum(dim=1)).sum(dim=1) / 2  # (B,)
        return linear + pairs + logistic.perceptron(tensors, e.flatten(1), self._hidden, drop)
