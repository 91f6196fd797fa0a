"""The main job, end to end, in one process: a fleet trains asynchronously while you watch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Group
from rich.live import Live
from rich.text import Text

from latecomer.errors import BadData, LatecomerError, SomeWorkersFailed
from latecomer.evaluation.protocol import ALL, refuse_all
from latecomer.evaluation.results import Result
from latecomer.interactions.schema import Catalogue, Interactions, Report
from latecomer.interactions.splits import MIN_TESTED
from latecomer.outcomes.examples import Cohort
from latecomer.outcomes.fields import Fields
from latecomer.recipe import Recipe
from latecomer.tensors import Array
from latecomer_cli import baselines, lists, report, sites, status
from latecomer_cli.embedded import AGGREGATOR, EmbeddedFederation
from latecomer_cli.output import Output, render
from latecomer_cli.report import Results
from latecomer_worker.fetch import head_model
from latecomer_worker.site import Site

#: Often enough to look alive, rarely enough to leave the cores to the training.
REFRESH_S = 0.5

#: Without a terminal, a line this often.
LINE_S = 4.0


@dataclass
class Scene:
    """A recipe with its data, read once and cut into sites."""

    recipe: Recipe
    catalogue: Catalogue | Fields
    sites: dict[str, Site]
    reading: Report
    _data: Interactions | Cohort

    def honest(self) -> list[str]:
        """Workers that take part, in the recipe's order."""
        return list(self.sites)

    def popularity(self) -> float:
        """The pooled popularity on validation: the bar of the live view.

        Raises:
            BadData: Nobody can be tested.
        """
        sites = self.in_order()
        popular = baselines.most_popular(self.recipe, sites, len(self.catalogue), "validation")
        means = Results("popularity", popular).means(sites)
        if ALL not in means:
            raise BadData(
                "no user of any worker can be tested",
                hint=f"see [[fleet.workers]]; a user needs {MIN_TESTED} interactions",
            )
        return means[ALL][self.recipe.protocol.metric]

    def seeded(self, seed: int) -> "Scene":
        """As it is judged in the end: with a seed, which may hold out other examples."""
        recipe = self.recipe.model_copy(update={"seed": seed})
        validation = not recipe.evaluation.train_on_validation
        return cut(recipe, self.catalogue, self._data, self.reading, validation=validation)

    def in_order(self) -> list[Site]:
        """The honest workers' sites, in the recipe's order."""
        return list(self.sites.values())


@dataclass
class Progress:
    """What is shown while it runs, and kept as the report's curve."""

    metric: str
    popularity: float
    curve: list[dict[str, Any]] = field(default_factory=list)
    _last: dict[str, Any] = field(default_factory=dict)

    def update(self, found: dict[str, Any], elapsed_s: float) -> None:
        """Take a new status in."""
        self._last = found
        quality = found["quality"].get(ALL, {}).get(self.metric)
        if quality is not None:
            point = {"version": found["number"], "elapsed_s": round(elapsed_s, 2)}
            measured = {self.metric: quality, "quality_of": found["quality_of"]}
            self.curve.append({**point, **measured})

    def quality(self) -> str:
        """Version, and the reported quality of which versions beside the bar."""
        found = self._last
        version = f"version {found['number']:>3}  {self.metric}"
        if found["reported_once"]:
            return f"{version} measured at the end"
        told = status.of_versions(found["quality_of"])
        quality = found["quality"].get(ALL, {}).get(self.metric)
        value = "" if quality is None else f"{quality:.4f} on validation, "
        return f"{version} {value}{told} (popularity {self.popularity:.4f})"

    def updates(self) -> str:
        """What came in, and how late."""
        updates, staleness = self._last["updates"], self._last["staleness"]
        return (
            f"updates: {updates['accepted']} accepted ({updates['stale']} stale), "
            f"{sum(updates['refused'].values())} refused, {updates['duplicates']} duplicates  "
            f"staleness p50 {staleness['p50']} p95 {staleness['p95']}"
        )

    def view(self, recipe: Recipe) -> Group:
        """The fleet, and both lines beneath."""
        workers = {each["worker"]: each for each in self._last["workers"]}
        rows = []
        for entry in recipe.fleet.members():
            seen = workers.get(entry.name)
            rows.append(
                (
                    entry.name,
                    entry.pace,
                    seen["accepted"] if seen else 0,
                    seen["refused"] if seen else 0,
                    seen["staleness"] if seen else None,
                    (seen["last_refusal"] or "")[:60] if seen else "",
                )
            )
        columns = ("worker", "pace", "accepted", "refused", "staleness", "last refusal")
        return Group(
            render(recipe.title, columns, rows), Text(self.quality()), Text(self.updates())
        )


def read(recipe: Recipe, folder: Path, *, data: Path | None = None) -> Scene:
    """Read a recipe's data and cut it into sites; it lies in ``data``, or beside the recipe.

    Raises:
        BadData: It cannot be used.
    """
    catalogue = sites.read_catalogue(recipe, folder, source=data)
    everybody, reading = sites.read_data(recipe, folder, catalogue, source=data)
    sites.note_left_out(everybody, recipe, reading)
    return cut(recipe, catalogue, everybody, reading)


