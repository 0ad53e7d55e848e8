"""The straight line: a feed in, entries, rules, ranking, a frozen run, drafts out.

Every step is one function that reads tables of the steps before it and writes its own; each can be
run alone and again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

import fintel
from fintel.alerts import find_alert, transactions_of
from fintel.config import Settings
from fintel.domain.case import RuleMeta
from fintel.domain.feed import Commit, FeedInfo
from fintel.domain.schema import CANONICAL, EVIDENCE, TABLES
from fintel.errors import Diagnostic, FeedError, ReportError, StoreError
from fintel.feeds.base import Batch, identify
from fintel.feeds.mapping import Mapping as FeedMapping
from fintel.feeds.rates import convert
from fintel.feeds.reading import read, select
from fintel.frames import fit
from fintel.graph.suspicion import of_tables
from fintel.models.learned import Learned
from fintel.ranking import mark_suppressed, rank
from fintel.reports.bundle import DraftFiles, write_draft
from fintel.reports.draft import build_case
from fintel.rules import loader
from fintel.rules.local_filters import FOLDER, LocalFilters, read_local_filters
from fintel.rules.model import Library
from fintel.rules.runner import detect_tables
from fintel.rules.suppressed import suppressed_episodes
from fintel.store.lake import Lake

#: stage, how far, of how much (0 = unknown)
Progress = Callable[[str, int, int], None]
_SAMPLE = 1_000


def silent(stage: str, done: int, of: int) -> None:
    """Progress that nobody watches."""
    del stage, done, of


@dataclass(frozen=True)
class Summary:
    """What a run did. ``seconds`` by stage are measured, so they stand beside the manifest, not in it."""

    run_id: str
    as_of: datetime
    manifest: Mapping[str, Any]
    seconds: Mapping[str, float]
    alerts: pl.DataFrame
    rule_results: pl.DataFrame
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass
class _Stopwatch:
    seconds: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._begun
        self._begun = now


# -- feeds


def ingest(
    lake: Lake,
    path: Path | Mapping[str, Path],
    mapping: FeedMapping,
    settings: Settings,
    *,
    source: str | None = None,
    progress: Progress = silent,
) -> list[Commit]:
    """Read a feed into the lake, one file and table at a time; each is there whole or not at all.

    Raises
    ------
    FeedError, StoreError: the feed or the lake as a whole. A bad row goes to quarantine.

    Where a feed brings rates, payments that were there before are converted anew.
    """
    before = lake.count("transactions")
    files = sorted(select(path, mapping), key=lambda f: not _fills(mapping, f[0], "rates"))
    commits: list[Commit] = []
    for number, (name, file) in enumerate(files):
        progress(f"reading {file.name}", number, len(files))
        feed = identify(file, source=source or mapping.source, mapping=mapping.mapping, mapping_text=mapping.text)
        targets = list(dict.fromkeys(fill.table for fill in mapping.files[name].fill))
        missing = [t for t in targets if lake.feed(feed.feed_id, t) is None]
        if missing:
            _refuse_second_reading(lake, feed)
        commits += [Commit(feed.feed_id, t, repeated=True) for t in targets if t not in missing]
        if not missing:
            continue
        rates = lake.scan("rates").collect()
        batches = read({name: file}, mapping, source=source, base_currency=settings.base_currency, rates=rates)
        commits += _commit(lake, feed, missing, batches, partial(_tell_rows, progress, file.name))
    if before and any(c.target == "rates" and c.accepted for c in commits):
        progress("converting amounts", 0, 0)
        convert_amounts(lake, settings)
    return commits


def _refuse_second_reading(lake: Lake, feed: FeedInfo) -> None:
    """FeedError where the same file was read before by another mapping: its payments would count twice."""
    before = lake.scan("feeds").filter(
        (pl.col("sha256") == feed.sha256) & (pl.col("source") == feed.source) & (pl.col("feed_id") != feed.feed_id)
    )
    accepted = before.select(pl.col("rows_accepted").sum()).collect().item()
    if accepted:
        raise FeedError(
            f"{feed.source_file} was read before by another version of its mapping, and {accepted:,} rows were taken",
            hint=f"read once more they would count twice: remove {lake.path.name} and read the feeds again",
        )


def _tell_rows(progress: Progress, name: str, rows: int) -> None:
    progress(f"reading {name}", rows, 0)


def convert_amounts(lake: Lake, settings: Settings) -> None:
    """Compute ``amount_base`` of every payment anew, by the lake's rates and the settings' base currency."""
    rates = lake.scan("rates").collect()
    lake.replace("transactions", (convert(f, rates, settings.base_currency) for f in lake.frames("transactions")))


def require_current_amounts(lake: Lake, settings: Settings) -> None:
    """StoreError where ``amount_base`` was computed by another base currency or other rates.

    Tried on the first rows of each file: amounts of a wrong currency would be wrong in every rule.
    """
    rates = lake.scan("rates").collect()
    for file in lake.files("transactions"):
        sample = pl.read_parquet(file, n_rows=_SAMPLE)
        if not convert(sample, rates, settings.base_currency)["amount_base"].equals(sample["amount_base"]):
            raise StoreError(
                f"amounts in the lake were converted with another base currency than {settings.base_currency}",
                location=lake.path,
                hint="fintel feed convert computes them anew",
            )


def _fills(mapping: FeedMapping, name: str, table: str) -> bool:
    return any(fill.table == table for fill in mapping.files[name].fill)


_Rows = tuple[pl.DataFrame, pl.DataFrame, int, int]


def _commit(
    lake: Lake, feed: FeedInfo, targets: Sequence[str], batches: Iterator[Batch], progress: Callable[[int], None]
) -> list[Commit]:
    """Stream the first table of a file into the lake; what the same rows say for others waits."""
    first, *others = sorted(targets, key=lambda t: t != "transactions")
    waiting: dict[str, list[_Rows]] = {t: [] for t in others}

    def stream() -> Iterator[_Rows]:
        rows = 0
        for batch in batches:
            part = (batch.frame, batch.quarantine, batch.rows_read, batch.rows_skipped)
            if batch.table == first:
                rows += batch.rows_read
                progress(rows)
                yield part
            elif batch.table in waiting:
                waiting[batch.table].append(part)

    done = [lake.append(TABLES[first], feed, stream())]
    return done + [lake.append(TABLES[t], feed, iter(waiting[t])) for t in others]


# -- detection


def load_library(settings: Settings, home: Path | None = None) -> tuple[Library, tuple[Diagnostic, ...]]:
    """Shipped packs and those of the settings, with private lists beside ``fintel.toml``."""
    folders = [loader.packs_folder(), *settings.packs]
    local = (home or settings.lake.parent) / "lists.local"
    return loader.load(folders, local_lists=local if local.is_dir() else None)


def load_local_filters(
    settings: Settings, library: Library, home: Path | None = None, today: date | None = None
) -> tuple[LocalFilters, tuple[Diagnostic, ...]]:
    """Filters and suppressions beside ``fintel.toml``: what is in effect today, and what is wrong with the rest."""
    return read_local_filters((home or settings.lake.parent) / FOLDER, library, today or datetime.now(UTC).date())


def current_rules(library: Library) -> Library:
    """The library without rules that are deprecated: they run only when they are named."""
    return library.only([r.id for r in library.rules if r.status != "deprecated"])


def canonical_tables(lake: Lake) -> dict[str, pl.LazyFrame]:
    """Lazy frames of every canonical table of a lake."""
    return {table.name: lake.scan(table.name) for table in CANONICAL}


def last_moment(lake: Lake) -> datetime:
    """When the latest payment was booked: the ``as_of`` of a run that is not told one.

    Raises
    ------
    StoreError: there are no payments.
    """
    latest = lake.scan("transactions").select(pl.col("booked_at").max()).collect(engine="streaming").item()
    if latest is None:
        refused = "fintel feed report says why no row of the feeds read was taken"
        hint = refused if lake.count("feeds") else "fintel feed add FILE"
        raise StoreError("the lake holds no payments", location=lake.path, hint=hint)
    return latest  # type: ignore[no-any-return]


def detect(
    lake: Lake,
    settings: Settings,
    library: Library,
    *,
    as_of: datetime | None = None,
    local: LocalFilters | None = None,
    learned: Callable[[dict[str, pl.LazyFrame], datetime, pl.DataFrame], tuple[str, Learned]] | None = None,
    diagnostics: tuple[Diagnostic, ...] = (),
    progress: Progress = silent,
) -> Summary:
    """Run the rules that are not deprecated, rank accounts, freeze the run.

    Parameters
    ----------
    as_of: the run sees nothing later; default is the latest payment.
    local: filters that narrow rules, and suppressions that mark what they find (``load_local_filters``).
    learned: called with tables, moment and episodes; gives a model's id and its part of the score.
    """
    watch = _Stopwatch()
    moment = as_of or last_moment(lake)
    local = local or LocalFilters()
    library = local.filtered(current_rules(library))
    require_current_amounts(lake, settings)
    tables = canonical_tables(lake)
    found = detect_tables(
        tables, library, base_currency=settings.base_currency, as_of=moment,
        threads=settings.threads, progress=progress,
    )  # fmt: skip
    watch.lap("rules")
    model_id, part = learned(tables, moment, found.episodes) if learned else (None, None)
    watch.lap("model")
    progress("risk from seeds", 0, 0)
    risk = of_tables(tables, moment, origins=settings.ranking.risk_seeds, episodes=found.episodes)
    watch.lap("risk")
    inputs = {**_inputs(lake, settings, library, moment, model_id), "local": local.record}
    run_id = _digest(inputs)
    accounts = lake.scan("accounts").select("account_id", "party_id", "holding").collect(engine="streaming")
    ranking = rank(found.episodes, accounts, run_id=run_id, prior=settings.ranking.prior, learned=part, risk=risk)
    if local.suppressions:
        marked = suppressed_episodes(
            found.episodes, found.clauses, found.evidence, accounts, tables["transactions"], local.suppressions
        )
        ranking = mark_suppressed(ranking, found.episodes, marked)
    watch.lap("ranking")
    frames = {
        "rule_results": found.rule_results, "episodes": found.episodes,
        "clauses": found.clauses, "evidence": pl.concat([found.evidence, fit(risk.evidence, EVIDENCE)]),
    }  # fmt: skip
    frames = {name: frame.with_columns(run_id=pl.lit(run_id)) for name, frame in frames.items()}
    frames |= {"alerts": ranking.alerts, "reasons": ranking.reasons}
    rows = {name: frame.height for name, frame in frames.items()} | {"transactions": lake.count("transactions")}
    manifest = {**inputs, "run_id": run_id, "rows": rows}
    lake.commit_run(run_id, moment, manifest, frames)
    watch.lap("commit")
    seconds = {**watch.seconds, **{f"rules/{stage}": s for stage, s in found.seconds.items()}}
    return Summary(run_id, moment, manifest, seconds, ranking.alerts, frames["rule_results"], diagnostics)


def _inputs(lake: Lake, settings: Settings, library: Library, moment: datetime, model_id: str | None) -> dict[str, Any]:
    """Everything that decides a run's result: two runs with equal inputs have equal bytes."""
    feeds = (
        lake.scan("feeds")
        .select("feed_id", "target", "source", "source_file", "sha256", "rows_accepted")
        .sort("feed_id", "target")
        .collect()
    )
    return {
        "version": fintel.__version__,
        "as_of": moment.isoformat(),
        "config": {
            "base_currency": settings.base_currency,
            "prior": settings.ranking.prior,
            "budget": settings.ranking.budget,
            "threshold_bits": settings.ranking.threshold_bits,
            "risk_seeds": sorted(settings.ranking.risk_seeds),
            "seed": settings.seed,
        },
        "feeds": feeds.to_dicts(),
        "library": library.fingerprint,
        "rules": {rule.id: [rule.version, rule.fingerprint, rule.status] for rule in library.rules},
        "lists": {name: library.list_fingerprint(name) for name in library.lists},
        "model": model_id,
    }


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


