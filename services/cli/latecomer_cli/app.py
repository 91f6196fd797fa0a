"""The ``latecomer`` command line: parses, calls, prints, and ends with a meaningful exit code.

Exit codes are the same for every command: 0 ok, 1 the job failed, 2 bad usage or configuration,
3 broker or store unreachable, 4 some workers failed; 130 interrupted, as shells say it.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from latecomer import __version__, connect, logs
from latecomer.clock import SystemClock
from latecomer.config import Settings, load_settings, unknown
from latecomer.errors import BadConfiguration, ExitCode, FallsShort, LatecomerError
from latecomer.lifecycle import stop_signal
from latecomer.recipe import ProtocolName, load_recipe
from latecomer_cli import bench, experiment, simulate
from latecomer_cli import doctor as doctor_
from latecomer_cli import status as status_
from latecomer_cli.output import Format, Output, any_stdout, complain

app = typer.Typer(
    name="latecomer",
    help="Asynchronous federated recommenders over RabbitMQ and Redis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(bench.app, name="bench")
app.add_typer(experiment.app, name="experiment")
app.command()(simulate.simulate)

RecipePath = Annotated[Path, typer.Argument(help="A recipe, for example recipes/retail.toml.")]
FormatOption = Annotated[Format, typer.Option("--format", help="How the result is printed.")]
Federation = Annotated[
    str | None, typer.Option(help="The federation; default LATECOMER_FEDERATION.")
]

log = structlog.get_logger()

DEFAULT_RECIPE = Path("recipes/retail.toml")

#: What a shell calls the end by Ctrl-C, and typer returns.
INTERRUPTED = 130

#: What torch says instead of raising MemoryError.
TORCH_MEMORY = "DefaultCPUAllocator: "
LESS_MEMORY = "give it more, or take a smaller model or batch, or fewer users per worker"


@app.callback(invoke_without_command=True)
def root(
    *, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """See the module."""
    if version:
        typer.echo(f"latecomer {__version__}")
        raise typer.Exit


@app.command()
def demo(
    recipe: RecipePath = DEFAULT_RECIPE,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    report: Annotated[Path, typer.Option(help="Where report.json goes.")] = Path(
        "runs/demo/report.json"
    ),
    format_: FormatOption = Format.TABLE,
) -> None:
    """Run the main job in this process: a fleet trains asynchronously, nothing to install."""
    from latecomer_cli import demo as scene  # noqa: PLC0415 - torch; other commands start without it

    output = Output(format_)
    _settings(quiet=True)
    chosen = load_recipe(recipe)
    if seed is not None:
        chosen = chosen.model_copy(update={"seed": seed})
    output.say(
        f"{chosen.title}\nembedded broker and store (memory://, not durable); "
        f"recipe {recipe}, seed {chosen.seed}"
    )
    data = scene.read(chosen, recipe.parent)
    output.read(data.reading)
    body = scene.run(data, output, report)
    output.result(body)
    output.say(f"\nreport: {report}")
    output.next("docker compose up --build -d --wait, then: make status")


@app.command()
def evaluate(
    recipe: RecipePath,
    *,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data, if it is not beside the recipe.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Runs, with seeds 1 to this.")] = 3,
    full_ranking: Annotated[
        bool,
        typer.Option("--full-ranking", help="Rank all items, whatever candidates the recipe has."),
    ] = False,
    protocol: Annotated[
        ProtocolName,
        typer.Option(
            help="Beside figures from leaky samplers: held-out items are never negatives."
        ),
    ] = ProtocolName.CLEAN,
    require: Annotated[
        bool, typer.Option("--require", help="End with 1 where the recipe falls short.")
    ] = False,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Run a recipe to its end over several seeds, beside the baselines that it has to beat."""
    from latecomer_cli import demo  # noqa: PLC0415 - torch, as above
    from latecomer_cli import evaluate as evaluation  # noqa: PLC0415 - torch, as above

    output = Output(format_)
    _settings(quiet=True)
    chosen = load_recipe(recipe)
    if protocol is ProtocolName.PFEDREC_COMPAT:
        chosen = chosen.leaking()
    if full_ranking:
        chosen = chosen.ranked_in_full()
    scene = demo.read(chosen, recipe.parent, data=data)
    output.read(scene.reading)
    body = evaluation.evaluate(scene, output, seeds=range(1, seeds + 1))
    body |= {
        "data": scene.reading.as_dict(),
        "full_ranking": full_ranking,
        "leaky": chosen.evaluation.protocol != "clean",
    }
    output.result(body)
    evaluation.show(output, body, chosen.protocol.reported)
    short = [each["criterion"] for each in body["standing"] if not each["ok"]]
    if require and short:
        raise FallsShort(f"{chosen.federation} falls short: {'; '.join(short)}")


