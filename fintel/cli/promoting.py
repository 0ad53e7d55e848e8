"""``fintel rules promote``: the next status of a rule, if every gate is open."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fintel.cli.console import errors_explained, print_json, print_table, progress, say, short_path, tell
from fintel.cli.options import AsJson, ConfigFile, LakeFolder, settings_of
from fintel.cli.proving import known_exclusions
from fintel.cli.rules import Folder, choose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fintel.bench.promotion import Evidence
    from fintel.config import Settings
    from fintel.rules.model import Library, Rule
    from fintel.store.lake import Lake


def promote(
    rule: Annotated[str, typer.Argument(help="Rule id, for example osec/low-value-sends-few-recipients.")],
    to: Annotated[str, typer.Option("--to", help="test, stable or deprecated.")],
    by: Annotated[str, typer.Option("--by", help="Who promotes it.")] = "",
    second: Annotated[str, typer.Option("--second", help="Who has looked at it too: another person.")] = "",
    record: Annotated[
        Path | None,
        typer.Option("--record", help="Backtest to go by (rules backtest --record). Default: run now on the lake."),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", help="A folder of packs of your own; needed for rules that came with fintel."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which gates are open; write nothing.")] = False,
    folder: Folder = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Give a rule its next status: experimental → test → stable → deprecated.

    Gates: its cases pass (a hit, a near miss and one that cannot tell among them), check finds nothing, a
    backtest of this very logic keeps the budget, two people are named; for stable also 30 days of payments
    seen in status test. Exit code 1, with every gate that is shut, where one is.

    [dim]fintel rules promote my/rule --to test --by "A. Analyst" --second "B. Reviewer" --dry-run[/]
    """
    with errors_explained():
        from contextlib import ExitStack

        from fintel.bench.promotion import gates, promoted_version, promotion_line
        from fintel.bench.rewriting import write_status
        from fintel.errors import ConfigError, did_you_mean
        from fintel.pipeline import load_library
        from fintel.rules.model import STATUSES
        from fintel.rules.runner import detect_tables
        from fintel.store.lake import Lake

        if to not in STATUSES[1:]:
            raise ConfigError(f"no status '{to}' to promote to", hint=did_you_mean(to, STATUSES[1:]) or "test, stable")
        settings = settings_of(config, lake)
        if folder is not None:
            settings = settings.model_copy(update={"packs": (*settings.packs, folder.resolve())})
        library, loading = load_library(settings)
        subject = _one(library, rule)
        with ExitStack() as open_lake:
            store = open_lake.enter_context(Lake.open(settings.lake)) if settings.lake.is_dir() else None
            evidence = None if to == "deprecated" else _evidence(subject, library, settings, store, record)
            found = gates(
                subject, library, to, by=by, second=second, detect=detect_tables,
                loading=loading, exclusions=known_exclusions(None, folder, config)[1], evidence=evidence, lake=store,
            )  # fmt: skip
        shut = [g for g in found if not g.open]
        written = None
        if not shut and not dry_run:
            version = promoted_version(subject, into)
            line = promotion_line(subject, to, version, by, second, datetime.now(UTC).date(), evidence)
            written = write_status(subject, to, version, line, to=into, option="--into")
        if as_json:
            print_json(
                {
                    "rule": subject.id, "status": subject.status, "to": to, "logic": subject.fingerprint,
                    "gates": [{"gate": g.name, "open": g.open, "said": g.said} for g in found], "open": not shut,
                    "written": None if written is None else {"file": str(written.file), "changelog": written.line},
                }
            )  # fmt: skip
        else:
            rows = [("open" if g.open else "SHUT", g.name, g.said) for g in found]
            print_table(f"{subject.id}: {subject.status} → {to}", ("", "gate", "what was found"), rows)
            if written is not None:
                tell(f"wrote {short_path(written.file)}: {written.line}")
        if shut:
            say(f"{subject.id} stays {subject.status}: {len(shut)} of {len(found)} gates are shut")
            raise typer.Exit(1)
        if dry_run:
            say(f"all {len(found)} gates are open; nothing was written")


def _one(library: Library, wanted: str) -> Rule:
    from fintel.errors import RuleError

    (found, *more) = choose(library, [wanted])
    if more or found != wanted:
        raise RuleError(f"'{wanted}' is a pack", hint="one rule is promoted at a time")
    return library[found]


def _evidence(
    rule: Rule, library: Library, settings: Settings, store: Lake | None, record: Path | None
) -> Evidence | None:
    """Of the record, else of a backtest over all payments of the lake; None where there is neither."""
    from fintel.bench.promotion import evidence_of, read_record

    if record is not None:
        return evidence_of(read_record(record), rule.id, record.name)
    if store is None or not store.count("transactions"):
        return None
    return evidence_of(_backtest(rule, library, settings, store), rule.id, "a backtest run now")


def _backtest(rule: Rule, library: Library, settings: Settings, store: Lake) -> Mapping[str, object]:
    from fintel.bench.backtest import backtest
    from fintel.bench.backtest_told import as_dict
    from fintel.bench.known import standings
    from fintel.cli.backtesting import period_of
    from fintel.pipeline import canonical_tables, require_current_amounts

    require_current_amounts(store, settings)
    tables, period = canonical_tables(store), period_of(store, None, None)
    with progress() as show:
        found = backtest(
            tables, library.with_components((rule.id,)), (rule.id,), period,
            standings(tables, period.since, period.until),
            base_currency=settings.base_currency, threads=settings.threads, progress=show,
        )  # fmt: skip
    return as_dict(found, library)


def register(app: typer.Typer) -> None:
    """Add the command to ``fintel rules``."""
    app.command()(promote)
