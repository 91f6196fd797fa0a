"""The words of the report: what became of the updates, and how soon things moved again."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from latecomer_simulator import audit
from latecomer_simulator.audit import Cell
from latecomer_simulator.evidence import Evidence
from latecomer_simulator.history import Committed, Faulted, Healed, History, Sent

#: After any fault heals, a version must follow within this.
RECOVERY_S = 30.0


def recoveries(history: History) -> list[tuple[str, float]]:
    """Each fault, and how long after its end the next version came.

    Where another fault begins before the version came, and in time, the last to heal is to blame.
    """
    waiting: dict[str, float] = {}
    found = []
    for event in history.events:
        match event:
            case Healed(at_s=at_s, fault=fault):
                waiting[fault] = at_s
            case Faulted(at_s=at_s):
                waited_s = ((fault, at_s - healed_s) for fault, healed_s in waiting.items())
                found += [each for each in waited_s if each[1] > RECOVERY_S]
                waiting.clear()
            case Committed(at_s=at_s):
                found += [(fault, at_s - healed_s) for fault, healed_s in waiting.items()]
                waiting.clear()
    end_s = history.events[-1].at_s if history.events else 0.0
    return found + [(fault, end_s - healed_s) for fault, healed_s in waiting.items()]


@dataclass(frozen=True)
class Tally:
    """The words of the report, as RabbitMQ's own Jepsen suite uses them; counts of updates.

    Attributes:
        attempted: Put into an outbox and sent at least once.
        acknowledged: Confirmed by the broker.
        lost: Confirmed, and neither in the model nor refused.
        duplicated: In the model more than once.
        unexpected: In the model, though nobody sent them.
        recovered: First sent in vain (no confirm, or a crash before it), and settled all the same.
    """

    attempted: int
    acknowledged: int
    lost: int
    duplicated: int
    unexpected: int
    recovered: int

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.attempted + other.attempted,
            self.acknowledged + other.acknowledged,
            self.lost + other.lost,
            self.duplicated + other.duplicated,
            self.unexpected + other.unexpected,
            self.recovered + other.recovered,
        )


NOTHING = Tally(0, 0, 0, 0, 0, 0)


def tally(evidence: Evidence) -> Tally:
    """Count what became of the updates, by the cells of the model and by the ledgers."""
    sent = Counter(each.update_id for each in evidence.history.all(Sent))
    differing = [each for lineage in evidence.lineages for each in evidence.differences(lineage)]
    unsettled = evidence.acknowledged - evidence.verdicts.keys()
    repeated = {update_id for update_id, times in evidence.folded.items() if times > 1}
    missing = {each.cell for each in differing if each.found < each.expected}
    too_many = {each.cell for each in differing if each.found > each.expected > 0}
    unexpected = {each.cell for each in differing if each.found > each.expected == 0}
    return Tally(
        attempted=len(sent),
        acknowledged=len(evidence.acknowledged),
        # Ledger and model say the same of most updates that went wrong: each counts once.
        lost=len(_marks(evidence, unsettled) | missing),
        duplicated=len(_marks(evidence, repeated) | too_many),
        unexpected=max(len(evidence.folded.keys() - sent.keys()), len(unexpected)),
        recovered=sum(
            times > 1 and update_id in evidence.verdicts for update_id, times in sent.items()
        ),
    )


def _marks(evidence: Evidence, update_ids: Iterable[str]) -> set[Cell | str]:
    """The cells of these updates; one that nobody put into an outbox stands for itself."""
    updates = evidence.updates
    return {audit.cell_of(updates[each]) if each in updates else each for each in update_ids}
