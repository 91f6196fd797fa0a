"""Where things lie in Redis: every key of one federation, under one hash tag.

The tag puts them all into one slot, so that a script may touch them together on a cluster too.
"""

from latecomer.events import Version
from latecomer.store.chunks import WITHHELD


class Keys:
    """The names of one federation's keys.

    Attributes:
        head: Hash: epoch, version, manifest (its digest), commit_id, fence, at_ms.
        lease: Hash: owner, fence; expires when the holder stops renewing it.
        fence: Counter of holders; never expires, because a fence never goes back.
        ledger: Hash: at_ms (the ledger's own time), seen_ms; see ``scripts/ledger.lua``.
        applied: Sorted set: ids of folded updates by the ledger's time in ms.
        refused: Hash: id of a refused update to the reason.
        refused_at: Sorted set: ids of refused updates by the ledger's time, to forget the oldest.
        totals: Hash: accepted, duplicates, ``refused:<reason>``.
        staleness: Hash: staleness to how many folded updates had it.
        fleet: Hash: ``<worker>:<field>``, see ``tables``.
        probe: Empty, and soon gone: written to see whether it comes to the disk.
    """

    def __init__(self, federation: str) -> None:
        self._prefix = f"lc:{{{federation}}}"
        self.head = f"{self._prefix}:head"
        self.lease = f"{self._prefix}:lease"
        self.fence = f"{self._prefix}:fence"
        self.ledger = f"{self._prefix}:ledger"
        self.applied = f"{self._prefix}:applied"
        self.refused = f"{self._prefix}:refused"
        self.refused_at = f"{self._prefix}:refused_at"
        self.totals = f"{self._prefix}:totals"
        self.staleness = f"{self._prefix}:staleness"
        self.fleet = f"{self._prefix}:fleet"
        self.probe = f"{self._prefix}:probe"

    def manifest(self, version: Version | str) -> str:
        """The manifest of a version, as bytes."""
        return f"{self._prefix}:m:{version}"

    def chunk(self, name: str) -> str:
        """The bytes that ``name`` names; withheld ones lie where no worker may read."""
        place = WITHHELD if name.startswith(WITHHELD) else "b"
        return f"{self._prefix}:{place}:{name.removeprefix(WITHHELD)}"

    def superseded(self, name: str) -> str:
        """What ``Commit.superseded`` calls ``name``: a chunk's digest, or ``epoch.n``."""
        return self.manifest(name) if "." in name else self.chunk(name)

    def payload(self, worker: str, digest: str) -> str:
        """An update's payload that was too large for a message."""
        return f"{self._prefix}:u:{worker}:{digest}"
