"""Rings: accounts whose holders are tied by phones, e-mails, addresses, devices, wallets and the like.

The graph has the holders of accounts (an account without a known holder stands for itself) on one side and the values
of their identifiers on the other; a ring is what hangs together in it, two holders or more. Devices count twice: those
that records name, and those that ordered the account's payments. IP addresses do not count: networks share them.

Two things would tie everybody to everybody, so they are bounded, and what is left out is said:

* a value of more than ``MAX_SHARING`` holders is an office or a switchboard, and ties nobody;
* a ring of more than ``largest`` holders is no ring. It is looked at again without its most shared values (each of
  ``_LIMITS`` in turn), and what then falls apart into small pieces counts. What does not is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fintel.domain.schema import ACCOUNTS
from fintel.features.entries import booked
from fintel.features.identifiers import MAX_SHARING, TELLING, known_identifiers, normalised
from fintel.frames import empty

if TYPE_CHECKING:
    from fintel.graph.network import Network

Tables = Mapping[str, pl.LazyFrame]

LARGEST = 100
#: Sharing allowed, from the first look to the last one.
_LIMITS = (MAX_SHARING, 25, 12, 6, 3, 2)


@dataclass(frozen=True)
class Rings:
    """``rings``: ``ring_id, holders, accounts, values, kinds`` (';' between), largest first.

    ``members``: ``account_id, holder_id, ring_id``; ``ties``: ``ring_id, holder_id, type, value``, the very values that
    tie; ``features``: one row a member account (see ``_features``); ``skipped``: ``account_id, reason, type, value,
    holders``: values that tied an account to nobody because too many have them, and why.
    """

    rings: pl.DataFrame
    members: pl.DataFrame
    ties: pl.DataFrame
    features: pl.DataFrame
    skipped: pl.DataFrame


def holders(tables: Tables, as_of: datetime | None = None) -> pl.DataFrame:
    """``account_id, holder_id`` of all accounts that are described or have ordered a payment, by account.

    The holder is the party, else ``account:<account id>``.
    """
    described = tables.get("accounts", empty(ACCOUNTS).lazy()).select("account_id", "party_id")
    paid = booked(tables["transactions"], as_of).filter(pl.col("device_id").is_not_null())
    ordered = paid.select(account_id="debtor_account_id", party_id=pl.lit(None, dtype=pl.String))
    every = pl.concat([described, ordered]).filter(pl.col("account_id").is_not_null())
    party = pl.col("party_id").drop_nulls().min()
    return (
        every.group_by("account_id")
        .agg(party)
        .select("account_id", holder_id=pl.coalesce("party_id", pl.format("account:{}", "account_id")))
        .sort("account_id")
        .collect(engine="streaming")
    )


def shared_values(tables: Tables, as_of: datetime | None = None, kinds: tuple[str, ...] = TELLING) -> pl.DataFrame:
    """``holder_id, type, value, holders``: values of at least two holders, and how many have each."""
    of_account = holders(tables, as_of)
    parts = [known_identifiers(tables, as_of, kinds).select(pl.col("party_id").alias("holder_id"), "type", "value")]
    if "device" in kinds:
        used = booked(tables["transactions"], as_of).select(
            "debtor_account_id", type=pl.lit("device"), value=normalised("device", pl.col("device_id"))
        )
        parts.append(
            used.drop_nulls()
            .unique()
            .join(of_account.lazy(), left_on="debtor_account_id", right_on="account_id")
            .select("holder_id", "type", "value")
        )
    known = pl.concat(parts).unique().with_columns(holders=pl.len().over("type", "value").cast(pl.Int64))
    return known.filter(pl.col("holders") > 1).sort("type", "value", "holder_id").collect(engine="in-memory")


def rings(
    tables: Tables,
    *,
    as_of: datetime | None = None,
    kinds: tuple[str, ...] = TELLING,
    largest: int = LARGEST,
) -> Rings:
    """Rings as far as known at a moment, of at most ``largest`` holders, tied by identifiers of ``kinds``."""
    of_account = holders(tables, as_of)
    shared = shared_values(tables, as_of, kinds)
    common = shared.filter(pl.col("holders") > MAX_SHARING)
    left = shared
    found = []
    for limit in _LIMITS:
        left = left.filter(pl.col("holders") <= limit)
        if left.is_empty():
            break
        tied = _components(left)
        sizes = tied.group_by("ring").agg(pl.col("holder_id").n_unique().alias("n"))
        tied = tied.join(sizes, on="ring", maintain_order="left")
        found.append(tied.filter((pl.col("n") <= largest) & (pl.col("n") > 1)).drop("n"))
        left = tied.filter(pl.col("n") > largest).drop("n", "ring")
    ties = pl.concat(found) if found else _components(shared.clear())
    names = ties.group_by("ring").agg(pl.col("holder_id").min().alias("first"))
    names = names.with_columns(ring_id=pl.col("first").map_elements(_ring_id, return_dtype=pl.String))
    ties = (
        ties.join(names, on="ring")
        .select("ring_id", "holder_id", "type", "value", "holders")
        .sort("ring_id", "type", "value", "holder_id")
    )
    members = (
        of_account.join(ties.select("holder_id", "ring_id").unique(), on="holder_id")
        .select("account_id", "holder_id", "ring_id")
        .sort("account_id")
    )
    out = _skipped(of_account, members, common, "common value")
    crowd = shared.filter(pl.col("holders") <= MAX_SHARING)
    out = pl.concat([out, _skipped(of_account, members, crowd, "ring too large").filter(~pl.col("in_ring"))])
    return Rings(
        rings=_summary(ties, members),
        members=members,
        ties=ties.drop("holders"),
        features=_features(ties, members),
        skipped=out.drop("in_ring").sort("account_id", "reason", "type", "value"),
    )


def _ring_id(holder: str) -> str:
    return "ring-" + hashlib.sha256(holder.encode()).hexdigest()[:12]


def _components(values: pl.DataFrame) -> pl.DataFrame:
    """``values`` with ``ring``: the least holder of the component, so that names do not hang on the order of rows."""
    if values.is_empty():
        return values.with_columns(ring=pl.col("holder_id"))
    holder = (values["holder_id"].rank("dense") - 1).cast(pl.Int64).to_numpy()
    value = values.select(pl.struct("type", "value").rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()
    who = int(holder.max()) + 1
    size = who + int(value.max()) + 1
    graph = coo_array((np.ones(holder.size, np.int8), (holder, value + who)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return values.with_columns(ring=pl.Series(component[holder])).with_columns(
        pl.col("holder_id").min().over("ring").alias("ring")
    )


def _summary(ties: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    values = ties.group_by("ring_id").agg(
        pl.col("holder_id").n_unique().cast(pl.Int64).alias("holders"),
        pl.struct("type", "value").n_unique().cast(pl.Int64).alias("values"),
        pl.col("type").unique().sort().str.join(";").alias("kinds"),
    )
    accounts = members.group_by("ring_id").agg(pl.len().cast(pl.Int64).alias("accounts"))
    return (
        values.join(accounts, on="ring_id", how="left")
        .select("ring_id", "holders", pl.col("accounts").fill_null(0), "values", "kinds")
        .sort("holders", "ring_id", descending=[True, False])
    )


def _features(ties: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """``account_id, ring_id``; of the ring ``ring_holders, ring_accounts, ring_values``; of the account's holder
    ``tied_holders`` (others that share a value directly), ``tying_values``, ``tying_kinds``."""
    counts = _summary(ties, members).select(
        "ring_id", ring_holders="holders", ring_accounts="accounts", ring_values="values"
    )
    own = ties.select("holder_id", "type", "value")
    others = (
        own.join(own, on=["type", "value"], suffix="_other")
        .filter(pl.col("holder_id") != pl.col("holder_id_other"))
        .group_by("holder_id")
        .agg(
            pl.col("holder_id_other").n_unique().cast(pl.Int64).alias("tied_holders"),
            pl.struct("type", "value").n_unique().cast(pl.Int64).alias("tying_values"),
            pl.col("type").n_unique().cast(pl.Int64).alias("tying_kinds"),
        )
    )
    return (
        members.join(counts, on="ring_id", maintain_order="left")
        .join(others, on="holder_id", maintain_order="left")
        .drop("holder_id")
    )


def _skipped(of_account: pl.DataFrame, members: pl.DataFrame, values: pl.DataFrame, reason: str) -> pl.DataFrame:
    return (
        values.join(of_account, on="holder_id")
        .with_columns(in_ring=pl.col("account_id").is_in(members["account_id"].implode()))
        .select("account_id", pl.lit(reason).alias("reason"), "type", "value", "holders", "in_ring")
    )


def ring_payers(network: Network, found: Rings) -> pl.DataFrame:
    """Different senders, one address: one row an account that members of rings paid, by account.

    ``account_id, ring_payers`` (payers that are in a ring with another of its payers), ``rings`` (how many such rings),
    ``largest_ring`` (most payers of one ring), ``largest_ring_id``, ``paid_within_ring`` (share of what the account's
    payers sent it, by number of payments, that came from its own ring; null if it is in none).
    """
    nodes = network.nodes
    ring = (
        nodes.alias("account_id")
        .to_frame()
        .join(
            found.members.select("account_id", "ring_id", "holder_id"),
            on="account_id",
            how="left",
            maintain_order="left",
        )
    )
    paid = pl.DataFrame({"source": network.source, "target": network.target}).filter(
        pl.col("source") != pl.col("target")
    )
    paid = paid.group_by("source", "target").agg(pl.len().alias("payments"))
    by_number = ring.with_row_index("number").with_columns(pl.col("number").cast(pl.Int32))
    paid = paid.join(
        by_number.select("number", payer_ring="ring_id", payer_holder="holder_id"), left_on="source", right_on="number"
    )
    paid = paid.join(by_number.select("number", "account_id", "ring_id"), left_on="target", right_on="number")
    own = paid.group_by("account_id").agg(
        pl.when(pl.col("ring_id").is_not_null().first())
        .then(
            pl.col("payments").filter((pl.col("payer_ring") == pl.col("ring_id")).fill_null(False)).sum()
            / pl.col("payments").sum()
        )
        .alias("paid_within_ring")
    )
    several = (
        paid.filter(pl.col("payer_ring").is_not_null())
        .group_by("account_id", "payer_ring")
        .agg(pl.col("source").n_unique().cast(pl.Int64).alias("payers"), pl.col("payer_holder").n_unique().alias("n"))
        .filter(pl.col("n") > 1)
        .sort("account_id", "payers", "payer_ring", descending=[False, True, False])
        .group_by("account_id", maintain_order=True)
        .agg(
            ring_payers=pl.col("payers").sum(),
            rings=pl.len().cast(pl.Int64),
            largest_ring=pl.col("payers").first(),
            largest_ring_id=pl.col("payer_ring").first(),
        )
    )
    told = several.join(own, on="account_id", how="full", coalesce=True)
    return (
        told.filter(pl.col("ring_payers").is_not_null() | pl.col("paid_within_ring").is_not_null())
        .with_columns(pl.col("ring_payers", "rings", "largest_ring").fill_null(0))
        .sort("account_id")
    )
