"""Reading the counters back: flat hashes, as the scripts write them, to what people look at."""

from collections.abc import Mapping

from latecomer.store.port import Totals, WorkerRecord

#: ``totals`` holds one field per reason, so that a new reason needs no new key.
_REFUSED = "refused:"


def totals(counts: Mapping[str, str], staleness: Mapping[str, str]) -> Totals:
    """The hashes ``totals`` and ``staleness`` as one record; what was never counted is zero."""
    return Totals(
        accepted=int(counts.get("accepted", 0)),
        duplicates=int(counts.get("duplicates", 0)),
        refused={
            name.removeprefix(_REFUSED): int(count)
            for name, count in sorted(counts.items())
            if name.startswith(_REFUSED)
        },
        staleness={int(tau): int(count) for tau, count in staleness.items()},
    )


def fleet(fields: Mapping[str, str]) -> list[WorkerRecord]:
    """The hash ``fleet``, whose fields are ``<worker>:<field>``, as one record per worker."""
    workers: dict[str, dict[str, str]] = {}
    for name, value in fields.items():
        worker, _, column = name.rpartition(":")
        workers.setdefault(worker, {})[column] = value
    return [_record(worker, columns) for worker, columns in sorted(workers.items())]


def _record(worker: str, columns: Mapping[str, str]) -> WorkerRecord:
    return WorkerRecord(
        worker=worker,
        accepted=int(columns.get("accepted", 0)),
        refused=int(columns.get("refused", 0)),
        last_seen_s=int(columns.get("seen_ms", 0)) / 1000,
        last_staleness=int(columns["staleness"]) if "staleness" in columns else None,
        last_refusal=columns.get("refusal", ""),
        report=columns.get("report", ""),
    )
