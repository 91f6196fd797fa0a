"""Reading examples: fields mapped to inputs, outcomes to 0 and 1, and what was unusable counted."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

from latecomer.errors import BadData
from latecomer.interactions import tables
from latecomer.interactions.schema import Report
from latecomer.interactions.tables import MISSING, MISSING_IDS, Table, one_line, text
from latecomer.outcomes.examples import Cohort, Examples
from latecomer.outcomes.fields import Field, Fields

#: What stands for no value. None does not: it is what many fields call one of their categories.
NO_VALUE = MISSING | {"NA"}

#: What stands for no id. A row without one is kept, so that who is called NA loses nothing by it.
NO_ID = MISSING_IDS | NO_VALUE


class Outcome(BaseModel):
    """What is to be predicted.

    Attributes:
        column: Where the source says what came of an example.
        positive: Its values that count as 1.
        negative: Its values that count as 0; where none is given, every other one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> "Outcome":
        if both := sorted(set(self.positive) & set(self.negative)):
            raise ValueError(f"{', '.join(map(repr, both))} cannot be both positive and negative")
        return self

    def label(self, value: str) -> int | None:
        """1, 0, or None where a value is neither."""
        if value in self.positive:
            return 1
        return 0 if not self.negative or value in self.negative else None


class Owners(BaseModel):
    """Columns that say whose an example is; each may be absent.

    Attributes:
        user: Id of the example; without, its place in the source, ``row-<place>``.
        region: What it is reported under.
        group: Examples of one group are held out together: the stays of one patient. Of whom it is
            missing is a group of his own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str | None = None
    region: str | None = None
    group: str | None = None

    def named(self) -> list[str]:
        """The columns that there are."""
        return [name for _, name in self if name is not None]


@dataclass(frozen=True)
class ExampleSource:
    """How to read a file of examples, one per row: ``.csv``, ``.csv.gz`` or ``.parquet``."""

    outcome: Outcome
    owners: Owners
    delimiter: str = ","

    def load(self, path: Path, agreed: Fields) -> tuple[Cohort, Report]:
        """Its examples, as inputs of the fields that were ``agreed`` on; see ``from_table``.

        Raises:
            BadData: The file cannot be read, lacks a column, or has no usable row.
            BadConfiguration: Parquet without the ``data`` extra.
        """
        wanted = [each.name for each in agreed.fields]
        wanted += [self.outcome.column, *self.owners.named()]
        columns = dict(zip(wanted, wanted, strict=True))
        return self.from_table(tables.read(path, columns, delimiter=self.delimiter), path, agreed)

    def from_table(self, table: Table, path: Path, agreed: Fields) -> tuple[Cohort, Report]:
        """The same of a table by column, that was read from ``path``.

        A row without an outcome is dropped and counted as ``missing_outcome``, with another outcome
        than the declared ones as ``unknown_outcome``, with more values than there are columns as
        ``too_many_values``. A value that is not among a field's declared
        ones counts as missing there, under the field's name; the row is kept. So is a row without
        the id that a column of ``owners`` is to say; it counts as ``missing_user`` or
        ``missing_group``.

        Raises:
            BadData: It has no usable row.
        """
        for name in {self.owners.user, self.owners.group} - {None}:
            tables.check_ids(path, str(name), table.values[str(name)])
        report = Report.of(table, path.name)
        labels = np.array(list(self._labels(table, report)), np.int64)
        usable = labels >= 0
        tables.check_rows(path, table)
        if not usable.any():
            raise BadData(f"{path} has no usable example: {report.summary()}")
        inputs = [_encoded(each, table, usable, report) for each in agreed.fields]
        report.kept = int(usable.sum())
        examples = Examples(np.concatenate(inputs, axis=1), labels[usable])
        return self._cohort(table, examples, usable, report), report

    def _labels(self, table: Table, report: Report) -> list[int]:
        labels = []
        values = map(text, table.values[self.outcome.column])
        for row, (line, value) in enumerate(zip(table.lines, values, strict=True)):
            label = None if value in NO_VALUE else self.outcome.label(value)
            if row in table.surplus:
                label = None
                report.drop("too_many_values", line, table.surplus[row])
            elif label is None:
                why = "missing_outcome" if value in NO_VALUE else "unknown_outcome"
                report.drop(why, line, value or self.outcome.column)
            labels.append(-1 if label is None else label)
        return labels

    def _cohort(
        self, table: Table, examples: Examples, usable: npt.NDArray[np.bool_], report: Report
    ) -> Cohort:
        own = self.owners
        users = _ids(own.user, table, usable, report, "missing_user")
        regions = _column(own.region, table, usable) if own.region else [""] * len(users)
        regions = [one_line(region) for region in regions]  # their names leave this machine
        groups = _ids(own.group, table, usable, report, "missing_group") if own.group else users
        return Cohort(users, tuple(regions), groups, examples)


def _ids(
    name: str | None, table: Table, usable: npt.NDArray[np.bool_], report: Report, missing: str
) -> tuple[str, ...]:
    """What a column calls each row; one that it does not name is called by its place in the file.

    No two of those are one person: they would all be held out together, or under one id.
    """
    rows = np.flatnonzero(usable).tolist()
    places = [f"row-{row + 1}" for row in rows]
    if name is None:
        return tuple(places)
    ids = _column(name, table, usable)
    for row, each in zip(rows, ids, strict=True):
        if each in NO_ID:
            report.blank(missing, table.lines[row], each)
    return tuple(place if each in NO_ID else each for place, each in zip(places, ids, strict=True))


def _column(name: str, table: Table, usable: npt.NDArray[np.bool_]) -> list[str]:
    return [each for each, kept in zip(map(text, table.values[name]), usable, strict=True) if kept]


def _encoded(
    field: Field, table: Table, usable: npt.NDArray[np.bool_], report: Report
) -> npt.NDArray[np.float32]:
    values = _column(field.name, table, usable)
    inputs, unknown = field.encode(values)
    lines = np.array(table.lines)[usable]
    for row in np.flatnonzero(unknown):
        if values[row] not in NO_VALUE:
            report.blank(field.name, int(lines[row]), values[row])
    return inputs
