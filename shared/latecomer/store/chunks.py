"""A model as content-addressed chunks, so that a worker downloads only what changed.

A tensor is cut at fixed row boundaries into chunks of at most ``CHUNK_BYTES``. Rows that did not
change between two versions keep their chunk, and a chunk keeps its name as long as its content.
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from latecomer.errors import ChunkMissing
from latecomer.tensors import Array, Kind, Layout, State, TensorSpec, content_address

#: Small enough that a phone on a bad line makes progress, large enough that a gigabyte of model is
#: a thousand keys and not a million.
CHUNK_BYTES = 1024 * 1024

#: Begins the name of a chunk that only aggregators may read, and that lies in a place of its own:
#: two versions' sums differ by what somebody added.
WITHHELD = "s"

#: What chunks are made of: little-endian, as everything on the wire.
DType = Literal["<f4", "<f2"]
FLOAT32: DType = "<f4"
FLOAT16: DType = "<f2"

MAX_FLOAT16 = np.float32(np.finfo(np.float16).max)

#: Hashing less than this takes no longer than starting threads for it.
THREADED_BYTES = 2 * CHUNK_BYTES

#: BLAKE3 lets go of the interpreter, so that chunks are hashed on several cores; more threads than
#: this would take them from the broker's and the store's.
THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Chunked:
    """A state cut up: per tensor the digests in order, and the bytes behind each digest."""

    tensors: Mapping[str, tuple[str, ...]]
    blobs: Mapping[str, memoryview]


def cut(layout: Layout, state: State, dtype: DType = FLOAT32, *, withheld: bool = False) -> Chunked:
    """Cut a state into chunks; the blobs are views of its arrays, not copies, of float32.

    Sums are ``WITHHELD``, and so is all of it where that is asked for.
    """
    pieces = {spec.name: list(_pieces(spec, state[spec.name], dtype)) for spec in layout}
    every = [piece for found in pieces.values() for piece in found]
    ahead = iter(_names(every))
    tensors = {}
    for spec in layout:
        mark = WITHHELD if withheld or spec.kind is Kind.SUM else ""
        own = itertools.islice(ahead, len(pieces[spec.name]))
        tensors[spec.name] = tuple(mark + name for name in own)
    names = itertools.chain.from_iterable(tensors.values())
    return Chunked(tensors, dict(zip(names, every, strict=True)))


def joined(
    layout: Layout,
    tensors: Mapping[str, tuple[str, ...]],
    blobs: Mapping[str, bytes],
    dtype: DType = FLOAT32,
) -> dict[str, Array]:
    """Inverse of ``cut``; the arrays are new, writable, and float32 whatever the chunks are.

    Raises:
        ChunkMissing: A tensor's chunks do not add up to its size.
    """
    state = {}
    for spec in layout:
        data = bytearray().join(blobs[name] for name in tensors[spec.name])
        if len(data) != spec.size * np.dtype(dtype).itemsize:
            raise ChunkMissing(f"the chunks of {spec.name!r} do not add up to {spec.shape}")
        array = np.frombuffer(data, dtype).reshape(spec.shape)
        state[spec.name] = array.astype(np.float32, copy=False)
    return state


def _names(pieces: Sequence[memoryview]) -> list[str]:
    """The pieces' content addresses, in their order; the threads are gone when this returns."""
    if sum(map(len, pieces)) < THREADED_BYTES:
        return [content_address(piece) for piece in pieces]
    with ThreadPoolExecutor(THREADS, thread_name_prefix="chunks") as pool:
        return list(pool.map(content_address, pieces))


def _pieces(spec: TensorSpec, array: Array, dtype: DType) -> Iterator[memoryview]:
    if dtype == FLOAT16:
        array = np.clip(array, -MAX_FLOAT16, MAX_FLOAT16)  # not finite is worse than not exact
    data = np.ascontiguousarray(array, dtype=dtype).reshape(-1).data.cast("B")
    width = np.dtype(dtype).itemsize
    row_bytes = width * (spec.size // spec.shape[0]) if spec.shape and spec.shape[0] else width
    step = max(1, CHUNK_BYTES // max(1, row_bytes)) * max(1, row_bytes)
    for start in range(0, len(data), step):
        yield data[start : start + step]
