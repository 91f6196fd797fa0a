"""The demo's report: what ``report.json`` says, and the tables that show it."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import to_json

from latecomer import __version__
from latecomer.errors import BadConfiguration
from latecomer.evaluation.intervals import bootstrap, paired_bootstrap
from latecomer.evaluation.protocol import ALL, mean_of_sums
from latecomer.evaluation.ranking import Floats, Ids
from latecomer.evaluation.results import EvaluationProtocol, Result
from latecomer.interactions.schema import Report
from latecomer.recipe import Recipe
from latecomer.store.port import Totals
from latecomer_cli import status
from latecomer_cli.output import Output
from latecomer_worker.site import Site, together

SYSTEMS = ("global", "local_only", "popularity")

#: The report's figures are read by people too; the sixth decimal says nothing here.
DECIMALS = 6


@dataclass(frozen=True)
class Results:
    """One system's results, site by site, in the order of the sites."""

    name: str
    by_site: Sequence[Result]

    def means(self, sites: Sequence[Site]) -> dict[str, dict[str, float]]:
        """Means per region and over all."""
        sums = (result.sums(site.regions) for result, site in zip(self.by_site, sites, strict=True))
        return mean_of_sums(sums)

    def per_user(self, metric: str) -> Floats:
        """A metric of every tested user of every site."""
        return np.concatenate([result.per_user()[metric] for result in self.by_site])

    def places(self, sites: Sequence[Site]) -> Ids:
        """Of these tested users, their places among everybody's users, site after site."""
        first = np.cumsum([0, *(len(site.users) for site in sites[:-1])])
        tested = zip(first, self.by_site, strict=True)
        return np.concatenate([at + result.users for at, result in tested])


def build(
    recipe: Recipe,
    sites: Sequence[Site],
    results: Sequence[Results],
    totals: Totals,
    *,
    reading: Report,
    versions: int,
    curve: Sequence[Mapping[str, Any]],
    wall_s: float,
) -> dict[str, Any]:
    """The report, as it is written."""
    means = {each.name: each.means(sites) for each in results}
    regions = sorted(
        (region for region in means["global"] if region != ALL),
        key=lambda region: (-means["global"][region]["users"], region),
    )
    return {
        "latecomer": __version__,
        "python": platform.python_version(),
        "recipe": recipe.federation,
        "protocol": recipe.protocol.label(),
        "seed": recipe.seed,
        "data": reading.as_dict(),
        "versions": versions,
        "wall_s": round(wall_s, 2),
        "updates": {
            "accepted": totals.accepted,
            "refused": dict(totals.refused),
            "duplicates": totals.duplicates,
        },
        "staleness": status.quantiles(totals.staleness),
        "metrics": {name: _rounded(by_region[ALL]) for name, by_region in means.items()},
        "intervals": _intervals(results, recipe, together(sites, results[0].places(sites))),
        "regions": {
            region: {name: _rounded(by_region[region]) for name, by_region in means.items()}
            for region in regions
        },
        "curve": list(curve),
    }


def write(report: Mapping[str, Any], path: Path) -> None:
    """Write ``report.json``."""
    with _border(path):
        path.write_bytes(to_json(report, indent=2, inf_nan_mode="null") + b"\n")


def probe(path: Path) -> None:
    """Pass if a report can be written there: better known before the work than after it."""
    with _border(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()


@contextmanager
def _border(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadConfiguration(
            f"cannot write the report {path}: {error.strerror}", hint="give another --report"
        ) from error


def show(output: Output, report: Mapping[str, Any], protocol: EvaluationProtocol) -> None:
    """Regions side by side, and whether the differences are real."""
    output.table(
        f"Held out: {report['protocol']}; each cell: global, local only, popularity",
        ("region", "users", *protocol.reported),
        (
            (region, int(by_system["global"]["users"]), *_cells(by_system, protocol))
            for region, by_system in (*report["regions"].items(), (ALL, report["metrics"]))
        ),
    )
    for name, interval in report["intervals"].items():
        output.say(
            f"{protocol.metric} {name.replace('_', ' ')}: {interval['mean']:+.4f} "
            f"[{interval['low']:+.4f}, {interval['high']:+.4f}] (95 %, bootstrap over users)"
        )


def _cells(
    by_system: Mapping[str, Mapping[str, float]], protocol: EvaluationProtocol
) -> Iterator[str]:
    """One cell per metric, the systems side by side."""
    for metric in protocol.reported:
        yield " ".join(f"{by_system[name][metric]:.3f}" for name in SYSTEMS)


def _intervals(
    results: Sequence[Results], recipe: Recipe, groups: Ids | None
) -> dict[str, dict[str, float]]:
    metric = recipe.protocol.metric
    values = {each.name: each.per_user(metric) for each in results}
    found = {"global": bootstrap(values["global"], seed=recipe.seed, groups=groups)}
    for name in ("local_only", "popularity"):
        found[f"global_minus_{name}"] = paired_bootstrap(
            values["global"], values[name], seed=recipe.seed, groups=groups
        )
    return {
        name: _rounded({"mean": each.mean, "low": each.low, "high": each.high})
        for name, each in found.items()
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, DECIMALS) for name, value in values.items()}
