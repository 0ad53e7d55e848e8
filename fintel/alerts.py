"""Alerts read back from a frozen run, with the rows that they rest on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from fintel.domain.detection import MOTIF
from fintel.errors import StoreError
from fintel.store.lake import Lake


@dataclass(frozen=True)
class AlertRows:
    """The frozen rows of one alert."""

    alert: dict[str, Any]
    reasons: pl.DataFrame
    episodes: pl.DataFrame
    clauses: pl.DataFrame
    evidence: pl.DataFrame


def find_alert(lake: Lake, wanted: str, run_id: str | None = None) -> AlertRows:
    """Rows of an alert by account id, alert id or rank (``1`` or ``#1``), from a run (the latest unless named).

    Raises
    ------
    StoreError: no run, no such alert in it, or a number that is both a rank and an account.
    """
    run = run_id or latest_run_id(lake)
    alerts = lake.run_table(run, "alerts")
    digits = wanted.removeprefix("#")
    number = pl.lit(int(digits) if digits.isdecimal() and len(digits) < 10 else None, dtype=pl.Int64)
    by_rank = alerts.filter(pl.col("rank") == number).collect()
    by_name = alerts.filter((pl.col("account_id") == wanted) | (pl.col("alert_id") == wanted)).collect()
    if not by_rank.is_empty() and not by_name.is_empty() and not by_rank.equals(by_name):
        raise StoreError(
            f"'{wanted}' is rank {digits} ({by_rank['account_id'][0]}) and also the name of rank {by_name['rank'][0]}",
            hint=f"write '#{digits}' for the rank, or {by_name['alert_id'][0]} for the account",
        )
    found = next((m for m in (by_name, by_rank) if not m.is_empty()), None)
    if found is None:
        raise StoreError(
            f"run {run} has no alert for '{wanted}'",
            hint="give an account id, an alert id or a rank; fintel rank lists them",
        )
    alert = found.row(0, named=True)
    reasons = lake.run_table(run, "reasons").filter(pl.col("account_id") == alert["account_id"]).collect()
    episodes = lake.run_table(run, "episodes").filter(pl.col("account_id") == alert["account_id"]).collect()
    ids = episodes["episode_id"].implode()
    of_episodes = pl.col("episode_id").is_in(ids)
    # The graph's reasons rest on payments of a path, which no episode names.
    cited = pl.concat([episodes["episode_id"], reasons["episode_id"].drop_nulls()]).unique().implode()
    return AlertRows(
        alert,
        reasons.sort("reason"),
        episodes,
        lake.run_table(run, "clauses").filter(of_episodes).collect(),
        lake.run_table(run, "evidence").filter(pl.col("episode_id").is_in(cited)).collect(),
    )


def ways_of(lake: Lake, rows: AlertRows) -> pl.DataFrame:
    """The payments of the motifs that an alert's rules read of the graph, strongest reason first, in order of time.

    ``rule, motif, booked_at, payer, payee, amount, currency, transaction_id``.
    """
    motifs = rows.clauses.filter(pl.col("kind") == MOTIF).select("episode_id", motif="measure")
    mine = rows.evidence.rename({"measure": "motif"}).join(motifs, on=["episode_id", "motif"], how="semi")
    rules = rows.reasons.drop_nulls("episode_id").select("episode_id", "reason", rule="name")
    payments = transactions_of(lake, replace(rows, evidence=mine)).select(
        "transaction_id", "booked_at", "amount", "currency",
        payer=pl.coalesce("debtor_account_id", "debtor_name"),
        payee=pl.coalesce("creditor_account_id", "creditor_name"),
    )  # fmt: skip
    told = mine.join(rules, on="episode_id").join(payments, on="transaction_id")
    return told.sort("reason", "motif", "booked_at", "transaction_id").select(
        "rule", "motif", "booked_at", "payer", "payee", "amount", "currency", "transaction_id"
    )


def latest_run_id(lake: Lake) -> str:
    """The run that was committed last.

    Raises
    ------
    StoreError: there is none.
    """
    run = lake.latest_run()
    if run is None:
        raise StoreError("there is no run yet", location=lake.path, hint="fintel detect")
    return run.run_id


def transactions_of(lake: Lake, rows: AlertRows) -> pl.DataFrame:
    """The payments that are an alert's evidence."""
    ids = rows.evidence.select("transaction_id").unique().lazy()
    return (
        lake.scan("transactions")
        .join(ids, on="transaction_id", how="semi")
        .sort("booked_at", "transaction_id")
        .collect(engine="streaming")
    )


def path_of(lake: Lake, rows: AlertRows) -> pl.DataFrame:
    """Payments over which an alert's account got money from seeds, in time order: who paid whom, and the ids."""
    ids = rows.evidence.filter(pl.col("measure") == "path").select("transaction_id", path="episode_id")
    return (
        lake.scan("transactions")
        .select("transaction_id", "booked_at", "debtor_account_id", "creditor_account_id", "amount_base")
        .join(ids.lazy(), on="transaction_id", how="inner")
        .sort("path", "booked_at", "transaction_id")
        .collect(engine="streaming")
    )
