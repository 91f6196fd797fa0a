"""Lossy steps between a delta and the wire, and the error feedback that makes up for them.

Everything here is a pure function of arrays. A *coded* delta is what the receiver will see; the
*residual* is what it will not. The law: with ``total`` = delta + what was left over before,

    coded + residual == total      (bit for bit in float32, wherever no value exceeds its format)

so over many updates the sum of what arrived differs from the sum of what was learned by one
residual and no more (Seide et al. 2014, section 3.1; Karimireddy et al. 2019, Algorithm 2: EF-SGD).

Values are rounded to the *nearest* code, never stochastically: nearest rounding is a contraction,
``|x - C(x)|^2 <= (1 - d) |x|^2`` with d > 0 down to three levels, which is what error feedback
needs (Karimireddy et al. 2019, Assumption A); and the same delta always gives the same bytes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from latecomer.tensors import Array, Delta, Kind, Layout, TensorDelta, TensorSpec, norm

Values = Literal["float32", "float16", "int8", "int4", "quinary", "ternary"]
Codes = npt.NDArray[np.int8]
Scales = npt.NDArray[np.float16]

#: The largest code of each format: values are whole multiples, up to this one, of their scale.
LEVELS: Mapping[str, int] = {"int8": 127, "int4": 7, "quinary": 2, "ternary": 1}

#: A row of at least this many values has a scale of its own; two bytes would outweigh fewer.
MIN_ROW = 16

#: Values that share a scale where rows are narrower, or where there are none.
BLOCK = 128

MAX_FLOAT16 = np.float32(np.finfo(np.float16).max)
MIN_FLOAT16 = np.float32(np.finfo(np.float16).smallest_subnormal)


@dataclass(frozen=True, slots=True)
class Loss:
    """What may be lost on the way.

    Attributes:
        values: The format of values.
        top_rows: Of the touched rows of a table, this part travels: those that changed the most.
    """

    values: Values = "float32"
    top_rows: float = 1.0

    @property
    def is_lossless(self) -> bool:
        """Whether deltas pass unchanged."""
        return self.values == "float32" and self.top_rows >= 1.0


#: What is shortened is rounded to float16 afterwards, up by a 2,048th at most.
SHORTER = 1 - 2.0**-10

#: From lossless to very lossy; bytes per update fall by about two from one to the next. ``quinary``
#: lies between two that do: it is for recipes that ask for it.
LADDER = (
    Loss(),
    Loss("float16"),
    Loss("int8"),
    Loss("int4"),
    *(Loss("ternary", top_rows) for top_rows in (1.0, 0.5, 0.25, 0.12, 0.06, 0.03)),
)


def ladder(start: Loss) -> tuple[Loss, ...]:
    """``start``, and all that is more lossy, in order."""
    formats: tuple[Values, ...] = get_args(Values)
    place = formats.index(start.values)
    below = [
        each
        for each in LADDER
        if formats.index(each.values) >= place and each.top_rows <= start.top_rows
    ]
    return tuple(dict.fromkeys((start, *below)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedDelta(TensorDelta):
    """A tensor's change as codes; ``values`` is what they mean, as the receiver will see it.

    Attributes:
        codes: Of the shape of ``values``.
        scales: (m,) of m blocks, see ``dequantised``.
        levels: No code is larger; the wire packs the more of them into a byte the smaller it is.
    """

    codes: Codes
    scales: Scales
    levels: int


@dataclass(frozen=True, slots=True)
class Coded:
    """What travels, and what was left over of it: float32, rows strictly increasing."""

    delta: dict[str, TensorDelta]
    residual: dict[str, TensorDelta]


def coded(
    layout: Layout, delta: Delta, left: Delta, loss: Loss, *, longest: float = math.inf
) -> Coded:
    """Code ``delta`` plus what was left over before, and tell what is left over now.

    The law: what travels and what is left over add up to both, and what travels is no longer than
    ``longest``: codes are longer than what they stand for, and what was left over comes on top.

    What was left over of a row waits until the row is touched again: a remainder alone would count
    as one more contributor to the row's mean and dilute those who learned something. ``sum``
    tensors are statistics and travel as they are. So does a delta with a value that is no number:
    it will be refused, and must not leave a residual that is none either.

    Args:
        layout: Names each tensor's kind.
        delta: Trained minus base.
        left: The former residual, or nothing.
        loss: What may be lost.
        longest: Euclidean norm of what travels, at most; sums apart.
    """
    as_is = {
        name: change for name, change in delta.items() if _travels_as_it_is(layout[name], change)
    }
    totals = {
        name: added(change, left.get(name)) for name, change in delta.items() if name not in as_is
    }
    travels = {
        name: _formatted(_top_rows(total, loss.top_rows), loss.values)
        for name, total in totals.items()
    }
    length = norm(travels)
    if length > longest:
        part = longest / length * SHORTER
        travels = {name: _shortened(change, part) for name, change in travels.items()}
    residual = dict(left)
    for name, total in totals.items():
        rest = _rest(total, travels[name])
        residual[name] = rest if total.rows is None else _with_waiting(rest, total, left.get(name))
    kept = {name: change for name, change in residual.items() if change.values.any()}
    sent = as_is | travels
    return Coded({name: sent[name] for name in delta}, kept)


def _travels_as_it_is(spec: TensorSpec, change: TensorDelta) -> bool:
    return spec.kind is Kind.SUM or not bool(np.isfinite(change.values).all())


def added(change: TensorDelta, left: TensorDelta | None) -> TensorDelta:
    """``change + left`` in float32; of tables, on the rows of ``change`` alone."""
    values = change.values.astype(np.float32)
    if left is None:
        return TensorDelta(values, change.rows)
    if change.rows is None or left.rows is None:
        return TensorDelta(values + left.values, change.rows)
    _, here, there = np.intersect1d(change.rows, left.rows, assume_unique=True, return_indices=True)
    values[here] += left.values[there]
    return TensorDelta(values, change.rows)


def quantised(values: Array, levels: int) -> tuple[Codes, Scales]:
    """``(codes, scales)``: the nearest multiples, at most ``levels``, of each block's scale.

    A block's scale is its largest magnitude / levels as float16, so that with 127 levels this is
    the 8-bit code of Dettmers 2016 (section 2) and with 1 level TernGrad's ternary code (Wen et al.
    2017, equation 1), rounded to nearest instead of stochastically. A scale has 11 significant
    bits and a code 7: their product is exact in float32 on every machine.
    """
    blocks = _blocks(values)  # (m, block)
    peaks = np.abs(blocks).max(axis=1, initial=0.0) / np.float32(levels)
    # Not below the smallest scale there is, or small changes would be coded as none at all.
    peaks = np.where(peaks > 0, np.clip(peaks, MIN_FLOAT16, MAX_FLOAT16), 0)
    scales = peaks.astype(np.float16)
    steps = scales.astype(np.float32)[:, None]
    ratios = np.divide(blocks, steps, out=np.zeros_like(blocks), where=steps > 0)
    codes = np.clip(np.rint(ratios), -levels, levels).astype(np.int8)
    return codes.reshape(-1)[: values.size].reshape(values.shape), scales


def dequantised(codes: Codes, scales: Scales) -> Array:
    """Inverse: each code times the scale of its block.

    The codes, in C order, are cut into m blocks of ``ceil(size / m)``; the last may be shorter.
    """
    if not codes.size:
        return np.zeros(codes.shape, np.float32)
    block = -(-codes.size // len(scales))
    steps = np.repeat(scales.astype(np.float32), block)[: codes.size]
    with np.errstate(invalid="ignore"):  # a stranger's scale may be infinite, and is refused later
        return codes.astype(np.float32) * steps.reshape(codes.shape)


def fits(size: int, blocks: int) -> bool:
    """Whether ``size`` values can be cut into so many blocks, none of them empty."""
    if size == 0 or blocks == 0:
        return size == blocks
    return blocks <= size and -(-size // -(-size // blocks)) == blocks


def _blocks(values: Array) -> Array:
    """(m, block), the last one filled up with zeros."""
    wide = values.ndim > 1 and values.shape[-1] >= MIN_ROW
    count = -(-values.size // (values.shape[-1] if wide else BLOCK))
    block = -(-values.size // max(count, 1))
    padded = np.zeros(count * block, np.float32)
    padded[: values.size] = values.reshape(-1)
    return padded.reshape(count, block)


def _formatted(change: TensorDelta, values: Values) -> TensorDelta:
    match values:
        case "float32":
            return change
        case "float16":
            clipped = np.clip(change.values, -MAX_FLOAT16, MAX_FLOAT16)
            return TensorDelta(clipped.astype(np.float16), change.rows)
        case _:
            levels = LEVELS[values]
            codes, scales = quantised(change.values.astype(np.float32), levels)
            return CodedDelta(
                dequantised(codes, scales), change.rows, codes=codes, scales=scales, levels=levels
            )


def _shortened(change: TensorDelta, part: float) -> TensorDelta:
    """``part`` of it, in the same format."""
    if isinstance(change, CodedDelta):
        scales = (change.scales * np.float32(part)).astype(np.float16)
        return replace(change, values=dequantised(change.codes, scales), scales=scales)
    shorter: Array = change.values * np.float32(part)
    halves = change.values.dtype == np.float16
    return TensorDelta(shorter.astype(np.float16) if halves else shorter, change.rows)


def _top_rows(change: TensorDelta, part: float) -> TensorDelta:
    """The rows of largest L2 norm (Stich et al. 2018, "Sparsified SGD with Memory", top-k)."""
    if change.rows is None or part >= 1.0:
        return change
    squares = np.square(change.values, dtype=np.float64).sum(axis=1)
    count = math.ceil(part * len(change.rows))
    kept = np.sort(np.argsort(-squares, kind="stable")[:count])
    return TensorDelta(change.values[kept], change.rows[kept])


def _rest(total: TensorDelta, travels: TensorDelta) -> TensorDelta:
    """``total - travels``, as float32."""
    rest = total.values.astype(np.float32)
    if total.rows is None or travels.rows is None:
        return TensorDelta(rest - travels.values)
    rest[np.searchsorted(total.rows, travels.rows)] -= travels.values
    return TensorDelta(rest, total.rows)


def _with_waiting(rest: TensorDelta, total: TensorDelta, left: TensorDelta | None) -> TensorDelta:
    """``rest`` and those rows of ``left`` that were not touched; rows of zeros are left out."""
    assert rest.rows is not None, "of a table"
    assert total.rows is not None, "of a table"
    rows, values = rest.rows, rest.values
    if left is not None and left.rows is not None:
        waits = ~np.isin(left.rows, total.rows, assume_unique=True)
        rows = np.concatenate([rows, left.rows[waits]])
        values = np.concatenate([values, left.values[waits]])
    something = np.flatnonzero(values.any(axis=1))
    order = something[np.argsort(rows[something])]
    return TensorDelta(values[order], rows[order])
