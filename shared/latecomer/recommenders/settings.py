"""What can be set of each family, without what it computes with: recipes are checked anywhere."""

from collections.abc import Mapping
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, model_validator

from latecomer.errors import BadConfiguration
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


class Descent(Section):
    """What training by gradients has in common.

    Attributes:
        optimizer: Of the worker, for the shared tensors.
        weight_decay: Decoupled, for ``adamw``.
    """

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _is_what_its_optimizer_reads(self, info: ValidationInfo) -> Self:
        if self.optimizer != "adamw":
            self.without_effect({"weight_decay"}, f"under optimizer {self.optimizer!r}", info)
        return self


class TwoTowerModel(Section):
    """What two workers must agree on to mean the same by a model.

    Attributes:
        dimension: Width of the item table and of private user vectors.
        temperature: Cosines are divided by it; small values tell items apart more sharply.
        decay: Weight of a basket that n newer ones followed: (1 + n)^-decay.
        initial_scale: Standard deviation of the initial item table.
    """

    family: Literal["two_tower"] = "two_tower"
    dimension: int = Field(64, ge=1, le=1024)
    temperature: float = Field(0.1, ge=0.001)
    decay: float = Field(1.0, ge=0)
    initial_scale: float = Field(0.1, gt=0)


class TwoTowerTraining(Descent):
    """How a worker trains; announced with every round.

    Attributes:
        family: As the model's, which decides; not part of what is published.
        passes: Passes over the worker's users per round.
        loss: ``softmax`` over sampled negatives, or ``bpr``: pairwise, against the same negatives.
        learning_rate: Of the worker.
        contexts_per_batch: Users per step.
        targets_per_context: Items to predict per user and step, at most.
        negatives: Items drawn per step, shared by its users.
        popularity_correction: 1 subtracts the log-probability of being a candidate, 0 does not.
        private_learning_rate: Of the users' private vectors (row-wise Adagrad).
        private_decay: L2 penalty that keeps private vectors small.
    """

    family: Literal["two_tower"] = Field("two_tower", exclude=True)
    passes: int = Field(1, ge=1)
    loss: Literal["softmax", "bpr"] = "softmax"
    learning_rate: float = Field(0.03, gt=0)
    contexts_per_batch: int = Field(64, ge=1)
    targets_per_context: int = Field(8, ge=1)
    negatives: int = Field(512, ge=1)
    popularity_correction: float = Field(1.0, ge=0, le=1)
    private_learning_rate: float = Field(0.003, ge=0)
    private_decay: float = Field(0.01, ge=0)

    @model_validator(mode="after")
    def _is_what_its_loss_reads(self, info: ValidationInfo) -> Self:
        if self.loss != "softmax":
            self.without_effect({"popularity_correction"}, f"under loss {self.loss!r}", info)
        return self


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


class SequentialModel(Section):
    """What two workers must agree on to mean the same by a transformer.

    Attributes:
        dimension: Width of the item table and of the transformer; a multiple of ``heads``.
        blocks: Of attention and a feed-forward network each.
        heads: Of attention.
        length: Places that are looked at: so many of a user's last baskets count. One alone has
            nothing after it to learn from.
        initial_scale: Standard deviation of the initial item table.
    """

    family: Literal["sequential"] = "sequential"
    dimension: int = Field(64, ge=1, le=1024)
    blocks: int = Field(2, ge=1, le=16)
    heads: int = Field(2, ge=1, le=64)
    length: int = Field(50, ge=2, le=1024)
    initial_scale: float = Field(0.05, gt=0)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.dimension % self.heads:
            raise ValueError(f"dimension must be a multiple of heads, {self.heads}")
        return self


class SequentialTraining(Descent):
    """How a worker trains; announced with every round.

    Attributes:
        family: As the model's, which decides; not part of what is published.
        passes: Passes over the worker's users per round.
        loss: ``softmax`` over sampled negatives, or over all items where there are no more.
        learning_rate: Of the worker.
        contexts_per_batch: Sequences per step, one per user.
        negatives: Items drawn per step, shared by its sequences.
        dropout: Part of every state that is dropped while training.
    """

    family: Literal["sequential"] = Field("sequential", exclude=True)
    passes: int = Field(1, ge=1)
    loss: Literal["softmax"] = "softmax"
    learning_rate: float = Field(0.001, gt=0)
    contexts_per_batch: int = Field(64, ge=1)
    negatives: int = Field(4096, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)


class NeuralCfModel(Section):
    """What two workers must agree on to mean the same by a product and a network.

    Attributes:
        dimension: Width of each of an item's two rows and of each of a user's two vectors.
        hidden: Units of the network's hidden layer.
        initial_scale: Standard deviation of the initial item rows.
    """

    family: Literal["neural_cf"] = "neural_cf"
    dimension: int = Field(32, ge=1, le=1024)
    hidden: int = Field(32, ge=1, le=1024)
    initial_scale: float = Field(0.1, gt=0)


class NeuralCfTraining(Descent):
    """How a worker trains; announced with every round.

    Attributes:
        family: As the model's, which decides; not part of what is published.
        passes: Passes over the worker's users per round.
        loss: ``binary``: cross entropy of targets against negatives.
        learning_rate: Of the worker.
        contexts_per_batch: Users per step.
        targets_per_context: Items to predict per user and step, at most.
        negatives: Items drawn per step, shared by its users.
        private_learning_rate: Of the users' private vectors (row-wise Adagrad).
        private_decay: L2 penalty that keeps private vectors small.
    """

    family: Literal["neural_cf"] = Field("neural_cf", exclude=True)
    passes: int = Field(1, ge=1)
    loss: Literal["binary"] = "binary"
    learning_rate: float = Field(0.01, gt=0)
    contexts_per_batch: int = Field(64, ge=1)
    targets_per_context: int = Field(64, ge=1)
    negatives: int = Field(256, ge=1)
    private_learning_rate: float = Field(0.1, ge=0)
    private_decay: float = Field(0.001, ge=0)


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
