"""``latecomer worker --once`` ends by itself, whatever there is to learn."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latecomer.config import load_settings
from latecomer.interactions.schema import Interactions
from latecomer.recommenders.families import family
from latecomer_worker import app
from latecomer_worker.agent import Step
from latecomer_worker.fetch import ChunkCache
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer
from scenes import FEDERATION, Device, Federation, checkerboard, make_site, step
from unit.worker.test_additive import additive

#: What a round takes on a busy machine; a worker that does not end is stopped then.
PATIENCE_S = 20.0


@pytest.fixture
def scene() -> Federation:
    scene = Federation(additive(updates_per_version=1))
    scene.found_items()
    return scene


def without_data() -> Site:
    nothing, never = np.array([], np.int64), np.array([], np.float64)
    return make_site(Interactions(("nobody",), ("white",), nothing, nothing, never))


@pytest.fixture
def once(scene: Federation, tmp_path: Path) -> Callable[[Site], bool]:
    """Takes part in one round as a process of its own would; tells whether it ended by itself."""

    def run(site: Site) -> bool:
        stop = threading.Event()
        state = WorkerState(tmp_path / "state.sqlite")
        impatience = threading.Timer(PATIENCE_S, stop.set)
        impatience.start()
        app.run(
            load_settings(federation=FEDERATION),
            worker="w1",
            state=state,
            cache=ChunkCache(tmp_path / "chunks"),
            open_site=lambda _: Trainer(
                family(scene.recipe.model), site, scene.recipe.protocol, state
            ),
            stop=stop,
            once=True,
            open_broker=lambda *_, **__: scene.login("w1"),
            open_store=lambda *_, **__: scene.open_store(),
        )
        impatience.cancel()
        state.close()
        return not stop.is_set()

    return run


def test_who_added_everything_yesterday_ends_today(
    scene: Federation, once: Callable[[Site], bool]
) -> None:
    coordinator, site = scene.coordinator(), make_site(checkerboard(6))
    step(coordinator, 2)
    assert once(site)
    step(coordinator, 3)
    assert scene.number() == 1
    assert once(site)
    step(coordinator, 3)
    assert scene.number() == 1


def test_who_has_no_data_ends(scene: Federation, once: Callable[[Site], bool]) -> None:
    assert once(without_data())
    assert scene.waiting() == 0


def test_a_step_tells_what_it_came_to(scene: Federation, tmp_path: Path) -> None:
    device, idle = Device(scene, "w1", tmp_path), Device(scene, "w2", tmp_path, site=without_data())
    assert device.agent.step(0) is Step.LEARNED
    assert device.agent.step(0) is Step.WAITED
    assert idle.agent.step(0) is Step.LOOKED
    assert idle.agent.step(0) is Step.WAITED
