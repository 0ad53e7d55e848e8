"""What the records say of an account and its holder as of a moment; no payment is read."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from fintel.domain.schema import ACCOUNTS, PARTIES
from fintel.frames import empty

_OLDEST = 3_650


def account_profiles(tables: Mapping[str, pl.LazyFrame], rows: pl.DataFrame) -> pl.DataFrame:
    """Profile columns for rows of ``account_id, as_of``, in their order.

    Returns ``account_age_days`` (null when not opened yet), ``is_organisation``, ``party_age`` (whole
    years, null when not born yet) and ``yearly_income`` (base currency), all float, null if unknown.
    """
    accounts = tables.get("accounts", empty(ACCOUNTS).lazy())
    parties = tables.get("parties", empty(PARTIES).lazy())
    records = (
        accounts.select("account_id", "party_id", "opened_on", "kind")
        .join(parties.select("party_id", "birth_date", "annual_income", holder="kind"), on="party_id", how="left")
        .unique("account_id", keep="first", maintain_order=True)
        .collect()
    )
    day = pl.col("as_of").dt.date()
    age = (day - pl.col("opened_on")).dt.total_days()
    kind = pl.coalesce(pl.col("kind"), pl.col("holder"))
    born = pl.col("birth_date")
    # a month is 8 bits wide: a hundred times it must not wrap round
    before = (day.dt.month().cast(pl.Int32) * 100 + day.dt.day()) < (
        born.dt.month().cast(pl.Int32) * 100 + born.dt.day()
    )
    years = day.dt.year() - born.dt.year() - before.cast(pl.Int32)
    return rows.join(records, on="account_id", how="left", maintain_order="left").select(
        account_age_days=pl.when(age >= 0).then(age.clip(upper_bound=_OLDEST)).cast(pl.Float64),
        is_organisation=pl.when(kind.is_in(["organisation", "institution"]))
        .then(1.0)
        .when(kind == "person")
        .then(0.0)
        .otherwise(None),
        party_age=pl.when(years >= 0).then(years).cast(pl.Float64),
        yearly_income=pl.col("annual_income").cast(pl.Float64),
    )
