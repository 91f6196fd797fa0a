"""What the aggregator computes from a family's sums whenever they change. No torch here."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from latecomer.recommenders import gram
from latecomer.recommenders.settings import GramModel, Model
from latecomer.tensors import Array, State


class Derive(Protocol):
    """From a model whose sums are new to its ``derived`` tensors, as new arrays."""

    def __call__(
        self, model: State, between: Callable[[], object] = lambda: None
    ) -> dict[str, Array]:
        """``between`` is called once in a while: this may take longer than a lease lasts."""
        ...


def rule(settings: Model) -> Derive | None:
    """The family's rule; None for families without sums."""
    match settings:
        case GramModel():
            return partial(gram.solved, settings)
        case _:
            return None
