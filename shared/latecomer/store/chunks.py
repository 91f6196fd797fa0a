"""A model as content-addressed chunks, so that a worker downloads only what changed.

A tensor is cut at fixed row boundaries into chunks of at most ``CHUNK_BYTES``. Rows that did not
change between two versions keep their chunk, and a chunk keeps its name as long as its content.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from latecomer.errors import ChunkMissing
from latecomer.tensors import Array, Layout, State, TensorSpec, digest

#: Small enough that a phone on a bad line makes progress, large enough that a gigabyte of model is
#: a thousand keys and not a million.
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Chunked:
    """A state cut up: per tensor the digests in order, and the bytes behind each digest."""

    tensors: Mapping[str, tuple[str, ...]]
    blobs: Mapping[str, memoryview]


def cut(layout: Layout, state: State) -> Chunked:
    """Cut a state into chunks; the blobs are views of its arrays, not copies."""
    tensors: dict[str, tuple[str, ...]] = {}
    blobs: dict[str, memoryview] = {}
    for spec in layout:
        names = []
        for piece in _pieces(spec, state[spec.name]):
            name = digest(piece)
            blobs[name] = piece
            names.append(name)
        tensors[spec.name] = tuple(names)
    return Chunked(tensors, blobs)


def joined(
    layout: Layout, tensors: Mapping[str, tuple[str, ...]], blobs: Mapping[str, bytes]
) -> dict[str, Array]:
    """Inverse of ``cut``; the arrays are new and writable.

    Raises:
        ChunkMissing: A tensor's chunks do not add up to its size.
    """
    state = {}
    for spec in layout:
        data = b"".join(blobs[name] for name in tensors[spec.name])
        if len(data) != spec.size * 4:
            raise ChunkMissing(f"the chunks of {spec.name!r} do not add up to {spec.shape}")
        state[spec.name] = np.frombuffer(data, "<f4").reshape(spec.shape).astype(np.float32)
    return state


def _pieces(spec: TensorSpec, array: Array) -> Iterator[memoryview]:
    data = np.ascontiguousarray(array, dtype="<f4").reshape(-1).data.cast("B")
    row_bytes = 4 * (spec.size // spec.shape[0]) if spec.shape and spec.shape[0] else 4
    step = max(1, CHUNK_BYTES // max(1, row_bytes)) * max(1, row_bytes)
    for start in range(0, len(data), step):
        yield data[start : start + step]
