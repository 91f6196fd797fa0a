"""Model families by the name that a recipe gives them."""

from latecomer.recommenders.gram import Gram
from latecomer.recommenders.port import Recommender
from latecomer.recommenders.settings import GramModel, TwoTowerModel
from latecomer.recommenders.two_tower import TwoTower


def family(settings: TwoTowerModel | GramModel) -> Recommender:
    """The family that a recipe's model section names."""
    match settings:
        case TwoTowerModel():
            return TwoTower(settings)
        case GramModel():
            return Gram(settings)
