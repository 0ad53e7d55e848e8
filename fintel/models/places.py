"""Who stands in a queue, account by account, and what that makes of each typology."""

from __future__ import annotations

import polars as pl
from pydantic import BaseModel, ConfigDict

from fintel.domain.share import wilson


class TypologyRecall(BaseModel):
    """Suspicious accounts of a typology that were in a month's queue when they were active.

    ``found`` is an expected number (ties); ``low`` to ``high`` Wilson's interval of its share. Accounts of
    one scheme are found together, so where ``groups`` is much smaller than ``accounts`` the truth is wider.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    typology: str
    accounts: int
    groups: int
    found: float
    recall: float
    low: float
    high: float


def chance_read(judged: pl.DataFrame, column: str, capacity: int) -> pl.Series:
    """How sure each row is to be among the first ``capacity`` of its month, 0 to 1.

    1 above the cut, 0 below; rows of one score that the cut goes through share the places left. A month's
    rows add up to the capacity (or to all of them).
    """
    above = pl.col(column).rank("min", descending=True).over("month") - 1
    tied = pl.len().over("month", column)
    chance = ((capacity - above.cast(pl.Float64)) / tied).clip(0.0, 1.0)
    return judged.select(chance.alias("chance")).to_series()


def typology_recalls(
    judged: pl.DataFrame, column: str, capacity: int, typologies: pl.DataFrame
) -> tuple[TypologyRecall, ...]:
    """Recall by typology; an account found in one month is found.

    Parameters
    ----------
    judged: as for ``read_queues``, with ``account_id``.
    typologies: ``account_id, typology``; an account may have several, and counts under each.
    """
    found = (
        judged.with_columns(chance=chance_read(judged, column, capacity))
        .filter(pl.col("label") == 1)
        .group_by("account_id", "group")
        .agg(pl.col("chance").max())
        .join(typologies, on="account_id", how="left")
        .with_columns(pl.col("typology").fill_null("not named"))
        .unique(["account_id", "typology"])
        .group_by("typology")
        .agg(accounts=pl.len(), groups=pl.col("group").n_unique(), found=pl.col("chance").sort().sum())
        .sort("typology")
    )
    rows = []
    for typology, accounts, groups, hits in found.iter_rows():
        low, high = wilson(hits, accounts)
        rows.append(
            TypologyRecall(
                typology=typology,
                accounts=accounts,
                groups=groups,
                found=hits,
                recall=hits / accounts,
                low=low,
                high=high,
            )
        )
    return tuple(rows)
