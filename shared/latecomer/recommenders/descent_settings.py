"""What recipes may say of families that rank items and learn by gradients."""

from typing import Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from latecomer.sections import Section


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
