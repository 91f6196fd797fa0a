"""Writes the tables and the plot of docs/performance.md from what `make performance` measured.

`latecomer bench … --format json` leaves a report per command under ``runs/performance``; nothing is
measured here. A report that is not there leaves its part of the page as it is: three need servers.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

import readme
from latecomer_bench import bounds

PAGE = readme.ROOT / "docs" / "performance.md"
PLOT = PAGE.with_suffix(".svg")
REPORTS = readme.ROOT / "runs" / "performance"

Report = dict[str, Any]

#: What an axis of `bench growth` is called, and what stays along it.
AXES = {
    "model": ("parameters of a dense model", "K = 10"),
    "k": ("K, updates per version", "100,000 parameters"),
    "workers": ("workers", "2,500 parameters, K = 10"),
    "catalogue": ("items in the catalogue", "16 values a row, 100 rows an update, K = 10"),
}


def fold_lines(report: Report) -> list[str]:
    """Ours, bare numpy and the peer, if it was there."""
    titles = ("parameters", "K", "updates/s", "numpy/s", "peer/s", "of numpy", "times the peer")
    rows = (row.values() for row in report["rows"])
    facts = [f"Duplicates: {report['dedupe']}.", f"Peer: {report['peer'] or 'none here'}."]
    if arrays := report["peer_arrays_per_s"]:
        rates = " and ".join(f"{rate:,.0f}" for rate in arrays.values())
        facts.append(
            f"Most of its time makes Python lists of each new model; without that it does {rates}."
        )
    return [*_table(titles, rows), "", " ".join(facts), "", _conditions(report)]


def growth_lines(report: Report) -> list[str]:
    """A table per axis, and where the time goes at its ends."""
    lines = []
    for axis, (name, fixed) in AXES.items():
        rows = [row for row in report["rows"] if row["axis"] == axis]
        columns = ("updates_per_s", "update_us", "version_us", "version_clock_us", "version_share")
        lines += [f"**{name}** ({fixed})", ""]
        costs = ("µs per update", "µs per version", "on the clock", "share of versions")
        titles = (name, "updates/s", *costs)
        lines += _table(titles, ([row["at"], *(row[each] for each in columns)] for row in rows))
        lines += ["", *_profiles(report, axis), ""]
    return [*lines, _conditions(report)]


def pipeline_lines(report: Report) -> list[str]:
    """Both sides, and what each makes durable."""
    titles = ("body, bytes", "updates/s", "bare pika/s", "ratio", "lowest", "highest")
    facts = (
        f"K = {report['k']}, prefetch {report['prefetch']}, medians of {report['turns']} turns of "
        f"each side. Durable: ours, {report['durable']['ours']}; bare pika, "
        f"{report['durable']['bare']}."
    )
    return [*_table(titles, (row.values() for row in report["rows"])), "", facts, "", _on(report)]


def memory_lines(report: Report) -> list[str]:
    """Samples on the way."""
    samples = _table(("updates", "resident, MiB"), report["samples"])
    facts = (
        f"From {report['workers']:,} workers, K = {report['k']}; the model has "
        f"{report['model_mb']} MiB."
    )
    return [*samples, "", facts, "", _on(report)]


def cold_start_lines(report: Report) -> list[str]:
    """Step by step."""
    titles = ("step", "seconds", "lowest", "highest")
    return [*_table(titles, (row.values() for row in report["rows"])), "", _on(report)]


def stragglers_lines(report: Report) -> list[str]:
    """Every way of aggregating, and fedbuff over each kind of synchronous rounds."""
    report = bounds.marked(report)
    columns = ("mode", "k", "concurrency", "wait_s", "rate", "row_floor")
    titles = ("mode", "K", "at once", "T, s", "rate", "row floor")
    costs = ("virtual seconds", "reached", "trainings", "refused")
    ways = [
        [
            *(row[name] for name in columns),
            _spread(row["seconds"]),
            *(row[name] for name in ("reached", "trained", "refused")),
        ]
        for row in report["rows"]
    ]
    baseline = report["baseline"]
    facts = (
        f"Times as fast as synchronous rounds: over a barrier "
        f"{_spread(report['speedup_over_barrier'])}; over over-selection "
        f"{_spread(report['speedup_over_selected'])}; over the best of all (K {baseline['k']}, T "
        f"{baseline['wait_s']:.0f} s) {_spread(report['speedup'])}."
    )
    terms = (
        f"To validation NDCG {report['target']}, {report['devices']} devices, at most "
        f"{report['updates']} trainings, seeds {', '.join(map(str, report['seeds']))}; 95 % "
        "intervals over seeds; where a run did not reach it, a bound."
    )
    return [*_table((*titles, *costs), ways), "", *_peers(report["peers"]), facts, "", terms]


def _peers(peers: dict[str, Report]) -> list[str]:
    """A table of those that were there; without any, nothing."""
    if not peers:
        return []
    titles = (
        "peer",
        "settings",
        "virtual seconds",
        "times ours",
        "reached",
        "trainings",
        "refused",
    )
    rows = [
        [
            f"{name}, {peer['version']}",
            ", ".join(f"{key} {_cell(value)}" for key, value in peer["settings"].items()),
            _spread(peer["seconds"]),
            _spread(peer["speedup"]),
            *(peer[name] for name in ("reached", "trained", "refused")),
        ]
        for name, peer in peers.items()
    ]
    return [*_table(titles, rows), ""]


def codec_lines(report: Report) -> list[str]:
    """Bytes and quality of every codec."""
    titles = ("codec", "bytes", "smaller by", "NDCG", "relative loss", "lowest", "highest")
    names = ("codec", "bytes", "ratio", "ndcg", "ndcg_loss", "ndcg_loss_low", "ndcg_loss_high")
    facts = (
        f"{report['recipe']}, {report['versions']} versions, seeds "
        f"{', '.join(map(str, report['seeds']))}; a full float32 model has "
        f"{report['dense_bytes']:,} bytes; 95 % intervals over seeds."
    )
    rows = ([row[name] for name in names] for row in report["rows"])
    return [*_table(titles, rows), "", facts]


def devices_lines(report: Report) -> list[str]:
    """Together, and one by one."""
    titles = ("users", "items", "seconds", "processor seconds", "one by one, seconds")
    names = ("users", "items", "seconds_per_pass", "processor_s_per_pass", "alone_s_per_pass")
    machine = report["machine"]
    facts = f"{report['dataset']}; load {machine['load']} of {machine['cores']} cores meanwhile."
    lines = _table(titles, [[report[name] for name in names]])
    return [*lines, "", facts, "", _conditions(report)]


PARTS: dict[str, Callable[[Report], list[str]]] = {
    "fold": fold_lines,
    "growth": growth_lines,
    "pipeline": pipeline_lines,
    "memory": memory_lines,
    "cold-start": cold_start_lines,
    "stragglers": stragglers_lines,
    "stragglers-many": stragglers_lines,
    "codec": codec_lines,
    "devices-ml-100k": devices_lines,
    "devices-ml-1m": devices_lines,
}


def plot(report: Report, path: Path) -> None:
    """Updates per second along each axis, both logarithmic; the same report, the same bytes."""
    mpl.rcParams.update({"svg.hashsalt": "latecomer", "svg.fonttype": "none", "font.size": 9})
    figure, panels = plt.subplots(1, len(AXES), figsize=(12, 3), sharey=True, layout="tight")
    for panel, (axis, (name, fixed)) in zip(panels, AXES.items(), strict=True):
        rows = [row for row in report["rows"] if row["axis"] == axis]
        panel.loglog([row["at"] for row in rows], [row["updates_per_s"] for row in rows], "o-")
        panel.set_xlabel(name)
        panel.set_title(fixed, fontsize=8)
        panel.grid(visible=True, alpha=0.3)
    panels[0].set_ylabel("updates/s, one core")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _profiles(report: Report, axis: str) -> list[str]:
    found = [each for each in report["profiles"] if each["axis"] == axis]
    return [
        f"- at {each['at']:,}: "
        + ", ".join(f"`{name}` {100 * share:.0f} %" for name, share in each["top"])
        for each in found
    ]


def _table(titles: Sequence[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    cells = ([_cell(each) for each in row] for row in rows)
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *lines]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"  # noqa: PLR2004 - three digits
    return f"{value:,}" if isinstance(value, int) else str(value)


def _spread(interval: dict[str, Any]) -> str:
    if "bound" in interval:
        return f"{interval['bound']} {_cell(interval['mean'])}"
    return f"{_cell(interval['mean'])} [{_cell(interval['low'])}, {_cell(interval['high'])}]"


def _conditions(report: Report) -> str:
    machine = report["machine"]
    software = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    load = f", load {report['load_before']}" if "load_before" in report else ""
    return (
        f"{machine['processor']}, {machine['cores']} cores{load}; Python {machine['python']}, "
        f"{software}; seed {report['seed']}."
    )


def _on(report: Report) -> str:
    servers = report["servers"]
    return f"{servers['broker']}, {servers['store']}. {_conditions(report)}"


def main() -> None:
    """What was measured, into the page."""
    for name, lines in PARTS.items():
        path = REPORTS / f"{name}.json"
        if path.exists() and path.stat().st_size:
            report = json.loads(path.read_text(encoding="utf-8"))
            marks = (f"<!-- {name}: made by `make performance` -->", f"<!-- end of {name} -->")
            readme.replace(*marks, lines(report), page=PAGE)
            if name == "growth":
                plot(report, PLOT)


if __name__ == "__main__":
    main()
