"""What can be set of each family, without what it computes with: recipes are checked anywhere."""

from collections.abc import Mapping
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, model_validator

from latecomer.errors import BadConfiguration
from latecomer.recommenders.descent_settings import (
    NeuralCfModel,
    NeuralCfTraining,
    SequentialModel,
    SequentialTraining,
    TwoTowerModel,
    TwoTowerTraining,
)
from latecomer.recommenders.network_settings import (
    DeepFmModel,
    DeepFmTraining,
    MlpModel,
    MlpTraining,
)
from latecomer.sections import PUBLISHED, Section
from latecomer.validation import first_problem

#: No round asks for more; who trains alone has those of all its rounds at once.
MAX_PASSES = 1000


class GramModel(Section):
    """What two workers must agree on to mean the same by item-item weights.

    Attributes:
        l2: Ridge penalty of the closed form; larger for sparser data.
        dropout: Of what a user has, the part that weights must do without; more for popular items.
        sources: Of every item, so many weights are published, the largest.
        decay: Weight of a basket that n newer ones followed: (1 + n)^-decay.
        factors: Directions of a projection that is added to the scores; 0 for none.
        factor_weight: Of the projection, beside the weights.
        factor_exponent: Of popularity, by which the projection divides counts; more for rare items.
        head: Of the best items by that sum, so many are ordered by the weights alone; needs
            factors.
    """

    family: Literal["gram"] = "gram"
    l2: float = Field(300.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    sources: int = Field(400, ge=1)
    decay: float = Field(0.0, ge=0)
    factors: int = Field(0, ge=0, le=1024)
    factor_weight: float = Field(1.0, gt=0)
    factor_exponent: float = Field(0.25, ge=0, le=1)
    head: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _a_head_needs_factors(self, info: ValidationInfo) -> Self:
        if self.head and not self.factors:
            raise ValueError("head needs factors: without, the weights alone order all items")
        if not self.factors:
            self.without_effect({"factor_weight", "factor_exponent"}, "without factors", info)
        return self


class GramTraining(Section):
    """There is nothing to set: counting has no steps.

    Attributes:
        family: As the model's, which decides; not part of what is published.
    """

    family: Literal["gram"] = Field("gram", exclude=True)


class AlsModel(Section):
    """What two workers must agree on to mean the same by factors.

    Attributes:
        dimension: Width of the item table and of users' vectors.
        unobserved: Weight of what a user does not have, beside 1 for what he has.
        l2: Penalty per user and item, times how much there is to explain.
        decay: In scores, weight of a basket that n newer ones followed: (1 + n)^-decay.
        initial_scale: Typical length of an item's initial factors.
    """

    family: Literal["als"] = "als"
    dimension: int = Field(64, ge=1, le=1024)
    unobserved: float = Field(0.1, gt=0)
    l2: float = Field(0.01, gt=0)
    decay: float = Field(0.0, ge=0)
    initial_scale: float = Field(0.1, gt=0)


class AlsTraining(Section):
    """How a worker trains; announced with every round.

    Attributes:
        family: As the model's, which decides; not part of what is published.
        passes: Passes over the worker's users per round.
        learning_rate: Part of Newton's step that is taken; 1 for large sites, less for single
            users, whose gradients are noise until they are averaged over time.
        contexts_per_batch: Users per step.
    """

    family: Literal["als"] = Field("als", exclude=True)
    passes: int = Field(1, ge=1)
    learning_rate: float = Field(0.5, gt=0, le=1)
    contexts_per_batch: int = Field(4096, ge=1)


#: Every family's settings; what is in a union here is in the dictionaries below it.
Model = (
    TwoTowerModel | GramModel | AlsModel | SequentialModel | NeuralCfModel | MlpModel | DeepFmModel
)
Training = (
    TwoTowerTraining
    | GramTraining
    | AlsTraining
    | SequentialTraining
    | NeuralCfTraining
    | MlpTraining
    | DeepFmTraining
)

#: A family's settings, by its name.
MODELS: dict[str, type[BaseModel]] = {
    "two_tower": TwoTowerModel,
    "gram": GramModel,
    "als": AlsModel,
    "sequential": SequentialModel,
    "neural_cf": NeuralCfModel,
    "mlp": MlpModel,
    "deepfm": DeepFmModel,
}
TRAINING: dict[str, type[BaseModel]] = {
    "two_tower": TwoTowerTraining,
    "gram": GramTraining,
    "als": AlsTraining,
    "sequential": SequentialTraining,
    "neural_cf": NeuralCfTraining,
    "mlp": MlpTraining,
    "deepfm": DeepFmTraining,
}

#: Families that predict what comes of examples; the others rank items.
PREDICTORS = frozenset({"mlp", "deepfm"})

Checked = TypeVar("Checked", bound=BaseModel)


def checked(training: type[Checked], plan: Mapping[str, object]) -> Checked:
    """A round's plan as the family's own settings; what has no effect was agreed on, and may stay.

    Raises:
        BadConfiguration: Names the first key or value that the family does not know.
    """
    try:
        return training.model_validate(dict(plan), context=PUBLISHED)
    except ValidationError as error:
        raise BadConfiguration(f"training.{first_problem(error)}") from error