def cut(
    recipe: Recipe,
    catalogue: Catalogue | Fields,
    data: Interactions | Cohort,
    reading: Report,
    *,
    validation: bool = True,
) -> Scene:
    """Everybody's data as the sites of a recipe's honest workers.

    Raises:
        BadData: A region is called as all of them together are.
    """
    found = sites.of_workers(
        data,
        sites.present(data, recipe),
        catalogue,
        seed=recipe.seed,
        validation=validation,
        protocol=recipe.evaluation.protocol,
    )
    for site in found.values():
        refuse_all(site.regions)
    return Scene(recipe, catalogue, found, reading, data)


def run(scene: Scene, output: Output, report_path: Path) -> dict[str, Any]:
    """Train until the recipe's versions or seconds are reached, then judge and report.

    Raises:
        LatecomerError: The aggregator ended, or made no version.
        SomeWorkersFailed: The report is written, but workers ended before.
        BadConfiguration: No report can be written there.
    """
    report.probe(report_path)
    started_s = time.monotonic()
    # Every device is one thread; torch's own would only fight them for the cores.
    torch.set_num_threads(1)
    progress = Progress(scene.recipe.protocol.metric, scene.popularity())
    embedded = EmbeddedFederation(
        scene.recipe, scene.catalogue, scene.sites, seed=scene.recipe.seed
    )
    with embedded:
        _watch(embedded, scene, output, progress)
        embedded.stop()
        manifest, model = head_model(embedded.store)
        results = _judge(embedded, scene, model, output)
        body = report.build(
            scene.recipe,
            scene.in_order(),
            results,
            embedded.store.totals(),
            reading=scene.reading,
            versions=manifest.version.number,
            curve=progress.curve,
            wall_s=time.monotonic() - started_s,
        )
        report.write(body, report_path)
        report.show(output, body, scene.recipe.protocol)
        _show_customers(embedded, scene, model, output)
    if not manifest.version.number:
        raise LatecomerError(f"no version was made; refused: {body['updates']['refused']}")
    if embedded.failures:
        names = ", ".join(f"{name} ({error})" for name, error in embedded.failures.items())
        raise SomeWorkersFailed(f"workers ended before the job did: {names}")
    return body


def _watch(embedded: EmbeddedFederation, scene: Scene, output: Output, progress: Progress) -> None:
    demo = scene.recipe.demo
    started_s = time.monotonic()
    with _screen(output) as show:
        while (elapsed_s := time.monotonic() - started_s) < demo.limit_s:
            found = status.gather(embedded.store, scene.recipe.federation, embedded.clock)
            progress.update(found, elapsed_s)
            show(progress, scene.recipe)
            if (error := embedded.failures.get(AGGREGATOR)) is not None:
                raise LatecomerError(f"the aggregator ended: {error}") from error
            if found["number"] >= demo.versions:
                break
            time.sleep(REFRESH_S)


@contextmanager
def _screen(output: Output) -> Iterator[Any]:
    """A live table on a terminal, a line now and then elsewhere, nothing for machines."""
    if output.for_people and output.console.is_terminal:
        with Live(console=output.console, refresh_per_second=4) as live:
            yield lambda progress, recipe: live.update(progress.view(recipe))
        return
    last_s = 0.0

    def line(progress: Progress, _recipe: Recipe) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= LINE_S:
            last_s = time.monotonic()
            output.say(f"{progress.quality()}  {progress.updates()}")

    yield line


def _judge(
    embedded: EmbeddedFederation, scene: Scene, model: dict[str, Array], output: Output
) -> list[Results]:
    """The final version on each worker's test items, beside what it has to beat."""
    recipe, items = scene.recipe, len(scene.catalogue)
    accepted = {record.worker: record.accepted for record in embedded.store.fleet()}
    rounds = baselines.rounds_alone({name: accepted.get(name, 1) for name in scene.honest()})
    ours: list[Result] = []
    alone: list[Result] = []
    output.say("judging the last version on every worker's test items …")
    for number, name in enumerate(scene.honest()):
        ours.append(embedded.trainer(name).evaluate(model, target="test"))
        site, seed = scene.sites[name], recipe.seed + number
        alone.append(baselines.local_only(recipe, site, items, rounds=rounds[name], seed=seed))
    popular = baselines.most_popular(recipe, scene.in_order(), items, "test")
    return [
        Results("global", ours),
        Results("local_only", alone),
        Results("popularity", popular),
    ]


def _show_customers(
    embedded: EmbeddedFederation, scene: Scene, model: dict[str, Array], output: Output
) -> None:
    """Top five of a few customers of different workers, with what they bought last."""
    head = embedded.store.head()
    if not output.for_people or head is None or not head.version.number:
        return
    names = [name for name in scene.honest() if len(scene.sites[name].tested)]
    for name in names[:: max(1, len(names) // max(1, scene.recipe.demo.customers))][
        : scene.recipe.demo.customers
    ]:
        trainer = embedded.trainer(name)
        user = trainer.site.users[int(trainer.site.tested[0])]
        who = lists.introduced(trainer.site, scene.catalogue, user, 3)
        output.say(f"\n{name}: {who}")
        served = lists.Served(head.version, 0.0, model, trainer, scene.catalogue)
        ((_, found),) = served.to([user], 5)
        for place, each in enumerate(found[:5], start=1):
            output.say(f"  {place}. {each.description}")
