"""Model families by the name that a recipe gives them.

Each is imported when it is asked for: who counts or solves (``gram``, ``als``) needs no torch, and
that is most of what a worker's process is made of.
"""

from pkgutil import resolve_name
from typing import Any

from latecomer.recommenders.descent_settings import NeuralCfModel, SequentialModel, TwoTowerModel
from latecomer.recommenders.network_settings import DeepFmModel, MlpModel
from latecomer.recommenders.port import Family
from latecomer.recommenders.settings import AlsModel, GramModel, Model

#: Module and class, by the model section of a recipe.
FAMILIES: dict[type[Model], str] = {
    TwoTowerModel: "two_tower:TwoTower",
    GramModel: "gram:Gram",
    AlsModel: "als:Als",
    SequentialModel: "sequential:Sequential",
    NeuralCfModel: "neural_cf:NeuralCf",
    MlpModel: "mlp:Mlp",
    DeepFmModel: "deepfm:DeepFm",
}


def family(settings: Model) -> Family[Any]:
    """The family that a recipe's model section names; what it learns from is its own affair.

    Raises:
        ModuleNotFoundError: It needs torch, which is not installed.
    """
    found: Family[Any] = resolve_name(f"{__package__}.{FAMILIES[type(settings)]}")(settings)
    return found
