"""What a model and an update are made of: named arrays, their layout, and deltas between them.

A *state* maps tensor names to float32 arrays. A *delta* is trained minus base, always against the
base version that the training started from, and carries only the rows it touched of tables that
are ``rows``. Deltas form an algebra: for any states a, b of one layout,
``applied(a, difference(a, b)) == b`` bit for bit, wherever ``b - a`` is exact in float32.

Numpy only: the aggregator has no torch.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from latecomer.errors import LayoutMismatch

Array = npt.NDArray[np.float32]
State = Mapping[str, Array]

#: 128 bits name a model's shape or a chunk without collisions, and fit a message header.
DIGEST_BYTES = 16

#: Values looked at in one go (1 MiB): few calls for a large tensor, and copies stay in the cache.
BLOCK = 1 << 18


def digest(data: bytes | memoryview) -> str:
    """BLAKE2b-128 of ``data`` as 32 hex digits: what a layout, a catalogue, a manifest is."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def content_address(data: bytes | memoryview) -> str:
    """BLAKE3-128 of ``data`` as 32 hex digits: where a chunk or a payload is.

    Of megabytes it takes a fifth of the time that BLAKE2b does.
    """
    return blake3(data).hexdigest(length=DIGEST_BYTES)


def has_name(data: bytes | memoryview, name: str) -> bool:
    """Whether ``name`` is the content address of ``data`` or, as for recipes, its digest."""
    return content_address(data) == name or digest(data) == name


class Kind(StrEnum):
    """How deltas of a tensor combine.

    ``dense``: averaged over the updates of a buffer. ``rows``: an embedding table, each row
    averaged over the updates that touched it. ``sum``: additive statistics, added up; staleness
    does not matter to them at all, and workers add to them without ever holding them. ``derived``:
    what the aggregator computes from the sums; workers hold it, and no update carries it.
    """

    DENSE = "dense"
    ROWS = "rows"
    SUM = "sum"
    DERIVED = "derived"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, kind and shape of one float32 tensor; ``rows`` tensors have shape (rows, width).

    So does a ``sum`` of which updates carry only the rows that they add to.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.kind is Kind.ROWS and len(self.shape) != 2:  # noqa: PLR2004 - (rows, width)
            raise LayoutMismatch(f"tensor {self.name!r} is a table, but has shape {self.shape}")

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The tensors of a model, in order. Two layouts are the same if their digests are."""

    tensors: tuple[TensorSpec, ...]

    def __iter__(self) -> Iterator[TensorSpec]:
        return iter(self.tensors)

    def __getitem__(self, name: str) -> TensorSpec:
        """The tensor called ``name``; KeyError if there is none."""
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @cached_property
    def _by_name(self) -> dict[str, TensorSpec]:
        return {spec.name: spec for spec in self.tensors}

    @cached_property
    def digest(self) -> str:
        """Names the layout: the digest of its JSON form."""
        return digest(json.dumps(self.to_json(), separators=(",", ":")).encode())

    @cached_property
    def held(self) -> "Layout":
        """What a worker holds of a version: all but the sums."""
        return Layout(tuple(spec for spec in self.tensors if spec.kind is not Kind.SUM))

    @cached_property
    def additive(self) -> bool:
        """Whether updates carry nothing but sums, to which staleness does not matter."""
        return all(spec.kind in {Kind.SUM, Kind.DERIVED} for spec in self.tensors)

    @cached_property
    def size(self) -> int:
        """Number of parameters in all."""
        return sum(spec.size for spec in self.tensors)

    @cached_property
    def largest_delta_bytes(self) -> int:
        """No delta is larger: every value as float32, and every row's number."""
        return 4 * (self.size + sum(spec.shape[0] for spec in self.tensors if spec.shape))

    def zeros(self) -> dict[str, Array]:
        """A state of zeros."""
        return {spec.name: np.zeros(spec.shape, np.float32) for spec in self.tensors}

    def check(self, state: State) -> None:
        """Pass if ``state`` has exactly these tensors as float32 arrays.

        Raises:
            LayoutMismatch: Names the first tensor that is missing, unknown or of another shape.
        """
        for name in sorted(set(state) ^ set(self._by_name)):
            raise LayoutMismatch(f"tensor {name!r} is {'unknown' if name in state else 'missing'}")
        for spec in self.tensors:
            array = state[spec.name]
            if array.shape != spec.shape or array.dtype != np.float32:
                raise LayoutMismatch(
                    f"tensor {spec.name!r} is {array.dtype}{array.shape}, not float32{spec.shape}"
                )

    def to_json(self) -> list[list[object]]:
        """``[[name, kind, [shape]], …]``: part of manifests."""
        return [[spec.name, spec.kind.value, list(spec.shape)] for spec in self.tensors]

    @classmethod
    def from_json(cls, data: list[list[object]]) -> "Layout":
        """Inverse of ``to_json``."""
        return cls(
            tuple(
                TensorSpec(str(name), Kind(str(kind)), tuple(int(side) for side in shape))  # type: ignore[attr-defined]
                for name, kind, shape in data
            )
        )


