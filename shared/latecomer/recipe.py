"""A recipe: one scene as TOML - data, model, training, aggregation, evaluation, fleet.

What a federation has to agree on is published with version 0 and read from the store by everybody;
a data owner's own file need only say where the data is.
"""

import json
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from latecomer.aggregation import OPTIMIZERS, Aggregation
from latecomer.broker.topology import EVERYONE
from latecomer.compression import LOSSY, Compression
from latecomer.data import EXAMPLES, Data, ExampleData, field_widths, kind_of_data
from latecomer.datasets.registry import has_negatives, related
from latecomer.errors import BadConfiguration
from latecomer.evaluation.outcomes import OutcomeProtocol
from latecomer.evaluation.protocol import RankingProtocol
from latecomer.evaluation.results import EvaluationProtocol
from latecomer.events import Name, RoundStarted
from latecomer.fleet import Demo, Fleet, Simulation
from latecomer.recommenders.settings import (
    MAX_PASSES,
    MODELS,
    PREDICTORS,
    TRAINING,
    Model,
    Training,
)
from latecomer.sections import PUBLISHED, Section
from latecomer.store.port import Head
from latecomer.validation import problems

#: The models that a table chooses from by a key of its own, by the table's name.
BRANCHES: dict[str, dict[str, type[BaseModel]]] = {
    "optimizer": OPTIMIZERS,
    "model": MODELS,
    "training": TRAINING,
    "data": {"interactions": Data, EXAMPLES: ExampleData},
}

#: Columns that recipes of former releases map, which nothing was learned from.
IGNORED = ("behaviour", "rating")

#: What to do about a published recipe that cannot be read.
NEWER = "a newer release founded the federation, where a key is unknown here: upgrade this one"

#: What recipes mean that name no family: those of releases which had one.
FIRST_FAMILY = "two_tower"


class Social(Section):
    """People at one site; see ``latecomer.recommenders.social``.

    Attributes:
        weight: Of what a user's friends would be recommended, beside the user's own scores.
        popularity: Of how many of the site's users have an item; where sites are places.
    """

    weight: float = Field(0.0, ge=0)
    popularity: float = Field(0.0, ge=0)


class Personal(Section):
    """What a site trained alone, beside the federation's; see ``latecomer.recommenders.ensemble``.

    Attributes:
        weights: Parts of the site's own model that it may choose from; with none, it has no own.
        rounds: How often the site's own model learns what a round's plan says.
    """

    weights: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    rounds: int = Field(20, ge=1)

    @model_validator(mode="after")
    def _rounds_are_of_an_own_model(self, info: ValidationInfo) -> "Personal":
        if not self.weights:
            self.without_effect({"rounds"}, "without weights", info)
        return self


class ProtocolName(StrEnum):
    """How held-out items are treated in training; see ``Evaluation``."""

    CLEAN = "clean"
    PFEDREC_COMPAT = "pfedrec-compat"


#: What ``Aggregation`` says of means, and of steps along them.
AVERAGING = {"optimizer", "staleness", "example_weight", "row_floor", "max_staleness"}

#: What ``Evaluation`` says of rankings alone.
RANKING = {"k", "candidates", "protocol", "full_reach"}


class Evaluation(Section):
    """The ranking protocol; see ``latecomer.evaluation.protocol``.

    Attributes:
        k: Places that count.
        candidates: What the held-out item competes with.
        protocol: ``pfedrec-compat`` spares held-out items when negatives are drawn, which gives
            them away: for ``latecomer evaluate``, beside published figures that were made so.
        train_on_validation: ``latecomer evaluate`` trains on validation items as well, as published
            evaluations do: for settings that were chosen before.
        reach: What ``latecomer evaluate --require`` asks of a metric's mean, as a fraction.
        full_reach: The same with ``--full-ranking``.
    """

    k: int = Field(10, ge=1, le=1000)
    candidates: Literal["full", "sampled-99", "given"] = "full"
    protocol: ProtocolName = ProtocolName.CLEAN
    train_on_validation: bool = False
    reach: Mapping[str, float] = Field(default_factory=dict)
    full_reach: Mapping[str, float] = Field(default_factory=dict)


