"""``fintel rules transition``: alerts of the system in use beside ours."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fintel.cli.backtesting import KnownBy, Since, Until, period_of
from fintel.cli.console import (
    errors_explained,
    print_diagnostics,
    print_json,
    print_table,
    progress,
    say,
    write_private,
)
from fintel.cli.options import AsJson, ConfigFile, LakeFolder, RunId, moment, settings_of

if TYPE_CHECKING:
    import polars as pl

    from fintel.bench.backtest import Period
    from fintel.bench.old_alerts import OldAlerts
    from fintel.bench.transition import Transition
    from fintel.config import Settings
    from fintel.store.lake import Lake


def transition(
    old: Annotated[Path, typer.Argument(help="CSV with account_id and alerted_at, and if known rule and disposition.")],
    budget: Annotated[
        int | None, typer.Option("--budget", "-n", min=1, help="How many of our accounts. Default: as many as the old.")
    ] = None,
    since: Since = None,
    until: Until = None,
    known_by: KnownBy = None,
    sheets: Annotated[
        Path | None, typer.Option("--sheets", help="Folder for a sheet (CSV) of each set, for people to judge.")
    ] = None,
    each: Annotated[int, typer.Option(min=1, max=100_000, help="Accounts in each sheet, drawn by lot.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the lot.")] = 7,
    run: RunId = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run the rules now instead of reading a run.")] = False,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Which accounts the system in use and fintel both alert, which only one of them, and how good each set is.

    Our accounts come from the latest run (or --run, or --fresh), as many as the old system alerted in the same
    period. Precision needs labels, or dispositions in the file; else [bold]unlabelled[/]. Rows that cannot be
    read are told with their line and left out: exit code 1.

    [dim]fintel rules transition old-alerts.csv --sheets review/[/]
    """
    with errors_explained():
        from fintel.bench.known import standings
        from fintel.bench.old_alerts import read_old_alerts
        from fintel.bench.transition import as_dict, compare
        from fintel.errors import ConfigError
        from fintel.pipeline import canonical_tables
        from fintel.store.lake import Lake

        if run and fresh:
            raise ConfigError("--run and --fresh exclude each other")
        theirs = read_old_alerts(old)
        settings = settings_of(config, lake)
        with Lake.open(settings.lake) as store:
            period = _period(store, theirs, since, until)
            alerts, episodes, end = _ours(store, settings, period, run, fresh)
            if end < period.until:
                period = _until(period, end)
            known = standings(canonical_tables(store), period.since, period.until, moment(known_by))
        found = compare(theirs.alerts, alerts, episodes, known, period, budget=budget)
        written = {} if sheets is None else _write_sheets(found, sheets, each, seed)
        if as_json:
            told = as_dict(found)
            rows = {"read": theirs.rows, "left_out": theirs.bad, "findings": [d.as_dict() for d in theirs.findings],
                    "unknown_dispositions": list(theirs.unknown)}  # fmt: skip
            print_json({**told, "rows": rows, "sheets": written})
        else:
            _show(found)
        print_diagnostics(theirs.findings)
        if theirs.unknown:
            say(f"dispositions that count as none: {', '.join(w[:40] for w in theirs.unknown[:10])}")
        for name, count in written.items():
            say(f"{count:,} accounts to judge in {name}")
        if theirs.bad:
            say(f"{theirs.bad:,} of {theirs.rows:,} rows cannot be read and were left out")
            raise typer.Exit(1)


def _period(store: Lake, theirs: OldAlerts, since: str | None, until: str | None) -> Period:
    """What the options say; else the days that both the payments and the old alerts cover."""
    from fintel.bench.backtest import Period
    from fintel.errors import ConfigError

    first, last = theirs.alerts["alerted_at"].min(), theirs.alerts["alerted_at"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)  # the reader gives at least one
    payments = period_of(store, None, None)
    named = period_of(store, since, until)
    begin = named.since if since else max(payments.since, datetime.combine(first, time.min, first.tzinfo))
    end = named.until if until else min(payments.until, datetime.combine(last, time.max, last.tzinfo))
    if begin >= end:
        raise ConfigError(
            f"the old alerts are of {first:%Y-%m-%d} to {last:%Y-%m-%d}, "
            f"payments of {payments.since:%Y-%m-%d} to {payments.until:%Y-%m-%d}",
            hint="--from and --to name a period that both cover",
        )
    return Period(begin, end)


