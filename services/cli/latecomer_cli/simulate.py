"""``latecomer simulate``: a recipe's fleet in virtual time, and a report of what it did."""

import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from latecomer import logs
from latecomer.config import load_settings
from latecomer.errors import LatecomerError
from latecomer.recipe import load_recipe
from latecomer_cli.output import Format, Output, watched


class Mode(StrEnum):
    """How updates become versions."""

    FEDBUFF = "fedbuff"
    FEDASYNC = "fedasync"
    SYNC = "sync"


def simulate(
    recipe: Annotated[Path, typer.Argument(help="A recipe.")] = Path("recipes/retail.toml"),
    *,
    mode: Annotated[
        Mode | None, typer.Option(help="Instead of the recipe's; compare at equal --updates.")
    ] = None,
    updates: Annotated[
        int | None, typer.Option(min=1, help="Client trainings; default as many as a demo needs.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="So many, instead of the recipe's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's.")] = None,
    trace: Annotated[
        Path | None,
        typer.Option(help="CSV: worker, online_from_s, online_until_s, speed."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data, if it is not beside the recipe.")
    ] = None,
    evaluate_every: Annotated[
        int,
        typer.Option(min=0, help="Versions between evaluations, beside the last; 0: none at all."),
    ] = 5,
    out: Annotated[Path, typer.Option(help="Where timeline and report go.")] = Path("runs/sim"),
    format_: Annotated[Format, typer.Option("--format", help="How the result is printed.")] = (
        Format.TABLE
    ),
) -> None:
    """Run a fleet in virtual time: the production code, a seed, and a report with pictures."""
    from latecomer_cli import simulation  # noqa: PLC0415 - torch; other commands start without it
    from latecomer_simulator.outcome import Limits  # noqa: PLC0415 - as above

    output, chosen = Output(format_), load_recipe(recipe)
    settings = load_settings()
    logs.configure(level=settings.quiet_level, style=settings.log_format)
    scene = simulation.Scene(chosen, recipe.parent, devices, source=data)
    output.read(scene.reading)
    # Of the recipe's own mode: another is compared with it at equal work.
    most = updates or chosen.demo.versions * chosen.aggregation.updates_of(len(scene.sites))
    drawn = chosen.seed if seed is None else seed
    with watched("trainings") as progress:
        outcome = simulation.run(
            scene,
            seed=drawn,
            limits=Limits(most, evaluate_every=evaluate_every),
            mode=mode.value if mode else None,
            trace=trace,
            progress=progress,
        )
    body = simulation.summary(outcome, drawn)
    simulation.keep(outcome, body, out)
    output.result(body | {"data": scene.reading.as_dict()})
    output.table(f"{chosen.title}, in virtual time", ("", "value"), body.items())
    output.say(f"\nreport: {out / 'report.html'}, every event: {out / simulation.TIMELINE}")
    _check(output, body, most)
    same = {"devices": devices, "seed": seed, "trace": trace, "data": data}
    other = Mode.FEDBUFF if body["mode"] == Mode.SYNC else Mode.SYNC
    more = {"mode": other, "updates": most, "evaluate-every": evaluate_every}
    output.next(_command(recipe, same | more | {"out": f"{out}-{other}"}))


def _check(output: Output, body: Mapping[str, Any], most: int) -> None:
    """Say why there is less than was asked for; nothing at all is an error."""
    if why := body["cut_short"]:
        output.say(f"ended after {body['trained']} of {most} trainings: {why}")
    if not body["versions"]:
        raise LatecomerError(f"no version was made; refused: {body['refused']}")


def _command(recipe: Path, options: Mapping[str, object]) -> str:
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    return shlex.join(["latecomer", "simulate", str(recipe), *given])
