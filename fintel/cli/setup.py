"""``fintel init | synth | sql``: a place to work, a feed to try, a look at every table."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fintel.cli.console import errors_explained, print_json, print_table, progress, say
from fintel.cli.options import AsJson, ConfigFile, LakeFolder, settings_of

if TYPE_CHECKING:
    import polars as pl

    from fintel.config import Settings

Format = Literal["parquet", "csv"]

_TEMPLATE = """# fintel's settings. Paths are relative to this file. Every setting can also be a variable:
# FINTEL_LAKE, FINTEL_RANKING__BUDGET …

lake = "lake"                # Parquet files and their catalogue
base_currency = "USD"        # ISO 4217; thresholds and sums are in it
# packs = ["my-rules"]       # folders with packs of your own, beside the shipped ones
drafts = "drafts"            # where draft reports go
threads = 0                  # 0 = one a core

[ranking]
prior = 0.001                # share of accounts that are suspicious before any evidence
budget = 50                  # capacity: alerts to show
# threshold_bits = -4.0      # risk decision: who scores as much or more must be read, beyond the budget too
# risk_seeds = ["label", "intel", "rule"]  # whose money is a reason: found suspicious, named by partners, hit by a rule
include_external = false     # rank accounts at other banks too

# Who files. A draft names what is missing here and never invents it.
[filer]
# name = ""
# tin = ""                          # tax number, digits only
# ein = ""
# transmitter_control_code = ""     # FinCEN's, eight characters
# regulator = ""                    # FinCEN code: 1 Federal Reserve, 2 FDIC, 3 NCUA, 4 OCC, 7 IRS (most MSBs)
# organisation_type = ""            # FinCEN code: 2 depository institution, 4 MSB, …
# phone = ""
# contact_office = ""
# contact_phone = ""

[filer.address]
# street = ""
# city = ""
# state = ""
# postcode = ""
# country = ""
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Where to work.")] = Path(),
) -> None:
    """Write a commented [bold]fintel.toml[/].

    [dim]fintel init[/]     [dim]fintel init my-bank[/]
    """
    with errors_explained():
        from fintel.config import FILE_NAME
        from fintel.errors import ConfigError

        file = folder / FILE_NAME
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # readable by its owner only: it will hold the filer's numbers
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
                handle.write(_TEMPLATE)
        except FileExistsError as error:
            raise ConfigError(f"{file} is there already", hint="edit it, or choose another folder") from error
        say(f"wrote {file}; next: fintel run FEED")


def synth(
    folder: Annotated[Path, typer.Argument(help="Where the feed goes; must not hold one yet.")],
    accounts: Annotated[int, typer.Option(min=200, help="Own customers' accounts; counterparties come on top.")] = 2000,
    days: Annotated[int, typer.Option(min=30, help="Days that the feed spans.")] = 90,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 7,
    format: Annotated[Format, typer.Option(help="Of the files.")] = "parquet",
) -> None:
    """Make a synthetic population with labelled schemes and their benign look-alikes.

    [dim]fintel synth demo-feed --accounts 2000 --days 90 --seed 7[/]
    """
    with errors_explained(), progress() as show:
        from fintel.feeds.synthetic import generate

        summary = generate(
            folder, accounts=accounts, days=days, seed=seed, format=format,
            progress=lambda done, of: show("days", done, of),
        )  # fmt: skip
        say(", ".join(f"{n:,} {name}" for name, n in summary.rows.items()) + f" in {folder}; next: fintel run {folder}")


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT; 'show tables' lists what there is.")],
    config: ConfigFile = None,
    lake: LakeFolder = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to print at most.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Ask any table in SQL (DuckDB, read only).

    [dim]fintel sql "select rule_id, count(*) from episodes group by 1 order by 2 desc"[/]

    [dim]fintel sql "describe entries"[/]

    What the graph says of entries is the table entry_graph; it is computed when a query names it.
    """
    with errors_explained():
        from fintel.features.entries import ENTRIES_SQL
        from fintel.store.sql import connect

        settings = settings_of(config, lake)
        frames = _graph(settings) if re.search(r"\bentry_graph\b", query, re.IGNORECASE) else {}
        with connect(settings.lake, views={"entries": ENTRIES_SQL}, frames=frames) as session:
            found = session.query(query, limit=limit + 1)
        rows = found.head(limit)
        if as_json:
            print_json(rows.to_dicts())
        else:
            numbers = [n for n, t in rows.schema.items() if t.is_numeric()]
            print_table(None, rows.columns, rows.iter_rows(), right=numbers)
        if found.height > limit:
            say(f"only the first {limit} rows; --limit shows more")


def _graph(settings: Settings) -> dict[str, pl.DataFrame]:
    """What the network of payments says of each entry: computed when a query asks for it, and never stored."""
    from fintel.graph.entry_columns import entry_graph
    from fintel.pipeline import canonical_tables
    from fintel.store.lake import Lake

    with Lake.open(settings.lake) as opened:
        return {"entry_graph": entry_graph(canonical_tables(opened)).collect()}


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (init, synth, sql):
        app.command()(command)