def _until(period: Period, end: datetime) -> Period:
    from fintel.bench.backtest import Period
    from fintel.errors import ConfigError

    if end <= period.since + timedelta(days=1):
        raise ConfigError(f"the run sees nothing after {end:%Y-%m-%d %H:%M}", hint="--fresh, or another --run")
    say(f"the run sees nothing after {end:%Y-%m-%d %H:%M}: the comparison ends there")
    return Period(period.since, end)


def _ours(
    store: Lake, settings: Settings, period: Period, run: str | None, fresh: bool
) -> tuple[pl.DataFrame, pl.DataFrame, datetime]:
    """Alerts that are not suppressed, and episodes; and when the run ends."""
    from fintel.ranking import unsuppressed

    runs = {r.run_id: r for r in store.runs()}
    latest = store.latest_run()
    chosen = run or (None if fresh or latest is None else latest.run_id)
    if chosen is None:
        say("running the rules now" + ("" if fresh else ": there is no run yet"))
        return (*_now(store, settings, period), period.until)
    alerts, episodes = (store.run_table(chosen, name).collect() for name in ("alerts", "episodes"))
    return unsuppressed(alerts), episodes, runs[chosen].as_of


def _now(store: Lake, settings: Settings, period: Period) -> tuple[pl.DataFrame, pl.DataFrame]:
    from fintel.pipeline import (
        canonical_tables,
        current_rules,
        load_library,
        load_local_filters,
        require_current_amounts,
    )
    from fintel.ranking import rank
    from fintel.rules.runner import detect_tables

    require_current_amounts(store, settings)
    library, found = load_library(settings)
    local, wrong = load_local_filters(settings, library)
    print_diagnostics((*found, *wrong))
    with progress() as show:
        episodes = detect_tables(
            canonical_tables(store), local.filtered(current_rules(library)), base_currency=settings.base_currency,
            as_of=period.until, threads=settings.threads, progress=show,
        ).episodes  # fmt: skip
    accounts = store.scan("accounts").select("account_id", "party_id", "holding").collect()
    return rank(episodes, accounts, run_id="now", prior=settings.ranking.prior).alerts, episodes


def _write_sheets(found: Transition, folder: Path, each: int, seed: int) -> dict[str, int]:
    from fintel.bench.transition import SETS, sheet

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = {}
    for name in SETS:
        text, rows = sheet(found, name, each=each, seed=seed)
        path = folder / f"{name.replace(' ', '-')}.csv"
        # the mark tells spreadsheets that it is UTF-8
        write_private(path, "\ufeff" + text)
        written[str(path)] = rows
    return written


def _show(found: Transition) -> None:
    from fintel.bench.backtest_told import told
    from fintel.bench.transition import SETS

    period = found.period
    title = f"{period.since:%Y-%m-%d} to {period.until:%Y-%m-%d}, {found.budget:,} of our accounts at most"
    columns = ("set", "accounts", "suspicious", "victims", "cleared", "unlabelled", "precision")
    rows = [
        (p.name, p.accounts, p.suspicious, p.victims, p.cleared, p.unlabelled, told(p.precision)) for p in found.parts
    ]
    print_table(title, columns, rows, right=columns[1:6])
    if found.recall:
        print_table(
            "of the suspicious accounts",
            ("found by", "share"),
            [("old", str(found.recall["old"])), ("ours", str(found.recall["new"]))],
        )
    kinds = [(p.name, _counted(p.typologies), _counted(p.old_rules)) for p in found.parts]
    print_table("what they are about", ("set", "our typologies", "old rules"), kinds)
    months = [(f"{end:%Y-%m-%d}", *row) for end, row in zip(period.ends, found.months, strict=True)]
    print_table("by month of the first alert", ("30 days up to", *SETS), months, right=SETS)
    if found.days is not None:
        when = (
            "on the same day"
            if found.days == 0
            else f"{abs(found.days):g} days {'earlier' if found.days < 0 else 'later'}"
        )
        say(
            f"where both alert, ours comes {when} in the median: {found.earlier:,} earlier, {found.same_day:,} on the "
            f"same day, {found.later:,} later (ours by the peak of the first episode)"
        )
    say(f"{found.below:,} accounts that only the old system alerts have a reason of ours too, further down the queue")
    if found.strangers:
        say(f"{found.strangers:,} alerted accounts of the old system are no own accounts of this lake and are left out")
    for note in found.notes:
        say(f"note: {note}")


def _counted(rows: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in rows)


def register(app: typer.Typer) -> None:
    """Add the command to ``fintel rules``."""
    app.command()(transition)
