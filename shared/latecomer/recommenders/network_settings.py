"""What can be set of networks over fields."""

from typing import Literal

from pydantic import Field, field_validator

from latecomer.sections import Section

#: A layer this wide and as deep is 64 MB: more belongs on no phone.
MAX_WIDTH = 4096


class Network(Section):
    """What networks over fields have in common; ``hidden`` are the widths of hidden layers."""

    hidden: tuple[int, ...] = (128, 128)

    @field_validator("hidden")
    @classmethod
    def _are_widths(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 1 <= width <= MAX_WIDTH for width in widths):
            raise ValueError(f"must be widths from 1 to {MAX_WIDTH}")
        return widths


class MlpModel(Network):
    """What two workers must agree on; without hidden layers it is logistic regression."""

    family: Literal["mlp"] = "mlp"


class DeepFmModel(Network):
    """What two workers must agree on.

    Attributes:
        dimension: Of the embeddings of fields.
        widths: Inputs of each field; a recipe takes them from its fields.
    """

    family: Literal["deepfm"] = "deepfm"
    dimension: int = Field(8, ge=1, le=256)
    widths: tuple[int, ...] = ()


class NetworkTraining(Section):
    """How a worker trains a network; announced with every round. The optimiser is AdamW.

    Attributes:
        passes: Passes over the worker's examples per round.
        examples_per_pass: At most, drawn anew for each, so that who has many is not slow for it;
            0 for all.
        learning_rate: Of the worker.
        weight_decay: Decoupled; not of embeddings.
        examples_per_batch: Per step.
        dropout: Share of hidden units that are left out of a step.
    """

    passes: int = Field(1, ge=1)
    examples_per_pass: int = Field(0, ge=0)
    learning_rate: float = Field(0.001, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    examples_per_batch: int = Field(64, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)


class MlpTraining(NetworkTraining):
    """See there; ``family`` is as the model's, and not part of what is published."""

    family: Literal["mlp"] = Field("mlp", exclude=True)


class DeepFmTraining(NetworkTraining):
    """See there; ``family`` is as the model's, and not part of what is published."""

    family: Literal["deepfm"] = Field("deepfm", exclude=True)
