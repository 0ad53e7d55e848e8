"""``fintel``: the whole line and each step of it."""

from __future__ import annotations

from typing import Annotated

import typer

import fintel
from fintel.cli import (
    backtesting,
    bench,
    detection,
    dossier,
    evaluating,
    explaining,
    feed,
    filters,
    governing,
    graph,
    modelling,
    promoting,
    proving,
    reporting,
    restating,
    rules,
    scoring,
    setup,
    transition,
    tuning,
    writing,
)

app = typer.Typer(
    name="fintel",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,
    help=(
        "Any payment feed in, ranked accounts with checkable reasons and DRAFT reports out.\n\n"
        "[bold]Try it[/]\n\n"
        "  fintel synth demo-feed --accounts 2000 --days 90   [dim]# a made-up bank with planted schemes[/]\n\n"
        "  fintel run demo-feed                               [dim]# feed → ranked accounts → drafts[/]\n\n"
        "  fintel explain 1                                   [dim]# why is that account first?[/]\n\n"
        "  fintel sql 'select * from alerts limit 5'          [dim]# every table, read only[/]"
    ),
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"fintel {fintel.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    del version


setup.register(app)
detection.register(app)
reporting.register(app)
modelling.register(app)
scoring.register(app)
governing.register(app)
dossier.register(app)
evaluating.register(app)
app.add_typer(feed.app, name="feed")
proving.register(rules.app)
writing.register(rules.app)
bench.register(rules.app)
tuning.register(rules.app)
rules.app.command("sql")(restating.sql)
backtesting.register(rules.app)
promoting.register(rules.app)
filters.register(rules.app)
transition.register(rules.app)
explaining.register(rules.app)
app.add_typer(rules.app, name="rules")
app.add_typer(graph.app, name="graph")
