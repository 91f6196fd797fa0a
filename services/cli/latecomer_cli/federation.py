"""Founding a federation: version 0 from a recipe and a catalogue, and queues for its workers."""

import uuid
from dataclasses import dataclass

from latecomer.broker.port import Broker
from latecomer.broker.topology import federation_topology, worker_topology
from latecomer.clock import Clock
from latecomer.errors import Fenced
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer.recommenders.port import Agreed
from latecomer.store.port import Head, ModelStore
from latecomer.tensors import digest
from latecomer_aggregator import commit
from latecomer_aggregator.background import BackgroundThread
from latecomer_aggregator.leadership import Leadership
from latecomer_cli import sites

#: Renewed while version 0 is published; short enough not to keep a leader waiting if we die.
LEASE_S = 10.0

#: What everybody reads in his own file, whatever was published with version 0.
OWN = frozenset({"title", "data", "fleet", "demo", "simulation"})


@dataclass(frozen=True)
class Founding:
    """What ``found`` did, and what the federation has from now on.

    Attributes:
        head: Its version.
        existed: Whether that was there before; then nothing was written.
        parameters: Of its model.
        items: Of its catalogue.
        differs: Sections of the recipe, and ``catalogue``, that it has otherwise than was asked.
    """

    head: Head
    existed: bool
    parameters: int
    items: int
    differs: tuple[str, ...] = ()


def enrol(broker: Broker, recipe: Recipe) -> None:
    """Declare the federation's queues, and one for every worker of the recipe; idempotent."""
    broker.declare(federation_topology(recipe.federation))
    for worker in recipe.fleet.names():
        broker.declare(worker_topology(recipe.federation, worker))


def found(
    store: ModelStore,
    recipe: Recipe,
    catalogue: Agreed,
    clock: Clock,
    *,
    new_epoch: bool = False,
) -> Founding:
    """Publish version 0, unless the federation has a model and no new epoch is wanted.

    Raises:
        Fenced: An aggregator leads: a new epoch would pull the model from under it.
    """
    head = store.head()
    if head is not None and not new_epoch:
        return _found_before(store, head, recipe, catalogue)
    model_family = family(recipe.model)
    layout = model_family.layout(len(catalogue))
    founder = Leadership(store, clock, owner=f"init-{uuid.uuid4().hex[:8]}", lease_s=LEASE_S)
    lease = founder.hold()
    if lease is None:
        raise Fenced(
            "An aggregator leads this federation",
            hint="stop the aggregators before you start a new epoch",
        )
    try:
        head = store.head()
        if head is not None and not new_epoch:  # founded since we looked
            return _found_before(store, head, recipe, catalogue)
        with BackgroundThread("latecomer-lease").repeated(founder.keep, founder.pause_s):
            head = commit.publish_initial(
                store,
                lease,
                recipe,
                catalogue=catalogue.to_bytes(),
                layout=layout,
                model=model_family.initial(len(catalogue), seed=recipe.seed),
                epoch=max(int(clock.now_s()), head.version.epoch + 1 if head else 0),
                at_s=clock.now_s(),
            )
    finally:
        store.release(lease)
    return Founding(head, existed=False, parameters=layout.size, items=len(catalogue))


def _found_before(store: ModelStore, head: Head, recipe: Recipe, catalogue: Agreed) -> Founding:
    """What there is, beside what is asked for."""
    manifest = store.manifest(head.version)
    blobs = store.read([manifest.recipe, manifest.catalogue])
    agreed = Recipe.from_bytes(blobs[manifest.recipe])
    differs = [
        name
        for name in Recipe.model_fields
        if name not in OWN and getattr(agreed, name) != getattr(recipe, name)
    ]
    if manifest.catalogue != digest(catalogue.to_bytes()):
        differs.append("catalogue")
    return Founding(
        head,
        existed=True,
        parameters=manifest.layout.size,
        items=len(sites.parsed_catalogue(agreed, blobs[manifest.catalogue])),
        differs=tuple(differs),
    )
