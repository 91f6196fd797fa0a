"""The model store on Redis or Valkey; embedded, the same code over fakeredis.

What must happen together is one small Lua script each, in ``scripts``; tensors never go through a
script. Nothing that counts is raised outside of one, because commands may be repeated.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from latecomer.clock import Clock
from latecomer.errors import ChunkMissing, Fenced, StagedMissing, VersionConflict
from latecomer.events import Version
from latecomer.store import tables
from latecomer.store.chunks import WITHHELD
from latecomer.store.keys import Keys
from latecomer.store.port import (
    LEDGER_STEP_S,
    LEDGER_WINDOW_S,
    Commit,
    Head,
    Lease,
    Manifest,
    Refusal,
    Totals,
    Verdict,
    WorkerRecord,
)
from latecomer.store.server import Client, Server, connect, embedded, embedded_server, text
from latecomer.tensors import content_address, has_name

__all__ = ["RedisStore", "connect", "embedded", "embedded_server"]

#: Staged chunks that no commit keeps are forgotten after this; a commit takes seconds.
STAGED_S = 900

#: A payload waits for the aggregator at most this long.
PAYLOAD_S = 24 * 3600

#: While who takes over reads, nobody else may commit: this is for those who look without a lease.
SPENT_MS = 10_000

#: What a broken upload loses at most. A phone at the edge of a cell writes 32 kB a second, and a
#: call that takes ten is given up.
PIECE_BYTES = 256 * 1024

#: A reader that asks for everything at once fills the server's output buffer: a few MiB at a time.
CHUNKS_IN_FLIGHT = 4

#: A payload is read in pieces of this size, for the same reason.
READ_BYTES = 4 * 2**20


class RedisStore:
    """One federation's models; see ``port`` for the laws.

    Args:
        client: From ``connect`` or ``embedded``; closed with the store.
        retention_s: How long superseded versions can still be fetched.
        ledger_window_s: How long verdicts are remembered, by the ledger's own time.
    """

    def __init__(
        self,
        client: Client,
        *,
        federation: str,
        clock: Clock,
        retention_s: float = 1200.0,
        ledger_window_s: float = LEDGER_WINDOW_S,
    ) -> None:
        self._server = Server(client)
        self._redis = client
        self._keys = Keys(federation)
        self._clock = clock
        self._retention_ms = int(retention_s * 1000)
        self._window_ms = int(ledger_window_s * 1000)
        self._step_ms = int(LEDGER_STEP_S * 1000)

    def head(self) -> Head | None:
        """See ``ModelStore``."""
        fields = self._server.texts(self._keys.head)
        if "version" not in fields:
            return None
        version = Version(int(fields["epoch"]), int(fields["version"]))
        return Head(version, fields["manifest"], int(fields["at_ms"]) / 1000)

    def manifest(self, version: Version) -> Manifest:
        """See ``ModelStore``."""
        with self._server.border():
            data = self._redis.get(self._keys.manifest(version))
        if data is None:
            raise ChunkMissing(f"version {version} was superseded and has expired")
        return Manifest.from_bytes(_bytes(data))

    def read(self, digests: Iterable[str]) -> dict[str, bytes]:
        """See ``ModelStore``."""
        names = sorted(set(digests))
        found: dict[str, bytes] = {}
        for start in range(0, len(names), CHUNKS_IN_FLIGHT):
            some = names[start : start + CHUNKS_IN_FLIGHT]
            with self._server.border():
                values: Any = self._redis.mget([self._keys.chunk(name) for name in some])
            found.update(zip(some, values, strict=True))
        for name, data in found.items():
            _check(name, data)
        return found

    def stage(self, chunks: Mapping[str, bytes | memoryview]) -> None:
        """See ``ModelStore``."""
        names = list(chunks)
        for start in range(0, len(names), CHUNKS_IN_FLIGHT):
            with self._server.border():
                self._stage(chunks, names[start : start + CHUNKS_IN_FLIGHT])

    def commit(self, commit: Commit) -> None:
        """See ``ModelStore``.

        An id that has its verdict already is not counted again: the commit is a conflict, because
        whoever computed it had not asked the ledger.
        """
        _check_succession(commit)
        manifest = commit.manifest.to_bytes()
        kept = sorted(commit.manifest.chunks())
        body = _commit_body(commit, len(kept))
        now_ms, step_ms, window_ms = map(str, self._times())
        body |= {"now_ms": now_ms, "step_ms": step_ms, "window_ms": window_ms}
        body["retention_ms"] = str(self._retention_ms)
        body["spent_ms"] = str(min(self._retention_ms, SPENT_MS))
        keys = self._keys
        outcome, *detail = self._server.run_durably(
            "commit",
            [keys.head, keys.lease, keys.applied, keys.refused, keys.totals, keys.staleness]
            + [keys.fleet, keys.ledger, keys.manifest(commit.manifest.version)]
            + [keys.chunk(name) for name in kept]
            + [keys.payload(*each) for each in sorted(commit.payloads)]
            + [keys.superseded(name) for name in sorted(commit.spent)]
            + [keys.superseded(name) for name in sorted(commit.superseded)],
            [json.dumps(body), manifest],
        )
        _raise_unless_done(text(outcome), [text(each) for each in detail], commit)

    def applied(self, update_ids: Iterable[str]) -> frozenset[str]:
        """See ``ModelStore``."""
        return frozenset(self.verdicts(update_ids))

    def refuse(self, lease: Lease, refusal: Refusal) -> bool:
        """See ``ModelStore``."""
        keys = self._keys
        outcome, *holder = self._server.run(
            "refuse",
            [keys.lease, keys.applied, keys.refused, keys.refused_at, keys.totals]
            + [keys.fleet, keys.ledger]
            + [keys.payload(*each) for each in sorted(refusal.payloads)],
            [lease.owner, lease.fence, *_words(refusal), *self._times()],
        )
        if text(outcome) == "fenced":
            raise _fenced(lease, text(holder[0]))
        return text(outcome) == "ok"

    def count_duplicate(self) -> None:
        """See ``ModelStore``. A lost reply may count one twice: it is a figure, not a fact."""
        with self._server.border():
            self._redis.hincrby(self._keys.totals, "duplicates", 1)

    def verdicts(self, update_ids: Iterable[str]) -> dict[str, Verdict]:
        """See ``ModelStore``."""
        ids = list(update_ids)
        if not ids:
            return {}
        with self._server.border():
            pipe = self._redis.pipeline(transaction=False)
            pipe.zmscore(self._keys.applied, ids)
            pipe.hmget(self._keys.refused, ids)
            folded, refused = pipe.execute()
        found = {}
        for id_, folded_at, reason in zip(ids, folded, refused, strict=True):
            if folded_at is not None:
                found[id_] = Verdict(folded=True)
            elif reason is not None:
                found[id_] = Verdict(folded=False, reason=text(reason))
        return found

    def acquire(self, owner: str, ttl_s: float) -> Lease | None:
        """See ``ModelStore``."""
        keys = self._keys
        fence = int(self._server.run("acquire", [keys.lease, keys.fence], [owner, _ms(ttl_s)]))
        return Lease(owner, fence) if fence else None

    def renew(self, lease: Lease, ttl_s: float) -> bool:
        """See ``ModelStore``."""
        arguments = [lease.owner, lease.fence, _ms(ttl_s)]
        return bool(self._server.run("renew", [self._keys.lease], arguments))

    def release(self, lease: Lease) -> None:
        """See ``ModelStore``."""
        self._server.run("release", [self._keys.lease], [lease.owner, lease.fence])

    def holder(self) -> Lease | None:
        """See ``ModelStore``."""
        fields = self._server.texts(self._keys.lease)
        return Lease(fields["owner"], int(fields["fence"])) if "fence" in fields else None

    def totals(self) -> Totals:
        """See ``ModelStore``."""
        return tables.totals(
            self._server.texts(self._keys.totals), self._server.texts(self._keys.staleness)
        )

    def fleet(self) -> list[WorkerRecord]:
        """See ``ModelStore``."""
        return tables.fleet(self._server.texts(self._keys.fleet))

    def stage_payload(self, worker: str, payload: bytes | memoryview) -> str:
        """See ``ModelStore``.

        Pieces are written at their place, so that one whose reply was lost may be written again.
        """
        name = content_address(payload)
        key = self._keys.payload(worker, name)
        with self._server.border():
            start: Any = self._redis.strlen(key)
            # Also what is there as a whole must live until the aggregator has read it.
            self._redis.expire(key, PAYLOAD_S)
        while start < len(payload):
            there = self._write(key, start, bytes(payload[start : start + PIECE_BYTES]))
            # Where the rest was lost meanwhile, the server filled up with zeros: all over again.
            start = start + PIECE_BYTES if there else 0
        return name

    def _write(self, key: str, start: int, piece: bytes) -> bool:
        """Write a piece at its place; whether all that comes before it is there."""
        with self._server.border():
            pipe = self._redis.pipeline(transaction=False)
            pipe.strlen(key)
            pipe.setrange(key, start, piece)
            pipe.expire(key, PAYLOAD_S)
            there, *_ = pipe.execute()
        return bool(there >= start)

    def read_payload(self, worker: str, payload_digest: str, size_bytes: int) -> bytes:
        """See ``ModelStore``."""
        key = self._keys.payload(worker, payload_digest)
        pieces: list[bytes] = []
        # Up to one byte more, so that a longer one shows; all of it could be anything.
        for start in range(0, size_bytes + 1, READ_BYTES):
            with self._server.border():
                end = min(start + READ_BYTES - 1, size_bytes)
                pieces.append(_bytes(self._redis.getrange(key, start, end)))
        return _check(payload_digest, b"".join(pieces) or None)

    def version(self) -> str:
        """See ``ModelStore``."""
        return self._server.version()

    def durability(self) -> str:
        """See ``ModelStore``."""
        return self._server.durability()

    def keeps_writes(self) -> str:
        """See ``ModelStore``."""
        return self._server.keeps_writes(self._keys.probe)

    def takes_writes(self) -> str:
        """See ``ModelStore``."""
        return self._server.takes_writes()

    def close(self) -> None:
        """See ``ModelStore``."""
        self._server.close()

    def _stage(self, chunks: Mapping[str, bytes | memoryview], names: Sequence[str]) -> None:
        """Write what is missing; what has an expiry must live until the commit.

        NX and GT leave a chunk that has no expiry as it is: the head needs it, and a zombie may
        stage it too.
        """
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            key = self._keys.chunk(name)
            pipe.set(key, chunks[name], ex=STAGED_S, nx=True)
            pipe.expire(key, STAGED_S, gt=True)
        pipe.execute()

    def _times(self) -> tuple[int, int, int]:
        """What the ledger's time is made of."""
        return _ms(self._clock.now_s()), self._step_ms, self._window_ms


