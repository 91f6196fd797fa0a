"""Who may commit: one lease in the store, renewed while its holder is well.

The lease decides who consumes; its fencing token, checked inside the commit, decides who writes. An
aggregator that was paused past its lease may believe for a moment that it still leads, and then
finds its commit refused: belief is not enough.
"""

import threading
from contextlib import suppress

from latecomer.clock import Clock
from latecomer.errors import StoreUnreachable
from latecomer.store.port import Lease, ModelStore

#: Renewed three times per lease, so that one lost reply does not cost the leadership.
RENEWALS_PER_LEASE = 3

#: A standby asks this often, so that a leader that resigns leaves no gap.
STANDBY_ASKS_S = 1.0


class Leadership:
    """This aggregator's claim on a federation; ``keep`` may be called beside its owner."""

    def __init__(self, store: ModelStore, clock: Clock, *, owner: str, lease_s: float) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self._lease_s = lease_s
        self._lease: Lease | None = None
        self._asked_s = float("-inf")
        self._unheard_from_s = float("inf")
        self._asking = threading.Lock()

    def hold(self) -> Lease | None:
        """The lease, acquired or renewed when due; None while another aggregator leads.

        Raises:
            StoreUnreachable: Nobody can be asked. The lease, if any, is kept in mind: the fence
                protects the head, and a server that comes back may still know it.
        """
        with self._asking:
            now_s = self._clock.monotonic_s()
            if now_s - self._asked_s < self.pause_s:
                return self._lease
            try:
                if self._lease is None or not self._store.renew(self._lease, self._lease_s):
                    self._lease = self._acquired()
            except StoreUnreachable:
                self._unheard_from_s = min(self._unheard_from_s, now_s)
                raise
            self._unheard_from_s = float("inf")
            self._asked_s = now_s
            return self._lease

    @property
    def unheard_s(self) -> float:
        """Since the first question in a row that the store did not answer; 0 if it did the last."""
        return max(0.0, self._clock.monotonic_s() - self._unheard_from_s)

    def keep(self) -> None:
        """``hold`` in the middle of something long: who cannot be asked now is asked again."""
        with suppress(StoreUnreachable):
            self.hold()

    def _acquired(self) -> Lease | None:
        """A standby asks often, and a look costs the server less than a script."""
        holder = self._store.holder()
        if holder is not None and holder.owner != self._owner:
            return None
        return self._store.acquire(self._owner, self._lease_s)

    def lost(self) -> None:
        """The store said so: ask again before believing otherwise."""
        self._lease = None
        self._asked_s = float("-inf")

    def resign(self) -> None:
        """Give the lease back, so that a standby takes over at once."""
        if self._lease is not None:
            self._store.release(self._lease)
            self._lease = None

    def pass_on(self) -> None:
        """Resign, and leave the others a lease's time to ask first."""
        self.resign()
        self._asked_s = self._clock.monotonic_s() + self._lease_s - self.pause_s

    @property
    def pause_s(self) -> float:
        """Time between two questions to the store."""
        renewal_s = self._lease_s / RENEWALS_PER_LEASE
        return renewal_s if self._lease else min(renewal_s, STANDBY_ASKS_S)
