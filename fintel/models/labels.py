"""Who was suspicious, when, and when that was known: from the ``labels`` table to rows of accounts.

An account is *labelled* if a label names it, or names its holder and none of the holder's accounts,
or, in feeds whose labels name payments only, if it stands on either side of a labelled payment. Its
*activity* are the labelled payments it stands in. A row (account, moment) is

* positive (1) if there is activity in the days before the moment or in the horizon after it, or if the
  account is labelled but nothing says when it was active;
* left out (null) if the account is labelled but was not active then: neither suspicious nor clean;
* unlabelled (0) otherwise. That is not proof of innocence: most of it nobody has looked at.

A label counts from ``known_at`` on, which lies weeks after the deed: what is trained at a moment has the
deeds of long ago, not those of yesterday. ``suspicious = false`` is a closed alert: somebody looked and
did not report. That is a weak negative, worth more than a row that nobody looked at, and no proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fintel.domain.schema import ACCOUNTS, LABELS
from fintel.frames import empty

Tables = Mapping[str, pl.LazyFrame]


@dataclass(frozen=True)
class Truth:
    """``accounts``: ``account_id, known_at`` (first label), one row each; ``activity``: ``account_id, at``."""

    accounts: pl.DataFrame
    activity: pl.DataFrame

    @property
    def timed_share(self) -> float:
        """Share of labelled accounts whose activity has a date."""
        if self.accounts.is_empty():
            return 0.0
        return self.accounts.join(self.activity, on="account_id", how="semi").height / self.accounts.height


def read_truth(tables: Tables, known_by: datetime | None = None) -> Truth:
    """Labelled accounts and their activity, as known by a moment (all that is known if None)."""
    labels = _suspicious(tables)
    if known_by is not None:
        labels = labels.filter(pl.col("known_at") <= known_by)
    sides = _sides(tables, labels)
    named = _named(tables, labels)
    if named.is_empty():
        named = sides.select("account_id", "known_at")
    accounts = named.group_by("account_id").agg(pl.col("known_at").min()).sort("account_id")
    activity = sides.join(accounts, on="account_id", how="semi").select("account_id", at="booked_at")
    return Truth(accounts, activity.sort("account_id", "at"))


def read_cleared(tables: Tables, known_by: datetime | None = None) -> pl.DataFrame:
    """``account_id, known_at`` (the last) of accounts that were looked at and found clean, as known by a moment."""
    labels = tables.get("labels", empty(LABELS).lazy())
    if known_by is not None:
        labels = labels.filter(pl.col("known_at") <= known_by)
    closed = labels.filter(~pl.col("suspicious")).with_columns(suspicious=pl.lit(value=True))
    seen = {**tables, "labels": closed}
    subjects = _suspicious(seen)
    named = pl.concat([_named(seen, subjects), _sides(seen, subjects).select("account_id", "scheme_id", "known_at")])
    guilty = read_truth(tables, known_by).accounts
    last = named.group_by("account_id").agg(pl.col("known_at").max())
    return last.join(guilty, on="account_id", how="anti").sort("account_id")


def reviewed(rows: pl.DataFrame, cleared: pl.DataFrame, before_days: float) -> pl.Series:
    """Whether a review that ended in no report saw at least part of each row's days: bool, rows of ``account_id,
    as_of``."""
    seen = rows.select("account_id", "as_of").join(cleared, on="account_id", how="left", maintain_order="left")
    return seen.select(
        (pl.col("known_at") >= pl.col("as_of") - timedelta(days=before_days)).fill_null(value=False).alias("reviewed")
    ).to_series()


#: What ties labelled accounts into groups, the firmest ties last.
TIES = ("payment", "scheme", "party")


def groups(tables: Tables, ties: Sequence[str] = TIES) -> pl.DataFrame:
    """``account_id, group`` of every labelled account: accounts of one scheme, of one holder or of one
    labelled payment share a group, so that a split by groups keeps schemes whole.

    ``ties``: which of ``TIES`` count. Accounts that are in labelled payments but not labelled
    themselves tie nothing together.
    """
    labels = _suspicious(tables)
    sides = _sides(tables, labels)
    named = _named(tables, labels)
    if named.is_empty():
        named = sides.select("account_id", "scheme_id", "known_at")
    sides = sides.join(named, on="account_id", how="semi")
    schemes = named.filter(pl.col("scheme_id").is_not_null())
    holders = _holders(tables).join(named, on="account_id", how="semi")
    known = {
        "payment": sides.select("account_id", key=pl.format("payment {}", "subject_id")),
        "scheme": schemes.select("account_id", key=pl.format("scheme {}", "scheme_id")),
        "party": holders.select("account_id", key=pl.format("party {}", "party_id")),
    }
    alone = named.select("account_id", key=pl.format("account {}", "account_id"))
    edges = pl.concat([alone, *(known[tie] for tie in ties)]).unique()
    accounts = edges["account_id"].unique().sort()
    keys = edges["key"].unique().sort()
    left = accounts.search_sorted(edges["account_id"]).to_numpy()
    right = keys.search_sorted(edges["key"]).to_numpy() + len(accounts)
    size = len(accounts) + len(keys)
    graph = coo_array((np.ones(left.size, np.int8), (left, right)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return pl.DataFrame({"account_id": accounts, "group": component[: len(accounts)].astype(np.int64)})


def label_rows(rows: pl.DataFrame, truth: Truth, before_days: float, after_days: float = 0.0) -> pl.Series:
    """Label of each row of ``account_id, as_of``: 1, 0 or null (see the module's text)."""
    keyed = rows.select("account_id", "as_of").with_row_index("row")
    inside = keyed.join(truth.accounts.select("account_id"), on="account_id", how="semi")
    active = (
        inside.join(truth.activity, on="account_id")
        .filter(
            (pl.col("at") < pl.col("as_of") + timedelta(days=after_days))
            & (pl.col("at") >= pl.col("as_of") - timedelta(days=before_days))
        )
        .select("row")
    )
    undated = inside.join(truth.activity, on="account_id", how="anti").select("row")
    label = np.zeros(rows.height, np.float64)
    label[inside["row"].to_numpy()] = np.nan
    label[active["row"].to_numpy()] = 1.0
    label[undated["row"].to_numpy()] = 1.0
    return pl.Series("label", label).fill_nan(None)


def _suspicious(tables: Tables) -> pl.DataFrame:
    labels = tables.get("labels", empty(LABELS).lazy())
    return (
        labels.filter(pl.col("suspicious"))
        .select("subject_type", "subject_id", "scheme_id", "known_at")
        .collect(engine="streaming")
    )


def _sides(tables: Tables, labels: pl.DataFrame) -> pl.DataFrame:
    """Accounts of labelled payments: ``account_id, booked_at, subject_id, scheme_id, known_at``."""
    wanted = labels.filter(pl.col("subject_type") == "transaction").drop("subject_type")
    paid = (
        tables["transactions"]
        .select("transaction_id", "booked_at", "debtor_account_id", "creditor_account_id")
        .join(wanted.lazy(), left_on="transaction_id", right_on="subject_id")
        .collect(engine="streaming")
        .rename({"transaction_id": "subject_id"})
    )
    return (
        pl.concat([paid.with_columns(account_id=f"{side}_account_id") for side in ("debtor", "creditor")])
        .filter(pl.col("account_id").is_not_null())
        .select("account_id", "booked_at", "subject_id", "scheme_id", "known_at")
    )


def _holders(tables: Tables) -> pl.DataFrame:
    accounts = tables.get("accounts", empty(ACCOUNTS).lazy())
    return accounts.filter(pl.col("party_id").is_not_null()).select("account_id", "party_id").collect()


def _named(tables: Tables, labels: pl.DataFrame) -> pl.DataFrame:
    """Accounts that labels name: ``account_id, scheme_id, known_at``."""
    accounts = labels.filter(pl.col("subject_type") == "account").select(
        pl.col("subject_id").alias("account_id"), "scheme_id", "known_at"
    )
    holders = _holders(tables)
    covered = holders.join(accounts, on="account_id", how="semi").select("party_id").unique()
    parties = labels.filter(pl.col("subject_type") == "party").join(
        covered, left_on="subject_id", right_on="party_id", how="anti"
    )
    of_parties = holders.join(parties, left_on="party_id", right_on="subject_id").select(accounts.columns)
    return pl.concat([accounts, of_parties])
