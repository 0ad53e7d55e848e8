"""``fintel rules …``: which rules there are, what they do, whether they are sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fintel.cli.console import errors_explained, out, print_diagnostics, print_json, print_table, say, tell
from fintel.cli.options import AsJson, ConfigFile, settings_of

if TYPE_CHECKING:
    from fintel.errors import Diagnostic
    from fintel.rules.model import Library

app = typer.Typer(no_args_is_help=True, help="Published indicators as rules: read, check, test.")

Folder = Annotated[
    Path | None, typer.Option("--folder", "-f", help="A folder of packs to look at beside the shipped ones.")
]
Chosen = Annotated[list[str] | None, typer.Argument(help="Packs or rules, for example osec or osec/some-rule.")]


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
    names = {r.id for r in library.rules} | set(library.packs)
    for name in wanted:
        if name not in names:
            raise RuleError(f"no pack or rule '{name}'", hint=did_you_mean(name, names) or "fintel rules list")
    return tuple(r.id for r in library.rules if r.id in wanted or r.pack in wanted)


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


@app.command()
def check(chosen: Chosen = None, folder: Folder = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Find what is wrong with rules: each finding with file, line, column and the nearest valid name.

    Exit code 1 when there are errors.
    """
    with errors_explained():
        from fintel.errors import Severity
        from fintel.rules.checks import check as find

        library, loading = library_of(config, folder)
        found = (*loading, *(d for d in find(library.with_components(choose(library, chosen))) if d not in loading))
        if as_json:
            print_json([d.as_dict() for d in found])
        else:
            print_diagnostics(found, to=out())
        errors = sum(d.severity is Severity.ERROR for d in found)
        say(f"{len(library.rules)} rules, {errors} errors, {len(found) - errors} other findings")
        if errors:
            raise typer.Exit(1)


@app.command("test")
def run_tests(chosen: Chosen = None, folder: Folder = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Run the cases of rules: each says what it expects and what was found.

    Exit code 1 when a case fails.
    """
    with errors_explained():
        from fintel.rules.runner import detect_tables
        from fintel.rules.testing import run_cases

        library, loading = library_of(config, folder)
        result = run_cases(library, detect_tables, rule_ids=choose(library, chosen))
        failed = [r for r in result.results if not r.passed]
        if as_json:
            print_json(
                [
                    {"rule": r.rule_id, "case": r.case, "passed": r.passed, "differences": list(r.differences)}
                    for r in result.results
                ]
            )
        else:
            print_diagnostics((*loading, *result.diagnostics), to=out())
            for r in failed:
                tell(f"{r.location}: {r.rule_id}: {r.case}")
                for difference in r.differences:
                    tell(f"    {difference}")
        say(f"{len(result.results) - len(failed)} passed, {len(failed)} failed")
        if failed or result.diagnostics or loading:
            raise typer.Exit(1)
