"""``fintel detect | rank | explain | run``: rules, the queue, why an account stands where it does."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fintel.cli.console import (
    errors_explained,
    out,
    print_diagnostics,
    print_json,
    print_table,
    progress,
    say,
    short_path,
    tell,
    visible,
    write_private,
)
from fintel.cli.options import AsJson, AsOf, ConfigFile, LakeFolder, RunId, mapping_for, moment, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from fintel.config import Settings
    from fintel.domain.feed import Commit
    from fintel.pipeline import Summary
    from fintel.store.lake import Lake

#: Payments of a motif that are shown.
_STEPS = 12
Budget = Annotated[int | None, typer.Option("--budget", "-n", min=1, help="Alerts to show; default: the settings'.")]
External = Annotated[bool, typer.Option("--external", help="Rank accounts at other institutions too.")]
Suppressed = Annotated[
    bool, typer.Option("--suppressed", help="Show accounts too that filters.local/ leaves out of the queue.")
]
ModelId = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A model's id, 'champion', 'cold-start' (needs no labels) or 'none'. Default: champion if any.",
    ),
]


def _detect(store: Lake, settings: Settings, as_of: str | None, model: str | None) -> Summary:
    from fintel.cli.modelling import learned_part
    from fintel.pipeline import detect as run_detection
    from fintel.pipeline import load_library, load_local_filters

    library, found = load_library(settings)
    local, wrong = load_local_filters(settings, library)
    with progress() as show:
        return run_detection(
            store, settings, library, as_of=moment(as_of), local=local,
            learned=learned_part(store, settings, model), diagnostics=(*found, *wrong), progress=show,
        )  # fmt: skip


def _show_commits(commits: Sequence[Commit]) -> None:
    for commit in commits:
        note = "was read before" if commit.repeated else (
            f"{commit.read:,} rows read, {commit.accepted:,} accepted, {commit.duplicates:,} duplicates, "
            f"{commit.rejected:,} rejected, {commit.skipped:,} skipped"
        )  # fmt: skip
        say(f"{commit.target}: {note}")
    if any(c.rejected for c in commits):
        say("fintel feed report shows the rejected rows, why, and what to do")


def _show_rules(results: pl.DataFrame) -> None:
    columns = ("rule_id", "outcome", "candidates", "unseen", "hits", "episodes", "subjects", "reason")
    rows = results.sort("subjects", "rule_id", descending=[True, False]).select(columns).iter_rows()
    print_table("rules", columns, rows, right=columns[2:7])


def _queue(
    alerts: pl.DataFrame, settings: Settings, budget: int | None, external: bool, suppressed: bool = False
) -> pl.DataFrame:
    from fintel.ranking import queue, unsuppressed

    alerts = alerts if suppressed else unsuppressed(alerts)
    holdings = ("own", "external") if external or settings.ranking.include_external else ("own",)
    return queue(alerts, budget=budget or settings.ranking.budget, holdings=holdings)


def _show_queue(shown: pl.DataFrame) -> None:
    if shown.is_empty():
        say("no account has a reason; fintel detect shows how each rule fared and which fields are missing")
        return
    columns = ["rank", "account_id", "score", "typologies", "summary"]
    if shown["probability"].count():
        columns.insert(3, "probability")
    if shown["suppressed"].null_count() < shown.height:
        columns.append("suppressed")
    title = f"ranked accounts (score in bits: 0 is even odds, everybody starts at {shown['prior'][0]:.2f})"
    print_table(title, columns, shown.select(columns).iter_rows(), right=("rank", "score", "probability"))


def _say_decisions(alerts: pl.DataFrame, settings: Settings, budget: int | None) -> None:
    """Capacity and risk decision, each by itself: neither follows from the other."""
    import polars as pl

    from fintel.ranking import unsuppressed

    ranking = settings.ranking
    say(f"capacity: the queue shows {budget or ranking.budget:,} (budget)")
    if ranking.threshold_bits is None:
        say("threshold: none stated (threshold_bits in [ranking]), so no score obliges anybody to read an alert")
        return
    due = unsuppressed(alerts).filter((pl.col("holding") == "own") & (pl.col("score") >= ranking.threshold_bits))
    below = max(0, due.height - (budget or ranking.budget))
    more = f"; {below:,} of them are beyond the capacity" if below else ""
    say(f"threshold: {due.height:,} own accounts score {ranking.threshold_bits:g} bits or more and must be read{more}")


def detect(
    as_of: AsOf = None,
    model: ModelId = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Run every rule over the lake and freeze the run: hits, reasons, evidence, ranking.

    A rule whose fields the feeds leave empty says [bold]cannot_tell[/], never silently no.

    [dim]fintel detect[/]     [dim]fintel detect --as-of 2025-03-31[/]
    """
    with errors_explained():
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        with Lake.create_or_open(settings.lake) as store:
            summary = _detect(store, settings, as_of, model)
        print_diagnostics(summary.diagnostics)
        if as_json:
            print_json({**summary.manifest, "seconds": summary.seconds, "results": summary.rule_results.to_dicts()})
        else:
            _show_rules(summary.rule_results)
            say(f"run {summary.run_id}: {summary.alerts.height:,} accounts have a reason; next: fintel rank")
            _say_decisions(summary.alerts, settings, None)


