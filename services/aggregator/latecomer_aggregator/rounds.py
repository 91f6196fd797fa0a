"""Rounds: when a buffer is due, and telling everybody that a version is out.

The three modes are one machine with other terms: ``fedasync`` is a buffer of one, ``sync`` is a
barrier for K workers with nobody late, ``fedbuff`` lies between.
"""

from dataclasses import dataclass, field

from latecomer import wire
from latecomer.aggregation import Aggregation
from latecomer.broker import topology
from latecomer.broker.port import Message
from latecomer.recipe import Recipe, round_of
from latecomer.store.port import Cadence, Head


@dataclass
class Roster:
    """Which workers are alive: those heard from within ``live_s``.

    A leader that has just taken over has heard from nobody; until ``settle_s`` has passed it
    believes in a full house, or its first versions would be made of one update each.
    """

    live_s: float
    settle_s: float
    started_s: float
    _heard_s: dict[str, float] = field(default_factory=dict)

    def heard(self, worker: str, now_s: float) -> None:
        """An update of this worker arrived, admitted or not."""
        self._heard_s.pop(worker, None)
        self._heard_s[worker] = now_s  # last: whoever was silent longest comes first

    def live(self, now_s: float) -> int | None:
        """How many are alive; None while that is not known yet."""
        if now_s - self.started_s < self.settle_s:
            return None
        while self._heard_s and now_s - next(iter(self._heard_s.values())) > self.live_s:
            del self._heard_s[next(iter(self._heard_s))]
        return len(self._heard_s)


def updates_in_force(limits: Aggregation, live: int | None, cadence: Cadence | None = None) -> int:
    """K in force: min(K, live workers), for one worker has at most one place in a buffer.

    K is that of the ``cadence`` where it follows the staleness, else the recipe's.

    A synchronous round waits for all of its K workers, or T: who is missing is waited for.
    """
    if limits.mode == "fedasync":
        return 1
    k = cadence.updates if cadence else limits.updates_per_version
    return k if live is None or limits.mode == "sync" else max(1, min(k, live))


def prefetch(limits: Aggregation) -> int:
    """Deliveries held un-acked: a full buffer, and as many again, being written or parked."""
    return 2 * max(limits.most_updates_per_version, 16)


def places(limits: Aggregation) -> int:
    """How many updates of one worker are parked: so few that no three workers fill the prefetch.

    Else one that returns with a full outbox would have a version made of each, and nobody else's
    would be among them.
    """
    return prefetch(limits) // 4


def announcement(recipe: Recipe, head: Head) -> Message:
    """The message that opens the next round: the newest version, and how to train on it.

    Transient: workers look at the head themselves, and of each who is away a broker would keep
    megabytes of announcements on its disk that were pushed out of the queue long ago.
    """
    return Message(
        exchange=topology.ROUNDS,
        routing_key=topology.round_key(recipe.federation),
        body=wire.encode_round(round_of(recipe, head)),
        message_id=f"{recipe.federation}:{head.version}",
        type="latecomer.round.v1",
        persistent=False,
    )
