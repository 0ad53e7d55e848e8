"""``fintel rules list | show``: which rules there are, and as what they are written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fintel.cli.console import errors_explained, print_diagnostics, print_json, print_table, say, tell
from fintel.cli.options import AsJson, ConfigFile, settings_of

if TYPE_CHECKING:
    from fintel.errors import Diagnostic
    from fintel.rules.model import Library

app = typer.Typer(no_args_is_help=True, help="Published indicators as rules: read, check, test.")

Folder = Annotated[
    Path | None, typer.Option("--folder", "-f", help="A folder of packs to look at beside the shipped ones.")
]
Chosen = Annotated[
    list[str] | None, typer.Argument(help="Packs, rules or indicators: osec, osec/some-rule, FINTRAC-SHADOW-02.")
]


def library_of(config: Path | None, folder: Path | None) -> tuple[Library, tuple[Diagnostic, ...]]:
    """Shipped packs, those of the settings and those of a folder; and what was wrong with them."""
    from fintel.pipeline import load_library

    settings = settings_of(config)
    if folder is not None:
        settings = settings.model_copy(update={"packs": (*settings.packs, folder.resolve())})
    return load_library(settings)


def choose(library: Library, wanted: list[str] | None) -> tuple[str, ...]:
    """Ids of the rules that packs and rules name; all if none is named.

    Raises
    ------
    RuleError: no such pack or rule.
    """
    from fintel.errors import RuleError, did_you_mean

    if not wanted:
        return tuple(r.id for r in library.rules)
    names = {r.id for r in library.rules} | set(library.packs) | set(library.indicators)
    for name in wanted:
        if name not in names:
            hint = did_you_mean(name, names) or "fintel rules list; fintel rules coverage --all lists indicators"
            raise RuleError(f"no pack, rule or indicator '{name}'", hint=hint)
    return tuple(r.id for r in library.rules if {r.id, r.pack, *r.indicators} & set(wanted))


@app.command("list")
def list_rules(
    chosen: Chosen = None, folder: Folder = None, config: ConfigFile = None, as_json: AsJson = False
) -> None:
    """Every rule: level, typology, the indicators behind it."""
    with errors_explained():
        library, found = library_of(config, folder)
        print_diagnostics(found)
        rows = [
            (r.id, r.level, r.typology, r.status, r.title, ", ".join(r.indicators))
            for r in library.only(choose(library, chosen)).rules
        ]
        names = ("rule", "level", "typology", "status", "title", "indicators")
        if as_json:
            print_json([dict(zip(names, r, strict=True)) for r in rows])
        else:
            print_table(None, names, rows)
            say(f"{len(rows)} rules")


@app.command()
def show(
    rule: Annotated[str, typer.Argument(help="Rule id.")], folder: Folder = None, config: ConfigFile = None
) -> None:
    """A rule as it is written, with the published indicators that it makes executable."""
    with errors_explained():
        library, _ = library_of(config, folder)
        found = library[choose(library, [rule])[0]]
        tell(Path(found.location.file).read_text(encoding="utf-8"))
        for name in found.indicators:
            indicator = library.indicators[name]
            tell(f"# {name} [{indicator.grade}] {indicator.citation}")
            tell(f"#   {indicator.text}")
            if indicator.url:
                tell(f"#   {indicator.url}")
        tell(f"# logic {found.fingerprint}")
