"""``fintel dossier``: what a validator or a supervisor asks for, in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fintel.cli.console import errors_explained, print_json, say, tell
from fintel.cli.modelling import CHAMPION, find_model, models_folder
from fintel.cli.options import AsJson, ConfigFile, LakeFolder, settings_of


def dossier(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="A model's id, 'champion', 'challenger' or mlflow:ALIAS.")
    ] = CHAMPION,
    out: Annotated[Path, typer.Option("--out", help="Folder to write, new or of an earlier dossier.")] = Path(
        "dossier"
    ),
    evaluation: Annotated[
        Path | None, typer.Option("--evaluation", help="evaluation.json of fintel evaluate --out, to take in.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: make it anew and tell which files of --out differ.")
    ] = False,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Write the dossier of a model: model card, data sheet, assumptions, limits, monitoring plan, decisions.

    Clause by clause: SR 26-2, NYDFS Part 504.3, MAS, FCA, Wolfsberg II, each with an artefact and a measured
    figure, or 'not provided by software'. Markdown, and one HTML page that needs no network. The same model,
    record, feeds, rules and evaluation give the same bytes; manifest.json names them all.

    [dim]fintel dossier --out dossier/[/]     [dim]fintel dossier 5e02c96ab7e9313b --out dossier/ --check[/]
    """
    with errors_explained():
        from fintel.bench.dossier import Material, build, differences, read_evaluation, write
        from fintel.models.decisions import read_decisions
        from fintel.pipeline import load_library
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        chosen = find_model(settings, model)
        library, _ = load_library(settings)
        with Lake.open(settings.lake) as store:
            feeds = store.scan("feeds").collect()
        made = build(
            Material(
                chosen, library, read_decisions(models_folder(settings)), feeds,
                None if evaluation is None else read_evaluation(evaluation, chosen.model_id),
            )
        )  # fmt: skip
        found = differences(out, made) if check else []
        if not check:
            write(out, made)
        if as_json:
            print_json({"model_id": chosen.model_id, "folder": str(out), "files": sorted(made), "differences": found})
        elif check:
            for line in found:
                tell(line)
            say(f"{len(found)} of {len(made)} files differ" if found else f"all {len(made)} files are as they would be")
        else:
            say(f"wrote {len(made)} files to {out}; begin with {out / 'dossier.html'}")
        if found:
            raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(dossier)
