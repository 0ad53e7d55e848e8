"""From the system in use to this one: which accounts both alert, which only one of them, and how good each is.

An account counts once, at its first alert in the period. Both systems are given the same number of accounts
unless told otherwise, for whoever alerts more finds more.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from fintel.bench.backtest import MONTH, Period
from fintel.bench.intervals import Share
from fintel.bench.known import CLEARED, SUSPICIOUS, UNLABELLED, VICTIM, Standings
from fintel.bench.sheets import safe_cell

BOTH, ONLY_OLD, ONLY_NEW = "both", "only old", "only new"
SETS = (BOTH, ONLY_OLD, ONLY_NEW)
#: Typologies and rules of a set that are named.
TOP = 6
COLUMNS = (
    "set", "accounts_in_set", "account_id", "known_as", "old_first_at", "old_alerts", "old_rules", "new_first_at",
    "days_after_old", "rank", "score", "typologies", "summary", "disposition", "reviewer", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One of ``SETS``. ``precision``: suspicious of those that are known as suspicious or cleared (victims apart);
    None where nobody in the period was cleared. ``typologies`` and ``old_rules``: with the number of accounts."""

    name: str
    accounts: int
    suspicious: int
    victims: int
    cleared: int
    unlabelled: int
    precision: Share | None
    typologies: tuple[tuple[str, int], ...]
    old_rules: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Transition:
    """The comparison. ``accounts``: one row an account (``COLUMNS`` but the empty ones, and ``month``, 0 the
    oldest). ``days``: median days by which ours comes later (below 0: earlier) where both alert; None of none.
    ``recall``: of the suspicious accounts, by old and by ours; None where none is known."""

    period: Period
    budget: int
    accounts: pl.DataFrame
    parts: tuple[Part, ...]
    months: tuple[tuple[int, int, int], ...]
    days: float | None
    earlier: int
    same_day: int
    later: int
    recall: Mapping[str, Share] | None
    strangers: int
    below: int
    notes: tuple[str, ...] = ()


def compare(
    old: pl.DataFrame,
    alerts: pl.DataFrame,
    episodes: pl.DataFrame,
    known: Standings,
    period: Period,
    *,
    budget: int | None = None,
) -> Transition:
    """Lay the alerts of two systems side by side.

    Parameters
    ----------
    old: as ``OldAlerts.alerts``; ``alerts``, ``episodes``: of a run, as ``domain.schema``.
    budget: how many of our accounts to take, from the top; as many as the old system alerts if None.
    """
    ours_known = known.frame()
    inside = old.filter(pl.col("alerted_at").is_between(period.since, period.until))
    theirs = _first_old(inside)
    strangers = theirs.join(ours_known, on="account_id", how="anti").height
    theirs = theirs.join(ours_known.select("account_id"), on="account_id", how="semi")
    peaks = episodes.filter(pl.col("peak_at").is_between(period.since, period.until))
    first = peaks.group_by("account_id").agg(new_first_at=pl.col("peak_at").min())
    wanted = theirs.height if budget is None else budget
    candidates = alerts.join(first, on="account_id").join(ours_known.select("account_id"), on="account_id", how="semi")
    ranked = candidates.sort("score", "rank", descending=[True, False]).select(
        "account_id", "new_first_at", "rank", "score", "typologies", "summary"
    )
    taken = ranked.head(wanted)
    # an account of the old system that stands further down in our queue shows where
    about = ranked.drop("new_first_at")
    accounts = theirs.join(taken.select("account_id", "new_first_at"), on="account_id", how="full", coalesce=True).join(
        about, on="account_id", how="left"
    )
    old_one, new_one = pl.col("old_first_at").is_not_null(), pl.col("new_first_at").is_not_null()
    which = (
        pl.when(old_one & new_one).then(pl.lit(BOTH)).when(old_one).then(pl.lit(ONLY_OLD)).otherwise(pl.lit(ONLY_NEW))
    )
    lag = (pl.col("new_first_at").dt.date() - pl.col("old_first_at").dt.date()).dt.total_days()
    back = (pl.lit(period.until) - pl.coalesce("old_first_at", "new_first_at")) / MONTH
    accounts = (
        accounts.with_columns(
            set=which, days_after_old=lag, month=(period.months - 1 - back.floor()).clip(0).cast(pl.Int64)
        )
        .join(ours_known.select("account_id", "standing"), on="account_id", how="left")
        .with_columns(known_as=_judged())
        .sort("set", "old_first_at", "new_first_at", "account_id")
    )
    lags = accounts["days_after_old"].drop_nulls()
    below = accounts.filter((pl.col("set") == ONLY_OLD) & pl.col("rank").is_not_null()).height
    found = {"old": set(theirs["account_id"]), "new": set(taken["account_id"])}
    suspicious = set(accounts.filter(pl.col("known_as") == SUSPICIOUS)["account_id"]) | (
        known.suspicious - known.elsewhen
    )
    cleared = bool(known.cleared) or accounts["known_as"].is_in([CLEARED]).any()
    median = lags.median()
    return Transition(
        period=period,
        budget=wanted,
        accounts=accounts,
        parts=tuple(_part(name, accounts, with_precision=cleared) for name in SETS),
        months=_months(accounts, period),
        days=float(median) if isinstance(median, (int, float)) else None,
        earlier=int((lags < 0).sum()),
        same_day=int((lags == 0).sum()),
        later=int((lags > 0).sum()),
        recall={n: Share(len(ids & suspicious), len(suspicious)) for n, ids in found.items()} if suspicious else None,
        strangers=strangers,
        below=below,
        notes=_notes(inside, accounts, known, taken.height, wanted, cleared),
    )


