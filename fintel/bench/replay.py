"""What would have been seen at the time: rules run at the end of each month, seeing nothing later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from fintel.bench.backtest import MONTH, TOGETHER, Period
from fintel.bench.known import Standings
from fintel.rules.model import Library
from fintel.rules.runner import Progress, detect_tables


@dataclass(frozen=True)
class Seen:
    """What a run at a month's end would have shown of that month. ``new``: accounts that no earlier month had
    shown; ``hindsight``: accounts whose episode was over by then, but that only the run at the end of the
    period shows (0, unless data came in later)."""

    name: str
    until: datetime
    subjects: int
    new: int
    hindsight: int


def replay(
    tables: Mapping[str, pl.LazyFrame],
    library: Library,
    rule_ids: Sequence[str],
    period: Period,
    known: Standings,
    times: int,
    *,
    base_currency: str = "USD",
    threads: int = 0,
    progress: Progress,
) -> tuple[Seen, ...]:
    """Run the rules at the end of each of the last ``times`` months, seeing nothing later."""
    some = library.with_components(rule_ids)
    ends = [period.until - MONTH * n for n in reversed(range(times))]
    runs = []
    for number, end in enumerate(ends):
        progress("month ends", number, times)
        found = detect_tables(
            tables, some, base_currency=base_currency, as_of=end, threads=threads, progress=progress
        ).episodes
        mine = found.filter(pl.col("rule_id").is_in(list(rule_ids))).join(
            known.accounts.select("account_id"), on="account_id", how="semi"
        )
        runs.append(mine.select("rule_id", "account_id", "peak_at", "ended_at"))
    seen = []
    for name in (*rule_ids, TOGETHER):
        parts = runs if name == TOGETHER else [r.filter(pl.col("rule_id") == name) for r in runs]
        seen.extend(_seen(name, ends, parts))
    return tuple(seen)


def _seen(name: str, ends: Sequence[datetime], runs: Sequence[pl.DataFrame]) -> list[Seen]:
    found: list[Seen] = []
    before: set[str] = set()
    for end, run in zip(ends, runs, strict=True):
        month = pl.lit(end - MONTH)
        shown = set(run.filter(pl.col("peak_at") > month)["account_id"])
        over = runs[-1].filter((pl.col("ended_at") > month) & (pl.col("ended_at") <= end))
        found.append(
            Seen(name, end, len(shown), len(shown - before), len(set(over["account_id"]) - set(run["account_id"])))
        )
        before |= shown
    return found
