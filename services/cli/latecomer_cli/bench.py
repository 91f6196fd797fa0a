"""``latecomer bench …``: one command per benchmark; each prints a table, or JSON for machines."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from latecomer import logs
from latecomer.config import Settings, load_settings
from latecomer.errors import BadConfiguration, LatecomerError
from latecomer.recipe import load_recipe
from latecomer_cli.output import Format, Output, watched

app = typer.Typer(
    help="Measure, side by side in one run; seeds, versions and machine are stated.",
    no_args_is_help=True,
)

FormatOption = Annotated[Format, typer.Option("--format", help="How the result is printed.")]
BrokerUrl = Annotated[
    str | None, typer.Option(help="A RabbitMQ server; default LATECOMER_BROKER_URL.")
]
StoreUrl = Annotated[
    str | None, typer.Option(help="A Redis or Valkey server; default LATECOMER_STORE_URL.")
]


class PromiseBroken(LatecomerError):
    """A benchmark found what must never happen."""


@app.command()
def faults(
    seeds: Annotated[int, typer.Option(min=1, help="How many runs.")] = 300,
    first: Annotated[int, typer.Option(min=0, help="The first seed; one replays exactly.")] = 0,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Deployments in virtual time, each through the faults of its seed: is anything ever lost?"""
    from latecomer_bench import faults as bench  # noqa: PLC0415 - only what a command needs

    output = Output(format_)
    with watched("seeds") as progress:
        report = bench.measure(range(first, first + seeds), progress)
    output.result(report)
    output.table(
        f"{seeds} seeds from {first}, {report['faults']} faults, in virtual time",
        (*bench.COUNTS, "median recovery, s", "planted bugs caught"),
        [
            (
                *(report[name] for name in bench.COUNTS),
                str(report["median_recovery_s"]),
                f"{report['planted_caught']}/{report['planted_total']}",
            )
        ],
    )
    if not bench.kept(report):
        raise PromiseBroken(
            f"promises were broken: seeds {sorted(report['violations'])}, plants "
            f"{[name for name, seed in report['planted'].items() if seed is None]} not caught",
            hint="latecomer bench faults --seeds 1 --first SEED --format json replays one",
        )


