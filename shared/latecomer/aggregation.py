"""How updates become versions, as a recipe's ``[aggregation]`` says it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, model_validator

from latecomer.sections import Section

#: Twice as many deliveries are prefetched, and AMQP counts them in 16 bits.
MAX_UPDATES_PER_VERSION = 32_767

#: Server steps are computed in float32: what it rounds to 1, to 0 or to infinity makes a model of
#: NaN, because bias correction divides 0 by 0, or 0 is multiplied by infinity.
BELOW_ONE, ABOVE_ZERO, MOST = 1 - 2.0**-24, 2.0**-126, (2 - 2.0**-23) * 2.0**127


#: Counts that float32 holds exactly (2^24), of each two of 8,192 items, are of norm 1.4e11.
MOST_NORM = 1e12


def _below_one(value: float) -> float:
    if value > BELOW_ONE:
        raise ValueError(f"must be at most {BELOW_ONE}: float32 has nothing between that and 1")
    return value


Rate = Annotated[float, Field(gt=0, le=MOST)]
Memory = Annotated[float, Field(ge=0, lt=1), AfterValidator(_below_one)]
Epsilon = Annotated[float, Field(ge=ABOVE_ZERO, le=MOST)]


class Staleness(Section):
    """See ``latecomer_aggregator.staleness``; defaults as in FedBuff and FedAsync's code."""

    rule: Literal["constant", "polynomial", "hinge"] = "polynomial"
    exponent: float = Field(0.5, ge=0, le=10)
    slope: float = Field(10.0, gt=0)
    grace: int = Field(4, ge=0)

    @model_validator(mode="after")
    def _is_what_its_rule_reads(self, info: ValidationInfo) -> "Staleness":
        read = {"polynomial": {"exponent"}, "hinge": {"slope", "grace"}}.get(self.rule, set())
        idle = {"exponent", "slope", "grace"} - read
        self.without_effect(idle, f"under rule {self.rule!r}", info)
        return self


class ExampleWeight(Section):
    """See ``latecomer_aggregator.weighting``.

    Attributes:
        reference: Examples of a typical update, as workers log them (``round.trained``). Families
            count them differently, and some in every pass: with more passes it is to be larger.
        cap: What an update weighs at most, as a multiple of a typical one.
    """

    rule: Literal["equal", "sqrt", "linear"] = "equal"
    reference: int = Field(1000, gt=0)
    cap: float = Field(2.0, gt=0)

    @model_validator(mode="after")
    def _is_what_its_rule_reads(self, info: ValidationInfo) -> "ExampleWeight":
        if self.rule == "equal":
            self.without_effect({"reference", "cap"}, "under rule 'equal'", info)
        return self


class ServerStep(Section):
    """What every server optimiser has.

    Attributes:
        damp_beyond: Where an update of a version is further behind than this, the step is divided
            by how far behind the furthest is; by default it never is.
        decay_after: After so many versions of an epoch the step shrinks, to this number / those
            that there are: the model comes to rest, and follows what is new less and less. By
            default it never does.
    """

    damp_beyond: int | None = Field(None, ge=1)
    decay_after: int | None = Field(None, ge=1)


class Sgd(ServerStep):
    """x <- x + lr (beta m + g)."""

    name: Literal["sgd"] = "sgd"
    learning_rate: Rate = 1.0
    momentum: Memory = 0.0


class AdamW(ServerStep):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"]
    learning_rate: Rate = 0.01
    beta1: Memory = 0.9
    beta2: Memory = 0.99
    epsilon: Epsilon = 1e-8
    weight_decay: float = Field(0.0, ge=0, le=MOST)


class Adagrad(ServerStep):
    """Adagrad, row-wise for tables."""

    name: Literal["adagrad"]
    learning_rate: Rate = 0.1
    epsilon: Epsilon = 1e-8


Optimizer = Sgd | AdamW | Adagrad

OPTIMIZERS: dict[str, type[BaseModel]] = {"sgd": Sgd, "adamw": AdamW, "adagrad": Adagrad}


class Aggregation(Section):
    """How updates become versions.

    Attributes:
        mode: ``fedbuff`` steps every K updates or T seconds; ``fedasync`` is K = 1; ``sync`` waits
            for all K workers of a round (or T) and refuses what is not based on the head.
        updates_per_version: K; with ``target_staleness``, that of the first versions.
        target_staleness: In ``fedbuff`` mode, K follows the staleness: as many updates make a
            version as let them be this many versions behind in the mean.
        max_updates_per_version: K follows no further than this.
        max_wait_s: T, counted from the first update of a buffer.
        max_staleness: Updates that are further behind are refused.
        row_floor: A table's row is divided by at least this many contributors.
        live_s: A worker that was heard from within this time counts as alive.
        max_update_norm: Updates of a larger L2 norm are refused. The default only keeps float32
            sums and their squares finite, and is beyond the counts of the largest site; a recipe
            that knows its model sets less.
        identity: ``broker`` believes the login that RabbitMQ validated; ``declared`` believes what
            an update says of itself, for a laptop where everybody is ``guest``.
        spread_s: Workers wait up to this long before they fetch.
    """

    mode: Literal["fedbuff", "fedasync", "sync"] = "fedbuff"
    updates_per_version: int = Field(10, ge=1, le=MAX_UPDATES_PER_VERSION)
    target_staleness: float | None = Field(None, gt=0)
    max_updates_per_version: int = Field(100, ge=1, le=MAX_UPDATES_PER_VERSION)
    max_wait_s: float = Field(30.0, gt=0, le=300)
    max_staleness: int = Field(100, ge=0)
    staleness: Staleness = Staleness()
    example_weight: ExampleWeight = ExampleWeight()
    optimizer: Annotated[Optimizer, Field(discriminator="name")] = Sgd()
    row_floor: int = Field(1, ge=1)
    live_s: float = Field(300.0, gt=0)
    max_update_norm: float = Field(MOST_NORM, gt=0)
    identity: Literal["broker", "declared"] = "broker"
    spread_s: float = Field(0.0, ge=0, le=3600)

    @model_validator(mode="after")
    def _follows_in_fedbuff_mode(self, info: ValidationInfo) -> "Aggregation":
        following = {"target_staleness", "max_updates_per_version"}
        if self.mode != "fedbuff":
            self.without_effect(following, f"in mode {self.mode!r}", info)
        elif self.target_staleness is None:
            self.without_effect(following, "without a target_staleness", info)
        return self

    def updates_of(self, workers: int) -> int:
        """How many updates a version is made of while so many ``workers`` are alive.

        Each has one place; ``fedasync`` has one in all.
        """
        return 1 if self.mode == "fedasync" else min(self.updates_per_version, max(1, workers))

    @property
    def most_updates_per_version(self) -> int:
        """What K may become at most."""
        follows = self.mode == "fedbuff" and self.target_staleness is not None
        most = self.max_updates_per_version if follows else 1
        return max(self.updates_per_version, most)

    @property
    def staleness_limit(self) -> int:
        """How far behind an admitted update may be: a synchronous round takes none that is late."""
        return 0 if self.mode == "sync" else self.max_staleness
