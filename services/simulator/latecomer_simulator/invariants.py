"""The promises of the system, each as a function over the evidence of a run.

A checker returns what it found wrong, as sentences; an empty list means that the promise was kept.
Nothing here trusts the system's own bookkeeping alone: the cells of the audit model say what really
arrived in it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import TypeVar

from latecomer.store.port import Manifest
from latecomer_aggregator import rounds, staleness
from latecomer_aggregator.weighting import example_weight
from latecomer_simulator.evidence import Evidence
from latecomer_simulator.history import (
    Committed,
    Event,
    Faulted,
    Held,
    History,
    Led,
    Measured,
    Refused,
)
from latecomer_simulator.replay import replay
from latecomer_simulator.tally import RECOVERY_S, recoveries

_Asked = TypeVar("_Asked", Committed, Refused)

#: What a process may grow after its first minute, in which it loads what it needs.
GROWTH_BYTES = 24 * 1024 * 1024
WARM_UP_S = 60.0


def every_confirmed_update_counts_once(evidence: Evidence) -> list[str]:
    """1. Folded exactly once, or refused exactly once; and the model itself agrees."""
    wrong = [
        f"{update_id} was confirmed and has no verdict"
        for update_id in sorted(evidence.acknowledged - evidence.verdicts.keys())
    ]
    for update_id, verdict in sorted(evidence.verdicts.items()):
        times = evidence.folded[update_id]
        if times != verdict.folded:
            wrong.append(f"{update_id}: the ledger says {verdict}, and {times} versions hold it")
    return wrong + [
        f"{each.cell} of epoch {lineage.last.version.epoch} is {each.found:g}, "
        f"and {each.expected:g} of its updates were folded"
        for lineage in evidence.lineages
        for each in evidence.differences(lineage)
    ]


def no_update_is_in_two_versions(evidence: Evidence) -> list[str]:
    """2. Nor does the number of versions skip, repeat or go back."""
    wrong = [
        f"{update_id} is in {times} versions"
        for update_id, times in sorted(evidence.folded.items())
        if times > 1
    ]
    for lineage in evidence.lineages:
        numbers = [each.version.number for each in lineage.manifests]
        if numbers != list(range(len(numbers))):
            wrong.append(f"epoch {lineage.first.version.epoch} has the versions {numbers}")
        known = {each.version: each.digest for each in lineage.manifests}
        for event, manifest in _committed(evidence.history):
            if known.get(manifest.version, manifest.digest) != manifest.digest:
                wrong.append(f"{event.process} committed another {manifest.version}")
    return wrong


def the_model_is_its_ledger_replayed(evidence: Evidence) -> list[str]:
    """3. Bit for bit, from version 0 and the updates' own bytes."""
    wrong = []
    for lineage in evidence.lineages:
        unknown = sorted({f.update_id for _, f in lineage.folds()} - evidence.updates.keys())
        if unknown:
            wrong.append(f"nobody sent {unknown}")
            continue
        model = replay(
            evidence.recipe,
            lineage.first.model,
            lineage.first.optimizer,
            lineage.manifests[1:],
            evidence.updates,
        )
        wrong += [
            f"{name} of {lineage.last.version} differs from its replay"
            for name, array in model.items()
            if array.tobytes() != lineage.last.model[name].tobytes()
        ]
    return wrong


def weights_follow_staleness(evidence: Evidence) -> list[str]:
    """4. Staleness = version at the fold - base version; weight = rule(staleness) x examples'."""
    limits = evidence.recipe.aggregation
    weigh = staleness.rule(limits.staleness)
    wrong = []
    for lineage in evidence.lineages:
        for version, fold in lineage.folds():
            update = evidence.updates.get(fold.update_id)
            tau = version.number - 1 - (fold if update is None else update).base.number
            weight = weigh(tau) * example_weight(fold.examples, limits.example_weight)
            if fold.staleness != tau or fold.weight != weight:
                wrong.append(
                    f"{fold.update_id} in {version}: staleness {fold.staleness} for {tau}, "
                    f"weight {fold.weight} for {weight}"
                )
    return wrong


def zombies_never_move_the_head(evidence: Evidence) -> list[str]:
    """5. Once a higher fence was given out, nothing is committed under a lower one.

    Who asked before that did nothing wrong, however late he heard the answer.
    """
    return [
        f"{event.process} committed under fence {event.fence} after {highest} was taken"
        for event, highest in _by_zombies(evidence.history, Committed)
    ]


