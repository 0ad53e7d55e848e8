"""``fintel feed …``: what comes in, what became of it, and how to read something new."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fintel.cli.console import errors_explained, out, print_json, print_table, progress, say
from fintel.cli.options import AsJson, ConfigFile, LakeFolder, mapping_for, settings_of

app = typer.Typer(no_args_is_help=True, help="Read feeds into the lake; see what was refused and why.")

MappingName = Annotated[
    str | None, typer.Option("--mapping", "-m", help="Name of a shipped mapping, or a YAML file. Default: recognised.")
]
SourceName = Annotated[
    str | None, typer.Option("--source", help="Name of the source system; the first part of every id it brings.")
]


@app.command()
def add(
    path: Annotated[Path, typer.Argument(help="File or folder.")],
    mapping: MappingName = None,
    source: SourceName = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Read a feed into the lake. The same feed again adds nothing; new rows of it are added.

    [dim]fintel feed add payments.csv --mapping my-bank.yaml[/]
    """
    with errors_explained():
        from fintel.pipeline import ingest
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        chosen = mapping_for(path, mapping)
        with Lake.create_or_open(settings.lake) as store, progress() as show:
            commits = ingest(store, path, chosen, settings, source=source, progress=show)
        rows = [
            (c.target, c.read, c.accepted, c.duplicates, c.rejected, c.skipped, "read before" if c.repeated else "")
            for c in commits
        ]
        names = ("table", "read", "accepted", "duplicates", "rejected", "skipped", "note")
        if as_json:
            print_json([dict(zip(names, r, strict=True)) for r in rows])
        else:
            print_table(f"{path.name} by mapping '{chosen.mapping}'", names, rows, right=names[1:6])
        if any(c.rejected for c in commits):
            say("fintel feed report shows the rejected rows")


@app.command()
def rates(
    file: Annotated[Path, typer.Argument(help="Columns date, currency, base, rate: base for one unit.")],
    config: ConfigFile = None,
    lake: LakeFolder = None,
) -> None:
    """Add exchange rates and convert the payments that are there.

    A line such as 2025-01-01,EUR,USD,1.04 holds from its day until the next one of that currency.
    """
    with errors_explained():
        from fintel.feeds import mapping_loader
        from fintel.pipeline import ingest
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        with Lake.create_or_open(settings.lake) as store, progress() as show:
            commits = ingest(store, {"rates": file}, mapping_loader.load("fintel"), settings, progress=show)
            bare = store.scan("transactions").select("amount_base").collect(engine="streaming")["amount_base"]
        say(f"{sum(c.accepted for c in commits):,} rates added; {bare.null_count():,} payments have no rate")


@app.command()
def convert(config: ConfigFile = None, lake: LakeFolder = None) -> None:
    """Compute amounts in the base currency anew, after base_currency has changed."""
    with errors_explained():
        from fintel.pipeline import convert_amounts
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        with Lake.create_or_open(settings.lake) as store, progress() as show:
            show("converting amounts", 0, 0)
            convert_amounts(store, settings)
        say(f"amounts are in {settings.base_currency}")


@app.command()
def report(
    examples: Annotated[int, typer.Option(min=0, help="Rejected rows to show for each reason.")] = 3,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """What every feed brought, and the rows that were refused: reason, file, line, value, hint."""
    with errors_explained():
        import polars as pl

        from fintel.store.lake import Lake

        with Lake.open(settings_of(config, lake).lake) as store:
            feeds = store.scan("feeds").sort("read_at", "source_file", "target").collect()
            refused = store.scan("quarantine")
            reasons = (
                refused.group_by("source_file", "target", "code", "column")
                .agg(rows=pl.len(), message=pl.col("message").first(), hint=pl.col("hint").first())
                .sort("rows", "source_file", "code", descending=[True, False, False])
                .collect()
            )
            shown = (
                refused.sort("source_file", "source_row")
                .group_by("source_file", "target", "code", "column", maintain_order=True)
                .head(examples)
                .collect()
            )
        if as_json:
            print_json({"feeds": feeds.to_dicts(), "reasons": reasons.to_dicts(), "examples": shown.to_dicts()})
            return
        counts = ("rows_read", "rows_accepted", "rows_duplicate", "rows_rejected", "rows_skipped")
        names = ("source_file", "mapping", "target", *counts)
        print_table("feeds", names, feeds.select(names).iter_rows(), right=counts)
        if not reasons.is_empty():
            columns = ("rows", "code", "source_file", "target", "column", "message", "hint")
            print_table("refused", columns, reasons.select(columns).iter_rows(), right=("rows",))
            lines = ("source_file", "source_row", "code", "column", "value")
            print_table("examples", lines, shown.select(lines).iter_rows(), right=("source_row",))


@app.command()
def sniff(
    path: Annotated[Path, typer.Argument(help="A CSV, Parquet or JSON Lines file that no mapping fits.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the proposed mapping here.")] = None,
) -> None:
    """Propose a mapping for an unknown file, and say what is unsure.

    [dim]fintel feed sniff export.csv -o my-bank.yaml[/]
    """
    with errors_explained():
        from fintel.errors import FeedError
        from fintel.feeds.sniff import sniff as propose

        proposal = propose(path)
        if output is None:
            out().out(proposal.yaml, highlight=False)
        else:
            if output.exists():
                raise FeedError(f"{output} is there already", hint="choose another name")
            output.write_text(proposal.yaml, encoding="utf-8")
            say(f"wrote {output}; read it, then: fintel feed add {path} --mapping {output}")
        for doubt in proposal.doubts:
            say(f"unsure: {doubt}")
        unused = [g.name or f"column {g.position}" for g in proposal.guesses if g.target is None]
        if unused:
            say(f"not used: {', '.join(unused)}; if one of them matters (an account, a time), add it to the mapping")


@app.command()
def mappings() -> None:
    """The shipped mappings; [dim]fintel feed mapping NAME[/] prints one to start from."""
    with errors_explained():
        from fintel.feeds import mapping_loader

        rows = []
        for name in mapping_loader.shipped():
            chosen = mapping_loader.load(name)
            rows.append((name, chosen.description))
        print_table(None, ("mapping", "what it reads"), rows)
        say("for a feed of your own: fintel feed sniff FILE, or fintel feed mapping template")


@app.command()
def mapping(name: Annotated[str, typer.Argument(help="A shipped mapping, for example 'template'.")]) -> None:
    """Print a shipped mapping."""
    with errors_explained():
        from fintel.feeds import mapping_loader

        out().out(mapping_loader.load(name).text, highlight=False)
