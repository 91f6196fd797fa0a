"""A simulated run as pictures: quality, staleness, activity and bytes; PNG files and one page.

The only module that needs matplotlib, which is an extra of its own.
"""

import base64
import html
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from latecomer.errors import BadConfiguration
from latecomer_simulator.outcome import Outcome
from latecomer_simulator.record import Event

#: Inches, and dots per inch of the files.
SIZE, DPI = (7.0, 3.6), 110

#: Devices that are shown, of a larger fleet the first; and up to how many are named.
ROWS, NAMED = 60, 20

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
img{{max-width:100%}}table{{border-collapse:collapse}}td,th{{padding:.2rem .8rem;text-align:left;
border-bottom:1px solid #ddd}}</style>
<h1>{title}</h1><table>{facts}</table>{pictures}</html>
"""


def write(outcome: Outcome, facts: Mapping[str, object], folder: Path) -> list[Path]:
    """Write every picture as PNG, and ``report.html`` with all of them inside.

    Args:
        outcome: What is shown.
        facts: Lines of the table above the pictures.
        folder: Is made if need be.

    Raises:
        BadConfiguration: matplotlib is not installed, or the folder cannot be written to.
    """
    figures = _figures()
    pictures = {name: _png(figures, draw, outcome) for name, draw in PICTURES.items()}
    page = _page(outcome.recipe.title or outcome.recipe.federation, facts, pictures)
    files = {f"{name}.png": data for name, data in pictures.items()}
    files["report.html"] = page.encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise BadConfiguration(
            f"cannot write the report to {folder}: {error.strerror}", hint="give another --out"
        ) from error
    return [folder / name for name in files]


def activity(events: list[Event], end_s: float) -> dict[str, list[tuple[float, float]]]:
    """Per device, in order of first appearance, from when until when it was online."""
    since: dict[str, float] = {}
    spans: dict[str, list[tuple[float, float]]] = {}
    for event in events:
        if event["event"] == "online":
            since[event["worker"]] = event["t_s"]
            spans.setdefault(event["worker"], [])
        elif event["event"] == "offline":
            spans[event["worker"]].append((since.pop(event["worker"]), event["t_s"]))
    for worker, start_s in since.items():
        spans[worker].append((start_s, max(start_s, end_s)))
    return spans


def _quality(axes: Any, outcome: Outcome) -> None:
    metric = outcome.recipe.protocol.metric
    axes.set(title="Quality", xlabel="virtual time, s", ylabel=f"{metric}, validation")
    axes.plot(
        [at_s for _, at_s, _ in outcome.quality], [found for *_, found in outcome.quality], "o-"
    )
    for version, at_s, found in outcome.quality[:: max(1, len(outcome.quality) // 8)]:
        axes.annotate(f"v{version}", (at_s, found), textcoords="offset points", xytext=(3, -10))


def _staleness(axes: Any, outcome: Outcome) -> None:
    axes.set(title="Staleness of folded updates", xlabel="versions behind", ylabel="updates")
    axes.bar(list(outcome.staleness), list(outcome.staleness.values()))


def _activity(axes: Any, outcome: Outcome) -> None:
    axes.set(title="Devices: online, trained, lost", xlabel="virtual time, s")
    spans = activity(outcome.events, outcome.virtual_s)
    row = {worker: number for number, worker in enumerate(list(spans)[:ROWS])}
    for worker, number in row.items():
        bars = [(start_s, end_s - start_s) for start_s, end_s in spans[worker]]
        axes.broken_barh(bars, (number - 0.4, 0.8), color="#dde6f0")
    for kind, mark, color in (("trained", "|", "#1f5fa8"), ("dropped_out", "x", "#c02020")):
        points = [
            (each["t_s"], row[each["worker"]])
            for each in outcome.events
            if each["event"] == kind and each["worker"] in row
        ]
        axes.scatter([x for x, _ in points], [y for _, y in points], s=14, marker=mark, c=color)
    named = row if len(row) <= NAMED else {}
    axes.set_yticks(list(named.values()), list(named), fontsize=8)


def _traffic(axes: Any, outcome: Outcome) -> None:
    axes.set(title="Bytes since the start", xlabel="virtual time, s", ylabel="MB")
    for kind, label in (("downloaded", "down"), ("uploaded", "up")):
        passed = [each for each in outcome.events if each["event"] == kind]
        total = np.cumsum([each["bytes"] for each in passed]) / 1e6
        axes.step([each["t_s"] for each in passed], total, where="post", label=label)
    axes.legend()


PICTURES: Mapping[str, Callable[[Any, Outcome], None]] = {
    "quality": _quality,
    "staleness": _staleness,
    "activity": _activity,
    "traffic": _traffic,
}


def _figures() -> Any:
    try:
        from matplotlib import figure  # noqa: PLC0415 - an extra; everything else runs without it
    except ImportError as error:
        raise BadConfiguration(
            "the pictures of a report need matplotlib", hint="pip install 'latecomer[report]'"
        ) from error
    return figure


def _png(figures: Any, draw: Callable[[Any, Outcome], None], outcome: Outcome) -> bytes:
    """Drawn on a canvas of its own: no window system, no global state."""
    picture = figures.Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    draw(picture.subplots(), outcome)
    data = BytesIO()
    picture.savefig(data, format="png")
    return data.getvalue()


def _page(title: str, facts: Mapping[str, object], pictures: Mapping[str, bytes]) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    inlined = "".join(
        f'<p><img alt="{name}" src="data:image/png;base64,{base64.b64encode(data).decode()}"></p>'
        for name, data in pictures.items()
    )
    return PAGE.format(title=html.escape(title), facts=rows, pictures=inlined)
