"""Writes the README's table of recommenders from what `latecomer evaluate` measured.

Every report in ``docs/evaluated`` has its rows; nothing is measured here.
"""

import json
from pathlib import Path
from typing import Any

import readme
from latecomer.recommenders.settings import PREDICTORS

BEGIN, END = "<!-- tables: made by `make tables` -->", "<!-- end of tables -->"

REPORTS = readme.ROOT / "docs" / "evaluated"

NAMES = {
    "global": "federated",
    "personalised": "and each site's own model",
    "centralised": "data in one place",
    "local_only": "each site alone",
    "popularity": "popularity",
    "item_knn": "item-kNN",
    "ease": "EASE",
}


#: What is shown of rankings, and of outcomes.
RANKINGS = ("hr@10", "ndcg@10")
OUTCOMES = ("auc", "log_loss")


def tables(reports: list[dict[str, Any]]) -> list[str]:
    """The README's lines: rankings, then outcomes, then what each is of."""
    lines: list[str] = []
    for metrics in (RANKINGS, OUTCOMES):
        some = [body for body in reports if metrics[0] in body["metrics"]["global"]]
        lines += table(some, metrics) if some else []
    return [*lines, *(f"- {facts(body)}" for body in reports)]


def table(reports: list[dict[str, Any]], metrics: tuple[str, ...]) -> list[str]:
    """One table of a row per recipe and a column per system, and the empty line after it."""
    shown = [each for each in NAMES if any(each in body["metrics"] for body in reports)]
    lines = [
        f"| {', '.join(metrics)} | {' | '.join(NAMES[system] for system in shown)} |",
        "|---" * (len(shown) + 1) + "|",
    ]
    for body in reports:
        cells = [cell(body["metrics"].get(system), metrics) for system in shown]
        lines.append(f"| {label(body)} ({body['family']}) | {' | '.join(cells)} |")
    return [*lines, ""]


def label(body: dict[str, Any]) -> str:
    """A recipe, and whether it was evaluated otherwise than it says itself."""
    full = ", full ranking" if body["full_ranking"] else ""
    leaky = ", LEAKY as in PFedRec" if body["leaky"] else ""
    return f"`{body['recipe']}`{full}{leaky}"


def cell(means: dict[str, float] | None, metrics: tuple[str, ...]) -> str:
    """One system's metrics, side by side; a dash where the recipe has no such system."""
    return " / ".join(f"{means[metric]:.4f}" for metric in metrics) if means else "-"


def facts(body: dict[str, Any]) -> str:
    """What a recipe's figures are of."""
    missed = [each["criterion"] for each in body["standing"] if not each["ok"]]
    stands = "every criterion is met" if not missed else f"falls short: {'; '.join(missed)}"
    seeds = ", ".join(str(seed) for seed in body["seeds"])
    low, high = body["intervals"][f"{body['served']}_minus_local_only"]
    tested = "examples" if body["family"] in PREDICTORS else "users"
    return (
        f"{label(body)}: {int(body['metrics']['global']['users'])} {tested}, "
        f"{body['protocol']}; seeds {seeds}; {body['versions']} versions, "
        f"staleness p95 {body['staleness']['p95']}; "
        f"{body['bytes_sent'] / 1e6:.1f} MB sent by all workers together; "
        f"above each site alone by {low:.4f} to {high:.4f} (95 %, bootstrap over {tested}); "
        f"worst region {body['worst_region']}; {bars(body)}{stands}."
    )


def bars(body: dict[str, Any]) -> str:
    """To what others' closed forms were tuned; nothing where there are none."""
    if "ease" not in body["metrics"]:
        return ""
    knn, ease = body["tuned"]["item_knn"], body["tuned"]["ease"]
    return (
        f"item-kNN of {knn['neighbours']} neighbours, shrinkage {knn['shrinkage']:g}, "
        f"EASE of penalty {ease['regularisation']:g}; "
    )


def report(path: Path) -> dict[str, Any]:
    """What a file says, which is named after what was run: a second copy would be a second row.

    Raises:
        SystemExit: It is not.
    """
    body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    full, leaky = "-full" * body["full_ranking"], "-pfedrec" * body["leaky"]
    name = f"{body['recipe']}{full}{leaky}"
    if path.stem != name:
        raise SystemExit(f"{path} is of {name}: rename it, or remove it")
    return body


def main() -> None:
    """All reports into the README."""
    reports = [report(path) for path in sorted(REPORTS.glob("*.json"))]
    made = f"Latecomer {_release(reports)}; reports in docs/evaluated."
    readme.replace(BEGIN, END, [*tables(reports), "", made])


def _release(reports: list[dict[str, Any]]) -> str:
    return ", ".join(sorted({body["latecomer"] for body in reports}))


if __name__ == "__main__":
    main()
