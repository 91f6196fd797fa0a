"""Evidence that differs from an honest run's in one thing, and hangs together otherwise."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from latecomer.store.port import Fold, Manifest, Verdict
from latecomer.tensors import Array
from latecomer_simulator.evidence import Evidence, Lineage
from latecomer_simulator.history import Committed, Ended, Event, History


def with_lineage(evidence: Evidence, lineage: Lineage) -> Evidence:
    """Of the one epoch that there is."""
    return replace(evidence, lineages=(lineage,))


def with_manifests(evidence: Evidence, manifests: Iterable[Manifest]) -> Evidence:
    """The store has these versions, and whoever committed them says the same."""
    (lineage,) = evidence.lineages
    changed = {each.version: each for each in manifests}
    events: list[Event] = [
        replace(each, manifest=changed[version].to_bytes())
        if isinstance(each, Committed)
        and (version := Manifest.from_bytes(each.manifest).version) in changed
        else each
        for each in evidence.history.events
    ]
    return replace(
        evidence,
        lineages=(replace(lineage, manifests=tuple(changed.values())),),
        history=History(events),
    )


def with_fold(evidence: Evidence, number: int, place: int, fold: Fold) -> Evidence:
    """Another fold at this place of version ``number``; ``place`` may be the next free one."""
    manifests = list(evidence.lineages[0].manifests)
    folds = list(manifests[number].folds)
    folds[place : place + 1] = [fold]
    manifests[number] = replace(manifests[number], folds=tuple(folds))
    return with_manifests(evidence, manifests)


def with_model(evidence: Evidence, changed: Mapping[str, Array]) -> Evidence:
    """The last version's tensors are these, where given."""
    (lineage,) = evidence.lineages
    last = replace(lineage.last, model={**lineage.last.model, **changed})
    return with_lineage(evidence, replace(lineage, last=last))


def with_events(evidence: Evidence, *events: Event) -> Evidence:
    """These happened, too, before the end, each at its time."""
    *former, ended = evidence.history.events
    assert isinstance(ended, Ended)
    end = replace(ended, at_s=max(ended.at_s, *(each.at_s for each in events)))
    ordered = sorted([*former, *events], key=lambda each: each.at_s)
    return replace(evidence, history=History([*ordered, end]))


def with_verdicts(evidence: Evidence, changed: Mapping[str, Verdict | None]) -> Evidence:
    """The ledger says so of these updates; None: it does not know them."""
    verdicts = {**evidence.verdicts, **changed}
    known = {update_id: each for update_id, each in verdicts.items() if each is not None}
    return replace(evidence, verdicts=known)


def fold_of(evidence: Evidence, number: int, place: int = 0) -> Fold:
    """What is at this place of version ``number``."""
    return evidence.lineages[0].manifests[number].folds[place]


def end_s(evidence: Evidence) -> float:
    """When the run was over."""
    return evidence.history.events[-1].at_s
