"""``fintel rules explain | docs``: a rule in plain words, and the reference pages of all rules."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fintel.cli.console import errors_explained, print_diagnostics, print_json, print_table, say, tell
from fintel.cli.options import AsJson, ConfigFile, LakeFolder, settings_of
from fintel.cli.rules import Folder, choose, library_of

if TYPE_CHECKING:
    from fintel.bench.explain import Explanation

Form = Literal["text", "markdown", "json"]


def explain(
    rule: Annotated[str, typer.Argument(help="Rule id.")],
    form: Annotated[Form, typer.Option("--format", help="How to print it.")] = "text",
    as_json: AsJson = False,
    folder: Folder = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
) -> None:
    """A rule in plain words: what it looks at, who published it, its numbers, an example.

    The example is the strongest episode of the latest run, with account ids and no names; without one, a case.

    [dim]fintel rules explain ml-general/fan-in[/]
    """
    with errors_explained():
        from fintel.bench.explain import explain as look
        from fintel.bench.explain_page import rule_markdown
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        library, found = library_of(config, folder)
        print_diagnostics(found)
        wanted = library[_one(choose(library, [rule]), rule)]
        if settings.lake.is_dir():
            with Lake.open(settings.lake) as store:
                explained = look(wanted, library, store)
        else:
            explained = look(wanted, library)
        if as_json or form == "json":
            print_json(asdict(explained))
        elif form == "markdown":
            tell(rule_markdown(explained).rstrip())
        else:
            _show(explained)


def _one(ids: tuple[str, ...], wanted: str) -> str:
    from fintel.errors import RuleError

    if ids != (wanted,):
        raise RuleError(f"'{wanted}' is a pack of {len(ids)} rules", hint=f"one of them, for example {ids[0]}")
    return ids[0]


def _show(explained: Explanation) -> None:
    from fintel.bench.explain_page import blocks

    tell(explained.title, style="bold")
    tell(explained.id)
    for block in blocks(explained):
        tell("")
        if block.heading:
            tell(block.heading, style="bold")
        for sentence in block.sentences:
            tell(sentence)
        for item in block.items:
            tell(f"  - {item}")
        if block.rows:
            print_table(None, block.columns, block.rows)


def docs(
    target: Annotated[Path, typer.Argument(help="Folder for packs.md and rules/<pack>.md.", file_okay=False)],
    folder: Folder = None,
    config: ConfigFile = None,
) -> None:
    """Write the reference pages of all rules: one page a pack, and packs.md with what covers which indicator.

    [dim]fintel rules docs docs/reference[/]
    """
    with errors_explained():
        from fintel.bench.explain_page import pages

        library, found = library_of(config, folder)
        print_diagnostics(found)
        written = pages(library)
        for name, text in written.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        say(f"{len(written)} pages of {len(library.rules)} rules in {target}")


def register(app: typer.Typer) -> None:
    """Put the commands under ``fintel rules``."""
    app.command()(explain)
    app.command()(docs)
