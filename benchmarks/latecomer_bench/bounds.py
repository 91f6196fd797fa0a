"""What a report of `latecomer bench stragglers` tells people of runs that never reached the target.

Such a run counts with all the time that its work took. A mean over it is a bound, and what seeds
say of how far off that is would be an interval around something else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

#: What a report calls the way that ours is so many times as fast as, by the ratio's name.
RIVALS = {
    "speedup": "baseline",
    "speedup_over_selected": "over_selection",
    "speedup_over_barrier": "barrier",
}


def marked(report: Row) -> dict[str, Any]:
    """The same report; a figure that is a bound says so as ``bound``, and has no interval."""
    rows = report["rows"]
    ours = _row(rows, report["async"])
    rivals = {name: _row(rows, report[way]) for name, way in RIVALS.items()}
    return {
        **report,
        "async_s": _time(ours),
        "sync_s": _time(rivals["speedup"]),
        **{name: _bounded(report[name], _sign(slow, ours)) for name, slow in rivals.items()},
        "rows": [
            _told(row, slow=_best_rounds(rows, row["concurrency"]), quick=row) for row in rows
        ],
        "peers": {name: _peer(peer, rows) for name, peer in report["peers"].items()},
        "peer_rows": [_peer(peer, rows) for peer in report["peer_rows"]],
    }


def _peer(peer: Row, rows: Sequence[Row]) -> dict[str, Any]:
    """Peers are compared with the first of our ways that trains as many devices at once."""
    ours = {"mode": "fedbuff", "concurrency": peer["at_once"]}
    return _told(peer, slow=peer, quick=_row(rows, ours))


def _told(row: Row, *, slow: Row, quick: Row) -> dict[str, Any]:
    came, runs = _reached(row)
    return {
        **row,
        "seconds": _time(row),
        "speedup": _bounded(row["speedup"], _sign(slow, quick)),
        "reached": f"{came} of {runs}",
    }


def _time(row: Row) -> Row:
    came, runs = _reached(row)
    return _bounded(row["seconds"], "≥" if came < runs else "")


def _bounded(found: Row, sign: str) -> Row:
    return {"mean": found["mean"], "bound": sign} if sign else found


def _sign(slow: Row, quick: Row) -> str:
    """How many times as long ``slow`` takes is more where it was cut off, less where ``quick`` was.

    Where both were, nothing is known.
    """
    late, early = (came < runs for came, runs in (_reached(slow), _reached(quick)))
    return {(False, False): "", (True, False): "≥", (False, True): "≤"}.get((late, early), "?")


def _reached(row: Row) -> tuple[int, int]:
    came, runs = row["reached"].split("/")
    return int(came), int(runs)


def _row(rows: Sequence[Row], way: Row) -> Row:
    """The first that is such a way."""
    return next(row for row in rows if way.items() <= row.items())


def _best_rounds(rows: Sequence[Row], at_once: int) -> Row:
    """What ``stragglers.best`` finds among synchronous rounds of as many devices at once."""
    rounds = [row for row in rows if row["mode"] == "sync" and row["concurrency"] == at_once]
    return min(rounds, key=lambda row: (-_reached(row)[0], row["seconds"]["mean"]))
