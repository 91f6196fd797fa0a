"""A causal transformer as a function of named arrays: nothing but its arguments decides its result.

Pre-norm blocks (Vaswani et al. 2017; norm first as in Xiong et al. 2020, which trains without
warming up): x <- x + attention(norm(x)); x <- x + W2 gelu(W1 norm(x) + c1) + c2; at the end, a
norm.

B sequences, L places, D dimension, H heads.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

from latecomer.tensors import Array

#: Of the feed-forward network's hidden layer, in dimensions. SASRec has 1, most transformers 4.
EXPANSION = 2

FINAL = "final.norm"


class Dropout:
    """Drops parts of a state from a generator of its own, so that a seed says which."""

    def __init__(self, rate: float, *, seed: int) -> None:
        self._rate = rate
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, x: Tensor) -> Tensor:
        """What is kept is divided by the chance that it is."""
        if not self._rate:
            return x
        kept = torch.rand(x.shape, generator=self._generator) >= self._rate
        return x * kept / (1 - self._rate)


def shapes(blocks: int, dimension: int) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape by its name."""
    hidden = EXPANSION * dimension
    found: dict[str, tuple[int, ...]] = {}
    for block in (f"block.{number}" for number in range(blocks)):
        found |= {
            f"{block}.attention.norm": (2, dimension),
            f"{block}.attention.input": (3 * dimension, dimension),
            f"{block}.attention.output": (dimension, dimension),
            f"{block}.network.norm": (2, dimension),
            f"{block}.network.input": (hidden, dimension + 1),
            f"{block}.network.output": (dimension, hidden + 1),
        }
    return {**found, FINAL: (2, dimension)}


def initial(blocks: int, dimension: int, rng: np.random.Generator) -> dict[str, Array]:
    """Norms that do nothing yet, and normal matrices of variance 1 / inputs."""
    found = {}
    for name, shape in shapes(blocks, dimension).items():
        if name.endswith("norm"):
            found[name] = np.repeat([[1.0], [0.0]], dimension, axis=1).astype(np.float32)
        else:
            scale = np.float32(1 / math.sqrt(shape[1]))
            found[name] = rng.standard_normal(shape, np.float32) * scale
    return found


def forward(
    tensors: Mapping[str, Tensor], x: Tensor, *, blocks: int, heads: int, dropout: Dropout
) -> Tensor:
    """(B, L, D) to (B, L, D); a place sees itself and what is before it."""
    x = dropout(x)
    for block in (f"block.{number}" for number in range(blocks)):
        attended = _attention(tensors, f"{block}.attention", x, heads)
        x = x + dropout(attended)
        x = x + dropout(_network(tensors, f"{block}.network", x))
    return _norm(tensors[FINAL], x)


def _attention(tensors: Mapping[str, Tensor], name: str, x: Tensor, heads: int) -> Tensor:
    rows, length, dimension = x.shape
    both = linear(_norm(tensors[f"{name}.norm"], x), tensors[f"{name}.input"])  # (B, L, 3 D)
    query, key, value = both.view(rows, length, 3, heads, dimension // heads).permute(2, 0, 3, 1, 4)
    seen = scaled_dot_product_attention(query, key, value, is_causal=True)  # (B, H, L, D / H)
    joined = seen.transpose(1, 2).reshape(rows, length, dimension)
    return linear(joined, tensors[f"{name}.output"])


def _network(tensors: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """The last column of each matrix is its bias."""
    first, second = tensors[f"{name}.input"], tensors[f"{name}.output"]
    hidden = gelu(linear(_norm(tensors[f"{name}.norm"], x), first[:, :-1], first[:, -1]))
    return linear(hidden, second[:, :-1], second[:, -1])


def _norm(scale_and_shift: Tensor, x: Tensor) -> Tensor:
    scale, shift = scale_and_shift
    return layer_norm(x, x.shape[-1:], scale, shift)
