"""What families that learn by gradients share: a worker's optimisers by name, arrays as tensors."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

OptimizerName = Literal["adam", "adamw", "sgd"]

#: Below any logit that competes, and finite: a row of masked logits still has a gradient of zero.
MASKED = -1e4


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


def tensor(array: npt.NDArray[Any]) -> Tensor:
    """The same numbers, not copied."""
    # What was decoded is a read-only view, which torch cannot promise to leave alone.
    return torch.from_numpy(np.require(array, requirements="W"))
