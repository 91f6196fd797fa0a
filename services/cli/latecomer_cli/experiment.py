"""``latecomer experiment …``: an A/B test whose data stays where it is; sums leave, in files."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import Annotated, Any

import typer

from latecomer.errors import BadConfiguration, BadData, FallsShort
from latecomer.experiments.assignment import ARMS, Arm, arm
from latecomer.experiments.counts import Counts, Per, counted
from latecomer.experiments.effects import MISMATCH, Effect, effect, mismatch
from latecomer.experiments.names import ALL
from latecomer.experiments.sums import Sums
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

COLUMNS = ("site", "control", "treatment", "difference", "from", "to", "relative", "detectable")


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
    output.read(report)
    if not report.complete and not output.for_people:
        sys.stderr.write(f"latecomer: {report.source}: {report.summary()}\n")
    output.result(counts.model_dump(mode="json"))
    found = {metric: {site: effect(counts.users, each)} for metric, each in counts.sums.items()}
    _show(output, name, found)
    output.next(f"add --format json > {site}.json, then: latecomer experiment compare *.json")


@app.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help="What `count` wrote, of every site.")],
    *,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Tell what the treatment does, at each site and over all, and how far to trust it."""
    output = Output(format_)
    sites = [Counts.read(path) for path in files]
    _check_alike(sites)
    effects, doubtful = _effects(sites), _mismatches(sites)
    first = sites[0]
    output.result(
        {
            "experiment": first.experiment,
            "per": first.per,
            "share": first.share,
            "shared_ids": first.shared_ids,
            "sites": [each.site for each in sites],
            "mismatch": doubtful,
            "metrics": {
                metric: {site: asdict(each) for site, each in by_site.items()}
                for metric, by_site in effects.items()
            },
        }
    )
    _show(output, first.experiment, effects)
    output.say(f"95 % intervals, per {first.per}; detectable: what 4 of 5 such experiments find")
    # With shared ids one lot counts at every site, and lots of all sites together are not drawn.
    judged = [each.site for each in sites] + ([] if first.shared_ids else [ALL])
    unlikely = [f"{site} ({doubtful[site]:.1e})" for site in judged if doubtful[site] < MISMATCH]
    if unlikely:
        raise FallsShort(
            f"no lot makes arms of such sizes: {', '.join(unlikely)}; nothing here can be trusted",
            hint="was anybody's outcome lost, or served another arm than `assign` says?",
        )


def _check_alike(sites: Sequence[Counts]) -> None:
    """Pass if all are of one experiment, counted alike, and none is there twice.

    Raises:
        BadData: Names the first two that differ.
    """
    first, names = sites[0], set[str]()
    for each in sites:
        for what in ("experiment", "share", "shared_ids", "per"):
            ours, other = getattr(first, what), getattr(each, what)
            if ours != other:
                raise BadData(
                    f"{first.site} and {each.site} differ in {what.replace('_', ' ')}: "
                    f"{ours} and {other}",
                    hint="count them alike",
                )
        if each.sums.keys() != first.sums.keys():
            raise BadData(
                f"{first.site} counted {', '.join(first.sums)}, {each.site} {', '.join(each.sums)}",
                hint="count the same metrics at every site",
            )
        if each.site in names:
            raise BadData(f"{each.site} is there twice", hint="a site's users count once")
        names.add(each.site)


def _effects(sites: Sequence[Counts]) -> dict[str, dict[str, Effect]]:
    """By metric, of every site and of all together."""
    users = _users(sites)
    return {
        metric: {
            **{each.site: effect(each.users, each.sums[metric]) for each in sites},
            ALL: effect(users, _summed([each.sums[metric] for each in sites])),
        }
        for metric in sites[0].sums
    }


def _mismatches(sites: Sequence[Counts]) -> dict[str, float]:
    share = sites[0].share
    own = {each.site: mismatch(each.users, share) for each in sites}
    return {**own, ALL: mismatch(_users(sites), share)}


def _users(sites: Sequence[Counts]) -> dict[Arm, int]:
    return {each: sum(site.users[each] for site in sites) for each in ARMS}


def _summed(sites: Sequence[Mapping[Arm, Sums]]) -> dict[Arm, Sums]:
    return {each: reduce(add, (sums[each] for sums in sites)) for each in ARMS}


def _show(output: Output, name: str, effects: Mapping[str, Mapping[str, Effect]]) -> None:
    for metric, by_site in effects.items():
        output.table(f"{name}: {metric}", COLUMNS, (_row(*each) for each in by_site.items()))


def _row(site: str, found: Effect) -> list[Any]:
    relative = None if found.relative is None else f"{found.relative:+.1%}"
    return [
        site,
        *(f"{each.value:.4f} ({each.users:,})" for each in (found.control, found.treatment)),
        f"{found.difference:+.4f}",
        f"{found.low:+.4f}",
        f"{found.high:+.4f}",
        relative,
        found.detectable,
    ]
