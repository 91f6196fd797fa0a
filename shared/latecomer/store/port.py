"""What the house needs from a model store, and nothing more.

The laws, which one contract suite checks on every server:

* A version is visible completely or not at all: ``commit`` moves the head, the ledger and the
  counters in one step, or nothing.
* Only the holder of the current lease commits or refuses: the fencing token is checked inside that
  step, so a paused aggregator that wakes up after its lease passed on can neither move the head nor
  condemn an update.
* The head never goes back, and inside an epoch its number goes up by exactly one.
* Repeating a commit (same ``commit_id``) after a lost reply changes nothing and succeeds.
* Chunks are named by their content; whoever reads one gets those bytes or an error.
* A staged payload is gone with the verdict on its update, in the same step: nobody asks for the
  payload of an update that the ledger knows. No two updates may share one, see ``wire``.
* Verdicts are remembered for the ledger's window by a time of its own, which goes with the calendar
  of whoever leads, never back, and never by more than ``LEDGER_STEP_S`` between two verdicts. One
  verdict forgets a bounded number of others.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import Protocol

from latecomer.events import Staged, Version
from latecomer.store.chunks import WITHHELD
from latecomer.tensors import Layout, digest

#: Longer than any broker redelivers or device spools: a repeated update is recognised for so long.
LEDGER_WINDOW_S = 14 * 24 * 3600.0

#: What the ledger believes at most to have gone by between two verdicts: a calendar that jumps
#: costs no more of the window. Where verdicts are rarer, there are few to remember.
LEDGER_STEP_S = 3600.0


@dataclass(frozen=True, slots=True)
class Fold:
    """One update's part in a version: enough to replay the step, and to report on it."""

    update_id: str
    worker: str
    base: Version
    staleness: int
    weight: float
    examples: int


@dataclass(frozen=True, slots=True)
class Cadence:
    """How many updates make the next version, and what was observed since that was decided.

    Attributes:
        updates: K, where it follows the staleness; see ``latecomer_aggregator.cadence``.
        versions: How many were made with it.
        folded: Updates that they were made of.
        behind: Staleness of those updates, added up.
    """

    updates: int
    versions: int = 0
    folded: int = 0
    behind: int = 0


