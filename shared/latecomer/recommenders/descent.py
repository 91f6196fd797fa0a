"""What families that learn by gradients share: a worker's optimisers, arrays as tensors."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

OptimizerName = Literal["adam", "adamw", "sgd"]

#: Below any logit that competes, and finite: a row of masked logits still has a gradient of zero.
MASKED = -1e4

#: Keeps the first step of a row without a gradient finite.
TINY = 1e-6


def optimizer(
    name: OptimizerName, tensors: list[Tensor], *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The optimiser that a plan names; only ``adamw`` decays weights."""
    match name:
        case "sgd":
            return torch.optim.SGD(tensors, lr=learning_rate)
        case "adam":
            return torch.optim.Adam(tensors, lr=learning_rate, betas=(0.9, 0.99))
        case "adamw":
            return torch.optim.AdamW(
                tensors, lr=learning_rate, betas=(0.9, 0.99), weight_decay=weight_decay
            )


def adagrad_step(
    rows: Tensor, squares: Tensor, gradient: Tensor, *, learning_rate: float
) -> Tensor:
    """Rows (N, D) after a step of row-wise Adagrad; their ``squares`` (N, 1) grow in place.

    Adagrad (Duchi et al. 2011) with one accumulator per row, of the mean square of its gradient:
    whoever is met rarely still takes long steps.
    """
    squares += gradient.square().mean(dim=1, keepdim=True)
    return rows - learning_rate / (squares.sqrt() + TINY) * gradient


def tensor(array: npt.NDArray[Any]) -> Tensor:
    """The same numbers, not copied."""
    # What was decoded is a read-only view, which torch cannot promise to leave alone.
    return torch.from_numpy(np.require(array, requirements="W"))
