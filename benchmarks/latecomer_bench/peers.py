"""FLGo and Flower on the world of `latecomer bench stragglers`, in their own environment.

One process per peer and seed: see ``benchmarks/peers``. Where `make peers` was not run, there are
no peers, and the benchmark goes on without.
"""

import json
import os
import pickle
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from latecomer.errors import LatecomerError
from latecomer_bench.clients import Job
from latecomer_bench.runs import Run, interval, reached, speedup
from latecomer_bench.ways import AT_ONCE

PEERS = Path(__file__).parents[1] / "peers"
SCRIPTS = ("flgo_stragglers.py", "flower_stragglers.py")

#: Many times what the chosen settings of one seed take.
LIMIT_S = 1800

#: What our clients are made of; the peers' environment has none of it installed.
PACKAGES = ("latecomer", "latecomer_worker", "latecomer_simulator", "latecomer_bench")


class PeerFailed(LatecomerError):
    """A peer's process ended without a report."""


@dataclass(frozen=True)
class Peer:
    """One peer with the settings that were chosen for it, over all seeds.

    Attributes:
        at_once: Devices that train at once.
        settings: In the peer's own terms.
        runs: One per seed, in their order.
    """

    name: str
    version: str
    at_once: int
    settings: Mapping[str, Any]
    runs: tuple[Run, ...]

    def as_dict(self, ours: Sequence[Run]) -> dict[str, Any]:
        """For machines; ``speedup`` is how many times as long as ours it needs, paired by seed."""
        trained, staleness, refused = (
            float(np.mean([getattr(run, name) for run in self.runs]))
            for name in ("trained", "staleness", "refused")
        )
        return {
            "version": self.version,
            "at_once": self.at_once,
            "settings": dict(self.settings),
            "seconds": interval([run.seconds for run in self.runs]),
            "reached": f"{reached(self.runs)}/{len(self.runs)}",
            "trained": round(trained, 1),
            "staleness": round(staleness, 2),
            "refused": round(refused, 1),
            "speedup": speedup(ours, self.runs),
        }


def measure(jobs: Sequence[Job], done: Callable[[], None]) -> list[Peer]:
    """Every peer with every seed; nobody where their environment is not there."""
    if not (jobs and python().exists()):
        return []
    found: dict[tuple[str, int], dict[str, Any]] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        waiting = {
            pool.submit(_ask, script, job): (script, job.seed) for script in SCRIPTS for job in jobs
        }
        for future in as_completed(waiting):
            found[waiting[future]] = future.result()
            done()
    return [
        peer for script in SCRIPTS for peer in gathered([found[script, job.seed] for job in jobs])
    ]


def processes(seeds: int) -> int:
    """How many `measure` will run."""
    return len(SCRIPTS) * seeds if python().exists() else 0


def python() -> Path:
    """The interpreter of the peers' environment."""
    return PEERS / "stragglers" / ".venv" / "bin" / "python"


def gathered(answers: Sequence[Mapping[str, Any]]) -> list[Peer]:
    """What a script printed, one answer per seed: each setting with its runs."""
    first = answers[0]
    return [
        Peer(
            name=line["peer"],
            version=first["version"],
            at_once=line["at_once"],
            settings=line["settings"],
            runs=tuple(_run(answer["runs"][place]) for answer in answers),
        )
        for place, line in enumerate(first["runs"])
    ]


def chosen(peers: Sequence[Peer]) -> dict[str, Peer]:
    """Of each name the first: its settings were chosen with other seeds than are measured.

    With more devices at once than are compared first, the name says with how many.
    """
    first: dict[str, Peer] = {}
    for peer in peers:
        more = f", {peer.at_once} at once" if peer.at_once != AT_ONCE else ""
        first.setdefault(peer.name + more, peer)
    return first


def _run(line: Mapping[str, Any]) -> Run:
    return Run(**{each.name: line[each.name] for each in fields(Run)})


def _ask(script: str, job: Job) -> dict[str, Any]:
    """Run one script over one job.

    Raises:
        PeerFailed: It ended without a report; the last line that it said is the cause. Or it did
            not end.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own script, in the peers' environment
            [str(python()), str(PEERS / script)],
            check=False,
            input=pickle.dumps(job),
            capture_output=True,
            timeout=LIMIT_S,
            env=surroundings(),
        )
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(f"{script} did not end within {LIMIT_S} s, seed {job.seed}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise PeerFailed(f"{script}: {said[-1]}", hint="make peers")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def surroundings() -> dict[str, str]:
    """The caller's variables, our packages on the path, and as many threads as ours have: one."""
    specs = [find_spec(name) for name in PACKAGES]
    roots = [str(Path(spec.origin).parents[1]) for spec in specs if spec and spec.origin]
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **quiet, "PYTHONPATH": os.pathsep.join(roots)}
