"""``fintel rules backtest``: rules over stored history."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fintel.cli.console import (
    errors_explained,
    print_diagnostics,
    print_json,
    print_table,
    progress,
    say,
    write_private,
)
from fintel.cli.options import AsJson, ConfigFile, LakeFolder, moment, settings_of
from fintel.cli.rules import Chosen, Folder, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fintel.bench.backtest import Backtest, Part, Period, Tested
    from fintel.bench.replay import Seen
    from fintel.config import Settings
    from fintel.rules.model import Library
    from fintel.store.lake import Lake

Since = Annotated[str | None, typer.Option("--from", help="First day (ISO date). Default: that of the first payment.")]
Until = Annotated[str | None, typer.Option("--to", help="Last day; nothing later is seen. Default: the last payment.")]
KnownBy = Annotated[
    str | None, typer.Option("--known-by", help="Use only labels known by this day. Default: all labels.")
]


def backtest(
    chosen: Chosen = None,
    since: Since = None,
    until: Until = None,
    known_by: KnownBy = None,
    repeat: Annotated[
        int, typer.Option("--repeat", min=0, max=60, help="Run also at this many month ends: what was new each time.")
    ] = 0,
    alone: Annotated[
        bool, typer.Option("--alone", help="Run the chosen rules only: faster, overlap among themselves.")
    ] = False,
    shared: Annotated[
        bool, typer.Option("--shared", help="Take rules as they are shared, not as filters.local/ narrows them.")
    ] = False,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page with a picture here.")] = None,
    record: Annotated[Path | None, typer.Option("--record", help="Write the record that promote reads here.")] = None,
    folder: Folder = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """What rules would have shown over stored payments, and how often they were right.

    Alerted own accounts a month, overlap with other rules, precision and recall with 95 % intervals
    where labels exist and [bold]unlabelled[/] where they don't, false alarms beside each rule's budget.

    [dim]fintel rules backtest osec --from 2025-01-01 --to 2025-03-31 --html osec.html[/]

    [dim]fintel rules backtest ml-general/fan-in --repeat 3[/]
    """
    with errors_explained():
        from fintel.bench.backtest import backtest as run
        from fintel.bench.backtest_told import as_dict, backtest_page, record_text
        from fintel.bench.known import standings
        from fintel.bench.replay import replay
        from fintel.pipeline import canonical_tables, require_current_amounts
        from fintel.store.lake import Lake

        _check_target(page, ".html")
        _check_target(record, ".json")
        settings = settings_of(config, lake)
        library, wanted = library_and_rules(settings, folder, chosen, alone=alone, shared=shared)
        with Lake.open(settings.lake) as store, progress() as show:
            require_current_amounts(store, settings)
            tables = canonical_tables(store)
            period = period_of(store, since, until)
            if repeat > period.months:
                raise _too_often(repeat, period)
            known = standings(tables, period.since, period.until, moment(known_by))
            options: dict[str, Any] = {
                "base_currency": settings.base_currency, "threads": settings.threads, "progress": show,
            }  # fmt: skip
            found = run(tables, library, wanted, period, known, **options)
            seen = replay(tables, library, wanted, period, known, repeat, **options) if repeat else ()
            told = as_dict(found, library, seen, store.scan("feeds").collect()["feed_id"].unique().sort().to_list())
        if record is not None:
            write_private(record, record_text(told))
            say(f"wrote {record}")
        if page is not None:
            text, lacking = backtest_page(found)
            write_private(page, text)
            say(f"wrote {page}" + (f"; {lacking}" if lacking else ""))
        if as_json:
            print_json(told)
        else:
            _show(found, seen)


def library_and_rules(
    settings: Settings, folder: Path | None, chosen: list[str] | None, *, alone: bool, shared: bool
) -> tuple[Library, tuple[str, ...]]:
    """What to run and what to judge: of packs, the rules that are not deprecated; narrowed by local filters."""
    from fintel.pipeline import load_library, load_local_filters

    if folder is not None:
        settings = settings.model_copy(update={"packs": (*settings.packs, folder.resolve())})
    library, found = load_library(settings)
    if not shared:
        local, wrong = load_local_filters(settings, library)
        found += wrong
        library = local.filtered(library)
        if local.narrowed:
            say(f"{len(local.narrowed):,} rules are narrowed by filters.local/ (--shared takes them as they are)")
    print_diagnostics(found)
    current = {r.id for r in library.rules if r.status != "deprecated"}
    wanted = tuple(r for r in choose(library, chosen) if r in current or r in (chosen or ()))
    return library.with_components(wanted if alone else {*wanted, *current}), wanted


def period_of(store: Lake, since: str | None, until: str | None) -> Period:
    """The period that two options name.

    Raises
    ------
    ConfigError: not dates, or no payment in it.
    """
    import polars as pl

    from fintel.bench.backtest import Period
    from fintel.errors import ConfigError

    booked = store.scan("transactions").select(first=pl.col("booked_at").min(), last=pl.col("booked_at").max())
    first, last = booked.collect(engine="streaming").row(0)
    begin = _day(since) if since else first
    end = moment(until) or last
    if first is None or begin is None or not begin < end or begin > last or end < first:
        within = (
            "the lake holds no payments" if first is None else f"payments are from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
        )
        raise ConfigError("no payments in this period", hint=within)
    return Period(begin, end)


def _day(text: str) -> datetime | None:
    from fintel.errors import ConfigError

    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"'{text}' is not an ISO date or time", hint="for example 2025-06-30") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _too_often(repeat: int, period: Period) -> Exception:
    from fintel.errors import ConfigError

    return ConfigError(f"the period has {period.months} months, not {repeat}", hint=f"--repeat {period.months}")


def _check_target(path: Path | None, suffix: str) -> None:
    from fintel.errors import ConfigError

    if path is not None and path.suffix != suffix:
        raise ConfigError(f"{path.name} must end in {suffix}")
    if path is not None and not path.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}")


# -- tables


def _show(found: Backtest, seen: Sequence[Seen]) -> None:
    period = found.period
    title = (
        f"{period.since:%Y-%m-%d} to {period.until:%Y-%m-%d} ({period.days:.0f} days), "
        f"{found.standings.own:,} own accounts"
    )
    shown = [r for r in found.rules if r.told and (r.subjects or len(found.rules) <= 12)]
    shown.sort(key=lambda r: (-r.subjects, r.name))
    together = [found.total] if len(found.rules) > 1 else []
    columns = ("rule", "hits", "episodes", "accounts", "accounts by month", "found by it alone")
    rows = [
        (
            r.name,
            r.hits,
            r.episodes,
            r.subjects,
            " ".join(f"{n:,}" for n in r.months),
            None if r in together else r.alone,
        )
        for r in (*shown, *together)
    ]
    print_table(title, columns, rows, right=(*columns[1:4], columns[5]))
    columns = ("rule", "labels of the accounts", "precision", "recall", "false", "budget")
    print_table("how good", columns, [_quality_row(r) for r in (*shown, *together)], right=("false",))
    silent = sum(r.told for r in found.rules) - len(shown)
    if silent:
        say(f"{silent:,} rules found nobody")
    blind = [(r.name, str(r.outcome), r.reason) for r in found.rules if not r.told]
    if blind:
        print_table("rules that cannot tell", ("rule", "outcome", "why"), blind)
    over = [r.name for r in found.rules if r.verdict == "over"]
    if len(found.rules) == 1 and found.rules[0].told:
        _show_one(found.rules[0])
    elif found.total.quality is not None:
        _show_overlaps(found.rules)
        _show_parts("all together", found.total.segments, found.total.jurisdictions)
    _show_seen(seen)
    if over:
        say(f"over their budget: {', '.join(over)}")
    for note in found.notes:
        say(f"note: {note}")
    say("false: alerted own accounts that are not known as suspicious or victims, per 10,000 own accounts and 30 days")


def _quality_row(tested: Tested) -> tuple[Any, ...]:
    from fintel.bench.backtest_told import labels_told, told

    quality = tested.quality
    assert quality is not None  # only rules that could see are shown here
    budget = "–" if tested.budget is None else f"{tested.verdict} {tested.budget:g}"
    labels = labels_told(quality) if tested.subjects else ""
    return tested.name, labels, told(quality.precision), told(quality.recall), tested.rate, budget


def _show_one(tested: Tested) -> None:
    quality = tested.quality
    if quality is not None and quality.floor.of and quality.unlabelled:
        say(f"precision if every unlabelled account is a false alarm: {quality.floor}")
    overlaps = [(o.rule_id, o.shared, o.jaccard) for o in tested.overlaps]
    if overlaps:
        print_table("found by these too", ("rule", "accounts shared", "Jaccard"), overlaps, right=("accounts shared",))
    _show_parts(tested.name, tested.segments, tested.jurisdictions)


def _show_overlaps(rules: Sequence[Tested]) -> None:
    pairs = {(min(r.name, o.rule_id), max(r.name, o.rule_id)): (o.shared, o.jaccard) for r in rules for o in r.overlaps}
    ordered = sorted(pairs.items(), key=lambda item: (-item[1][1], item[0]))[:10]
    rows = [(*names, *found) for names, found in ordered]
    if rows:
        print_table("most alike", ("rule", "and rule", "accounts shared", "Jaccard"), rows, right=("accounts shared",))


def _show_parts(name: str, segments: Sequence[Part], jurisdictions: Sequence[Part]) -> None:
    from fintel.bench.known import UNLABELLED

    for title, parts in (("segment", segments), ("jurisdiction", jurisdictions)):
        rows = [
            (p.name, p.own, p.subjects, UNLABELLED if p.precision is None else str(p.precision.shown),
             "too few accounts" if p.rate is None else p.rate,
             "" if p.precision is None else p.precision.fallback) for p in parts
        ]  # fmt: skip
        if rows:
            columns = (title, "own accounts", "alerted", "precision", "false", "precision is that of the")
            print_table(f"{name}, by {title}", columns, rows, right=columns[1:3])


def _show_seen(seen: Sequence[Seen]) -> None:
    rows = [(s.name, f"{s.until:%Y-%m-%d}", s.subjects, s.new, s.hindsight) for s in seen if s.subjects or s.hindsight]
    if rows:
        columns = ("rule", "run as of", "accounts of the month", "new", "only in hindsight")
        print_table("what each month end would have shown", columns, rows, right=columns[2:])
    elif seen:
        say("at none of the month ends would anybody have been shown")


def register(app: typer.Typer) -> None:
    """Add the command to ``fintel rules``."""
    app.command()(backtest)
