"""``fintel rules filters``: what this institution leaves out, by whom, why and until when."""

from __future__ import annotations

import typer

from fintel.cli.console import errors_explained, out, print_diagnostics, print_json, print_table, say
from fintel.cli.options import AsJson, ConfigFile, LakeFolder, settings_of
from fintel.cli.rules import Folder


def filters(folder: Folder = None, config: ConfigFile = None, lake: LakeFolder = None, as_json: AsJson = False) -> None:
    """Local filters and suppressions (filters.local/ beside fintel.toml): those in effect, and what is wrong.

    Exit code 1 when an entry has an error. What has ended is told, and has no effect.
    """
    with errors_explained():
        from fintel.errors import Severity
        from fintel.pipeline import load_library, load_local_filters

        settings = settings_of(config, lake)
        if folder is not None:
            settings = settings.model_copy(update={"packs": (*settings.packs, folder.resolve())})
        library, _ = load_library(settings)
        local, found = load_local_filters(settings, library)
        narrowed = [(rule_id, where) for rule_id, wheres in local.wheres.items() for where in wheres]
        if as_json:
            print_json(
                {
                    "suppressions": [
                        {"rule": s.rule, "rules": len(s.rules), s.subject: s.value, "reason": s.reason, "by": s.by,
                         "until": s.until, "file": s.file} for s in local.suppressions
                    ],
                    "filters": [{"rule": rule_id, "where": where} for rule_id, where in narrowed],
                    "files": dict(local.files),
                    "findings": [d.as_dict() for d in found],
                }
            )  # fmt: skip
        else:
            print_diagnostics(found, to=out())
            rows = [(s.rule, f"{s.subject} {s.value}", s.reason, s.by, s.until) for s in local.suppressions]
            print_table("suppressed, scored all the same", ("rule", "whom", "reason", "by", "until"), rows)
            print_table("narrowed", ("rule", "looks only where also"), narrowed)
        errors = sum(d.severity is Severity.ERROR for d in found)
        say(f"{len(local.suppressions)} suppressions, {len(narrowed)} narrowed rules, {errors} errors")
        if errors:
            raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command to ``fintel rules``."""
    app.command()(filters)
