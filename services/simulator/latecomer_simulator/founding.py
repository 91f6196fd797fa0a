"""The servers of a simulated run, and version 0."""

from collections.abc import Callable
from typing import Any, cast

from latecomer.clock import Clock
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer.recommenders.port import Agreed
from latecomer.store.port import Commit, Lease, Manifest, ModelStore, Refusal
from latecomer_aggregator import commit

#: Nobody else wants it.
LEASE_S = 10.0

#: The timeline's epoch of versions.
EPOCH = 1


def found(store: ModelStore, recipe: Recipe, catalogue: Agreed, clock: Clock) -> None:
    """Publish version 0 of a recipe."""
    model_family = family(recipe.model)
    layout = model_family.layout(len(catalogue))
    lease = store.acquire("founder", LEASE_S)
    assert lease is not None, "a fresh store has no leader"
    commit.publish_initial(
        store,
        lease,
        recipe,
        catalogue=catalogue.to_bytes(),
        layout=layout,
        model=model_family.initial(len(catalogue), seed=recipe.seed),
        epoch=EPOCH,
        at_s=clock.now_s(),
    )
    store.release(lease)


class WatchedStore:
    """An aggregator's store that tells of every commit and refusal that took effect."""

    def __init__(
        self,
        store: ModelStore,
        committed: Callable[[Manifest], None],
        refused: Callable[[Refusal], None],
    ) -> None:
        self._store = store
        self._committed = committed
        self._refused = refused

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, commit: Commit) -> None:
        """See ``ModelStore.commit``."""
        self._store.commit(commit)
        self._committed(commit.manifest)

    def refuse(self, lease: Lease, refusal: Refusal) -> bool:
        """See ``ModelStore.refuse``."""
        new = self._store.refuse(lease, refusal)
        if new:
            self._refused(refusal)
        return new


def watched(
    store: ModelStore,
    committed: Callable[[Manifest], None],
    refused: Callable[[Refusal], None],
) -> ModelStore:
    """A store that tells."""
    return cast("ModelStore", WatchedStore(store, committed, refused))
