"""``fintel rules sql``: a rule as one SQL query, for people who want to check what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fintel.cli.console import errors_explained, print_diagnostics, tell
from fintel.cli.options import ConfigFile, settings_of

#: How a rule is written as SQL.
FORMS = ("joins", "windows")


def sql(
    rule: Annotated[str, typer.Argument(help="Rule id.")],
    form: Annotated[
        str,
        typer.Option(help="'joins': as it is defined. 'windows': with window functions, as for large tables."),
    ] = "joins",
    folder: Annotated[
        Path | None, typer.Option("--folder", "-f", help="A folder of packs to look at beside the shipped ones.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """A rule as one query (DuckDB) over the view `entries`: account, entry and values of each hit.

    Thresholds are in the base currency, at the rounded rates that ship with the packs. The words that a rule
    looks for are boolean columns, which `fintel sql` does not have: the first lines of the query name them.
    """
    with errors_explained():
        from fintel.errors import RuleError, did_you_mean
        from fintel.pipeline import load_library
        from fintel.rules.expression import mention_column
        from fintel.rules.restatement import mentions_of, sql_of, windows_sql_of

        if form not in FORMS:
            raise RuleError(f"no form '{form}'", hint=f"one of: {', '.join(FORMS)}")
        settings = settings_of(config)
        if folder is not None:
            settings = settings.model_copy(update={"packs": (*settings.packs, folder.resolve())})
        library, found = load_library(settings)
        print_diagnostics(found)
        names = [r.id for r in library.rules]
        if rule not in names:
            raise RuleError(f"no rule '{rule}'", hint=did_you_mean(rule, names) or "fintel rules list")
        write = sql_of if form == "joins" else windows_sql_of
        base = settings.base_currency
        tell(write(library[rule], library, base_currency=base).rstrip())
        for column, name in sorted(mentions_of(library[rule], library, base_currency=base)):
            tell(f"-- {mention_column(column, name)}: whether {column} mentions a term of the list '{name}'")
