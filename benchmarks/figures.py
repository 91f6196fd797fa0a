"""Measures the README's table: `make figures` runs the demo over three seeds and writes it down.

Every figure in the README comes from here; none is typed.
"""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import readme
from latecomer.evaluation.intervals import student_t
from latecomer.recipe import load_recipe
from latecomer_cli import demo
from latecomer_cli.output import Format, Output

RECIPE = readme.ROOT / "recipes" / "retail.toml"
BEGIN, END = "<!-- figures: made by `make figures` -->", "<!-- end of figures -->"

SEEDS = (1, 2, 3)
METRICS = ("recall@10", "precision@10", "f1@10", "ndcg@10")
NAMES = {"global": "federated", "local_only": "each site alone", "popularity": "popularity"}


def measure(folder: Path) -> list[dict[str, Any]]:
    """One report per seed; also written to ``folder``."""
    recipe = load_recipe(RECIPE)
    scene = demo.read(recipe, RECIPE.parent)
    reports = []
    for seed in SEEDS:
        scene.recipe = recipe.model_copy(update={"seed": seed})
        reports.append(demo.run(scene, Output(Format.JSON), folder / f"retail-{seed}.json"))
    return reports


def table(reports: list[dict[str, Any]]) -> list[str]:
    """Mean over seeds, and the half-width of its 95 % Student-t interval."""
    lines = [f"| | {' | '.join(METRICS)} |", f"|---|{'---|' * len(METRICS)}"]
    for system, name in NAMES.items():
        cells = []
        for metric in METRICS:
            found = student_t(np.array([each["metrics"][system][metric] for each in reports]))
            cells.append(f"{found.mean:.4f} ± {found.high - found.mean:.4f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def facts(reports: list[dict[str, Any]]) -> str:
    """What the table was measured with."""
    first = reports[0]
    walls = ", ".join(f"{each['wall_s']:.0f}" for each in reports)
    p95 = ", ".join(str(each["staleness"]["p95"]) for each in reports)
    fewest = min(each["versions"] for each in reports)
    users = int(first["metrics"]["global"]["users"])
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, Latecomer {first['latecomer']}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores; seeds {', '.join(map(str, SEEDS))}; "
        f"{users} customers tested, {first['protocol']}; {fewest} versions or more in "
        f"{walls} s; staleness p95 {p95}. Intervals are Student-t over seeds."
    )


def main() -> None:
    """Measure, and rewrite the README between its markers."""
    reports = measure(readme.ROOT / "runs" / "figures")
    readme.replace(BEGIN, END, [*table(reports), "", facts(reports)])
    sys.stdout.write(json.dumps([each["metrics"] for each in reports], indent=2) + "\n")


if __name__ == "__main__":
    main()
