"""``latecomer experiment …``: an A/B test whose data stays where it is; sums leave, in files."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from latecomer.errors import BadConfiguration, FallsShort
from latecomer.experiments.assignment import arm
from latecomer.experiments.comparison import Comparison, compared
from latecomer.experiments.counts import Counts, Per, counted
from latecomer.experiments.effects import Effect, effect
from latecomer.experiments.evidence import ENOUGH
from latecomer.experiments.strata import Strata
from latecomer_cli.output import Format, Output

app = typer.Typer(
    help="A/B tests across data owners: everybody's arm, sums of what came of it, and the effect.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="The experiment: puts everybody into his arm.")]
Share = Annotated[
    float, typer.Option(min=0.001, max=0.999, help="Of users in the treatment; at all sites one.")
]
SharedIds = Annotated[
    bool,
    typer.Option("--shared-ids", help="An id means the same person at all sites, with one arm."),
]
FormatOption = Annotated[Format, typer.Option("--format", help="How the result is printed.")]

COLUMNS = ("site", "control", "treatment", "difference", "95 % interval", "relative", "detectable")

#: Of a figure in a table.
DIGITS = 4

#: In place of an interval.
TOO_FEW = "too few to tell"


@app.command()
def assign(
    name: Name,
    users: Annotated[
        list[str] | None, typer.Argument(help="Whom; without, one per line of stdin.")
    ] = None,
    *,
    site: Annotated[
        str | None, typer.Option(help="Whose customers; needed unless ids are shared.")
    ] = None,
    share: Share = 0.5,
    shared_ids: SharedIds = False,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Tell the arm of each user: the same whenever it is asked, and nothing is kept."""
    if site is None and not shared_ids:
        raise BadConfiguration(
            "every site draws its own lots, and none is named",
            hint="--site NAME; or --shared-ids where an id means the same person at every site",
        )
    output = Output(format_)
    asked = users or [line.strip() for line in sys.stdin if line.strip()]
    whose = None if shared_ids else site
    arms = {user: arm(name, user, site=whose, share=share) for user in asked}
    output.result({"experiment": name, "site": whose, "share": share, "arms": arms})
    output.lines(f"{arms[user]:9}  {user}" for user in asked)


@app.command()
def count(
    name: Name,
    *,
    data: Annotated[Path, typer.Option(help="A row for everything that somebody was served.")],
    site: Annotated[str, typer.Option(help="What this data owner is called, as in the lots.")],
    user: Annotated[str, typer.Option(help="The column that tells who was served.")],
    metric: Annotated[list[str], typer.Option(help="A column of numbers; may be repeated.")],
    per: Annotated[Per, typer.Option(help="What metrics are divided by.")] = Per.USER,
    share: Share = 0.5,
    shared_ids: SharedIds = False,
    arm_column: Annotated[
        str | None, typer.Option("--arm", help="The column that tells which arm was served.")
    ] = None,
    delimiter: Annotated[str, typer.Option(help="Of CSV files.")] = ",",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Add up what came of an experiment here; the sums name nobody, and add up across sites."""
    if len(delimiter) != 1:
        raise BadConfiguration(
            f"--delimiter {delimiter!r} is not one character", hint="a shell writes a tab as $'\\t'"
        )
    output = Output(format_)
    counts, report = counted(
        data,
        experiment=name,
        site=site,
        user=user,
        metrics=list(dict.fromkeys(metric)),
        share=share,
        shared_ids=shared_ids,
        per=per,
        served=arm_column,
        delimiter=delimiter,
    )
    if not report.complete:
        _say_beside(output, f"{report.source}: {report.summary()}")
    if few := ", ".join(f"{told} ({his})" for told, his in counts.of_few()):
        _say_beside(output, f"few people make up all there is of {few}: sums tell what they had")
    output.result(counts.model_dump(mode="json"))
    own = {told: effect(Strata([counts.stratum(told)])) for told in counts.sums}
    _show(output, counts.experiment, {told: {counts.site: each} for told, each in own.items()})
    output.next(
        f"add --format json > {counts.site}.json, then: latecomer experiment compare *.json"
    )


@app.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help="What `count` wrote, of every site.")],
    *,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Tell what the treatment does, at each site and over all, and how far to trust it."""
    output = Output(format_)
    found = compared([Counts.read(path) for path in files])
    first = found.sites[0]
    output.result(_body(found))
    _show(output, first.experiment, found.effects)
    output.lines(_notes(found))
    if found.unlikely:
        where = ", ".join(f"{site} ({p:.1e})" for site, p in found.unlikely.items())
        raise FallsShort(
            f"no lot makes arms of such sizes: {where}; nothing here can be trusted",
            hint="was anybody's outcome lost, or served another arm than `assign` says?",
        )


def _body(found: Comparison) -> dict[str, Any]:
    """For machines."""
    first = found.sites[0]
    return {
        "experiment": first.experiment,
        "per": first.per,
        "share": first.share,
        "shared_ids": first.shared_ids,
        "sites": [each.site for each in found.sites],
        "rows": {each.site: {"read": each.rows, "dropped": each.dropped} for each in found.sites},
        "mismatch": found.mismatch,
        "metrics": {
            metric: {site: asdict(each) for site, each in by_site.items()}
            for metric, by_site in found.effects.items()
        },
    }


def _notes(found: Comparison) -> Iterator[str]:
    """What people have to know to read the tables."""
    yield (
        f"95 % intervals, per {found.sites[0].per}; detectable: what 4 of 5 such experiments find"
    )
    effects = chain.from_iterable(by_site.values() for by_site in found.effects.values())
    if not all(each.evidence.enough for each in effects):
        yield f"{TOO_FEW}: as if fewer than {ENOUGH:.0f} users of equal weight were in an arm"
    for each in found.sites:
        if each.dropped:
            why = ", ".join(f"{count:,} {reason}" for reason, count in each.dropped.items())
            yield f"{each.site}: of {each.rows:,} rows dropped: {why}"


def _say_beside(output: Output, line: str) -> None:
    """For people, who see a table or put JSON into a file."""
    if output.for_people:
        output.say(line)
    else:
        sys.stderr.write(f"latecomer: {line}\n")


def _show(output: Output, name: str, effects: Mapping[str, Mapping[str, Effect]]) -> None:
    for metric, by_site in effects.items():
        output.table(f"{name}: {metric}", COLUMNS, (_row(*each) for each in by_site.items()))


def _row(site: str, found: Effect) -> list[str | None]:
    arms = (found.control, found.treatment)
    return [
        site,
        *(f"{_digits(each.value)} ({each.users:,})" for each in arms),
        _digits(found.difference, "+"),
        _interval(found),
        None if found.relative is None else f"{found.relative:+.1%}",
        None if found.detectable is None else _digits(found.detectable),
    ]


def _interval(found: Effect) -> str:
    if found.low is None or found.high is None:
        return TOO_FEW
    return f"{_digits(found.low, '+')} to {_digits(found.high, '+')}"


def _digits(number: float, sign: str = "-") -> str:
    """Significant ones, of a rate as of a turnover."""
    whole = abs(number) >= 10 ** (DIGITS - 1)
    return f"{number:{sign},.0f}" if whole else f"{number:{sign}#.{DIGITS}g}".rstrip(".")
