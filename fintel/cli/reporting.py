"""``fintel report``: the DRAFT of an alert, for a person to decide on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fintel.cli.console import errors_explained, print_diagnostics, print_json, print_table, short_path, tell
from fintel.cli.options import AsJson, ConfigFile, LakeFolder, RunId, settings_of

if TYPE_CHECKING:
    from fintel.reports.bundle import DraftFiles


def show_draft(files: DraftFiles) -> None:
    """Where a draft lies, what it lacks and what its checks found."""
    for path in (files.html, files.xml, files.csv, files.json):
        tell(short_path(path))
    if files.missing:
        rows = [(m.setting, m.where, m.why) for m in files.missing]
        print_table("not known, so left out", ("setting or column", "where it belongs", "why"), rows)
    print_diagnostics(files.findings)


def report(
    alert: Annotated[str, typer.Argument(help="Account id, alert id, or rank.")],
    xsd: Annotated[
        Path | None, typer.Option("--xsd", help="FinCEN's SAR schema; the XML is validated against it too.")
    ] = None,
    run: RunId = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Write the DRAFT report of an alert: FinCEN SAR XML, a page to read, the payments, a sidecar.

    Nothing is sent anywhere. What the filer's settings lack is named, not invented.

    [dim]fintel report 1[/]     [dim]fintel report ACC-0042 --xsd EFL_SARXBatchSchema.xsd[/]
    """
    with errors_explained():
        from fintel.pipeline import draft, load_library
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        library, _ = load_library(settings)
        with Lake.open(settings.lake) as store:
            files = draft(store, settings, library, alert, run_id=run, schema=xsd)
        if as_json:
            print_json(
                {
                    "html": str(files.html), "xml": str(files.xml), "csv": str(files.csv), "json": str(files.json),
                    "complete": files.complete,
                    "missing": [{"setting": m.setting, "where": m.where, "why": m.why} for m in files.missing],
                    "findings": [f.as_dict() for f in files.findings],
                }
            )  # fmt: skip
        else:
            show_draft(files)
        if not files.complete:
            raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)
