"""Where risk starts: accounts that somebody or something pointed at before a moment, each with a reason.

Three origins, the firmest first, with what one of them weighs (1 is a certainty):

* ``label``: found suspicious. The label's own confidence, 1 where it has none. Of several labels of one subject by
  one source the latest counts, so whom a source has cleared is no seed of its. A label of a party is one of all its
  accounts. Labels of payments count, at ``OF_PAYMENT``, for the accounts on both sides, and only where no label
  names an account or a party: one side of a payment is often its victim.
* ``intel``: a partner named the account or an identifier of its holder: ``NAMED``.
* ``rule``: a hit of a rule whose level is in ``OF_LEVEL``. A hit is a suspicion and no finding, so it weighs less.

An account whose labels, or its holder's, all say *not* suspicious by then (cleared, or a victim of a scheme) is no
seed, whatever else points at it: being harmed, or looked into and cleared, is no suspicion.

An account that several point at weighs what the weightiest says: ten hits of one pattern are one pattern.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from fintel.domain.detection import Level
from fintel.domain.schema import ACCOUNTS, INTEL, LABELS
from fintel.features.identifiers import Intelligence
from fintel.frames import TIMESTAMP, empty

Tables = Mapping[str, pl.LazyFrame]

OF_PAYMENT = 0.5
NAMED = 0.8
OF_LEVEL: Mapping[str, float] = {Level.HIGH: 0.25, Level.CRITICAL: 0.5}
ORIGINS = ("label", "intel", "rule")

_ROW = pl.Schema(
    [
        ("account_id", pl.String()),
        ("weight", pl.Float64()),
        ("origin", pl.String()),
        ("reason", pl.String()),
        ("known_at", TIMESTAMP),
    ]
)


def seeds(
    tables: Tables, as_of: datetime, episodes: pl.DataFrame | None = None, *, origins: Sequence[str] = ORIGINS
) -> pl.DataFrame:
    """One row a seed, by account: ``account_id, weight`` (0 to 1), ``origin``, ``reason`` (of the weightiest, in
    words), ``reasons`` (how many point at it), ``known_at`` (of the weightiest; empty where nothing says).

    Parameters
    ----------
    tables: canonical tables by name; ``transactions`` needed, ``labels``, ``intel``, ``accounts``, ``parties`` and
        ``identifiers`` used where they are.
    as_of: nothing that was known later is seen.
    episodes: hits of rules, as in the table ``episodes`` of a run; only those whose peak is not later count.
    origins: which of ``ORIGINS`` count.
    """
    found = [
        _of_labels(tables, as_of) if "label" in origins else pl.DataFrame(schema=_ROW),
        _of_intel(tables, as_of) if "intel" in origins else pl.DataFrame(schema=_ROW),
        _of_rules(episodes if "rule" in origins else None, as_of),
    ]
    every = pl.concat(found).filter((pl.col("weight") > 0) & pl.col("account_id").is_not_null())
    every = every.join(_cleared(tables, as_of), on="account_id", how="anti")
    order = pl.col("origin").replace_strict({word: i for i, word in enumerate(ORIGINS)}, return_dtype=pl.Int32)
    return (
        every.sort(-pl.col("weight"), order, "known_at", "reason", nulls_last=True)
        .group_by("account_id", maintain_order=True)
        .agg(pl.first("weight", "origin", "reason"), pl.len().cast(pl.Int64).alias("reasons"), pl.first("known_at"))
        .sort("account_id")
        .select("account_id", "weight", "origin", "reason", "reasons", "known_at")
    )


def of_parties(seeds: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """The same for a network of parties: a holder is a seed if one of the accounts is, by the weightiest of them.

    Accounts without a known holder stay as they are, as they do in that network. ``account_id`` holds the node's id.
    """
    known = tables.get("accounts", empty(ACCOUNTS).lazy()).select("account_id", "party_id")
    held = known.unique("account_id", keep="first", maintain_order=True).collect(engine="in-memory")
    order = ["weight", "account_id"]
    return (
        seeds.sort(order, descending=[True, False])
        .join(held, on="account_id", how="left", maintain_order="left")
        .with_columns(account_id=pl.coalesce("party_id", "account_id"))
        .group_by("account_id", maintain_order=True)
        .agg(pl.first("weight", "origin", "reason"), pl.sum("reasons"), pl.first("known_at"))
        .sort("account_id")
    )


def _row(account: str, weight: pl.Expr, origin: str, reason: pl.Expr, known_at: pl.Expr) -> list[pl.Expr]:
    return [
        pl.col(account).alias("account_id"),
        weight.cast(pl.Float64).alias("weight"),
        pl.lit(origin).alias("origin"),
        reason.alias("reason"),
        known_at.cast(TIMESTAMP).alias("known_at"),
    ]


def _cleared(tables: Tables, as_of: datetime) -> pl.DataFrame:
    """``account_id`` of those that some source says not to be suspicious, and none to be, by itself or its holder."""
    latest = _latest(tables, as_of).filter(pl.col("subject_type") != "transaction")
    holders = tables.get("accounts", empty(ACCOUNTS).lazy()).select("account_id", "party_id").collect()
    named = pl.concat(
        [
            latest.filter(pl.col("subject_type") == "account").select("suspicious", account_id="subject_id"),
            latest.filter(pl.col("subject_type") == "party")
            .join(holders, left_on="subject_id", right_on="party_id")
            .select("suspicious", "account_id"),
        ]
    )
    return named.group_by("account_id").agg(pl.any("suspicious")).filter(~pl.col("suspicious")).select("account_id")


def _labels(tables: Tables, as_of: datetime) -> pl.DataFrame:
    """The latest label of each subject by each source, if it says suspicious."""
    return _latest(tables, as_of).filter("suspicious")


def _latest(tables: Tables, as_of: datetime) -> pl.DataFrame:
    """The latest label of each subject by each source."""
    subject = ["subject_type", "subject_id", "label_source"]
    return (
        tables.get("labels", empty(LABELS).lazy())
        .filter(pl.col("known_at") <= as_of)
        .select(*subject, "suspicious", "typology", "known_at", pl.col("confidence").fill_null(1.0).clip(0.0, 1.0))
        .sort("known_at", "suspicious")
        .group_by(subject, maintain_order=True)
        .last()
        .sort(subject)
        .collect(engine="in-memory")
    )


def _of_labels(tables: Tables, as_of: datetime) -> pl.DataFrame:
    labels = _labels(tables, as_of)
    kind = {name: labels.filter(pl.col("subject_type") == name) for name in ("account", "party", "transaction")}
    holders = (
        tables.get("accounts", empty(ACCOUNTS).lazy())
        .filter(pl.col("party_id").is_not_null())
        .select("account_id", "party_id")
    )
    of_parties = holders.join(kind["party"].lazy(), left_on="party_id", right_on="subject_id")
    what = pl.format("found suspicious{} by {}", pl.format(" ({})", "typology").fill_null(""), pl.col("label_source"))
    known = pl.col("known_at")
    parts = [
        kind["account"].select(_row("subject_id", pl.col("confidence"), "label", what, known)),
        of_parties.select(
            _row("account_id", pl.col("confidence"), "label", pl.format("holder {}", what), known)
        ).collect(engine="in-memory"),
    ]
    if kind["account"].is_empty() and kind["party"].is_empty() and not kind["transaction"].is_empty():
        paid = (
            tables["transactions"]
            .filter(pl.col("booked_at") <= as_of)
            .select("transaction_id", "debtor_account_id", "creditor_account_id")
            .join(kind["transaction"].lazy(), left_on="transaction_id", right_on="subject_id")
        )
        for side in ("debtor", "creditor"):
            reason = pl.format(f"{side} of payment {{}}, {{}}", "transaction_id", what)
            row = _row(f"{side}_account_id", pl.col("confidence") * OF_PAYMENT, "label", reason, known)
            parts.append(paid.select(row).collect(engine="in-memory"))
    return pl.concat(parts)


def _of_intel(tables: Tables, as_of: datetime) -> pl.DataFrame:
    told = tables.get("intel", empty(INTEL).lazy()).filter(
        pl.col("received_on").is_null() | (pl.col("received_on") <= as_of.date())
    )
    first = told.select(pl.col("received_on").min(), n=pl.len()).collect(engine="in-memory")
    if not first["n"][0]:
        return pl.DataFrame(schema=_ROW)
    payments = tables["transactions"].filter(pl.col("booked_at") <= as_of)
    known = pl.concat(
        [
            tables.get("accounts", empty(ACCOUNTS).lazy()).select("account_id"),
            *[payments.select(account_id=f"{side}_account_id") for side in ("debtor", "creditor")],
        ]
    )
    named = known.filter(pl.col("account_id").is_not_null()).unique().collect(engine="streaming")
    named = named.filter(Intelligence(tables, as_of).names(pl.col("account_id")).fill_null(False))
    reason = pl.lit("a partner named the account or its holder")
    return named.select(_row("account_id", pl.lit(NAMED), "intel", reason, pl.lit(None, dtype=TIMESTAMP)))


def _of_rules(episodes: pl.DataFrame | None, as_of: datetime) -> pl.DataFrame:
    if episodes is None:
        return pl.DataFrame(schema=_ROW)
    hits = episodes.filter(pl.col("level").is_in(list(OF_LEVEL)) & (pl.col("peak_at") <= as_of))
    weight = pl.col("level").replace_strict(dict(OF_LEVEL), return_dtype=pl.Float64)
    reason = pl.format("hit of rule {} ({})", "rule_id", "level")
    return hits.select(_row("account_id", weight, "rule", reason, pl.col("peak_at")))
