"""What every test comes to: values per tested user, whose sums can be added up over sites.

U users, T tested users.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from latecomer.evaluation.ranking import Floats, Ids

Regions = Sequence[str] | npt.NDArray[np.str_]
#: Region to {"users": how many, "recall@10": sum over them, …}.
Sums = Mapping[str, Mapping[str, float]]


class Result(Protocol):
    """How one site's users were served."""

    @property
    def users(self) -> Ids:
        """(T,) rows of the tested users, increasing."""
        ...

    def per_user(self) -> dict[str, Floats]:
        """Each metric's (T,) values, named as in "ndcg@10": what intervals are computed from."""
        ...

    def sums(self, by: Regions) -> dict[str, dict[str, float]]:
        """Users and sums of the reported metrics per region, given that of every user (U,)."""
        ...

    def means(self) -> dict[str, float]:
        """Users and the reported metrics' means over all tested users; empty if none was tested."""
        ...


class EvaluationProtocol(Protocol):
    """The same question to every system and every site.

    Attributes:
        metric: By which systems are compared; more is better.
        reported: What workers report and tables show.
        measured: All that an evaluation measures, and may be asked for.
    """

    @property
    def metric(self) -> str: ...  # noqa: D102 - see Attributes

    @property
    def reported(self) -> tuple[str, ...]: ...  # noqa: D102 - see Attributes

    @property
    def measured(self) -> tuple[str, ...]: ...  # noqa: D102 - see Attributes

    def label(self, seeds: Sequence[int] = ()) -> str:
        """What to write beside every number that this test produced.

        Of means over several ``seeds``, theirs; else its own.
        """
        ...

    def evaluate(
        self,
        score: Any,
        known: Any,
        target: Ids,
        *,
        given: Ids | None = None,
        lists: bool = False,
    ) -> Result:
        """Ask every tested user's question, answered by ``score`` from what is ``known``.

        ``given`` are published competitors of the answers, where there are any. With ``lists``,
        what would be shown is kept, where anything is.
        """
        ...


def seeded(seeds: Sequence[int]) -> str:
    """As a label says it."""
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def summed(users: Ids, values: Mapping[str, Floats], by: Regions) -> dict[str, dict[str, float]]:
    """Per region, how many of ``users`` and the sum of each of their ``values`` (T,).

    A region without tested users is left out.
    """
    regions, region_of = np.unique(np.asarray(by, np.str_)[users], return_inverse=True)
    columns = {"users": np.bincount(region_of, minlength=len(regions))}
    for name, each in values.items():
        columns[name] = np.bincount(region_of, each, minlength=len(regions))
    return {
        str(region): {name: column[row].item() for name, column in columns.items()}
        for row, region in enumerate(regions)
    }


def averaged(users: Ids, values: Mapping[str, Floats]) -> dict[str, float]:
    """How many ``users`` were tested, and the mean of each of their ``values`` (T,)."""
    if not len(users):
        return {}
    return {"users": len(users), **{name: float(each.mean()) for name, each in values.items()}}