def memory_is_bounded(evidence: Evidence) -> list[str]:
    """6. No more deliveries in hand than prefetched; no process grows after its first minute."""
    allowed = rounds.prefetch(evidence.recipe.aggregation)
    wrong = [
        f"{each.process} held {each.deliveries} deliveries, allowed {allowed}"
        for each in evidence.history.all(Held)
        if each.deliveries > allowed
    ]
    return wrong + [
        f"{process} grew by {growth >> 20} MiB"
        for process, growth in _growth(evidence.history)
        if growth > GROWTH_BYTES
    ]


def progress_resumes_after_every_fault(evidence: Evidence) -> list[str]:
    """7. A version follows within 30 s of the end of every fault."""
    return [
        f"{fault} healed, and no version came for {waited_s:.0f} s"
        for fault, waited_s in recoveries(evidence.history)
        if waited_s > RECOVERY_S
    ]


def a_worker_has_one_place_per_version(evidence: Evidence) -> list[str]:
    """8. A newer update of the same worker waits for the next buffer."""
    return [
        f"{worker} has {places} places in {manifest.version}"
        for lineage in evidence.lineages
        for manifest in lineage.manifests
        for worker, places in sorted(Counter(fold.worker for fold in manifest.folds).items())
        if places > 1
    ]


def no_update_has_two_verdicts(evidence: Evidence) -> list[str]:
    """9. What was refused is refused once, and is in no version, while the store remembers."""
    wrong = []
    for life in _lives(evidence.history):
        folded = Counter(fold.update_id for _, each in _committed(life) for fold in each.folds)
        wrong += [
            f"{update_id} was refused {times} times, and {folded[update_id]} versions hold it"
            for update_id, times in Counter(each.update_id for each in life.all(Refused)).items()
            if times > 1 or folded[update_id]
        ]
    return wrong


def zombies_give_no_verdict(evidence: Evidence) -> list[str]:
    """10. Nor is anything refused under a lower fence."""
    return [
        f"{event.process} refused {event.update_id} under fence {event.fence} "
        f"after {highest} was taken"
        for event, highest in _by_zombies(evidence.history, Refused)
    ]


Checker = Callable[[Evidence], list[str]]

CHECKERS: tuple[Checker, ...] = (
    every_confirmed_update_counts_once,
    no_update_is_in_two_versions,
    the_model_is_its_ledger_replayed,
    weights_follow_staleness,
    zombies_never_move_the_head,
    memory_is_bounded,
    progress_resumes_after_every_fault,
    a_worker_has_one_place_per_version,
    no_update_has_two_verdicts,
    zombies_give_no_verdict,
)


def violations(evidence: Evidence) -> dict[str, list[str]]:
    """What every checker found wrong, by its name; those that found nothing are left out."""
    found = {checker.__name__: checker(evidence) for checker in CHECKERS}
    return {name: wrong for name, wrong in found.items() if wrong}


def _growth(history: History) -> Iterator[tuple[str, int]]:
    """How much larger each process was at its end than after its first minute, in bytes."""
    starts: dict[tuple[str, int], list[Measured]] = defaultdict(list)
    for each in history.all(Measured):
        starts[each.process, each.pid].append(each)
    for (process, _), found in sorted(starts.items()):
        warm = [each.rss_bytes for each in found if each.at_s - found[0].at_s >= WARM_UP_S]
        if warm:
            yield process, warm[-1] - warm[0]


def _by_zombies(history: History, kind: type[_Asked]) -> Iterator[tuple[_Asked, int]]:
    """What was asked for after a higher fence was given out, and that fence."""
    for life in _lives(history):
        given: list[Led] = []
        for event in life.events:
            if isinstance(event, Led):
                given.append(event)
            elif isinstance(event, kind):
                highest = max((led.fence for led in given if led.at_s <= event.asked_s), default=0)
                if event.fence < highest:
                    yield event, highest


def _lives(history: History) -> Iterator[History]:
    """What happened in each life of the store: what it lost it knows of no more."""
    life: list[Event] = []
    for event in history.events:
        if isinstance(event, Faulted) and event.fault == "store flushed":
            yield History(life)
            life = []
        life.append(event)
    yield History(life)


def _committed(history: History) -> Iterator[tuple[Committed, Manifest]]:
    return ((each, Manifest.from_bytes(each.manifest)) for each in history.all(Committed))