# -- one alert


def rules_meta(library: Library) -> dict[str, RuleMeta]:
    """What a draft needs to know of each rule."""
    return {
        rule.id: RuleMeta(
            title=rule.title,
            typology=rule.typology,
            role=rule.role,
            indicators=tuple(library.indicators[i].citation for i in rule.indicators if i in library.indicators),
            techniques=rule.techniques,
        )
        for rule in library.rules
    }


def draft(
    lake: Lake,
    settings: Settings,
    library: Library,
    wanted: str,
    *,
    run_id: str | None = None,
    at: datetime | None = None,
    schema: Path | None = None,
) -> DraftFiles:
    """Write the DRAFT report of an alert (see ``reports.bundle.write_draft``).

    ``at``: when the draft is made; default is now, since a filing day is a human's day.
    """
    rows = find_alert(lake, wanted, run_id)
    payments = transactions_of(lake, rows)
    if payments.is_empty():
        raise ReportError(
            f"the alert on '{rows.alert['account_id']}' rests on the model alone",
            hint="a draft cites payments; fintel explain shows what the model saw",
        )
    involved = pl.concat([payments["debtor_account_id"], payments["creditor_account_id"]]).drop_nulls().unique()
    accounts = lake.scan("accounts").filter(pl.col("account_id").is_in(involved.implode())).collect()
    holders = accounts["party_id"].drop_nulls().unique()
    parties = lake.scan("parties").filter(pl.col("party_id").is_in(holders.implode())).collect()
    case = build_case(
        rows.alert, rows.reasons, rows.episodes, rows.clauses, rows.evidence,
        payments, accounts, parties, settings, rules_meta(library),
    )  # fmt: skip
    return write_draft(
        case, settings.drafts, filer=settings.filer, at=at or datetime.now(UTC),
        version=fintel.__version__, schema=schema,
    )  # fmt: skip
