"""What a session of chaos came to: one table, the same words as ``latecomer bench faults``."""

import json
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from latecomer_cli.output import render
from latecomer_simulator.evidence import Evidence
from latecomer_simulator.tally import NOTHING, Tally, recoveries, tally

COLUMNS = ("runs", *asdict(NOTHING), "median recovery, s", "longest, s")


@dataclass
class Chapter:
    """One kind of ordeal."""

    runs: int = 0
    tally: Tally = NOTHING
    recoveries_s: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        waited_s = self.recoveries_s
        return {
            "runs": self.runs,
            **asdict(self.tally),
            "median_recovery_s": round(median(waited_s), 2) if waited_s else None,
            "longest_recovery_s": round(max(waited_s), 2) if waited_s else None,
        }


@dataclass
class Chronicle:
    """Chapters by name."""

    servers: str
    full: bool
    chapters: dict[str, Chapter] = field(default_factory=dict)

    def add(self, name: str, *, runs: int, tally: Tally, recoveries_s: list[float]) -> None:
        """More runs of one kind."""
        chapter = self.chapters.setdefault(name, Chapter())
        chapter.runs += runs
        chapter.tally += tally
        chapter.recoveries_s += recoveries_s

    def tell(self, name: str, evidence: Evidence) -> None:
        """One more run."""
        waited_s = [each for _, each in recoveries(evidence.history)]
        self.add(name, runs=1, tally=tally(evidence), recoveries_s=waited_s)

    def write(self, path: Path) -> None:
        """As JSON, for the README's table."""
        path.parent.mkdir(parents=True, exist_ok=True)
        body = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "servers": self.servers,
            "python": platform.python_version(),
            "form": "full" if self.full else "short",
            "chapters": {name: each.as_dict() for name, each in self.chapters.items()},
        }
        path.write_text(json.dumps(body, indent=2) + "\n")

    def show(self, console: Console) -> None:
        """As a table, for people."""
        rows = [(name, *each.as_dict().values()) for name, each in self.chapters.items()]
        console.print(render(f"chaos on {self.servers}", ("", *COLUMNS), rows))
