"""What came of an experiment at one site: sums over the users of each arm, which name nobody.

Of every user u, y_u is a metric summed over what he was served, and x_u what it is divided by: 1,
or how often he was served. The sums of several sites add up to those of all their users.

R rows of what was served, U users of an arm.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from latecomer.errors import BadData
from latecomer.experiments.assignment import ARMS, Arm, arm
from latecomer.experiments.names import Name, Site, named, site_named
from latecomer.interactions import tables
from latecomer.interactions.schema import Report
from latecomer.interactions.tables import MISSING, MISSING_IDS, Table
from latecomer.validation import first_problem

Floats = npt.NDArray[np.float64]

#: Sums of fewer people would tell of each of them.
MIN_USERS = 10

#: What columns mean, beside the metrics.
USER, ARM = "user", "arm"

Users = Annotated[int, Field(ge=MIN_USERS)]


class Per(StrEnum):
    """What a metric is divided by: who was served, or how often somebody was."""

    USER = "user"
    ROW = "row"


class Sums(BaseModel):
    """Sums over the users of one arm, as the module calls them: of x, y, and their products."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    x: Annotated[FiniteFloat, Field(gt=0)]
    y: FiniteFloat
    xx: FiniteFloat
    xy: FiniteFloat
    yy: FiniteFloat

    @classmethod
    def of(cls, x: Floats, y: Floats) -> Self:
        """Of (U,) users."""
        return cls(x=x.sum(), y=y.sum(), xx=x @ x, xy=x @ y, yy=y @ y)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(**{name: value + getattr(other, name) for name, value in self})


class Counts(BaseModel):
    """What a site says of an experiment.

    Attributes:
        experiment: Its name.
        site: Who says so.
        share: Of users in the treatment.
        shared_ids: Whether an id means the same person at every site, in one arm at all of them.
        per: What its metrics are divided by.
        users: How many were served anything, by arm.
        sums: By metric and arm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: Name
    site: Site
    share: Annotated[float, Field(gt=0, lt=1)]
    shared_ids: bool
    per: Per
    users: dict[Arm, Users]
    sums: Annotated[dict[Name, dict[Arm, Sums]], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_both_arms(self) -> Self:
        named = [self.users.keys(), *(each.keys() for each in self.sums.values())]
        if any(each != {*ARMS} for each in named):
            raise ValueError(f"everything has to be there for {' and '.join(ARMS)}")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """What ``latecomer experiment count`` wrote.

        Raises:
            BadData: It is something else.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise BadData(f"cannot read {path}: {error.strerror}") from error
        except ValidationError as error:
            raise BadData(
                f"{path} has no counts of an experiment: {first_problem(error)}",
                hint="latecomer experiment count NAME --format json writes them",
            ) from error


def counted(
    path: Path,
    *,
    experiment: str,
    site: str,
    user: str,
    metrics: Sequence[str],
    share: float = 0.5,
    shared_ids: bool = False,
    per: Per = Per.USER,
    served: str | None = None,
    delimiter: str = ",",
) -> tuple[Counts, Report]:
    """The sums of a file with a row for everything that somebody was served, and what came of it.

    A row without a user is dropped and counted as ``missing_user``; without a number for each
    metric as ``missing_value`` or ``not_a_number``; with more values than there are columns as
    ``too_many_values``.

    Args:
        path: CSV or Parquet, as ``tables.read`` reads it.
        experiment: Its name, which puts everybody into his arm.
        site: Who counts, as in the assignment.
        user: The column that tells who was served.
        metrics: Columns of numbers: 1 for a click and 0 for none, what was paid, …
        share: Of users in the treatment.
        shared_ids: Whether arms were assigned without the site: see ``arm``.
        per: What metrics are divided by.
        served: The column that tells which arm's recommendations were served, if there is one.
        delimiter: Of CSV files.

    Raises:
        BadData: The file cannot be read, lacks a column, has fewer than ``MIN_USERS`` users in an
            arm, or tells of somebody who was served the other one.
    """
    columns = {f"metric {name}": name for name in metrics}
    told = {USER: user} if served is None else {USER: user, ARM: served}
    table = tables.read(path, {**told, **columns}, delimiter=delimiter)
    tables.check_ids(path, user, table.values[USER])
    whose = None if shared_ids else site
    arm_of = cache(partial(arm, experiment, site=whose, share=share))
    if served is not None:
        _check_served(table, path, arm_of)
    users, values, report = _rows(table, list(columns), Report.of(table, path.name))
    names, of = np.unique(np.array(users, np.str_), return_inverse=True)
    treated = np.array([arm_of(str(each)) == "treatment" for each in names])
    where: dict[Arm, npt.NDArray[np.bool_]] = {"control": ~treated, "treatment": treated}
    _check_enough(where, path, report)
    rows = np.bincount(of, minlength=len(names)).astype(np.float64)
    x = np.ones(len(names)) if per is Per.USER else rows
    added = {  # (U,) by metric
        name: np.bincount(of, column).astype(np.float64)
        for name, column in zip(metrics, values.T, strict=True)
    }
    sums = {
        name: {each: Sums.of(x[members], y[members]) for each, members in where.items()}
        for name, y in added.items()
    }
    people = {each: int(members.sum()) for each, members in where.items()}
    counts = Counts(
        experiment=named("an experiment", experiment),
        site=site_named(site),
        share=share,
        shared_ids=shared_ids,
        per=per,
        users=people,
        sums=sums,
    )
    return counts, report


def _rows(table: Table, metrics: Sequence[str], report: Report) -> tuple[list[str], Floats, Report]:
    """Of every usable row its user, and the values (R, metrics)."""
    users, values = [], []
    for row, line in enumerate(table.lines):
        user = _text(table.values[USER][row])
        said = [_text(table.values[name][row]) for name in metrics]
        why, what = _unusable(table, row, user, said)
        if why:
            report.drop(why, line, what)
        else:
            users.append(user)
            values.append([float(each) for each in said])
    report.kept = len(users)
    return users, np.array(values, np.float64).reshape(-1, len(metrics)), report


def _unusable(table: Table, row: int, user: str, said: Sequence[str]) -> tuple[str, str]:
    """Why a row cannot be used, and what of it shows that; nothing where it can."""
    if row in table.surplus:
        return "too_many_values", table.surplus[row]
    if user in MISSING_IDS:
        return "missing_user", user
    for each in said:
        if each in MISSING:
            return "missing_value", each
        if not _is_number(each):
            return "not_a_number", each
    return "", ""


def _check_served(table: Table, path: Path, arm_of: Callable[[str], Arm]) -> None:
    """Pass if everybody was served the arm that he is in: who was not would count in the other."""
    for line, user, told in zip(table.lines, table.values[USER], table.values[ARM], strict=True):
        name, served = _text(user), _text(told)
        if name not in MISSING_IDS and served != arm_of(name):
            raise BadData(
                f"{path} tells on line {line} of the arm {tables.excerpt(served)!r}, and the user "
                f"is in the {arm_of(name)}",
                hint="is it the experiment's name, and its share, under which arms were assigned?",
            )


def _check_enough(where: Mapping[Arm, npt.NDArray[np.bool_]], path: Path, report: Report) -> None:
    for each, members in where.items():
        if members.sum() < MIN_USERS:
            raise BadData(
                f"{path} has {members.sum()} users in the {each}: {report.summary()}",
                hint=f"sums of fewer than {MIN_USERS} people tell of each of them: wait for more",
            )


def _text(value: object) -> str:
    # What is true and false in Parquet is 1 and 0 here.
    return tables.text(int(value) if isinstance(value, bool) else value)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
