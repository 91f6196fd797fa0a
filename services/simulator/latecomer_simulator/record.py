"""What happened in a simulated run, when: one JSON object per event, the same bytes per seed."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latecomer.clock import Clock
from latecomer.errors import BadConfiguration

#: Seconds are written to the microsecond.
DECIMALS = 6

Event = dict[str, Any]


@dataclass
class Record:
    """Events in order.

    Args:
        clock: The run's.
        observe: Called with each event as it happens.
    """

    clock: Clock
    observe: Callable[[Event], None] = lambda _event: None
    events: list[Event] = field(default_factory=list)
    _start_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._start_s = self.clock.monotonic_s()

    def now_s(self) -> float:
        """Seconds since the run began."""
        return self.clock.monotonic_s() - self._start_s

    def add(self, event: str, worker: str | None = None, **facts: Any) -> None:
        """One more."""
        who = {} if worker is None else {"worker": worker}
        entry = {"t_s": round(self.now_s(), DECIMALS), "event": event, **who, **facts}
        self.events.append(entry)
        self.observe(entry)


def lines(events: list[Event]) -> Iterator[str]:
    """As JSON lines."""
    for event in events:
        yield json.dumps(event, separators=(",", ":")) + "\n"


def write(events: list[Event], path: Path) -> None:
    """Write ``timeline.jsonl``.

    Raises:
        BadConfiguration: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines(events)), encoding="utf-8")
    except OSError as error:
        raise BadConfiguration(
            f"cannot write {path}: {error.strerror}", hint="give another --out"
        ) from error