class Recipe(Section):
    """A whole scene."""

    federation: Name
    title: str = ""
    seed: int = Field(1, ge=0)
    data: Annotated[
        Annotated[Data, Tag("interactions")] | Annotated[ExampleData, Tag(EXAMPLES)],
        Discriminator(kind_of_data),
    ]
    model: Annotated[Model, Field(discriminator="family")]
    training: Annotated[Training, Field(discriminator="family")]
    aggregation: Aggregation = Aggregation()
    compression: Compression = Compression()
    social: Social = Social()
    personal: Personal = Personal()
    evaluation: Evaluation = Evaluation()
    fleet: Fleet = Fleet()
    demo: Demo = Demo()
    simulation: Simulation = Simulation()

    @model_validator(mode="before")
    @classmethod
    def _one_family(cls, body: Any) -> Any:
        """The model's family says which training there is; a recipe names it once."""
        if not isinstance(body, dict) or not isinstance(model := body.get("model"), dict):
            return body
        family = model.get("family", FIRST_FAMILY)
        training = body.get("training", {} if family == "gram" else None)
        chosen = {**body, "model": {**model, "family": family}}
        if isinstance(training, dict):
            chosen["training"] = {**training, "family": family}
        if family == "deepfm":
            chosen["model"]["widths"] = field_widths(body.get("data"))
        return chosen

    @field_validator("aggregation")
    @classmethod
    def _statistics_are_added_up(cls, own: Aggregation, info: ValidationInfo) -> Aggregation:
        if "model" in info.data and info.data["model"].family == "gram":
            why = "on family 'gram', whose counts are added up, however late"
            own.without_effect(AVERAGING, why, info)
        return own

    @field_validator("personal")
    @classmethod
    def _statistics_are_counted_once(cls, own: Personal, info: ValidationInfo) -> Personal:
        if "model" in info.data and info.data["model"].family == "gram":
            own.without_effect({"rounds"}, "on family 'gram', which counts once", info)
        return own

    @field_validator("evaluation")
    @classmethod
    def _only_rankings_are_ranked(cls, own: Evaluation, info: ValidationInfo) -> Evaluation:
        if isinstance(info.data.get("data"), ExampleData):
            own.without_effect(RANKING, "on outcomes, which nothing competes with", info)
        return own

    @field_validator("evaluation")
    @classmethod
    def _has_negatives(cls, evaluation: Evaluation, info: ValidationInfo) -> Evaluation:
        name = info.data["data"].format if "data" in info.data else None
        if evaluation.candidates == "given" and name is not None and not has_negatives(name):
            raise ValueError(f"candidates are given by no file of {name}; say full or sampled-99")
        return evaluation

    @field_validator("social")
    @classmethod
    def _has_friends(cls, social: Social, info: ValidationInfo) -> Social:
        name = info.data["data"].format if "data" in info.data else None
        if social.weight and name is not None and not related(name):
            raise ValueError(f"a weight needs relations between users, and {name} has none")
        if social.popularity and isinstance(info.data.get("data"), ExampleData):
            raise ValueError("a popularity needs items, and outcomes are predicted here")
        return social

    @model_validator(mode="after")
    def _data_suits_the_family(self) -> "Recipe":
        if (self.model.family in PREDICTORS) is not isinstance(self.data, ExampleData):
            learns = "examples" if self.model.family in PREDICTORS else "interactions"
            raise ValueError(
                f"model.family {self.model.family!r} learns from {learns}, "
                f"and data.format is {self.data.format!r}"
            )
        return self

    @model_validator(mode="after")
    def _rounds_end(self) -> "Recipe":
        if (passes := getattr(self.training, "passes", 1)) > MAX_PASSES:
            raise ValueError(f"training.passes: must be at most {MAX_PASSES}, got {passes}")
        return self

    @model_validator(mode="after")
    def _statistics_travel_as_they_are(self, info: ValidationInfo) -> "Recipe":
        if self.model.family != "gram" or info.context == PUBLISHED:
            return self
        if lossy := self.compression.said(LOSSY):
            raise ValueError(
                f"compression.{lossy[0]}: family 'gram' sends counts, of which nothing is "
                "left out; only zstd makes them smaller"
            )
        if self.compression.download != "float32":
            raise ValueError(
                "compression.download: family 'gram' publishes numbers of items, of which float16 "
                "tells no more than 2,048 apart"
            )
        return self

    @model_validator(mode="after")
    def _what_is_asked_for_is_measured(self, info: ValidationInfo) -> "Recipe":
        if info.context == PUBLISHED:
            return self
        measured = self.protocol.measured
        for name in (*self.evaluation.reach, *self.evaluation.full_reach):
            if name not in measured:
                raise ValueError(
                    f"evaluation.reach: {name!r} is not measured, only {', '.join(measured)}"
                )
        return self

    @model_validator(mode="after")
    def _personal_weights_have_validation(self) -> "Recipe":
        if self.personal.weights and self.evaluation.train_on_validation:
            raise ValueError(
                "personal.weights are chosen on validation, and train_on_validation leaves none"
            )
        return self

    def leaking(self) -> "Recipe":
        """The same under PFedRec's protocol; what it has to reach under ours says nothing then."""
        self._must_rank("--protocol")
        update = {
            "protocol": ProtocolName.PFEDREC_COMPAT,
            "candidates": "sampled-99",
            "train_on_validation": False,
            "reach": {},
            "full_reach": {},
        }
        return self.model_copy(update={"evaluation": self.evaluation.model_copy(update=update)})

    def ranked_in_full(self) -> "Recipe":
        """The same, but held-out items compete with the whole catalogue."""
        self._must_rank("--full-ranking")
        own = self.evaluation
        update = {"candidates": "full", "reach": own.full_reach}
        return self.model_copy(update={"evaluation": own.model_copy(update=update)})

    def _must_rank(self, option: str) -> None:
        if isinstance(self.data, ExampleData):
            raise BadConfiguration(
                f"{self.federation} predicts outcomes, and {option} is about ranking",
                hint=f"leave {option} out",
            )

    @property
    def protocol(self) -> EvaluationProtocol:
        """How it is tested."""
        if isinstance(self.data, ExampleData):
            return OutcomeProtocol(seed=self.seed)
        own = self.evaluation
        return RankingProtocol(
            k=own.k,
            candidates=own.candidates,
            seed=self.seed,
            leaky=own.protocol is ProtocolName.PFEDREC_COMPAT,
        )

    def to_bytes(self) -> bytes:
        """Canonical JSON, as published with version 0.

        What is at its default is said as well, since another release may have another default. But
        where that is None nothing is said: releases that do not know of it have nothing to miss.
        """
        body = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Recipe":
        """Inverse of ``to_bytes``; a recipe of a newer release names what is unknown here."""
        return _checked(json.loads(data), "the store's recipe", PUBLISHED, hint=NEWER)


