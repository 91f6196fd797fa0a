"""``latecomer bench …``: one command per benchmark; each prints a table, or JSON for machines."""

import typer

app = typer.Typer(
    help="Measure, side by side in one run; seeds, versions and machine are stated.",
    no_args_is_help=True,
)
