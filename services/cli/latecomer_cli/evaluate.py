"""A recipe, run to its end over several seeds, beside what it has to beat."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from latecomer import __version__
from latecomer.data import ExampleData
from latecomer.errors import BadData
from latecomer.evaluation.intervals import Interval, bootstrap, paired_bootstrap, student_t
from latecomer.evaluation.protocol import ALL
from latecomer.evaluation.ranking import Floats, Ids
from latecomer.recipe import Recipe
from latecomer_cli import baselines, calibration, closed_forms, ended, standing, status
from latecomer_cli.closed_forms import ClosedForm
from latecomer_cli.demo import Scene
from latecomer_cli.ended import Ended
from latecomer_cli.output import Output, watched
from latecomer_cli.report import Results
from latecomer_cli.variety import variety
from latecomer_worker.site import Site, together

SYSTEMS = ("global", "centralised", "local_only", "popularity")
BASELINES = ("local_only", "popularity")

#: What is served where a recipe has sites mix in a model of their own.
PERSONALISED = "personalised"

#: Of whom so few interactions are known, a recommender knows little.
COLD = 10

#: Of few examples, some seeds hold none out; of few interactions, nobody is asked for his last.
MORE = "more data, or other seeds"


@dataclass(frozen=True)
class Run:
    """One seed: the systems' results, and what the federation took."""

    results: Mapping[str, Results]
    sites: Sequence[Site]
    items: int
    ended: Ended

    def means(self, system: str) -> dict[str, dict[str, float]]:
        """Per region, and over all; of outcomes also how far probabilities are from frequencies."""
        found = self.results[system].means(self.sites)
        errors = calibration.calibration(self.results[system].by_site, self.sites)
        for region, error in errors.items():
            found[region][calibration.NAME] = error
        return found


def evaluate(scene: Scene, output: Output, *, seeds: Sequence[int]) -> dict[str, Any]:
    """Run the federation and its baselines once per seed, and put the figures together.

    Raises:
        LatecomerError: A thread of the federation ended.
    """
    torch.set_num_threads(1)
    runs = []
    forms: dict[str, ClosedForm] = {}
    for seed in seeds:
        started_s = time.monotonic()
        own = scene.seeded(seed)
        if not any(len(site.tested) for site in own.in_order()):
            raise BadData(f"nothing is tested under seed {seed}", hint=MORE)
        with watched(f"seed {seed}, trainings") as progress:
            came_to = ended.run(own, progress)
        # Interactions are held out by time, under every seed the same.
        forms = forms or closed_forms.chosen(own.recipe, own.in_order(), len(own.catalogue))
        runs.append(_judged(own, came_to, forms))
        output.say(f"seed {seed}: {time.monotonic() - started_s:.0f} s")
        if came_to.cut_short:
            output.say(f"seed {seed} ended early: {came_to.cut_short}")
    return _body(scene.recipe, runs, seeds, forms)


def _judged(scene: Scene, ended: Ended, forms: Mapping[str, ClosedForm]) -> Run:
    """The last version on everybody's test items, beside what it has to beat."""
    recipe, items, names = scene.recipe, len(scene.catalogue), scene.honest()
    sites = scene.in_order()
    ours = [
        baselines.judged(recipe, site, ended.model, ended.private[name])
        for name, site in zip(names, sites, strict=True)
    ]
    rounds, often = baselines.rounds_alone(ended.rounds), baselines.on_average(ended.rounds)
    alone = [
        baselines.local_only(
            recipe,
            site,
            items,
            rounds=rounds[name],
            seed=recipe.seed + number,
        )
        for number, (name, site) in enumerate(zip(names, sites, strict=True))
    ]
    central = baselines.centralised(recipe, sites, items, rounds=often, seed=recipe.seed)
    popular = baselines.most_popular(recipe, sites, items, "test")
    found = dict(zip(SYSTEMS, (ours, central, alone, popular), strict=True))
    if recipe.personal.weights:
        found[PERSONALISED] = [
            baselines.personalised(recipe, site, items, ended.model, ended.private[name])
            for name, site in zip(names, sites, strict=True)
        ]
    for name, form in forms.items():
        found[name] = form.results(recipe, sites, items)
    return Run({name: Results(name, each) for name, each in found.items()}, sites, items, ended)


def _body(
    recipe: Recipe, runs: Sequence[Run], seeds: Sequence[int], forms: Mapping[str, ClosedForm]
) -> dict[str, Any]:
    systems = list(runs[0].results)
    means = {system: _mean([run.means(system) for run in runs]) for system in systems}
    served = PERSONALISED if PERSONALISED in systems else "global"
    per_user = {each: _per_user(recipe, runs, each) for each in (served, *BASELINES)}
    groups = _groups(runs)
    gains = {
        each: paired_bootstrap(per_user[served], per_user[each], seed=recipe.seed, groups=groups)
        for each in BASELINES
    }
    metric, reach = recipe.protocol.metric, recipe.evaluation.reach
    lows = {name: gain.low for name, gain in gains.items()}
    trained = sum(run.ended.trained for run in runs) / sum(run.ended.asked for run in runs)
    found = list(standing.criteria(metric, reach, means, lows, served=served, trained=trained))
    return {
        "latecomer": __version__,
        "recipe": recipe.federation,
        "family": recipe.model.family,
        "protocol": recipe.protocol.label(seeds),
        "seeds": list(seeds),
        "served": served,
        "metrics": {system: each[ALL] for system, each in means.items()},
        "tuned": {name: dict(form.settings) for name, form in forms.items()},
        "variety": {system: _variety(runs, system) for system in systems},
        "cold_start": _cold_start(recipe, runs),
        "intervals": {
            served: _ends(bootstrap(per_user[served], seed=recipe.seed, groups=groups)),
            f"{served}_over_seeds": _over_seeds(runs, served, metric),
            **{f"{served}_minus_{name}": _ends(gain) for name, gain in gains.items()},
        },
        "regions": {
            region: {system: means[system][region] for system in systems}
            for region in means["global"]
            if region != ALL
        },
        "worst_region": standing.worst_region(means[served], metric),
        "bytes_sent": round(float(np.mean([run.ended.bytes_sent for run in runs]))),
        "versions": round(float(np.mean([run.ended.versions for run in runs]))),
        "cut_short": [run.ended.cut_short for run in runs if run.ended.cut_short],
        "staleness": status.quantiles(_added([run.ended.staleness for run in runs])),
        "standing": [
            {
                "criterion": each.name,
                "value": each.value,
                "rule": each.rule,
                "bound": each.bound,
                "ok": each.reached,
            }
            for each in found
        ],
    }


