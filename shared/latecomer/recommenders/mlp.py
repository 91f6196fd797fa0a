"""A multilayer perceptron over the inputs of fields: how probably something comes of an example.

logit(x) = W_L h_(L-1) + b_L, h_0 = x, h_l = relu(W_l h_(l-1) + b_l): the 128-128-1 network of click
and outcome prediction; without hidden layers it is logistic regression. Everything is shared;
nothing is private but the examples.

D inputs, B examples of a batch, H_l width of layer l.
"""

from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

from latecomer.outcomes.examples import Examples
from latecomer.recommenders import logistic
from latecomer.recommenders.logistic import Dropout, Tensors
from latecomer.recommenders.network_settings import MlpModel, MlpTraining
from latecomer.recommenders.port import Plan, Scorer, Trained
from latecomer.recommenders.settings import checked
from latecomer.tensors import Array, Layout, State


class Mlp:
    """The family with its settings bound; see the module for the model."""

    def __init__(self, settings: MlpModel) -> None:
        self._settings = settings
        self._hidden = len(settings.hidden)

    def layout(self, items: int) -> Layout:
        """Of every layer the weights (H_l, H_(l-1)) and biases (H_l,), for ``items`` inputs."""
        return Layout(tuple(logistic.layers((items, *self._settings.hidden, 1))))

    def initial(self, items: int, *, seed: int) -> dict[str, Array]:
        """Drawn but for the last layer: before it has learned, it says 1/2 of everything."""
        model = self.layout(items).zeros()
        logistic.start_layers(model, self._hidden, np.random.default_rng(seed))
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
        training = checked(MlpTraining, plan)
        return logistic.fitted(
            self._logits, model, history, training=training, rng=rng, should_stop=should_stop
        )

    def scorer(self, model: State, private: Mapping[str, Array], history: Examples) -> Scorer:
        """The probability (B,) that something comes of each example."""
        del private
        return logistic.probabilities(self._logits, model, history)

    def _logits(self, tensors: Tensors, inputs: Tensor, drop: Dropout) -> Tensor:
        return logistic.perceptron(tensors, inputs, self._hidden, drop)
