"""Replaying the ledger: from version 0 and the updates' own bytes to the model, by a clean process.

What a leader computed among crashes and redeliveries must be what anybody computes from the record:
the ids in fold order, their weights, and the divisor that each version was made with.
"""

from collections.abc import Iterable, Mapping

from latecomer.broker.port import Delivery
from latecomer.events import UpdateSubmitted
from latecomer.recipe import Recipe
from latecomer.recommenders import derived
from latecomer.store.port import Manifest
from latecomer.tensors import Array
from latecomer_aggregator import optimizer
from latecomer_aggregator.buffer import Buffer

#: The buffer holds what an ack would need; in a replay nobody waits for one.
NO_DELIVERY = Delivery(
    routing_key="",
    body=b"",
    message_id="",
    type="",
    headers={},
    user_id=None,
    redelivered=False,
    dead_lettered=False,
    tag=0,
    generation=0,
)


def replay(
    recipe: Recipe,
    initial: Mapping[str, Array],
    optimizer_state: Mapping[str, Array],
    manifests: Iterable[Manifest],
    updates: Mapping[str, UpdateSubmitted],
) -> dict[str, Array]:
    """The model after ``manifests``, in their order, each made of the ``updates`` that it names.

    Raises:
        KeyError: A version names an update that nobody sent.
    """
    derive = derived.rule(recipe.model)
    settings = recipe.aggregation.optimizer
    rule = optimizer.build(settings)
    model, state = dict(initial), dict(optimizer_state)
    for manifest in manifests:
        buffer = Buffer(manifest.layout)
        for fold in manifest.folds:
            buffer.fold(fold, updates[fold.update_id].delta, NO_DELIVERY)
        mean = buffer.mean(manifest.divisor, row_floor=recipe.aggregation.row_floor)
        part = optimizer.part_taken(settings, manifest.version.number - 1, manifest.folds)
        model, state = optimizer.step(rule, manifest.layout, model, state, mean, derive, part=part)
    return model
