"""Writes the README's table of faults from what `make proof` measured.

`latecomer bench faults --format json` and `make chaos` leave their reports under ``runs``; nothing
is measured here.
"""

import json
from typing import Any

import readme
from latecomer_bench.faults import COUNTS

BEGIN, END = "<!-- proof: made by `make proof` -->", "<!-- end of proof -->"

SIMULATED = readme.ROOT / "runs" / "faults" / "report.json"
REAL = readme.ROOT / "runs" / "chaos" / "report.json"

COLUMNS = ("runs", *COUNTS, "median recovery, s", "longest, s")


def table(simulated: dict[str, Any], real: dict[str, Any]) -> list[str]:
    """The README's lines."""
    rows = {"simulated": simulated | {"runs": simulated["seeds"]}, **real["chapters"]}
    lines = [f"| | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, found in rows.items():
        cells = [found["runs"], *(found[count] for count in COUNTS)]
        cells += [found["median_recovery_s"], found["longest_recovery_s"]]
        lines.append(f"| {name} | {' | '.join(_cell(each) for each in cells)} |")
    facts = (
        f"{real['date']}, on {real['servers']}, Python {real['python']}. Simulated: "
        f"{simulated['seeds']} seeds with {simulated['faults']} faults in virtual time; "
        f"{simulated['planted_caught']} of {simulated['planted_total']} planted bugs were caught."
    )
    return [*lines, "", facts]


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"


def main() -> None:
    """Both reports into the README."""
    simulated, real = (json.loads(path.read_text()) for path in (SIMULATED, REAL))
    readme.replace(BEGIN, END, table(simulated, real))


if __name__ == "__main__":
    main()