@dataclass(frozen=True)
class Manifest:
    """Everything that makes up one version.

    Attributes:
        previous: The version it was stepped from; None for an initial version.
        layout: The model's tensors.
        model: Per tensor, the digests of its chunks in order; their concatenation is the tensor's
            little-endian float32 bytes in C order.
        optimizer: The server optimiser's tensors in the same form, for the aggregator alone.
        folds: The updates folded into it, in fold order.
        divisor: What ``dense`` sums were divided by.
        recipe: Digest of the recipe's chunk (JSON).
        catalogue: Digest of the catalogue's chunk (JSON).
        at_s: When it was made.
        halves: Where downloads are halved, the chunks of the tensors that workers hold as float16,
            in the same form as ``model``, which stays the truth.
        cadence: K for the next version; None where it is the recipe's.
    """

    version: Version
    previous: Version | None
    layout: Layout
    model: Mapping[str, tuple[str, ...]]
    optimizer: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optimizer_layout: Layout = field(default_factory=lambda: Layout(()))
    folds: tuple[Fold, ...] = ()
    divisor: int = 1
    recipe: str = ""
    catalogue: str = ""
    at_s: float = 0.0
    halves: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cadence: Cadence | None = None

    def chunks(self) -> frozenset[str]:
        """Every chunk that this version needs."""
        read_once = frozenset(each for each in (self.recipe, self.catalogue) if each)
        return _named(self.model) | _named(self.optimizer) | _named(self.halves) | read_once

    def fetched(self) -> frozenset[str]:
        """Those of them that workers may read: no sums, and nothing of the server optimiser's."""
        return frozenset(each for each in self.chunks() if not each.startswith(WITHHELD))

    def led(self) -> frozenset[str]:
        """Those of them that whoever goes on from this version reads: no halves, no catalogue.

        What is there as a half may be needed as a whole as well: chunks are named by their bytes,
        and of two tensors of zeros one may take as much in float16 as the other in float32.
        """
        return _named(self.model) | _named(self.optimizer) | {self.recipe}

    def to_bytes(self) -> bytes:
        """Canonical JSON: equal manifests have equal bytes, whose digest names them."""
        return self._bytes

    @cached_property
    def _bytes(self) -> bytes:
        body = {
            "schema": 1,
            "version": self.version,
            "previous": self.previous,
            "layout": self.layout.to_json(),
            "model": self.model,
            "optimizer": self.optimizer,
            "optimizer_layout": self.optimizer_layout.to_json(),
            "folds": [
                [f.update_id, f.worker, f.base, f.staleness, f.weight, f.examples]
                for f in self.folds
            ],
            "divisor": self.divisor,
            "recipe": self.recipe,
            "catalogue": self.catalogue,
            "at_s": self.at_s,
        }
        if self.halves:
            body["halves"] = self.halves
        if self.cadence is not None:
            body["cadence"] = astuple(self.cadence)
        return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Inverse of ``to_bytes``; what a later release wrote as well stays part of its digest."""
        body = json.loads(data)
        found = cls(
            version=Version(*body["version"]),
            previous=Version(*body["previous"]) if body["previous"] else None,
            layout=Layout.from_json(body["layout"]),
            model={name: tuple(chunks) for name, chunks in body["model"].items()},
            optimizer={name: tuple(chunks) for name, chunks in body["optimizer"].items()},
            optimizer_layout=Layout.from_json(body["optimizer_layout"]),
            folds=tuple(
                Fold(update_id, worker, Version(*base), staleness, weight, examples)
                for update_id, worker, base, staleness, weight, examples in body["folds"]
            ),
            divisor=body["divisor"],
            recipe=body["recipe"],
            catalogue=body["catalogue"],
            at_s=body["at_s"],
            halves={name: tuple(chunks) for name, chunks in body.get("halves", {}).items()},
            cadence=Cadence(*body["cadence"]) if "cadence" in body else None,
        )
        found.__dict__["_bytes"] = bytes(data)
        return found

    @cached_property
    def digest(self) -> str:
        """Names this manifest."""
        return digest(self._bytes)


def _named(tables: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    return frozenset(each for chunks in tables.values() for each in chunks)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version, and the digest of its manifest."""

    version: Version
    manifest: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to commit: ``fence`` grows with every new holder."""

    owner: str
    fence: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A new version to make visible.

    Attributes:
        commit_id: Names this attempt, so that repeating it is harmless.
        expected: The head that the version was computed from; None for the very first.
        superseded: Chunks and manifests that only older versions need; they expire after the
            retention time, so that downloads under way can finish.
        spent: The same of what only aggregators read: these expire within seconds, because nobody
            takes over from an older version. What an older model has of equal bytes goes with them:
            who fetches it just then is told to fetch the head.
        reports: Per worker, what the fleet table shows beside the counts: JSON.
        payloads: Staged payloads that it is made of (worker, digest); one that is gone is no error.
    """

    commit_id: str
    lease: Lease
    expected: Version | None
    manifest: Manifest
    superseded: frozenset[str] = frozenset()
    spent: frozenset[str] = frozenset()
    reports: Mapping[str, str] = field(default_factory=dict)
    payloads: Staged = frozenset()


