"""Fields that a federation agreed on, and the inputs that a value of each becomes.

Ranges and categories are declared, not measured: to measure them, owners would have to pool their
data. Every field has one input more, which says that its value is missing or outside of what was
declared; a model can learn from that as well.

N examples, W inputs of a field, D inputs of all fields.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, FiniteFloat, model_validator

from latecomer.tensors import Array


class Field(BaseModel):
    """A column of the source, of one of three kinds.

    Attributes:
        name: Of the column.
        values: A category, one input each.
        separator: Between several categories in one value, each of which sets its input.
        edges: A number that falls into one of the bins between increasing edges, one input each; a
            bin includes its lower edge.
        low, high: A number in this range, scaled to [0, 1].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    values: tuple[str, ...] = ()
    separator: str = ""
    edges: tuple[float, ...] = ()
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> "Field":
        ranged = self.low is not None and self.high is not None
        if [bool(self.values), bool(self.edges), ranged].count(True) != 1:
            raise ValueError("give values, or edges, or low and high")
        if len(set(self.values)) < len(self.values):
            raise ValueError("a value is listed twice")
        if self.separator and not self.values:
            raise ValueError("a separator is between values, and none are given")
        if len(self.edges) == 1 or any(a >= b for a, b in pairwise(self._bounds)):
            raise ValueError("edges, and low and high, have to increase")
        return self

    @property
    def _bounds(self) -> tuple[float, ...]:
        ranged = self.low is not None and self.high is not None
        return (self.low, self.high) if ranged else self.edges  # type: ignore[return-value]

    @property
    def width(self) -> int:
        """W: inputs of this field."""
        known = len(self.values) or max(len(self.edges) - 1, 0) or 1
        return known + 1

    def encode(self, values: Sequence[str]) -> tuple[Array, npt.NDArray[np.bool_]]:
        """The inputs (N, W), and (N,) whether a value is none of the declared ones.

        Of several in one value, those that are declared count, whatever is said beside them; it is
        unknown all the same where one is not.
        """
        if self.separator:
            return self._several(values)
        place, amount = self._places(values)
        inputs = np.zeros((len(values), self.width), np.float32)
        inputs[np.arange(len(values)), place] = amount
        return inputs, place == self.width - 1

    def said(self, inputs: Array) -> str:
        """What inputs (W,) of this field stand for; nothing where the value is missing."""
        place = int(np.argmax(inputs)) if inputs.any() else 0
        if place == self.width - 1:
            return ""
        if self.values:
            named = np.flatnonzero(inputs) if self.separator else [place]
            return self.separator.join(self.values[each] for each in named)
        if self.edges:
            return f"{self.edges[place]:g} to {self.edges[place + 1]:g}"
        low, high = self._bounds
        value = low + float(inputs[0]) * (high - low)
        # A float32 knows seven digits of the range: what is beyond five is not the value's.
        return f"{round(value, 5 - math.floor(math.log10(high - low))) + 0.0:g}"

    def _several(self, values: Sequence[str]) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Few combinations are many examples': each is taken apart once."""
        found, of = np.unique(np.array(values, np.str_), return_inverse=True)
        inputs = np.zeros((len(found), self.width), np.float32)
        unknown = np.zeros(len(found), np.bool_)
        for row, text in enumerate(found.tolist()):
            named = {part.strip() for part in text.split(self.separator)}
            inputs[row, :-1] = [value in named for value in self.values]
            unknown[row] = not named <= {*self.values, ""} or named == {""}
        inputs[~inputs.any(axis=1), -1] = 1.0
        return inputs[of], unknown[of]

    def _places(self, values: Sequence[str]) -> tuple[npt.NDArray[np.int64], Array]:
        """Of every value (N,) which input it sets, and to what."""
        ones = np.ones(len(values), np.float32)
        if self.values:
            known = {value: at for at, value in enumerate(self.values)}
            places = [known.get(value, self.width - 1) for value in values]
            return np.array(places, np.int64).reshape(-1), ones
        numbers = np.array([_number(value) for value in values], np.float64).reshape(-1)
        if self.edges:
            place = np.searchsorted(np.array(self.edges), numbers, side="right") - 1
            inside = (place >= 0) & (place < self.width - 1)  # NaN is right of every edge
            return np.where(inside, place, self.width - 1), ones
        low, high = self._bounds
        inside = (numbers >= low) & (numbers <= high)
        scaled = (numbers - low) / (high - low)
        return np.where(inside, 0, 1), np.where(inside, scaled, 1.0).astype(np.float32)


@dataclass(frozen=True)
class Fields:
    """All fields, and what they are to predict: to outcomes what a catalogue is to items."""

    fields: tuple[Field, ...]
    outcome: str

    def __len__(self) -> int:
        return sum(field.width for field in self.fields)

    def described(self, inputs: Array) -> list[str]:
        """What the inputs (D,) of one example say, field by field; nothing of what is missing."""
        ends = np.cumsum([field.width for field in self.fields])
        parts = np.split(inputs, ends[:-1])
        said = {
            field.name: field.said(part) for field, part in zip(self.fields, parts, strict=True)
        }
        return [f"{name} {value}" for name, value in said.items() if value]

    def to_bytes(self) -> bytes:
        """Canonical JSON, as published with version 0."""
        fields = [each.model_dump(mode="json") for each in self.fields]
        return json.dumps(
            {"outcome": self.outcome, "fields": fields}, separators=(",", ":"), ensure_ascii=False
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Fields":
        """Inverse of ``to_bytes``."""
        body = json.loads(data)
        return cls(tuple(Field.model_validate(each) for each in body["fields"]), body["outcome"])


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan
