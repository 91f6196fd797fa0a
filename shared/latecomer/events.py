"""What happened: the two kinds of message, each in one direction.

``RoundStarted`` goes from the aggregator to every worker and is a hint: the store's head is the
truth, and only the newest announcement matters. ``UpdateSubmitted`` goes from a worker to the
aggregator and is a fact: once confirmed it is folded exactly once or refused exactly once.

Events are frozen and versioned. Fields that a newer schema adds are ignored by older readers; a
schema number that a reader does not know is refused by name (see ``wire``).
"""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from latecomer.tensors import Delta

MAX_NAME_CHARS = 40

#: Names that appear in routing keys, queue names and permission patterns: no dots, no surprises.
NAME_PATTERN = rf"^[a-z0-9](?:[a-z0-9-]{{0,{MAX_NAME_CHARS - 2}}}[a-z0-9])?$"

#: ``<worker>:<boot>:<seq>``.
UPDATE_ID_PATTERN = r"^[a-z0-9-]{1,40}:[0-9a-z]{1,40}:[0-9]{1,38}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
DIGEST_PATTERN = r"^[0-9a-f]{32}$"
Digest = Annotated[str, Field(pattern=DIGEST_PATTERN)]

#: A worker reports its regions' sums in the header, which is small.
MAX_REGIONS = 16
MAX_METRICS = 16

#: No sum over users of a metric is larger, and none is larger per user: the log loss of the worst
#: probability that a double holds is 745. It keeps means over a federation finite.
MAX_SUM = 1e15
MAX_PER_USER = 1000.0

#: The table's own name for all regions together.
ALL_REGIONS = "all"


def _of_users(sums: Mapping[str, float]) -> Mapping[str, float]:
    if "users" not in sums:
        raise ValueError("sums name `users`")
    users = sums["users"]
    if users < 0 or not users.is_integer():
        raise ValueError("`users` are a whole number of at least 0")
    if any(abs(each) > MAX_PER_USER * users for name, each in sums.items() if name != "users"):
        raise ValueError(f"no metric of a user is beyond {MAX_PER_USER:g}")
    return sums


def _of_regions(sums: Mapping[str, Mapping[str, float]]) -> Mapping[str, Mapping[str, float]]:
    if ALL_REGIONS in sums:
        raise ValueError(f"no region is called {ALL_REGIONS!r}")
    return sums


Sum = Annotated[float, Field(ge=-MAX_SUM, le=MAX_SUM, allow_inf_nan=False)]

Sums = Annotated[Mapping[str, Sum], Field(max_length=MAX_METRICS), AfterValidator(_of_users)]

RegionSums = Annotated[
    Mapping[str, Sums], Field(max_length=MAX_REGIONS), AfterValidator(_of_regions)
]


#: Strict: in a message True is not 1, and "3" is not 3.
Whole = Annotated[int, Field(strict=True)]

#: A counter on the wire: exact in a double as well, whoever reads it.
Number = Annotated[Whole, Field(ge=0, lt=2**53)]


#: Payloads that wait in the store, each as the worker that staged it and its digest.
Staged = frozenset[tuple[str, str]]


class Version(NamedTuple):
    """``(epoch, number)``: numbers go up by one inside an epoch.

    The epoch names one lineage of models: a store that was flushed and initialised again starts a
    new one, so that updates from a former life are recognised instead of guessed at.
    """

    epoch: Number
    number: Number

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number}"


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)


class RoundStarted(_Event):
    """Version ``version`` of the model is out: fetch it, train on it, submit what changed.

    Attributes:
        manifest: Digest of the manifest, to be checked after fetching.
        plan: How to train; the recipe's training section, passed through as it is.
        max_staleness: Updates based on an older version than this many are refused.
        spread_s: Wait a random time up to this before fetching, so that not all come at once.
    """

    schema_version: int = Field(1, alias="schema")
    federation: Name
    cohort: Name
    version: Version
    manifest: Digest
    plan: Mapping[str, str | int | float | bool] = Field(default_factory=dict)
    max_staleness: Whole = Field(ge=0)
    spread_s: FiniteFloat = Field(0.0, ge=0)


class UpdateHeader(_Event):
    """What an update says of itself, before anybody looks at its tensors.

    Attributes:
        update_id: ``<worker>:<boot>:<seq>``, fixed before the first publish and never re-used.
        base: The version that the training started from.
        layout: Digest of the layout that the delta fits.
        examples: Training examples that it learned from; > 0.
        steps: Optimiser steps that it took.
        sums: Per region, sums over its tested users of the metrics of the *fetched* model, and
            ``users``, how many they are; what is needed to average over a federation.
    """

    schema_version: int = Field(1, alias="schema")
    federation: Name
    worker: Name
    update_id: str = Field(pattern=UPDATE_ID_PATTERN)
    base: Version
    layout: Digest
    examples: Whole = Field(gt=0, lt=2**53)
    steps: Number
    sums: RegionSums = Field(default_factory=dict)


class UpdateSubmitted(UpdateHeader):
    """What one worker learned from one version on its own data: trained minus base."""

    delta: Delta = Field(exclude=True, repr=False)
