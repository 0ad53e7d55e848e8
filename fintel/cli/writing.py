"""``fintel rules new | schema``: a rule to begin with, and what editors need to help with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fintel.cli.console import errors_explained, print_json, say, short_path, tell
from fintel.cli.options import AsJson, ConfigFile
from fintel.cli.rules import library_of


def new(
    name: Annotated[str, typer.Argument(help="pack/name of the rule; the pack is made if it is not there.")],
    form: Annotated[
        str,
        typer.Option("--form", help="window, sequence, baseline, peers, keyword, shared or correlation."),
    ] = "window",
    indicator: Annotated[
        str | None,
        typer.Option("--indicator", "-i", help="Id of the catalogue; default: one of your own, to be filled in."),
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", "-f", help="Your folder of packs.")] = Path("my-rules"),
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Write a rule and its cases to begin with: they pass check and test as they are.

    What is yours to say is marked 'change me'. A second one of the same form has the logic of the first, and check
    says so (R012), until a number of one is changed. Nothing that is there already is touched.
    """
    with errors_explained():
        from fintel.bench.scaffold import alike, scaffold

        library, _ = library_of(config, folder if folder.is_dir() else None)
        made = scaffold(folder, name, form=form, library=library, indicator=indicator)
        if as_json:
            print_json([str(path) for path in made])
        else:
            for path in made:
                tell(short_path(path.resolve()))
        for rule, other in alike(made, library_of(config, folder)[0]):
            say(f"{rule} begins with the very logic of {other}: check says R012 until a number of one is changed")
        where = short_path(folder.resolve())
        pack = name.partition("/")[0]
        say(f"Search them for 'change me'. Then: fintel rules check {pack} -f {where}, and test in the same way")
        say(f'So that runs use it, name the folder in fintel.toml: packs = ["{where}"]')


def schema(
    name: Annotated[
        str | None, typer.Argument(help="rule, cases, list, conditions, indicators, pack or exclusions; default: all.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write NAME.json files instead of printing.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", "-f", help="Where to write; default: where fintel ships them.")
    ] = None,
) -> None:
    """JSON Schemas of the YAML files of packs, for editors."""
    with errors_explained():
        import fintel
        from fintel.bench.schemas import SCHEMA_FOLDER, schemas, written_schemas
        from fintel.errors import RuleError, did_you_mean

        found = schemas()
        if name is not None and name not in found:
            raise RuleError(f"no schema '{name}'", hint=did_you_mean(name, found) or f"one of: {', '.join(found)}")
        if not write:
            print_json(found if name is None else found[name])
            return
        target = folder or Path(fintel.__file__).parent / SCHEMA_FOLDER
        target.mkdir(parents=True, exist_ok=True)
        for each, text in written_schemas().items():
            if name in (None, each):
                (target / f"{each}.json").write_text(text, encoding="utf-8")
                tell(short_path((target / f"{each}.json").resolve()))


def register(app: typer.Typer) -> None:
    """Add the commands to ``fintel rules``."""
    app.command()(new)
    app.command()(schema)
