"""What the house needs from a model family: one file, and the few lines that CONTRIBUTING names.

The laws, which one contract suite checks on every family:

* The shared state is exactly the layout's tensors; the private state has one slice per user and
  never leaves the worker.
* ``train`` is a function of its arguments: the same ones and the same generator give the same
  result. It works on copies. Training on nothing changes nothing.
* Items held out for evaluation are not in ``history``, and may be drawn as negatives like any
  other.
* What is added to a ``sum`` is added once: the private state says what was, and is kept only once
  the update that added it is known to count.

No torch here: what a worker or a command needs to know of a family does not depend on what the
family computes with.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from latecomer.interactions.splits import History
from latecomer.outcomes.examples import Examples
from latecomer.tensors import Array, Layout, State, TensorDelta, difference

#: Scores of all items for some users: users (B,) -> (B, I). Who predicts an outcome gives its
#: probability: examples (B,) -> (B,).
Scorer = Callable[[npt.NDArray[np.int64]], Array]

Plan = Mapping[str, str | int | float | bool]

#: What a family learns from.
Known_contra = TypeVar("Known_contra", contravariant=True)


@dataclass(frozen=True)
class Trained:
    """What local training made of a version.

    Attributes:
        model: The shared tensors that were trained, as they are now.
        private: The private state after training, (users, …) per name.
        examples: What it learned from, in a unit of the family's own: that of ``reference`` where
            a recipe weighs updates by their examples. Of none, nothing is sent.
        steps: Optimiser steps taken; fewer than planned if it was told to stop.
        loss: Mean training loss over the steps, NaN if there were none.
        additions: What is to be added to ``sum`` tensors.
    """

    model: dict[str, Array]
    private: dict[str, Array]
    examples: int
    steps: int
    loss: float
    additions: Mapping[str, TensorDelta] = field(default_factory=dict)

    def diverged(self) -> bool:
        """Whether something became infinite or no number: none of it is worth keeping then."""
        additions = [each.values for each in self.additions.values()]
        states = [*self.model.values(), *self.private.values(), *additions]
        return not all(np.isfinite(each).all() for each in states)

    def delta(self, layout: Layout, base: State) -> dict[str, TensorDelta]:
        """All that changes: trained minus base, and the additions."""
        return {**difference(layout, base, self.model), **self.additions}


class Agreed(Protocol):
    """What a federation agreed on, and whose entries its models are about: items, or inputs."""

    def __len__(self) -> int: ...

    def to_bytes(self) -> bytes:
        """As published with version 0."""
        ...


class Family(Protocol[Known_contra]):
    """A model family with its settings bound. I items, U users, B batch.

    To who predicts outcomes, the inputs of an example are what items are here, and examples what
    users are.
    """

    def layout(self, items: int) -> Layout:
        """The shared tensors for a catalogue of ``items``."""
        ...

    def initial(self, items: int, *, seed: int) -> dict[str, Array]:
        """The shared state of version 0."""
        ...

    def initial_private(self, users: int) -> dict[str, Array]:
        """The private state of users that never trained, (users, …) per name."""
        ...

    def train(
        self,
        model: State,
        private: Mapping[str, Array],
        history: Known_contra,
        *,
        plan: Plan,
        rng: np.random.Generator,
        should_stop: Callable[[], bool],
    ) -> Trained:
        """Learn from ``history``, looking at ``should_stop`` between batches.

        What one round leaves for the next is in ``private``; the family itself remembers nothing.
        Items that are ``spared`` as negatives are not learned from, either.

        ``model`` holds what a worker holds: ``layout.held``.

        Raises:
            BadConfiguration: The plan has a key or value that this family does not know.
        """
        ...

    def scorer(self, model: State, private: Mapping[str, Array], history: Known_contra) -> Scorer:
        """Scores for users whose known history is ``history``; larger is better."""
        ...


#: Ranks items for users.
Recommender = Family[History]

#: Predicts what comes of examples.
Predictor = Family[Examples]
