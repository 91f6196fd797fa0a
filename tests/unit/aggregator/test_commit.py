"""Where the parts of a version lie, and what is none."""

import numpy as np
import pytest

from latecomer.errors import LayoutMismatch
from latecomer.events import Version
from latecomer.store.chunks import WITHHELD
from scenes import EPOCH, LAYOUT, Federation, make_update, step


def test_what_an_optimiser_remembers_lies_where_no_worker_may_read() -> None:
    """It is made of what single workers sent; also that of a version that is over."""
    scene = Federation(mode="fedasync", optimizer={"name": "adamw"})
    scene.found()
    coordinator = scene.coordinator()
    for number in range(2):
        scene.send(make_update("w1", number, base=Version(EPOCH, number)))
        step(coordinator, 2)
    assert scene.number() == 2
    for number in range(3):
        manifest = scene.store.manifest(Version(EPOCH, number))
        names = {name for tensor in manifest.optimizer.values() for name in tensor}
        assert names
        assert all(name.startswith(WITHHELD) for name in names)
        assert not names & manifest.fetched()


def test_no_federation_is_founded_on_a_model_that_its_layout_does_not_fit() -> None:
    scene = Federation()
    short = {**LAYOUT.zeros(), "net": np.zeros(1, np.float32)}
    with pytest.raises(LayoutMismatch):
        scene.found(model=short)
    assert scene.store.head() is None