def round_of(recipe: Recipe, head: Head) -> RoundStarted:
    """The round that ``head`` opens: as announced, and as found by who missed the announcement."""
    return RoundStarted(
        federation=recipe.federation,
        cohort=EVERYONE,
        version=head.version,
        manifest=head.manifest,
        plan=recipe.training.model_dump(mode="json"),
        max_staleness=recipe.aggregation.staleness_limit,
        spread_s=recipe.aggregation.spread_s,
    )


def load_recipe(path: Path, *, agreed: bool = False) -> Recipe:
    """Read a recipe.

    Args:
        path: A TOML file.
        agreed: Whether its federation is founded already: then what nobody reads may stand in it.

    Raises:
        BadConfiguration: The file is missing or no TOML, or a key is unknown or has a wrong value;
            every such key is named with its path and what is allowed.
    """
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfiguration(
            f"cannot read the recipe {path}: {error.strerror}", hint="see recipes/ for examples"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{path} is not TOML: {error}") from error
    except RecursionError as error:
        raise BadConfiguration(f"{path}: values lie too deep in others") from error
    return _checked(body, str(path), PUBLISHED if agreed else None)


def _checked(
    body: dict[str, Any], where: str, context: str | None = None, hint: str = ""
) -> Recipe:
    data = body.get("data")
    if context == PUBLISHED and isinstance(data, dict) and isinstance(data.get("columns"), dict):
        for name in IGNORED:
            data["columns"].pop(name, None)
    try:
        return Recipe.model_validate(body, context=context)
    except ValidationError as error:
        raise BadConfiguration(
            f"{where}: {problems(error, Recipe, BRANCHES, follows='training')}", hint=hint
        ) from error
