"""Model families by the name that a recipe gives them."""

from latecomer.recommenders.port import Recommender
from latecomer.recommenders.settings import TwoTowerModel
from latecomer.recommenders.two_tower import TwoTower


def family(settings: TwoTowerModel) -> Recommender:
    """The family that a recipe's model section names."""
    return TwoTower(settings)
