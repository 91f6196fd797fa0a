"""Model families by the name that a recipe gives them."""

from typing import Any

from latecomer.recommenders.als import Als
from latecomer.recommenders.deepfm import DeepFm
from latecomer.recommenders.gram import Gram
from latecomer.recommenders.mlp import Mlp
from latecomer.recommenders.neural_cf import NeuralCf
from latecomer.recommenders.port import Family
from latecomer.recommenders.sequential import Sequential
from latecomer.recommenders.settings import (
    AlsModel,
    DeepFmModel,
    GramModel,
    MlpModel,
    Model,
    NeuralCfModel,
    SequentialModel,
    TwoTowerModel,
)
from latecomer.recommenders.two_tower import TwoTower


def family(settings: Model) -> Family[Any]:
    """The family that a recipe's model section names; what it learns from is its own affair."""
    match settings:
        case TwoTowerModel():
            return TwoTower(settings)
        case GramModel():
            return Gram(settings)
        case AlsModel():
            return Als(settings)
        case SequentialModel():
            return Sequential(settings)
        case NeuralCfModel():
            return NeuralCf(settings)
        case MlpModel():
            return Mlp(settings)
        case DeepFmModel():
            return DeepFm(settings)
