"""What a site says of an experiment: sums over the users of each arm, in a file.

U users.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from math import sqrt
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator

from latecomer.errors import BadData
from latecomer.experiments.assignment import ARMS, Arm, arm
from latecomer.experiments.evidence import effective
from latecomer.experiments.names import Name, Site, named, site_named
from latecomer.experiments.served import Log
from latecomer.experiments.strata import Stratum
from latecomer.experiments.sums import ROUNDING, Sums
from latecomer.interactions import tables
from latecomer.interactions.schema import Report
from latecomer.validation import first_problem

Members = Mapping[Arm, npt.NDArray[np.bool_]]

#: Sums of fewer people would tell of each of them.
MIN_USERS = 10

#: How it comes that somebody was served another arm than he is in.
ANOTHER_ARM = (
    "were arms assigned under another name or site? was the share raised (count from that day, or "
    "raise it under a new name)? are ids written otherwise here (13047.0)?"
)

Users = Annotated[int, Field(ge=MIN_USERS)]


class Per(StrEnum):
    """What a metric is divided by: who was served, or how often somebody was."""

    USER = "user"
    ROW = "row"


class Counts(BaseModel):
    """What a site says of an experiment.

    Attributes:
        experiment: Its name.
        site: Who says so.
        share: Of users in the treatment.
        shared_ids: Whether an id means the same person at every site, in one arm at all of them.
        per: What its metrics are divided by.
        rows: How many its log has.
        dropped: How many of them could not be used, by reason.
        users: How many were served anything, by arm.
        sums: By metric and arm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: Name
    site: Site
    share: Annotated[float, Field(gt=0, lt=1)]
    shared_ids: bool
    per: Per
    rows: NonNegativeInt
    dropped: dict[Name, NonNegativeInt]
    users: dict[Arm, Users]
    sums: Annotated[dict[Name, dict[Arm, Sums]], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_both_arms(self) -> Self:
        told = [self.users.keys(), *(each.keys() for each in self.sums.values())]
        if any(each != {*ARMS} for each in told):
            raise ValueError(f"everything has to be there for {' and '.join(ARMS)}")
        return self

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        if sum(self.users.values()) + sum(self.dropped.values()) > self.rows:
            raise ValueError("more users than rows")
        for metric, by_arm in self.sums.items():
            for each, sums in by_arm.items():
                users = self.users[each]
                if not (
                    sums.can_be_of(users) and (self.per is Per.ROW or sums.are_per_user(users))
                ):
                    raise ValueError(f"no {users} users have such sums of {metric} ({each})")
        return self

    def stratum(self, metric: str) -> Stratum:
        """This site's part of what all say of a metric."""
        return Stratum(self.users, self.sums[metric])

    def of_few(self) -> Iterator[tuple[str, Arm]]:
        """The metrics and arms whose sums tell what few people had, being most of them."""
        for metric, by_arm in self.sums.items():
            for each, sums in by_arm.items():
                told_by = effective(sums.size, sqrt(sums.yy))
                if 0 < told_by < MIN_USERS * (1 - ROUNDING):
                    yield metric, each

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
    """The sums of a log.

    Args:
        path: What was served, and what came of it; see ``Log.read`` for this and all columns.
        experiment: Its name, which puts everybody into his arm.
        site: Who counts, as in the assignment.
        user: The column that tells who was served.
        metrics: Columns of numbers: 1 for a click and 0 for none, what was paid, …
        share: Of users in the treatment.
        shared_ids: Whether arms were assigned without the site; see ``arm``.
        per: What metrics are divided by.
        served: The column that tells which arm's recommendations were served, if there is one.
        delimiter: Of CSV files.

    Raises:
        BadConfiguration: A name is none, or a column is to mean two things.
        BadData: The log cannot be used, has fewer than ``MIN_USERS`` users in an arm, or tells of
            somebody who was served the other one.
    """
    experiment, site = named("an experiment", experiment), site_named(site)
    names = [named("a metric", each) for each in metrics]
    log, report = Log.read(path, user=user, metrics=metrics, arm=served, delimiter=delimiter)
    whose = None if shared_ids else site
    arms = [arm(experiment, each, site=whose, share=share) for each in log.users]
    members = {each: np.array([his == each for his in arms]) for each in ARMS}
    _check_served(log, arms)
    _check_enough(log, members, report)
    x = np.ones(len(log.users)) if per is Per.USER else log.times_served()
    counts = Counts(
        experiment=experiment,
        site=site,
        share=share,
        shared_ids=shared_ids,
        per=per,
        rows=report.read,
        dropped=report.reasons,
        users={each: int(his.sum()) for each, his in members.items()},
        sums={
            name: {each: Sums.of(x[his], y[his]) for each, his in members.items()}
            for name, y in zip(names, log.added_up(), strict=True)
        },
    )
    return counts, report


def _check_served(log: Log, arms: Sequence[Arm]) -> None:
    """Pass if everybody was served the arm that he is in: who was not would count in the other.

    Args:
        log: What was served.
        arms: (U,) of its users.
    """
    told = zip(log.arms, log.user, strict=False)  # a log may say nothing
    wrong = [row for row, (said, user) in enumerate(told) if said != arms[user]]
    if wrong:
        first = wrong[0]
        line, said = log.lines[first], tables.excerpt(log.arms[first])
        raise BadData(
            f"{len(wrong)} of {len(log.lines)} rows of {log.path} tell of another arm than their "
            f"user's, the first on line {line}: {said!r} of one in the {arms[log.user[first]]}",
            hint=ANOTHER_ARM,
        )


def _check_enough(log: Log, members: Members, report: Report) -> None:
    for each, his in members.items():
        if his.sum() < MIN_USERS:
            raise BadData(
                f"{log.path} has {his.sum()} users in the {each}: {report.summary()}",
                hint=f"sums of fewer than {MIN_USERS} people tell of each of them: wait for more",
            )