def _check_succession(commit: Commit) -> None:
    """Inside an epoch versions go up by one; a later epoch starts at 0."""
    new, old = commit.manifest.version, commit.expected
    if old is None or new.epoch > old.epoch:
        follows = new.number == 0
    else:
        follows = new == Version(old.epoch, old.number + 1)
    if not follows:
        raise VersionConflict(f"version {new} does not follow {old}")


def _commit_body(commit: Commit, chunks: int) -> dict[str, Any]:
    """What the script reads; every number as text, because Lua's are floating point."""
    version = commit.manifest.version
    return {
        "commit_id": commit.commit_id,
        "owner": commit.lease.owner,
        "fence": str(commit.lease.fence),
        "expected": "" if commit.expected is None else str(commit.expected),
        "epoch": str(version.epoch),
        "version": str(version.number),
        "manifest": commit.manifest.digest,
        "at_ms": str(_ms(commit.manifest.at_s)),
        "chunks": str(chunks),
        "payloads": str(len(commit.payloads)),
        "spent": str(len(commit.spent)),
        "folds": [
            {"id": fold.update_id, "worker": fold.worker, "staleness": str(fold.staleness)}
            for fold in commit.manifest.folds
        ],
        "reports": dict(commit.reports),
    }


def _words(refusal: Refusal) -> tuple[str, str, str, str]:
    return refusal.update_id, refusal.worker, refusal.reason, refusal.detail


def _raise_unless_done(outcome: str, detail: list[str], commit: Commit) -> None:
    match outcome:
        case "ok" | "repeated":
            return
        case "fenced":
            raise _fenced(commit.lease, detail[0])
        case "conflict":
            raise VersionConflict(f"the head is {detail[0] or 'none'}, not {commit.expected}")
        case "counted":
            raise VersionConflict(f"update {detail[0]} had its verdict before")
        case _:
            raise StagedMissing(f"staged chunk {detail[0]} has expired")


def _fenced(lease: Lease, holder: str) -> Fenced:
    return Fenced(f"the lease of {lease.owner} is over; {holder or 'nobody'} holds it now")


def _check(name: str, data: bytes | None) -> bytes:
    if data is None:
        raise ChunkMissing(f"chunk {name} is gone: its version was superseded, fetch the head")
    if not has_name(data, name.removeprefix(WITHHELD)):
        raise ChunkMissing(f"chunk {name} is damaged")
    return data


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _bytes(value: Any) -> bytes:
    assert isinstance(value, bytes), "clients are opened without decoding"
    return value
