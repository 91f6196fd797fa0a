"""``latecomer bench devices``: every user of a data set as a device of one user, one pass.

All devices hold the same version of ``two_tower`` with its default settings, and each makes an
update of its own. ``seconds_per_pass`` is of ``train_devices`` on all cores, history to delta;
``alone_s_per_pass`` is what one device after the other needs, as a fleet's simulation or naive code
has it, from the first devices by their number. The median of some passes counts. On a machine that
does other things as well, ``processor_s_per_pass`` is what a pass needs of all cores together.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

import numpy as np
import torch

from latecomer.interactions.splits import History
from latecomer.recommenders.descent_settings import TwoTowerModel
from latecomer.recommenders.two_tower import TwoTower
from latecomer.recommenders.two_tower_devices import train_devices
from latecomer.tensors import Array
from latecomer_bench import fold

#: Users, items and interactions of data sets that need not be there.
SIZES = {"ml-100k": (943, 1_682, 100_000), "ml-1m": (6_040, 3_706, 1_000_209)}

#: Passes whose median counts, and devices that are trained one by one.
PASSES, ALONE = 3, 50


@dataclass(frozen=True)
class Scene:
    """Users' histories over so many items, and where they are from."""

    dataset: str
    history: History
    items: int

    @property
    def users(self) -> int:
        """One device each."""
        return len(self.history.lengths)


def synthetic(dataset: str, seed: int) -> Scene:
    """As many users, items and interactions; lengths are lognormal, items Zipf-like."""
    users, items, interactions = SIZES[dataset]
    rng = np.random.default_rng(seed)
    shares = rng.lognormal(0.0, 1.0, users)
    lengths = np.clip(shares / shares.sum() * interactions, 20, items // 2).astype(np.int64)
    odds = 1.0 / np.arange(10, items + 10)
    chosen = [rng.choice(items, length, replace=False, p=odds / odds.sum()) for length in lengths]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    times = np.concatenate([np.arange(length, dtype=np.float64) for length in lengths])
    return Scene(
        f"synthetic, of {dataset}'s size", History(indptr, np.concatenate(chosen), times), items
    )


def run(scene: Scene, seed: int, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Both ways, in turns."""
    torch.set_num_threads(os.cpu_count() or 1)
    settings = TwoTowerModel()
    family = TwoTower(settings)
    model = family.initial(scene.items, seed=seed)
    together, alone, processor = [], [], []
    for number in range(PASSES):
        say(f"pass {number + 1} of {PASSES}")
        began_s, began_processor_s = time.perf_counter(), time.process_time()
        train_devices(
            settings,
            model,
            family.initial_private(scene.users),
            scene.history,
            plan={},
            rngs=[np.random.default_rng([seed, number, user]) for user in range(scene.users)],
        )
        together.append(time.perf_counter() - began_s)
        processor.append(time.process_time() - began_processor_s)
        alone.append(_alone_s(family, model, scene, (seed, number)))
    return {
        "dataset": scene.dataset,
        "users": scene.users,
        "items": scene.items,
        "interactions": len(scene.history.items),
        "seconds_per_pass": round(median(together), 3),
        "processor_s_per_pass": round(median(processor), 3),
        "alone_s_per_pass": round(median(alone), 1),
        "passes": [round(each, 3) for each in together],
        "seed": seed,
        "machine": fold.machine() | {"load": round(os.getloadavg()[0], 2)},
        "versions": {name: version(name) for name in ("latecomer", "numpy", "torch")},
    }


def _alone_s(
    family: TwoTower, model: dict[str, Array], scene: Scene, seeds: tuple[int, int]
) -> float:
    """Seconds that all devices would need one after the other, by the first of them."""
    layout, few = family.layout(scene.items), min(ALONE, scene.users)
    began_s = time.perf_counter()
    for user in range(few):
        trained = family.train(
            model,
            family.initial_private(1),
            scene.history.of_user(user),
            plan={},
            rng=np.random.default_rng([*seeds, user]),
            should_stop=lambda: False,
        )
        trained.delta(layout, model)
    return (time.perf_counter() - began_s) * scene.users / few