@dataclass(frozen=True, slots=True)
class TensorDelta:
    """The change of one tensor.

    Attributes:
        rows: For tables, the touched rows, strictly increasing uint32 of shape (n,); also where
            few rows of a ``sum`` are added to. Else None.
        values: With rows (n, width); else the tensor's own shape. float32 or float16.
    """

    values: npt.NDArray[np.float32] | npt.NDArray[np.float16]
    rows: npt.NDArray[np.uint32] | None = None


Delta = Mapping[str, TensorDelta]


def difference(layout: Layout, base: State, trained: State) -> dict[str, TensorDelta]:
    """``trained - base``; rows that did not change, or tensors ``trained`` lacks, are left out."""
    delta = {}
    for spec in layout:
        if spec.name not in trained:
            continue
        change = trained[spec.name] - base[spec.name]
        if spec.kind is Kind.ROWS:
            rows = np.flatnonzero(change.any(axis=1)).astype(np.uint32)
            if len(rows):
                delta[spec.name] = TensorDelta(change[rows], rows)
        elif change.any():
            delta[spec.name] = TensorDelta(change)
    return delta


def applied(layout: Layout, base: State, delta: Delta) -> dict[str, Array]:
    """``base + delta``, as new arrays."""
    state = {spec.name: base[spec.name].copy() for spec in layout}
    for name, change in delta.items():
        if change.rows is None:
            state[name] += change.values
        else:
            state[name][change.rows] += change.values
    return state


def check_delta(layout: Layout, delta: Delta) -> None:
    """Pass if ``delta`` fits ``layout``: known tensors, shapes, rows increasing and in range.

    Raises:
        LayoutMismatch: Names the first tensor that does not fit, and how.
    """
    for name, change in delta.items():
        if name not in layout:
            raise LayoutMismatch(f"tensor {name!r} is unknown")
        spec = layout[name]
        if not _carries(spec, change):
            raise LayoutMismatch(f"tensor {name!r} is of kind {spec.kind}, its delta is not")
        if change.rows is None:
            if change.values.shape != spec.shape:
                raise LayoutMismatch(f"tensor {name!r}: {change.values.shape} is not {spec.shape}")
        else:
            _check_rows(spec, change.rows, change.values.shape)


def _carries(spec: TensorSpec, change: TensorDelta) -> bool:
    """Whether a tensor of this kind takes a change of this form."""
    match spec.kind:
        case Kind.DENSE:
            return change.rows is None
        case Kind.ROWS:
            return change.rows is not None
        case Kind.SUM:
            return change.rows is None or len(spec.shape) == 2  # noqa: PLR2004 - (rows, width)
        case Kind.DERIVED:
            return False


def _check_rows(
    spec: TensorSpec, rows: npt.NDArray[np.uint32], values_shape: tuple[int, ...]
) -> None:
    if values_shape != (len(rows), spec.shape[1]):
        raise LayoutMismatch(
            f"tensor {spec.name!r}: {len(rows)} rows with values of shape {values_shape}"
        )
    if len(rows) and (int(rows[-1]) >= spec.shape[0] or bool(np.any(rows[1:] <= rows[:-1]))):
        raise LayoutMismatch(
            f"tensor {spec.name!r}: rows must increase and stay below {spec.shape[0]}"
        )


def norm(delta: Delta) -> float:
    """L2 norm over all values; it is finite exactly if every value is.

    One pass tells both, because no square makes up for an infinite one. Squares are summed in
    float32; only where they leave its range, again in float64, where no float32's square does.
    """
    squares = 0.0
    # Of a signalling NaN even a cast warns.
    with np.errstate(over="ignore", invalid="ignore"):
        for change in delta.values():
            squares += _squares(change.values)
    return math.sqrt(squares)


def _squares(values: npt.NDArray[np.float32] | npt.NDArray[np.float16]) -> float:
    narrow = _squares_as(np.float32, values)
    return narrow if math.isfinite(narrow) else _squares_as(np.float64, values)


def _squares_as(
    dtype: type[np.float32 | np.float64],
    values: npt.NDArray[np.float32] | npt.NDArray[np.float16],
) -> float:
    flat, squares = values.reshape(-1), 0.0
    for at in range(0, flat.size, BLOCK):
        block: npt.NDArray[Any] = flat[at : at + BLOCK].astype(dtype, copy=False)
        squares += float(np.vdot(block, block))
    return squares
