"""A federation that halves downloads: the leader reads all that it goes on from."""

import numpy as np

from latecomer.recipe import Recipe
from latecomer.tensors import Kind, Layout, TensorSpec
from latecomer_aggregator import commit
from scenes import Federation, make_recipe

#: Of zeros, the first takes as many bytes in float16 as the second in float32.
LAYOUT = Layout((TensorSpec("wide", Kind.DENSE, (4,)), TensorSpec("slim", Kind.DENSE, (2,))))


def halving() -> Recipe:
    recipe = make_recipe()
    halves = recipe.compression.model_copy(update={"download": "float16"})
    return recipe.model_copy(update={"compression": halves})


def test_a_chunk_that_is_one_tensors_half_is_read_for_the_tensor_that_it_is_all_of() -> None:
    scene = Federation(halving())
    head = scene.found(layout=LAYOUT)
    manifest = scene.store.manifest(head.version)
    assert manifest.halves["wide"] == manifest.model["slim"]
    published, _ = commit.load(scene.store, scene.recipe.federation)
    assert {name: array.tolist() for name, array in published.model.items()} == {
        name: array.tolist() for name, array in LAYOUT.zeros().items()
    }
    assert all(array.dtype == np.float32 for array in published.model.values())


def test_numbers_of_items_are_not_halved_whatever_a_former_release_agreed_on() -> None:
    scene = Federation(halving())
    counts = TensorSpec("pairs", Kind.SUM, (3,)), TensorSpec("sources", Kind.DERIVED, (2,))
    head = scene.found(layout=Layout(counts))
    assert scene.store.manifest(head.version).halves == {}
