"""Bugs on purpose: each breaks one promise, and the checker of that promise must find it.

A proof that cannot fail proves nothing. Each plant is a mistake that somebody would make: it swaps
one attribute of the production code while it is planted, and only in this process.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from latecomer.broker.port import Delivery, Receipt
from latecomer.errors import Fenced, VersionConflict
from latecomer.events import UpdateHeader
from latecomer.store.port import Commit, Fold, Lease, Refusal
from latecomer.store.redis import RedisStore
from latecomer.tensors import Delta, TensorDelta
from latecomer.wire import SealedUpdate
from latecomer_aggregator import term
from latecomer_aggregator.admission import Admission
from latecomer_aggregator.buffer import Buffer
from latecomer_aggregator.intake import Intake
from latecomer_simulator import faults, world
from latecomer_simulator.invariants import violations
from latecomer_simulator.replay import NO_DELIVERY


@dataclass(frozen=True)
class Plant:
    """A bug: what it swaps (owner, attribute, by what), and the checker that must find it.

    Attributes:
        kinds: Faults that bring it out; all, where none is named.
    """

    owner: Any
    attribute: str
    bug: Any
    caught_by: str
    kinds: tuple[str, ...] = ()

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The bug is there inside."""
        honest = getattr(self.owner, self.attribute)
        setattr(self.owner, self.attribute, self.bug)
        try:
            yield
        finally:
            setattr(self.owner, self.attribute, honest)

    def seed_that_catches_it(self, seeds: range) -> int | None:
        """The first of these runs whose checker finds the bug."""
        with self.planted():
            return next(
                (seed for seed in seeds if self._shows_in(seed)),
                None,
            )

    def _shows_in(self, seed: int) -> bool:
        return self.caught_by in violations(faults.run(seed, *self.kinds))


def _acking_fold(honest: Callable[..., None]) -> Callable[..., None]:
    """The delivery is acked as soon as it is folded, before any version holds it."""

    def fold(
        self: Intake, term: term.Term, sealed: SealedUpdate, delta: Delta, delivery: Delivery
    ) -> None:
        honest(self, term, sealed, delta, delivery)
        term.updates.ack(delivery)

    return fold


class ForgetfulStore(RedisStore):
    """There is no ledger: nobody knows what was counted before."""

    def applied(self, update_ids: Any) -> frozenset[str]:
        """Nothing."""
        del update_ids
        return frozenset()

    def commit(self, commit: Commit) -> None:
        """Also the script's own look into the ledger finds nothing."""
        ids = [fold.update_id for fold in commit.manifest.folds]
        if ids:
            self._redis.zrem(self._keys.applied, *ids)
        super().commit(commit)


class UnfencedStore(RedisStore):
    """Whoever computed a version sets the head, whether it still leads or not."""

    def commit(self, commit: Commit) -> None:
        """As plain writes."""
        try:
            super().commit(commit)
        except (Fenced, VersionConflict):
            manifest = commit.manifest
            kept = [self._keys.chunk(name) for name in manifest.chunks()]
            if self._redis.exists(*kept) < len(kept):
                raise  # emptied meanwhile: a head without a model would be noticed by anybody
            self._redis.set(self._keys.manifest(manifest.version), manifest.to_bytes())
            head = self._keys.head
            self._redis.hset(head, "epoch", str(manifest.version.epoch))
            self._redis.hset(head, "version", str(manifest.version.number))
            self._redis.hset(head, "manifest", manifest.digest)
            self._redis.hset(head, "at_ms", str(int(manifest.at_s * 1000)))


class UnfencedVerdicts(RedisStore):
    """Whoever asks refuses in the name of who leads."""

    def refuse(self, lease: Lease, refusal: Refusal) -> bool:
        """With any lease."""
        return super().refuse(self.holder() or lease, refusal)


class ForgetfulVerdicts(RedisStore):
    """The ledger knows what was folded, and not what was refused."""

    def applied(self, update_ids: Any) -> frozenset[str]:
        """What was folded."""
        return frozenset(
            each for each, verdict in self.verdicts(update_ids).items() if verdict.folded
        )

    def refuse(self, lease: Lease, refusal: Refusal) -> bool:
        """As if for the first time."""
        self._redis.hdel(self._keys.refused, refusal.update_id)
        return super().refuse(lease, refusal)


@dataclass
class UnorderedBuffer(Buffer):
    """Adds up when the mean is asked for, in an order that nobody wrote down."""

    _kept: list[tuple[Fold, Delta]] = field(default_factory=list)

    def fold(self, update: Fold, delta: Delta, delivery: Delivery) -> None:
        """Keep it for later."""
        self.folds.append(update)
        self._kept.append((update, delta))
        self._held[update.update_id] = delivery.receipt

    def mean(self, divisor: int, *, row_floor: int) -> dict[str, TensorDelta]:
        """Largest first."""
        sums = Buffer(self.layout)
        for update, delta in sorted(self._kept, key=lambda kept: -_size(kept[1])):
            sums.fold(update, delta, NO_DELIVERY)
        return sums.mean(divisor, row_floor=row_floor)

    def release(self) -> dict[str, Receipt]:
        """As ever."""
        self._kept = []
        return super().release()


def _size(delta: Delta) -> float:
    return float(np.abs(delta["dense"].values).sum())


def _staleness_of_the_next(self: Admission, header: UpdateHeader) -> int:
    """Measured from the version that is being made instead of the one that it is made from."""
    return self.head.number + 1 - header.base.number


PLANTS: Mapping[str, Plant] = {
    "ack before commit": Plant(
        Intake,
        "_fold",
        _acking_fold(Intake._fold),  # noqa: SLF001 - the bug sits inside
        "every_confirmed_update_counts_once",
    ),
    "no ledger": Plant(world, "RedisStore", ForgetfulStore, "no_update_is_in_two_versions"),
    "head set without the fence": Plant(
        world,
        "RedisStore",
        UnfencedStore,
        "zombies_never_move_the_head",
        kinds=("pause",),
    ),
    "refused without the fence": Plant(
        world,
        "RedisStore",
        UnfencedVerdicts,
        "zombies_give_no_verdict",
        kinds=("pause",),
    ),
    "refused anew": Plant(
        world,
        "RedisStore",
        ForgetfulVerdicts,
        "no_update_has_two_verdicts",
        kinds=("noise", "drop_connections", "pause"),
    ),
    "floats folded in another order": Plant(
        term, "Buffer", UnorderedBuffer, "the_model_is_its_ledger_replayed"
    ),
    "weight from the wrong version": Plant(
        Admission, "staleness", _staleness_of_the_next, "weights_follow_staleness"
    ),
    "a buffer place taken twice": Plant(
        Buffer, "holds_worker", lambda _self, _worker: False, "a_worker_has_one_place_per_version"
    ),
}
