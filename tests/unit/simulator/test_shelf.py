"""What the devices of a fleet hold is in memory once, and is everybody's own nevertheless."""

import numpy as np
import pytest

from latecomer_simulator.links import SharedChunks, Shelf
from latecomer_worker.fetch import Snapshot, fetch
from scenes import EPOCH, LAYOUT, Federation


def fetched(scene: Federation, shelf: Shelf) -> Snapshot:
    head = scene.store.head()
    assert head is not None
    return fetch(scene.store, head.version, head.manifest, SharedChunks(shelf))


def test_devices_with_one_version_share_its_arrays() -> None:
    scene, shelf = Federation(), Shelf()
    scene.found()
    one, other = fetched(scene, shelf).model, fetched(scene, shelf).model
    assert all(np.shares_memory(one[name], other[name]) for name in one)


def test_none_of_them_can_write_to_what_others_read() -> None:
    scene, shelf = Federation(), Shelf()
    scene.found()
    one, other = fetched(scene, shelf).model, fetched(scene, shelf).model
    name = next(iter(one))
    with pytest.raises(ValueError, match="read-only"):
        one[name][...] = 1.0
    del one[name]
    assert name in other


def test_who_fetches_another_version_has_that_one() -> None:
    scene, shelf = Federation(), Shelf()
    scene.found()
    former = fetched(scene, shelf).model
    ones = {each.name: np.ones(each.shape, np.float32) for each in LAYOUT}
    scene.found(epoch=EPOCH + 1, model=ones)
    latter = fetched(scene, shelf).model
    assert all(np.array_equal(latter[name], ones[name]) for name in former)
    assert not any(np.array_equal(former[name], ones[name]) for name in former)
