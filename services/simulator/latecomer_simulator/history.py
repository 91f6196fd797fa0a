"""What happened, as the processes themselves saw it: the evidence that invariants are judged by.

Each event is a fact at one process's port: something was put into the outbox, confirmed, delivered,
committed, refused. Nothing is concluded here.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar


@dataclass(frozen=True, slots=True)
class Event:
    """A fact: when (monotonic seconds, one clock for all) and in which process."""

    at_s: float
    process: str


@dataclass(frozen=True, slots=True)
class Attempted(Event):
    """An update is put into its worker's outbox, durable with the transaction around it.

    ``payload`` is what was detached from the body, empty if nothing was.
    """

    update_id: str
    body: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Sent(Event):
    """An update was handed to the broker's client; what came of it is not known yet."""

    update_id: str


@dataclass(frozen=True, slots=True)
class Acknowledged(Event):
    """The broker confirmed an update to its worker."""

    update_id: str


@dataclass(frozen=True, slots=True)
class Dropped(Event):
    """The worker gave an update up by the outbox's stated rule: too old, or no room."""

    update_id: str


@dataclass(frozen=True, slots=True)
class Led(Event):
    """A process holds the lease under this fence."""

    fence: int


@dataclass(frozen=True, slots=True)
class Committed(Event):
    """A version became visible, by this fence.

    ``asked_s`` is when the store was asked: it did it then or later, though a process that was
    frozen in between hears of it after others went on.
    """

    fence: int
    manifest: bytes
    asked_s: float


@dataclass(frozen=True, slots=True)
class Refused(Event):
    """An update got its one recorded refusal, by this fence; ``asked_s`` as of ``Committed``."""

    update_id: str
    reason: str
    fence: int
    asked_s: float


@dataclass(frozen=True, slots=True)
class Held(Event):
    """So many deliveries are un-acked in this process, more than ever before."""

    deliveries: int


@dataclass(frozen=True, slots=True)
class Measured(Event):
    """Resident memory of a process, at this start of it."""

    pid: int
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Faulted(Event):
    """A fault began, or happened if it is a matter of a moment."""

    fault: str


@dataclass(frozen=True, slots=True)
class Healed(Event):
    """A fault is over: from here on everything must move again by itself."""

    fault: str


@dataclass(frozen=True, slots=True)
class Ended(Event):
    """The run is over; whoever has not recovered by now did not."""


KINDS: dict[str, type[Event]] = {
    each.__name__: each
    for each in (
        Attempted,
        Sent,
        Acknowledged,
        Dropped,
        Led,
        Committed,
        Refused,
        Held,
        Measured,
        Faulted,
        Healed,
        Ended,
    )
}

_E = TypeVar("_E", bound=Event)


@dataclass
class History:
    """Events in the order of time, from one process or from all of them."""

    events: list[Event] = field(default_factory=list)

    def append(self, event: Event) -> None:
        """One more."""
        self.events.append(event)

    def all(self, kind: type[_E]) -> Iterator[_E]:
        """The events of one kind."""
        return (event for event in self.events if type(event) is kind)

    @classmethod
    def merged(cls, files: Iterable[Path]) -> "History":
        """Of several processes on one machine, from the lines that they left behind."""
        events = [_decoded(line) for file in files for line in _whole_lines(file)]
        return cls(sorted(events, key=lambda event: event.at_s))


class Journal:
    """A history on disk, one JSON line per event; what was written survives SIGKILL."""

    _NEWLINE: ClassVar[bytes] = b"\n"

    def __init__(self, path: Path) -> None:
        # Unbuffered: a line has left the process when ``append`` returns.
        self._file = path.open("ab", buffering=0)
        # What a kill cut short would spoil the first line of who goes on.
        self._file.truncate(path.read_bytes().rfind(b"\n") + 1)

    def append(self, event: Event) -> None:
        """One more line."""
        self._file.write(_encoded(event) + self._NEWLINE)

    def close(self) -> None:
        """No more lines."""
        self._file.close()


def _encoded(event: Event) -> bytes:
    facts = {
        name: _packed(value) if isinstance(value, bytes) else value
        for name, value in asdict(event).items()
    }
    return json.dumps({"kind": type(event).__name__, **facts}).encode()


def _packed(value: bytes) -> str:
    """As text; an update is mostly zeros, and a soak makes thousands."""
    return base64.b64encode(zlib.compress(value, level=1)).decode()


def _decoded(line: bytes) -> Event:
    facts: dict[str, Any] = json.loads(line)
    kind = KINDS[facts.pop("kind")]
    for each in fields(kind):
        if each.type is bytes:
            facts[each.name] = zlib.decompress(base64.b64decode(facts[each.name]))
    return kind(**facts)


def _whole_lines(file: Path) -> list[bytes]:
    """All lines but a last one that was cut short by a kill."""
    return [line for line in file.read_bytes().split(b"\n")[:-1] if line]
