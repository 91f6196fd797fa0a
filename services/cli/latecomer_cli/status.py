"""One table of how a federation is: version, leader, updates, staleness, quality, fleet."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from latecomer.clock import Clock
from latecomer.errors import NotInitialised
from latecomer.evaluation.protocol import mean_of_sums
from latecomer.recipe import Recipe
from latecomer.store.port import Manifest, ModelStore, WorkerRecord
from latecomer_cli.output import Output

#: What a worker tells in a report: the version that it trained from, and how good that was.
Report = Mapping[str, Any]


def gather(store: ModelStore, federation: str, clock: Clock) -> dict[str, Any]:
    """Everything the table shows, as JSON.

    Raises:
        NotInitialised: There is no version yet.
    """
    head = store.head()
    if head is None:
        raise NotInitialised(federation)
    manifest = store.manifest(head.version)
    holder, totals, fleet = store.holder(), store.totals(), store.fleet()
    # Who adds all that it has reports once, on a model without it: that never becomes current.
    reported_once = manifest.layout.additive
    epoch = head.version.epoch
    reports = [] if reported_once else comparable(fleet, epoch)
    return {
        "federation": federation,
        "version": str(head.version),
        "number": head.version.number,
        "k": _updates_per_version(store, manifest),
        "age_s": round(clock.now_s() - head.at_s, 1),
        "leader": holder.owner if holder else None,
        "fence": holder.fence if holder else None,
        "updates": {
            "accepted": totals.accepted,
            "stale": sum(count for tau, count in totals.staleness.items() if tau > 0),
            "refused": dict(totals.refused),
            "duplicates": totals.duplicates,
        },
        "staleness": quantiles(totals.staleness),
        "quality": quality(reports),
        "quality_of": versions(reports),
        "reported_once": reported_once,
        "workers": [_worker(record, clock.now_s(), epoch) for record in fleet],
        "store": store.version(),
        "durability": store.durability(),
    }


def quantiles(histogram: Mapping[int, int]) -> dict[str, int]:
    """p50, p95 and maximum of a histogram: the smallest value that so many do not exceed."""
    total = sum(histogram.values())
    if not total:
        return {"p50": 0, "p95": 0, "max": 0}
    return {
        "p50": _quantile(histogram, 0.50 * total),
        "p95": _quantile(histogram, 0.95 * total),
        "max": max(histogram),
    }


def comparable(fleet: list[WorkerRecord], epoch: int) -> list[Report]:
    """The workers' newest reports, as far as they are of one model and can be averaged."""
    reports = [each for each in map(_report, fleet) if each and each["base"][0] == epoch]
    # One voice per worker, however many regions it reports.
    names = Counter(frozenset().union(*each["sums"].values()) for each in reports)
    usual = names.most_common(1)[0][0] if names else frozenset()
    # Workers of other protocols cannot be averaged with the rest; nor must they spoil the table.
    return [each for each in reports if all(sums.keys() == usual for sums in each["sums"].values())]


def quality(reports: Iterable[Report]) -> dict[str, dict[str, float]]:
    """Metrics per region over reports, each of the version that its worker had fetched."""
    return mean_of_sums(each["sums"] for each in reports)


def versions(reports: Iterable[Report]) -> dict[str, int] | None:
    """Of which versions reports are: the oldest and the newest; None without any report."""
    numbers = [each["base"][1] for each in reports]
    return {"oldest": min(numbers), "newest": max(numbers)} if numbers else None


def of_versions(quality_of: Mapping[str, int] | None) -> str:
    """The same for people."""
    if quality_of is None:
        return "not reported yet"
    oldest, newest = quality_of["oldest"], quality_of["newest"]
    return f"of version {oldest}" if oldest == newest else f"of versions {oldest} to {newest}"


def show(output: Output, status: dict[str, Any]) -> None:
    """The tables."""
    updates, staleness = status["updates"], status["staleness"]
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(updates["refused"].items()))
    output.say(
        f"{status['federation']}: version {status['version']}, {status['age_s']:.0f} s old, "
        f"K {status['k']}, leader {status['leader'] or 'none'}"
    )
    output.say(
        f"updates: {updates['accepted']} accepted ({updates['stale']} stale), "
        f"{sum(updates['refused'].values())} refused{f' ({refused})' if refused else ''}, "
        f"{updates['duplicates']} duplicates; "
        f"staleness p50 {staleness['p50']}, p95 {staleness['p95']}, max {staleness['max']}"
    )
    _show_quality(output, status)
    output.table(
        "Fleet",
        ("worker", "accepted", "refused", "last seen", "staleness", "quality of", "last refusal"),
        (
            (
                worker["worker"],
                worker["accepted"],
                worker["refused"],
                f"{worker['last_seen_s_ago']:.0f} s ago",
                worker["staleness"],
                worker["quality_of"],
                worker["last_refusal"] or "-",
            )
            for worker in status["workers"]
        ),
    )
    output.say(f"store: {status['store']}; {status['durability']}")


def _show_quality(output: Output, status: dict[str, Any]) -> None:
    if status["reported_once"]:
        output.say(
            "quality: measured at the end, by latecomer evaluate; here each worker reports once, "
            "on a model without what it adds"
        )
        return
    output.table(
        f"Quality (validation, as reported by the workers, {of_versions(status['quality_of'])})",
        ("region", *_metrics(status["quality"])),
        ((region, *means.values()) for region, means in status["quality"].items()),
    )


def _updates_per_version(store: ModelStore, manifest: Manifest) -> int:
    """K of the next version; in force is less while fewer workers are alive."""
    if manifest.cadence is not None:
        return manifest.cadence.updates
    recipe = Recipe.from_bytes(store.read([manifest.recipe])[manifest.recipe])
    return 1 if recipe.aggregation.mode == "fedasync" else recipe.aggregation.updates_per_version


def _metrics(quality_: Mapping[str, Mapping[str, float]]) -> list[str]:
    return list(next(iter(quality_.values()), {}))


def _report(record: WorkerRecord) -> Report | None:
    """None where a worker tells nothing: it has no report, or nobody to test."""
    report: Report = json.loads(record.report) if record.report else {}
    return report if report.get("sums") else None


def _worker(record: WorkerRecord, now_s: float, epoch: int) -> dict[str, Any]:
    """A line of the fleet table; ``quality_of`` is the version that its newest report is of."""
    report = _report(record)
    of_epoch, number = report["base"] if report else (None, None)
    return {
        "worker": record.worker,
        "accepted": record.accepted,
        "refused": record.refused,
        "last_seen_s_ago": round(now_s - record.last_seen_s, 1),
        "staleness": record.last_staleness,
        "quality_of": number if of_epoch == epoch else None,
        "last_refusal": record.last_refusal,
    }


def _quantile(histogram: Mapping[int, int], wanted: float) -> int:
    below = 0
    for value in sorted(histogram):
        below += histogram[value]
        if below >= wanted:
            return value
    return max(histogram)