@dataclass(frozen=True, slots=True)
class Refusal:
    """An update that will not be folded, and why. ``reason`` is short and stable.

    ``payloads`` are what it staged, as ``Commit`` names them: only of a sender that was recognised.
    """

    update_id: str
    worker: str
    reason: str
    detail: str
    payloads: Staged = frozenset()


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts since the federation's first version.

    ``staleness`` maps a staleness to how many folded updates had it; ``refused`` a reason to how
    many were refused for it; ``duplicates`` counts redeliveries of updates that had their verdict.
    """

    accepted: int
    duplicates: int
    refused: Mapping[str, int]
    staleness: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A line of the fleet table, as the aggregator saw the worker.

    ``report`` is the JSON of the last commit's report; ``last_refusal`` is ``reason: detail``.
    """

    worker: str
    accepted: int
    refused: int
    last_seen_s: float
    last_staleness: int | None
    last_refusal: str
    report: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an update: folded, or refused with a reason."""

    folded: bool
    reason: str = ""


class ModelStore(Protocol):
    """One federation's models, ledger, lease and counters.

    Every method raises ``StoreUnreachable`` if the server does not answer and ``StoreDenied`` if
    this login lacks the right.
    """

    def head(self) -> Head | None:
        """The newest version; None before the first."""
        ...

    def manifest(self, version: Version) -> Manifest:
        """The manifest of ``version``.

        Raises:
            ChunkMissing: It was superseded and has expired.
        """
        ...

    def read(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Chunks by digest, each checked against its name; a few at a time are in flight.

        Raises:
            ChunkMissing: One is gone or damaged.
        """
        ...

    def stage(self, chunks: Mapping[str, bytes | memoryview]) -> None:
        """Write chunks that expire unless a commit keeps them; those that exist stay."""
        ...

    def commit(self, commit: Commit) -> None:
        """Make a version visible, then wait until the server made it durable.

        One atomic step: fence and head checked, head moved, chunks and manifest kept, superseded
        ones set to expire, ids entered in the ledger, counters raised, payloads deleted. A repeated
        ``commit_id`` succeeds without effect.

        Raises:
            Fenced: The lease is not this commit's any more.
            VersionConflict: The head is not ``expected``.
            StagedMissing: A staged chunk has expired; stage again.
        """
        ...

    def applied(self, update_ids: Iterable[str]) -> frozenset[str]:
        """Which of these were folded or refused already."""
        ...

    def refuse(self, lease: Lease, refusal: Refusal) -> bool:
        """Record a refusal once, and delete what it staged; False if it already had its verdict.

        Raises:
            Fenced: The lease is over: who judges by an old head must not condemn an update.
        """
        ...

    def count_duplicate(self) -> None:
        """One more redelivery that had no effect."""
        ...

    def verdicts(self, update_ids: Iterable[str]) -> dict[str, Verdict]:
        """What became of these updates; those of which nothing is known (any more) are left out."""
        ...

    def acquire(self, owner: str, ttl_s: float) -> Lease | None:
        """The lease, if it is free or already ``owner``'s; None while somebody else holds it."""
        ...

    def renew(self, lease: Lease, ttl_s: float) -> bool:
        """Prolong; False if the lease was lost."""
        ...

    def release(self, lease: Lease) -> None:
        """Give the lease back if it is still held, so that a standby need not wait."""
        ...

    def holder(self) -> Lease | None:
        """Who leads now."""
        ...

    def totals(self) -> Totals:
        """Counts for reports and the status table."""
        ...

    def fleet(self) -> list[WorkerRecord]:
        """Every worker that ever had an update folded or refused, by name."""
        ...

    def stage_payload(self, worker: str, payload: bytes | memoryview) -> str:
        """Leave an update's payload that is too large for a message; returns its digest.

        A broken upload goes on where it stopped: what is there already is not sent again. What gets
        no verdict, or is staged again after it, expires.
        """
        ...

    def read_payload(self, worker: str, payload_digest: str, size_bytes: int) -> bytes:
        """A payload left by ``worker``; never reads more than was announced.

        Raises:
            ChunkMissing: It expired, was never there, or is another one.
        """
        ...

    def version(self) -> str:
        """Product and version, for people: ``Valkey 8.1.1``."""
        ...

    def durability(self) -> str:
        """What a confirmed commit survives, in words, from the server's settings."""
        ...

    def keeps_writes(self) -> str:
        """As ``durability``, tried by a write where the login may; an error where none lasts."""
        ...

    def takes_writes(self) -> str:
        """How full the server is, in words; an error where it takes no more, or would evict."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...