def _cold_start(recipe: Recipe, runs: Sequence[Run]) -> dict[str, float]:
    """The metric over users of whom little is known, per system; nothing where there are none."""
    if isinstance(recipe.data, ExampleData):
        return {}
    metric = recipe.protocol.metric
    few = [_few_known(run) for run in runs]
    if not all(each.any() for each in few):
        return {}
    means = {
        system: float(
            np.mean([_only(run, some, system, metric) for run, some in zip(runs, few, strict=True)])
        )
        for system in runs[0].results
    }
    return {"known_at_most": COLD, "users": int(few[0].sum()), **means}


def _only(run: Run, users: npt.NDArray[np.bool_], system: str, metric: str) -> float:
    return float(run.results[system].per_user(metric)[users].mean())


def _few_known(run: Run) -> npt.NDArray[np.bool_]:
    """(T,) of the tested users of all sites, who is known by at most ``COLD`` interactions."""
    results = run.results["global"].by_site
    return np.concatenate(
        [
            site.split.known("test").lengths[each.users] <= COLD
            for site, each in zip(run.sites, results, strict=True)
        ]
    )


def _variety(runs: Sequence[Run], system: str) -> dict[str, float]:
    found = [variety(run.results[system].by_site, run.sites, run.items) for run in runs]
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def _mean(runs: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Means over seeds of means over customers; with one held-out item, recall is the hit rate.

    A small region may have nothing to test under some seeds: its means are over the others.
    """
    regions = dict.fromkeys(region for run in runs for region in run)
    tested = {region: [run[region] for run in runs if region in run] for region in regions}
    mean = {
        region: {name: float(np.mean([each[name] for each in found])) for name in found[0]}
        for region, found in tested.items()
    }
    for metrics in mean.values():
        metrics.update({f"hr@{k}": metrics[f"recall@{k}"] for k in _places(metrics)})
    return mean


def _places(metrics: Mapping[str, float]) -> Iterator[str]:
    for name in list(metrics):
        metric, at, k = name.partition("@")
        if at and metric == "recall":
            yield k


def _per_user(recipe: Recipe, runs: Sequence[Run], system: str) -> Floats:
    """The metric of every user under every seed that he was tested under, seed after seed."""
    return np.concatenate([run.results[system].per_user(recipe.protocol.metric) for run in runs])


def _groups(runs: Sequence[Run]) -> Ids:
    """What of ``_per_user`` an interval draws together: who is tested often, or has companions."""
    places = np.concatenate([run.results["global"].places(run.sites) for run in runs])
    groups = together(runs[0].sites, places)
    return places if groups is None else groups


def _over_seeds(runs: Sequence[Run], system: str, metric: str) -> list[float] | None:
    """Student's t over seeds; one seed says nothing of the spread, nor do many of a closed form."""
    found = [run.means(system)[ALL][metric] for run in runs]
    return _ends(student_t(np.array(found))) if len(set(found)) > 1 else None


def _ends(interval: Interval) -> list[float]:
    return [interval.low, interval.high]


def _added(histograms: Sequence[Mapping[int, int]]) -> dict[int, int]:
    keys = {key for each in histograms for key in each}
    return {key: sum(each.get(key, 0) for each in histograms) for key in sorted(keys)}


def show(output: Output, body: Mapping[str, Any], metrics: Sequence[str]) -> None:
    """The systems side by side, and where it stands."""
    if calibration.NAME in body["metrics"]["global"]:
        metrics = (*metrics, calibration.NAME)
    output.table(
        f"{body['recipe']} ({body['family']}): {body['protocol']}, seeds {body['seeds']}",
        ("system", *metrics),
        ((name, *(each[metric] for metric in metrics)) for name, each in body["metrics"].items()),
    )
    for name, settings in body["tuned"].items():
        found = ", ".join(f"{setting} {value:g}" for setting, value in settings.items())
        output.say(f"{name}: {found}, chosen on validation items")
    kinds = list(body["variety"]["global"])
    if kinds:
        output.table(
            "What their lists are like",
            ("system", *kinds),
            ((name, *(each[kind] for kind in kinds)) for name, each in body["variety"].items()),
        )
    if cold := body["cold_start"]:
        output.say(
            f"{cold['users']} users with at most {cold['known_at_most']} interactions: "
            + ", ".join(f"{name} {cold[name]:.4f}" for name in body["metrics"])
        )
    output.table(
        "Where it stands",
        ("criterion", "value", "to be", "than", "reached"),
        (
            (
                *(each[name] for name in ("criterion", "value", "rule", "bound")),
                "yes" if each["ok"] else "NO",
            )
            for each in body["standing"]
        ),
    )
    output.say(
        f"{body['versions']} versions, staleness p95 {body['staleness']['p95']}, "
        f"{body['bytes_sent']:,} bytes sent by all workers"
    )
