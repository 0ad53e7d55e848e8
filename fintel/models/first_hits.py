"""From the first illicit payment to the first alert: how many days, and how much money, it took.

Only an account's first alert counts. Finding it again next month is no merit, and an alert before anything
happened was not about this.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from fintel.errors import ModelError


class FirstHits(BaseModel):
    """A summary over subjects. Days and money of the found ones; money in base currency.

    ``money`` in all = ``money_before`` the first alert + ``money_missed`` of subjects never found + what moved
    after the first alert; ``stopped`` is the last one's share: what a prompt decision could have stopped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    subjects: int
    found: int
    days_median: float | None
    days_ninth_decile: float | None
    within: dict[str, float]
    money: float
    money_before: float
    money_missed: float
    stopped: float | None


#: Days within which subjects are counted as found.
WITHIN = (7, 30, 90)


def first_hits(activity: pl.DataFrame, alerts: pl.DataFrame, *, subject: str = "account_id") -> pl.DataFrame:
    """One row a subject with an illicit payment.

    Parameters
    ----------
    activity: ``subject, at, amount``: illicit payments; amount in base currency or null.
    alerts: ``subject, at``: every alert, first ones and repeats; those before the first illicit payment are
        not about it, and subjects without one are false alarms: neither counts here.
    subject: the column that names a subject: an account, or a scheme.

    Returns
    -------
    ``subject, first_at, alerted_at`` (null if never), ``days`` (from the one to the other), ``money_before``
    (up to and with the alert; all of it if there was none) and ``money``, by subject.

    Raises
    ------
    ModelError: an amount is negative.
    """
    if (activity["amount"].fill_null(0) < 0).any():
        raise ModelError("illicit payments with negative amounts")
    began = activity.group_by(subject).agg(first_at=pl.col("at").min())
    told = (
        alerts.select(subject, "at")
        .join(began, on=subject)
        .filter(pl.col("at") >= pl.col("first_at"))
        .group_by(subject)
        .agg(alerted_at=pl.col("at").min())
    )
    began = began.join(told, on=subject, how="left")
    before = pl.col("alerted_at").is_null() | (pl.col("at") <= pl.col("alerted_at"))
    # exact sums, whatever the order of payments
    sums = (
        activity.join(began, on=subject)
        .group_by(subject)
        .agg(
            money_before=pl.col("amount").filter(before).sum().cast(pl.Float64),
            money=pl.col("amount").sum().cast(pl.Float64),
        )
    )
    days = (pl.col("alerted_at") - pl.col("first_at")).dt.total_seconds(fractional=True) / 86_400
    return (
        began.join(sums, on=subject)
        .select(subject, "first_at", "alerted_at", days.alias("days"), "money_before", "money")
        .sort(subject)
    )


def summarise(hits: pl.DataFrame) -> FirstHits:
    """Sum up what ``first_hits`` returned."""
    days = hits["days"].drop_nulls().sort().to_numpy()
    never = hits["alerted_at"].is_null()
    money = _sum(hits["money"])
    before = _sum(hits.filter(~never)["money_before"])
    missed = _sum(hits.filter(never)["money"])
    return FirstHits(
        subjects=hits.height,
        found=int(days.size),
        days_median=float(np.median(days)) if days.size else None,
        days_ninth_decile=float(np.quantile(days, 0.9, method="higher")) if days.size else None,
        within={f"{n} days": float((days <= n).sum() / hits.height) if hits.height else 0.0 for n in WITHIN},
        money=money,
        money_before=before,
        money_missed=missed,
        stopped=max(0.0, 1 - (before + missed) / money) if money > 0 else None,
    )


def _sum(values: pl.Series) -> float:
    """A sum that does not hang on the order of rows."""
    return math.fsum(values)