@app.command()
def init(
    recipe: RecipePath,
    *,
    new_epoch: Annotated[
        bool, typer.Option(help="Start again from version 0 although there is a model.")
    ] = False,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Publish version 0 of a recipe, and declare queues for its workers.

    Repeating is harmless: a federation keeps its model, and what the recipe says otherwise is told.
    """
    from latecomer_cli import federation, sites  # noqa: PLC0415 - torch, as above

    output, chosen = Output(format_), load_recipe(recipe, agreed=True)
    settings = _settings(federation=chosen.federation)
    catalogue = sites.read_catalogue(chosen, recipe.parent)
    broker = connect.broker(settings, client="latecomer-init")
    store = _store(settings, "latecomer-init")
    try:
        if new_epoch or store.head() is None:
            load_recipe(recipe)  # nothing is agreed on yet, and all of it has to mean something
        federation.enrol(broker, chosen)
        founding = federation.found(store, chosen, catalogue, SystemClock(), new_epoch=new_epoch)
    finally:
        broker.close()
        store.close()
    verb = "has" if founding.existed else "was given"
    output.result(
        {
            "federation": chosen.federation,
            "version": str(founding.head.version),
            "existed": founding.existed,
            "differs": founding.differs,
            "parameters": founding.parameters,
            "items": founding.items,
            "workers": chosen.fleet.names(),
        }
    )
    output.say(
        f"{chosen.federation} {verb} version {founding.head.version}: {founding.items} items, "
        f"{founding.parameters:,} parameters, {len(chosen.fleet.names())} workers enrolled"
    )
    if founding.differs:
        output.say(
            f"not applied: the recipe's {', '.join(founding.differs)}, since "
            f"{chosen.federation} was founded with another; --new-epoch starts again with this one"
        )
    output.next(f"latecomer aggregator --federation {chosen.federation}")


@app.command()
def aggregator(federation: Federation = None, format_: FormatOption = Format.TABLE) -> None:
    """Aggregate updates into versions until told to stop; run two, one leads."""
    from latecomer_aggregator import app as service  # noqa: PLC0415 - only what a command needs

    settings = _settings(federation=federation, log_format=_log_format(format_))
    _required(settings)
    with stop_signal() as stop:
        service.run(settings, stop)


@app.command()
def worker(
    recipe: RecipePath,
    name: Annotated[str, typer.Option(help="This worker's name, or with --slots its prefix.")],
    *,
    slots: Annotated[
        bool, typer.Option(help="Take the first free slot NAME-1, NAME-2, … of the state folder.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="Your own interactions, instead of the recipe's.")
    ] = None,
    once: Annotated[bool, typer.Option(help="Take part in one round, then stop.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Train once, show exactly what would leave, send nothing.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option(help="With --dry-run: every number of it, for numpy.load.")
    ] = None,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Train on local data, round after round, until told to stop."""
    from latecomer_cli import work  # noqa: PLC0415 - only what a command needs

    if save is not None and not dry_run:
        raise BadConfiguration("--save is for --dry-run", hint="updates are sent, and not kept")
    chosen = load_recipe(recipe, agreed=True)
    settings = _settings(federation=chosen.federation, log_format=_log_format(format_))
    with stop_signal() as stop:
        if dry_run:
            output = Output(format_)
            entry = work.entry_of(chosen, name)
            body = work.Work(settings, chosen, recipe.parent, entry, data).dry_run(stop, save=save)
            output.result(body)
            work.show_dry_run(output, body)
            own = f" --data {data}" if data else ""
            output.next(f"latecomer worker {recipe} --name {entry.name}{own}")
            return
        with work.named(settings, chosen, name, slots=slots) as entry:
            work.Work(settings, chosen, recipe.parent, entry, data).run(stop, once=once)


@app.command()
def status(federation: Federation = None, format_: FormatOption = Format.TABLE) -> None:
    """Show version, leader, updates, staleness, quality and fleet."""
    output, settings = Output(format_), _settings(federation=federation)
    _required(settings)
    store = _store(settings, "latecomer-status")
    try:
        found = status_.gather(store, settings.federation, SystemClock())
    finally:
        store.close()
    output.result(found)
    if output.for_people:
        status_.show(output, found)
    output.next("latecomer doctor" if found["leader"] is None else "latecomer status --format json")


@app.command()
def recommend(
    user: Annotated[
        str | None,
        typer.Argument(help="A user of this worker; without, what most of them have."),
    ] = None,
    *,
    everybody: Annotated[
        bool, typer.Option("--everybody", help="All users of this worker, a line each.")
    ] = False,
    only: Annotated[
        Path | None, typer.Option(help="Items that may be shown: a file, one id a line.")
    ] = None,
    recipe: Annotated[Path, typer.Option(help="The recipe.")] = DEFAULT_RECIPE,
    name: Annotated[str | None, typer.Option(help="The worker whose user it is.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many items.")] = 10,
    data: Annotated[Path | None, typer.Option(help="Your own interactions.")] = None,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Recommend items to users of this worker; what they have is left out."""
    from latecomer_cli import recommend, work  # noqa: PLC0415 - only what a command needs

    if everybody and user is not None:
        raise BadConfiguration(f"--everybody, or {user!r}?", hint="leave one of them out")
    output, chosen = Output(format_), load_recipe(recipe, agreed=True)
    settings = _settings(federation=chosen.federation)
    entry = work.entry_of(chosen, name) if name else None
    served = work.Work(settings, chosen, recipe.parent, entry, data).served()
    if only is not None:
        served = served.only(recommend.ids(only))
    if everybody:
        recommend.show_everybody(output, served, k)
        return
    recommend.show(output, served, user, k)
    output.next(f"latecomer status --federation {chosen.federation}")


@app.command()
def doctor(federation: Federation = None, format_: FormatOption = Format.TABLE) -> None:
    """Check Python, packages, broker, store, rights and model; say how to fix what is wrong."""
    output = Output(format_)
    # What it asks for on purpose may be refused, and is no news: its lines say what matters.
    checks = list(doctor_.examine(_settings(quiet=True, federation=federation), SystemClock()))
    failed = [check for check in checks if check.problem]
    output.result({"passed": not failed, "checks": [check.as_dict() for check in checks]})
    for check in checks:
        if check.problem:
            output.say(f"FAILED  {check.name}: {check.problem}\n        fix: {check.fix}")
        else:
            output.say(f"PASSED  {check.name}: {check.found}")
    output.next("latecomer status" if not failed else "fix the first line that says FAILED")
    if failed:
        raise typer.Exit(max(check.exit_code for check in failed))


def main() -> None:
    """Entry point: errors become one line and an exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code instead of leaving the process."""
    any_stdout()
    try:
        result = app(args=list(arguments), standalone_mode=False)
    except LatecomerError as error:
        complain(error)
        return int(error.exit_code)
    except typer.TyperException as error:  # usage: unknown option, missing argument
        sys.stderr.write(f"latecomer: {error.format_message()}; see latecomer --help\n")
        return int(ExitCode.BAD_USAGE)
    except (typer.Abort, KeyboardInterrupt):
        result = INTERRUPTED
    except (MemoryError, RuntimeError, ModuleNotFoundError) as error:
        if (known := _known(error)) is None:
            raise
        complain(known)
        return int(known.exit_code)
    if result == INTERRUPTED:
        sys.stderr.write("latecomer: interrupted\n")
    return int(result) if isinstance(result, int) else int(ExitCode.OK)


def _known(error: Exception) -> LatecomerError | None:
    """What a machine lacks, as an error of ours; None where it is a bug."""
    match error:
        case ModuleNotFoundError(name="torch"):
            hint = "pip install latecomer[worker]; worker and recommend of gram and als do without"
            return BadConfiguration("this needs torch, which is not installed", hint=hint)
        case MemoryError():
            return LatecomerError(f"out of memory: {error}", hint=LESS_MEMORY)
        case RuntimeError() if TORCH_MEMORY in str(error):
            return LatecomerError(f"out of memory: {str(error).splitlines()[0]}", hint=LESS_MEMORY)
        case _:
            return None


def _settings(*, quiet: bool = False, **overrides: object) -> Settings:
    settings = load_settings(**overrides)
    # pika logs every lost connection at length; ours says it in a line.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logs.configure(level=settings.log_level, style=settings.log_format)
    for variable, meant in unknown(os.environ).items():
        hint = f"did you mean {meant}?" if meant else "nothing reads it"
        log.warning("setting.unknown", variable=variable, hint=hint)
    if quiet:
        logs.configure(level=settings.quiet_level, style=settings.log_format)
    structlog.contextvars.bind_contextvars(federation=settings.federation)
    return settings


def _store(settings: Settings, client: str) -> Any:
    return connect.store(
        settings, federation=settings.federation, client=client, clock=SystemClock()
    )


def _log_format(format_: Format) -> str | None:
    """What runs for long prints nothing but its log: JSON means JSON lines."""
    return "json" if format_ is Format.JSON else None


def _required(settings: Settings) -> None:
    if not settings.federation:
        raise BadConfiguration(
            "which federation?", hint="give --federation or set LATECOMER_FEDERATION"
        )