@app.command()
def fold(
    seed: Annotated[int, typer.Option(help="Of the deltas.")] = 1,
    *,
    sweep: Annotated[
        bool, typer.Option(help="Models of 10k to 10M parameters, K of 1 to 100.")
    ] = False,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Updates per second of one core, from a message's bytes to the next version's arrays."""
    from latecomer_bench import fold as bench  # noqa: PLC0415 - only what a command needs

    output = Output(format_)
    body = bench.run(seed, sweep=sweep, say=output.say)
    output.result(body)
    _show_fold(output, body)


def _show_fold(output: Output, body: dict[str, Any]) -> None:
    machine, versions = body["machine"], body["versions"]
    rows = body["rows"]
    output.table("Folding, updates per second", tuple(rows[0]), (row.values() for row in rows))
    output.say(
        f"{machine['processor']}, {machine['clock']}; Python {machine['python']}, "
        f"{', '.join(f'{name} {number}' for name, number in versions.items())}; seed {body['seed']}"
    )
    output.say(f"duplicates: {body['dedupe']}; peer: {body['peer'] or 'none here; make peers'}")


@app.command()
def codec(
    recipe: Annotated[Path, typer.Argument(help="A recipe.")] = Path("recipes/retail.toml"),
    seeds: Annotated[int, typer.Option(min=2, help="How many runs of each codec.")] = 6,
    versions: Annotated[
        int | None, typer.Option(min=11, help="Instead of as many as the recipe's demo makes.")
    ] = None,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Bytes per update, and what they cost: one deterministic federation per codec and seed."""
    from latecomer_bench import codec as bench  # noqa: PLC0415 - torch, as above
    from latecomer_cli import demo  # noqa: PLC0415 - as above

    output = Output(format_)
    logs.configure(level="error", style="console")
    scene = demo.read(load_recipe(recipe), recipe.parent)
    bench.check(scene.recipe, len(scene.catalogue))
    with watched("runs") as progress:
        report = bench.measure(
            bench.Scene(scene.recipe, scene.sites, len(scene.catalogue)),
            range(1, seeds + 1),
            versions or scene.recipe.demo.versions,
            progress,
        )
    output.result(report)
    columns = ("codec", "bytes", "ratio", "ndcg", "ndcg_loss", "ndcg_loss_low", "ndcg_loss_high")
    output.table(
        f"{recipe}, {report['versions']} versions, seeds 1 to {seeds}; a full float32 model has "
        f"{report['dense_bytes']:,} bytes\n{report['machine']}, Python {report['python']}, "
        f"numpy {report['numpy']}, torch {report['torch']}",
        columns,
        [[row[name] for name in columns] for row in report["rows"]],
    )


@app.command()
def pipeline(
    broker_url: BrokerUrl = None,
    store_url: StoreUrl = None,
    seed: Annotated[int, typer.Option(help="Of the deltas.")] = 1,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Updates per second of the whole aggregator on real servers, beside bare pika."""
    from latecomer_bench import pipeline as bench  # noqa: PLC0415 - only what a command needs

    output = Output(format_)
    body = bench.run(_servers(broker_url, store_url), seed, say=output.say)
    output.result(body)
    rows = body["rows"]
    output.table("The whole aggregator", tuple(rows[0]), (row.values() for row in rows))
    output.say(f"K = {body['k']}, prefetch {body['prefetch']}, medians of {body['turns']} turns")
    output.say(f"ours: {body['durable']['ours']}\nbare pika: {body['durable']['bare']}")
    _show_conditions(output, body)


@app.command()
def memory(
    broker_url: BrokerUrl = None,
    store_url: StoreUrl = None,
    updates: Annotated[int, typer.Option(min=1, help="How many, in whole versions.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Of the deltas.")] = 1,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Resident memory of the aggregator's process after many updates, on real servers."""
    from latecomer_bench import memory as bench  # noqa: PLC0415 - only what a command needs

    output = Output(format_)
    body = bench.run(_servers(broker_url, store_url), updates, seed, say=output.say)
    output.result(body)
    columns = ("updates", "rss_start_mb", "rss_end_mb", "model_mb", "workers")
    output.table("The aggregator's memory, MiB", columns, [[body[name] for name in columns]])
    _show_conditions(output, body)


@app.command("cold-start")
def cold_start(
    broker_url: BrokerUrl = None,
    store_url: StoreUrl = None,
    seed: Annotated[int, typer.Option(help="Of the scene.")] = 1,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Seconds from nothing to the first version, every step a fresh process."""
    from latecomer_bench import cold_start as bench  # noqa: PLC0415 - only what a command needs

    output = Output(format_)
    body = bench.run(_servers(broker_url, store_url), seed, say=output.say)
    output.result(body)
    rows = body["rows"]
    output.table(
        f"Cold start, median of {body['turns']} turns", tuple(rows[0]), (r.values() for r in rows)
    )
    _show_conditions(output, body)


@app.command()
def growth(
    seed: Annotated[int, typer.Option(help="Of the deltas.")] = 1,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Updates per second of one core against model, K, workers and catalogue."""
    from latecomer_bench import growth as bench  # noqa: PLC0415 - only what a command needs

    output = Output(format_)
    body = bench.run(seed, say=output.say)
    output.result(body)
    rows = body["rows"]
    output.table("Growth, microseconds of one core", tuple(rows[0]), (r.values() for r in rows))
    output.say(f"{body['machine']['processor']}, load {body['load_before']}; seed {body['seed']}")


def _servers(broker_url: str | None, store_url: str | None) -> Settings:
    """Real ones: that it is not ``memory://`` is checked where they are opened."""
    # pika logs every lost connection at length; ours says it in a line.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logs.configure(level="error", style="console")
    return load_settings(broker_url=broker_url, store_url=store_url)


def _show_conditions(output: Output, body: dict[str, Any]) -> None:
    machine, servers = body["machine"], body["servers"]
    software = ", ".join(f"{name} {number}" for name, number in body["versions"].items())
    output.say(
        f"{machine['processor']}, {machine['cores']} cores, {servers['broker']}, "
        f"{servers['store']}; Python {machine['python']}, {software}; seed {body['seed']}"
    )


@app.command()
def stragglers(
    recipe: Annotated[Path, typer.Argument(help="A recipe.")] = Path("recipes/retail.toml"),
    seeds: Annotated[int, typer.Option(min=2, help="How many runs of each mode.")] = 5,
    target: Annotated[float | None, typer.Option(help="Validation NDCG to reach.")] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="Client trainings of each.")] = None,
    devices: Annotated[int | None, typer.Option(min=40, help="Parts of the sites.")] = None,
    *,
    many: Annotated[bool, typer.Option(help="200 of 1,000 devices at once: an hour.")] = False,
    sweep: Annotated[bool, typer.Option(help="More K and concurrencies; takes longer.")] = False,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Virtual time to a quality with heavy-tailed, often absent devices: async against sync."""
    from latecomer_bench import bounds, ways  # noqa: PLC0415 - as above
    from latecomer_bench import stragglers as bench  # noqa: PLC0415 - torch, as above
    from latecomer_cli import simulation  # noqa: PLC0415 - as above

    if many and sweep:
        raise BadConfiguration("what was tried is known for few at once", hint="drop --sweep")
    output = Output(format_)
    logs.configure(level="error", style="console")
    few = ways.SWEPT if sweep else ways.FEW
    race = ways.MANY if many else few
    race = replace(
        race,
        target=race.target if target is None else target,
        updates=updates or race.updates,
        devices=devices or race.devices,
    )
    scene = simulation.Scene(load_recipe(recipe), recipe.parent, race.devices)
    with watched("runs") as progress:
        report = bench.measure(
            bench.Scene(scene.recipe, scene.sites, scene.catalogue),
            range(1, seeds + 1),
            race,
            progress,
        )
    output.result(report)
    told = bounds.marked(report)
    _show_stragglers(output, told)
    if race.peers:
        _show_peers(output, told["peer_rows"])


def _show_stragglers(output: Output, report: dict[str, Any]) -> None:
    columns = ("mode", "k", "concurrency", "wait_s", "rate", "row_floor", "seconds", "speedup")
    more = ("reached", "trained", "staleness", "refused")
    output.table(
        f"Virtual seconds to NDCG {report['target']}, {report['devices']} devices, "
        f"seeds {report['seeds']}; 95 % intervals",
        (*columns, *more),
        [[_spread(row[name]) for name in (*columns, *more)] for row in report["rows"]],
    )
    output.say(
        f"async {_spread(report['async_s'])} s, best sync {_spread(report['sync_s'])} s: "
        f"{_spread(report['speedup'])} times as fast; over synchronous rounds that over-select "
        f"{_spread(report['speedup_over_selected'])}, over a barrier "
        f"{_spread(report['speedup_over_barrier'])}"
    )


def _show_peers(output: Output, rows: list[dict[str, Any]]) -> None:
    if not rows:
        output.say("peers: none here; make peers")
        return
    columns = ("peer", "version", "settings", "seconds", "speedup", "reached", "trained", "refused")
    output.table(
        "Peers; speedup is how many times as long as ours they need",
        columns,
        [[_spread(row[name]) for name in columns] for row in map(_told, rows)],
    )


def _told(row: dict[str, Any]) -> dict[str, Any]:
    settings = ", ".join(f"{name} {value:g}" for name, value in row["settings"].items())
    return row | {"settings": settings}


@app.command()
def devices(
    dataset: Annotated[str, typer.Argument(help="ml-100k or ml-1m.")] = "ml-100k",
    seed: Annotated[int, typer.Option(min=0, help="Of model and draws.")] = 1,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Seconds for one pass over all users as devices of one user; synthetic without the data."""
    from latecomer_bench import devices as bench  # noqa: PLC0415 - torch, as above
    from latecomer_cli import sites  # noqa: PLC0415 - as above

    output = Output(format_)
    logs.configure(level="error", style="console")
    if dataset not in bench.SIZES:
        raise BadConfiguration(f"{dataset!r} is none of {', '.join(bench.SIZES)}")
    history = sites.published_history(dataset)
    scene = bench.Scene(dataset, *history) if history else bench.synthetic(dataset, seed)
    body = bench.run(scene, seed, say=output.say)
    output.result(body)
    times = ("seconds_per_pass", "processor_s_per_pass", "alone_s_per_pass")
    columns = ("dataset", "users", "items", "interactions", *times)
    output.table("One pass over all devices", columns, [[body[name] for name in columns]])
    machine, versions = body["machine"], body["versions"]
    output.say(
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load']}; "
        f"torch {versions['torch']}; seed {seed}"
    )


def _spread(value: object) -> str:
    """An interval or a bound as people write it; anything else as it is."""
    if isinstance(value, dict) and "bound" in value:
        return f"{value['bound']} {value['mean']}"
    if isinstance(value, dict):
        return f"{value['mean']} [{value['low']}, {value['high']}]"
    return str(value)
