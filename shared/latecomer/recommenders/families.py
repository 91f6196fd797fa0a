"""Model families by the name that a recipe gives them."""

from latecomer.recommenders.als import Als
from latecomer.recommenders.gram import Gram
from latecomer.recommenders.neural_cf import NeuralCf
from latecomer.recommenders.port import Recommender
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


def family(settings: Model) -> Recommender:
    """The family that a recipe's model section names."""
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
