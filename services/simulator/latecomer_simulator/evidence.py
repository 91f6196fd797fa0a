"""What a run that came to rest is judged by: its history, its versions, its ledgers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from latecomer.errors import ChunkMissing
from latecomer.events import UpdateSubmitted, Version
from latecomer.recipe import Recipe
from latecomer.store.port import Fold, Head, Manifest, ModelStore, Verdict
from latecomer_aggregator.commit import Published
from latecomer_simulator import audit
from latecomer_simulator.audit import Cell
from latecomer_simulator.history import Acknowledged, Attempted, History


class Difference(NamedTuple):
    """A cell of a model that is not what its ledger says: what it is, and what it should be."""

    cell: Cell
    found: float
    expected: float


@dataclass(frozen=True)
class Lineage:
    """One epoch: its versions from 0 on, and the models at both ends."""

    first: Published
    last: Published
    manifests: tuple[Manifest, ...]

    def folds(self) -> Iterator[tuple[Version, Fold]]:
        """Every update that was folded, with the version it went into."""
        return ((each.version, fold) for each in self.manifests for fold in each.folds)


def versions(store: ModelStore, head: Head) -> tuple[Manifest, ...]:
    """The manifests of an epoch from 0 on; one that is gone leaves a gap for a checker to find."""
    found = []
    for number in range(head.version.number + 1):
        with suppress(ChunkMissing):
            found.append(store.manifest(Version(head.version.epoch, number)))
    return tuple(found)


@dataclass(frozen=True)
class Evidence:
    """A run that has come to rest.

    Attributes:
        lineages: One per epoch, oldest first.
        verdicts: What the stores' ledgers said of each update, in whichever epoch.
    """

    recipe: Recipe
    history: History
    lineages: tuple[Lineage, ...]
    verdicts: Mapping[str, Verdict]

    @cached_property
    def updates(self) -> dict[str, UpdateSubmitted]:
        """Every update that was put into an outbox."""
        return {
            each.update_id: audit.decoded(each.body, each.payload)
            for each in self.history.all(Attempted)
        }

    @cached_property
    def acknowledged(self) -> frozenset[str]:
        """Every update that a broker confirmed."""
        return frozenset(each.update_id for each in self.history.all(Acknowledged))

    @cached_property
    def folded(self) -> Counter[str]:
        """How often each update is in a version."""
        return Counter(fold.update_id for each in self.lineages for _, fold in each.folds())

    def differences(self, lineage: Lineage) -> list[Difference]:
        """Where the cells of a model are not the number of folded updates that mark them."""
        found = lineage.last.model["cells"]
        expected = np.zeros_like(found)
        for update_id in {fold.update_id for _, fold in lineage.folds()}:
            if update_id in self.updates:
                expected[audit.cell_of(self.updates[update_id])] += 1
        return [
            Difference(
                Cell(*map(int, cell)), float(found[tuple(cell)]), float(expected[tuple(cell)])
            )
            for cell in np.argwhere(found != expected)
        ]
