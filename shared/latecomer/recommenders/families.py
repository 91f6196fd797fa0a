"""Model families by the name that a recipe gives them."""

from collections.abc import Callable
from typing import Any

from latecomer.recommenders.als import Als
from latecomer.recommenders.deepfm import DeepFm
from latecomer.recommenders.gram import Gram
from latecomer.recommenders.mlp import Mlp
from latecomer.recommenders.network_settings import DeepFmModel, MlpModel
from latecomer.recommenders.neural_cf import NeuralCf
from latecomer.recommenders.port import Family
from latecomer.recommenders.sequential import Sequential
from latecomer.recommenders.settings import (
    AlsModel,
    GramModel,
    Model,
    NeuralCfModel,
    SequentialModel,
    TwoTowerModel,
)
from latecomer.recommenders.two_tower import TwoTower

#: By the model section of a recipe.
FAMILIES: dict[type[Model], Callable[[Any], Family[Any]]] = {
    TwoTowerModel: TwoTower,
    GramModel: Gram,
    AlsModel: Als,
    SequentialModel: Sequential,
    NeuralCfModel: NeuralCf,
    MlpModel: Mlp,
    DeepFmModel: DeepFm,
}


def family(settings: Model) -> Family[Any]:
    """The family that a recipe's model section names; what it learns from is its own affair."""
    return FAMILIES[type(settings)](settings)