def rank(
    budget: Budget = None,
    external: External = False,
    suppressed: Suppressed = False,
    run: RunId = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """The queue of a run: accounts in order, the strongest reason of each.

    The budget only says how many to show; nothing below it is lost.

    [dim]fintel rank --budget 20[/]
    """
    with errors_explained():
        from fintel.alerts import latest_run_id
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        with Lake.open(settings.lake) as store:
            alerts = store.run_table(run or latest_run_id(store), "alerts").collect()
        shown = _queue(alerts, settings, budget, external, suppressed)
        if as_json:
            print_json(shown.to_dicts())
            return
        _show_queue(shown)
        outside = alerts.filter(alerts["holding"] == "external").height
        left_out = alerts["suppressed"].count()
        more = f"; {outside:,} of them at other institutions (--external)" if outside and not external else ""
        more += f"; {left_out:,} suppressed (--suppressed)" if left_out and not suppressed else ""
        say(f"{shown.height:,} of {alerts.height:,} accounts with a reason{more}")
        _say_decisions(alerts, settings, budget)


def explain(
    account: Annotated[str, typer.Argument(help="Account id, alert id, or rank.")],
    picture: Annotated[
        Path | None, typer.Option("--picture", "-p", help="Write the waterfall here: .svg or .html.")
    ] = None,
    run: RunId = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Why an account stands where it does: bits that add up, each with its numbers.

    Observed beside threshold, the account's own normal, its place among peers, and how many
    entries prove it. [dim]fintel sql "select * from evidence where episode_id = '…'"[/] lists them.

    [dim]fintel explain 1[/]     [dim]fintel explain ACC-0042 --picture why.html[/]
    """
    with errors_explained():
        from fintel.alerts import find_alert, path_of, ways_of
        from fintel.domain.detection import Reason
        from fintel.reports.pictures import waterfall, waterfall_text
        from fintel.store.lake import Lake

        with Lake.open(settings_of(config, lake).lake) as store:
            rows = find_alert(store, account, run)
            ways = ways_of(store, rows)
            paths = path_of(store, rows)
        alert = rows.alert
        if as_json:
            print_json(
                {
                    "alert": alert,
                    "reasons": rows.reasons.to_dicts(),
                    "episodes": rows.episodes.to_dicts(),
                    "clauses": rows.clauses.to_dicts(),
                    "ways": ways.to_dicts(),
                    "paths": paths.to_dicts(),
                }
            )
        reasons = [
            Reason(r["origin"], r["name"], r["text"], r["bits_full"], r["damping"], r["bits"], r["typology"])
            for r in rows.reasons.iter_rows(named=True)
        ]
        if picture is not None:
            _write_picture(picture, waterfall(alert["prior"], reasons, alert["score"]), alert)
            say(f"wrote {picture}")
        if as_json:
            return
        tell(f"rank {alert['rank']}: {alert['account_id']}")
        if alert["probability"] is not None:
            tell(f"calibrated probability of suspicion: {alert['probability']:.1%}")
        if alert["suppressed"]:
            tell(f"left out of the queue: {alert['suppressed']}")
        text = waterfall_text(alert["prior"], reasons, alert["score"], width=max(60, min(out().width, 110)))
        tell(text)
        quiet = {(r["origin"], r["name"]): r["suppressed"] for r in rows.reasons.to_dicts() if r["suppressed"]}
        for reason in reasons:
            damped = f" (of {reason.bits_full:+.2f}, one of several {reason.typology})" if reason.damping < 1 else ""
            tell(f"{reason.bits:+.2f}{damped}  {reason.name}: {reason.text}")
            if (reason.origin, reason.name) in quiet:
                tell(f"       suppressed: {quiet[reason.origin, reason.name]}")
        _show_clauses(rows)
        _show_ways(rows, ways)
        if not paths.is_empty():
            print_table("money's way from a seed", paths.columns, paths.iter_rows(), right=("amount_base",))


def _show_clauses(rows: Any) -> None:
    import polars as pl

    strongest = rows.reasons.drop_nulls("episode_id").select("episode_id", "name", "reason")
    compared = rows.clauses.filter(pl.col("operator").is_not_null())
    joined = compared.join(strongest, on="episode_id").sort("reason", "clause")
    if joined.is_empty():
        return
    shown = joined.select(
        "name",
        "measure",
        "observed",
        threshold=pl.when(pl.col("operator").is_not_null()).then(
            pl.format("{} {}", "operator", pl.col("threshold").round(2))
        ),
        unit="unit",
        own_normal="own_normal",
        peers=pl.format("above {} % of {}", pl.col("peer_percentile").round(1), "peer_group"),
        evidence="evidence_rows",
    )
    print_table("what was observed", shown.columns, shown.iter_rows(), right=("observed", "own_normal", "evidence"))


def _show_ways(rows: Any, ways: pl.DataFrame) -> None:
    """Which way the money went, and where a search was cut short."""
    import polars as pl

    from fintel.domain.detection import BOUND

    for (rule, motif), steps in ways.group_by("rule", "motif", maintain_order=True):
        title = f"{rule}: {motif}, {steps.height} payments"
        shown = steps.head(_STEPS).select("booked_at", "payer", "payee", "amount", "currency", "transaction_id")
        print_table(title, shown.columns, shown.iter_rows(), right=("amount",))
        if steps.height > _STEPS:
            say(f"the first {_STEPS} are shown; --json and the table evidence have all")
    cut = rows.clauses.filter(pl.col("kind") == BOUND).join(rows.reasons, on="episode_id")
    for rule, column in cut.sort("reason").select("name", "measure").iter_rows():
        say(f"{rule}: a bound cut the search short here ({column}), so numbers of the graph may be too low")


def _write_picture(path: Path, svg: str, alert: dict[str, Any]) -> None:
    from fintel.errors import ConfigError

    if path.suffix == ".svg":
        write_private(path, svg)
    elif path.suffix in (".html", ".htm"):
        title = html.escape(visible(f"Why {alert['account_id']} is number {alert['rank']}"))
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        head = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        )
        write_private(path, f"{head}<body><h1>{title}</h1>{svg}</body></html>\n")
    else:
        raise ConfigError(f"a picture is .svg or .html, not '{path.suffix}'")


def run(
    feed: Annotated[Path, typer.Argument(help="File or folder.")],
    mapping: Annotated[
        str | None, typer.Option("--mapping", "-m", help="Shipped mapping or YAML file; default: recognised.")
    ] = None,
    source: Annotated[str | None, typer.Option("--source", help="Name of the source system.")] = None,
    drafts: Annotated[int, typer.Option(min=0, help="Draft reports to write, from the top of the queue.")] = 3,
    budget: Budget = None,
    external: External = False,
    as_of: AsOf = None,
    model: ModelId = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """The whole line: read the feed, run the rules, rank, write drafts.

    [dim]fintel run payments.parquet[/]     [dim]fintel run my-export.csv --mapping my-bank.yaml --budget 20[/]
    """
    with errors_explained():
        import polars as pl

        from fintel.errors import ReportError
        from fintel.pipeline import draft, ingest, load_library
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        chosen = mapping_for(feed, mapping)
        with Lake.create_or_open(settings.lake) as store:
            with progress() as show:
                commits = ingest(store, feed, chosen, settings, source=source, progress=show)
            if not as_json:
                _show_commits(commits)
            summary = _detect(store, settings, as_of, model)
            shown = _queue(summary.alerts, settings, budget, external)
            library, _ = load_library(settings)
            written = []
            for alert_id in shown["alert_id"] if drafts else ():
                try:
                    written.append(draft(store, settings, library, alert_id, run_id=summary.run_id))
                except ReportError as error:
                    say(f"no draft of {alert_id}: {error}")
                if len(written) == drafts:
                    break
            bare = store.scan("transactions").select(pl.col("amount_base").is_null().sum()).collect().item()
        print_diagnostics(summary.diagnostics)
        manifest = settings.drafts / f"{summary.run_id}.manifest.json"
        manifest.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        told = {**summary.manifest, "seconds": {k: round(v, 3) for k, v in summary.seconds.items()}}
        write_private(manifest, json.dumps(told, indent=2, sort_keys=True) + "\n")
        if as_json:
            print_json(
                {
                    **told,
                    "ranked": shown.to_dicts(),
                    "drafts": [str(d.html) for d in written],
                    "manifest_file": str(manifest),
                }
            )
            return
        if bare:
            base = settings.base_currency
            say(f"{bare:,} payments have no rate to {base}, so amount rules cannot see them: fintel feed rates FILE")
        outcomes = summary.rule_results["outcome"].value_counts().sort("outcome")
        say("rules: " + ", ".join(f"{n} {o}" for o, n in outcomes.iter_rows()) + " (fintel detect shows each)")
        _show_queue(shown)
        _say_decisions(summary.alerts, settings, budget)
        for files in written:
            lacks = f"  ({len(files.missing)} facts missing; they are named in it)" if files.missing else ""
            tell(f"draft     {short_path(files.html)}{lacks}")
        tell(f"manifest  {short_path(manifest)}")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (run, detect, rank, explain):
        app.command()(command)
