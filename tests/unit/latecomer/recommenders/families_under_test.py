"""Every model family, small enough to learn in a second, and data whose right answer is obvious."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from latecomer.interactions.splits import History
from latecomer.recommenders import derived
from latecomer.recommenders.descent_settings import NeuralCfModel, SequentialModel, TwoTowerModel
from latecomer.recommenders.families import family
from latecomer.recommenders.port import Plan, Recommender, Trained
from latecomer.recommenders.settings import AlsModel, GramModel, Model
from latecomer.tensors import Array, State, applied

#: Items of the checkerboard; users buy only even or only odd ones.
ITEMS = 12
USERS = 48


@dataclass(frozen=True)
class Family:
    """A family, and plans under which it must learn the checkerboard.

    Attributes:
        settings: Its model section.
        plans: Each learns the checkerboard.
        brief: What makes a plan a quick one.
        stepwise: It learns in steps from random draws; else it counts.
        real: What makes a plan one for the shipped purchases.
        guessing: By its loss, what who knows nothing of the answer pays, where an item is predicted
            from the others of its user; else empty.
    """

    name: str
    settings: Model
    plans: Sequence[Plan]
    brief: Plan = field(default_factory=dict)
    stepwise: bool = True
    real: Plan = field(default_factory=dict)
    guessing: Mapping[str, float] = field(default_factory=dict)

    def make(self) -> Recommender:
        return family(self.settings)

    def brief_plan(self) -> Plan:
        return {**self.plans[0], **self.brief}

    def next_model(self, base: State, trained: Trained, items: int = ITEMS) -> dict[str, Array]:
        """What an aggregator makes of one fresh update alone."""
        layout = self.make().layout(items)
        model = applied(layout, base, trained.delta(layout, base))
        derive = derived.rule(self.settings)
        return model if derive is None else model | derive(model)


FAMILIES = [
    Family(
        "two_tower",
        TwoTowerModel(dimension=8),
        [
            {"loss": loss, "optimizer": optimizer, "learning_rate": rate, "passes": 60}
            for loss in ("softmax", "bpr")
            for optimizer, rate in (("adam", 0.03), ("adamw", 0.03), ("sgd", 0.3))
        ],
        brief={"passes": 2},
        real={"learning_rate": 0.02, "passes": 6, "negatives": 512},
        guessing={"softmax": math.log(ITEMS - 1), "bpr": math.log(2)},
    ),
    Family("gram", GramModel(l2=1.0, decay=0.5), [{}], stepwise=False),
    Family("gram and factors", GramModel(l2=1.0, factors=2, head=3), [{}], stepwise=False),
    Family(
        "als",
        AlsModel(dimension=32, l2=0.003),
        [{"learning_rate": rate, "passes": 20} for rate in (0.5, 1.0)],
        brief={"passes": 2, "contexts_per_batch": 20},
        real={"passes": 6, "contexts_per_batch": 4096},
    ),
    Family(
        "sequential",
        SequentialModel(dimension=32, blocks=1, length=32, initial_scale=0.3),
        [
            {"loss": "softmax", "optimizer": optimizer, "learning_rate": rate, "passes": 100}
            for optimizer, rate in (("adam", 0.01), ("adamw", 0.01), ("sgd", 0.3))
        ],
        brief={"passes": 2},
        real={"learning_rate": 0.01, "passes": 12, "negatives": 512, "dropout": 0.0},
        guessing={"softmax": math.log(ITEMS - 1)},
    ),
    Family(
        "neural_cf",
        NeuralCfModel(dimension=8, hidden=8),
        [
            {"optimizer": optimizer, "learning_rate": rate, "passes": 100}
            for optimizer, rate in (("adam", 0.02), ("adamw", 0.02), ("sgd", 0.5))
        ],
        brief={"passes": 2},
        real={"learning_rate": 0.02, "passes": 15, "negatives": 512},
    ),
]

STEPWISE = [each for each in FAMILIES if each.stepwise]
PREDICTIVE = [each for each in STEPWISE if each.guessing]


def history(*users: Sequence[Sequence[int]]) -> History:
    """Users as lists of baskets; the n-th basket of each is at time n."""
    lengths = [sum(len(basket) for basket in baskets) for baskets in users]
    items = [item for baskets in users for basket in baskets for item in basket]
    times = [at for baskets in users for at, basket in enumerate(baskets) for _ in basket]
    return History(
        np.cumsum([0, *lengths], dtype=np.int64),
        np.array(items, np.int64),
        np.array(times, np.float64),
    )


def answers() -> list[int]:
    """The one item of its colour that each user of the checkerboard does not know."""
    return [user % ITEMS for user in range(USERS)]


def checkerboard() -> History:
    """Each user bought all items of one colour but one, two at a time and one alone."""
    users = []
    for user, missing in enumerate(answers()):
        rng = np.random.default_rng(user)
        bought = [item for item in range(missing % 2, ITEMS, 2) if item != missing]
        a, b, c, d, e = rng.permutation(bought).tolist()
        users.append([[a, b], [c], [d, e]])
    return history(*users)