def _first_old(old: pl.DataFrame) -> pl.DataFrame:
    """One row an account: its first alert, how many, by which rules, and what came of them: suspicious if
    any was."""
    word = pl.col("disposition")
    return old.group_by("account_id").agg(
        old_first_at=pl.col("alerted_at").min(),
        old_alerts=pl.len().cast(pl.Int64),
        old_rules=pl.col("rule").drop_nulls().unique().sort().str.join(";"),
        rules=pl.col("rule").drop_nulls().unique().sort(),
        old_said=pl.when((word == SUSPICIOUS).any())
        .then(pl.lit(SUSPICIOUS))
        .when((word == CLEARED).any())
        .then(pl.lit(CLEARED)),
    )


def _judged() -> pl.Expr:
    """Labels first; where there is none, what came of the old system's alerts."""
    bare = pl.col("standing").fill_null(UNLABELLED) == UNLABELLED
    return pl.when(bare).then(pl.col("old_said").fill_null(UNLABELLED)).otherwise("standing")


def _part(name: str, accounts: pl.DataFrame, *, with_precision: bool) -> Part:
    mine = accounts.filter(pl.col("set") == name)
    counts = dict(mine.group_by("known_as").len().iter_rows())
    hits, cleared = counts.get(SUSPICIOUS, 0), counts.get(CLEARED, 0)
    typologies = mine.select(pl.col("typologies").drop_nulls().str.split(";").explode().alias("n")).drop_nulls()
    rules = mine.select(pl.col("rules").explode().alias("n")).drop_nulls()
    return Part(
        name, mine.height, hits, counts.get(VICTIM, 0), cleared, counts.get(UNLABELLED, 0),
        Share(hits, hits + cleared) if with_precision else None, _top(typologies), _top(rules),
    )  # fmt: skip


def _top(names: pl.DataFrame) -> tuple[tuple[str, int], ...]:
    counted = names.group_by("n").len().sort("len", "n", descending=[True, False]).head(TOP)
    return tuple((str(n), int(count)) for n, count in counted.iter_rows())


def _months(accounts: pl.DataFrame, period: Period) -> tuple[tuple[int, int, int], ...]:
    """Accounts of each set by month of the first alert (the old system's, where both alert)."""
    counts = {(s, m): n for s, m, n in accounts.group_by("set", "month").len().iter_rows()}
    rows = [[counts.get((name, month), 0) for name in SETS] for month in range(period.months)]
    return tuple((a, b, c) for a, b, c in rows)


def _notes(
    inside: pl.DataFrame, accounts: pl.DataFrame, known: Standings, taken: int, wanted: int, cleared: bool
) -> tuple[str, ...]:
    notes = []
    if taken < wanted:
        notes.append(f"only {taken:,} of our accounts have a reason in the period, not {wanted:,}")
    by_old = accounts.filter((pl.col("standing") == UNLABELLED) & pl.col("old_said").is_not_null()).height
    if by_old:
        notes.append(
            f"{by_old:,} accounts are known by the old system's dispositions alone: nobody has looked at "
            "accounts that it did not alert, so it looks better than it is"
        )
    if not known.suspicious and inside["disposition"].null_count() == inside.height:
        notes.append(f"{UNLABELLED}: nothing is known of any account, so nothing about which set is better")
    elif not cleared:
        notes.append("nobody was looked at and found clean: precision cannot be told")
    return tuple(notes)


# -- sheets and plain values


def sheet(found: Transition, name: str, *, each: int, seed: int) -> tuple[str, int]:
    """A random sample of one set as CSV text, for people to judge, and its number of rows. No cell begins a formula."""
    mine = found.accounts.filter(pl.col("set") == name).sort("account_id")
    drawn = np.random.default_rng([seed, SETS.index(name)]).permutation(mine.height)[:each]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for row in mine[drawn].iter_rows(named=True):
        row["accounts_in_set"] = mine.height
        writer.writerow([_cell(row.get(column)) for column in COLUMNS])
    return out.getvalue(), len(drawn)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return safe_cell(value) if isinstance(value, str) else str(value)


def as_dict(found: Transition) -> dict[str, Any]:
    """Everything as plain values."""
    period = found.period
    return {
        "from": period.since, "to": period.until, "our_accounts_at_most": found.budget,
        "sets": [_part_dict(p) for p in found.parts],
        "months": [
            {"to": end, **dict(zip(SETS, row, strict=True))} for end, row in zip(period.ends, found.months, strict=True)
        ],
        "both": {
            "median_days_after_old": found.days, "earlier": found.earlier, "same_day": found.same_day,
            "later": found.later,
        },
        "recall": UNLABELLED if found.recall is None else {n: s.as_dict() for n, s in found.recall.items()},
        "only_old_with_a_reason_of_ours": found.below, "not_own_accounts": found.strangers,
        "notes": list(found.notes),
    }  # fmt: skip


def _part_dict(part: Part) -> dict[str, Any]:
    precision = part.precision
    return {
        "set": part.name, "accounts": part.accounts, "suspicious": part.suspicious, "victims": part.victims,
        "cleared": part.cleared, "unlabelled": part.unlabelled,
        "precision": UNLABELLED if precision is None or not precision.of else precision.as_dict(),
        "typologies": _counts(part.typologies), "old_rules": _counts(part.old_rules),
    }  # fmt: skip


def _counts(rows: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"name": name, "accounts": count} for name, count in rows]
