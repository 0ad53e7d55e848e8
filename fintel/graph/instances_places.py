"""Funnels: an account that is paid in at many places and out at one (FinCEN advisory FIN-2014-A005).

Cash has no other side, so no edge of the network: funnels are found from the payments themselves. **The place** of a
payment is, of what is known: its city (with the country), its branch or machine, the other side's country, the other
side's bank. Payments without any are left out.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from fintel.features.entries import Tables, booked
from fintel.graph.instances_found import Array, Found, Search
from fintel.graph.instances_windows import FUNNEL, IN, OUT, items, strongest
from fintel.graph.network import Network


def placed(tables: Tables, since: datetime | None, until: datetime | None) -> tuple[Network, tuple[Array, Array]]:
    """Payments with a place in or out as a network whose first node (null) is *nobody known*; and their places.

    The places are codes, int32 (m,) each: where the payee was paid, where the payer paid; -1 where none is known.
    """
    city = pl.format("{}, {}", "place_city", pl.col("place_country").fill_null("?"))
    where = pl.coalesce(city, "place_id")
    rows = (
        booked(tables["transactions"].with_row_index("row"), until)
        .filter(*([] if since is None else [pl.col("booked_at") >= since]))
        .select(
            "row", "transaction_id", "booked_at", "amount_base",
            source="debtor_account_id", target="creditor_account_id",
            into=pl.coalesce(where, "debtor_country", "debtor_agent"),
            out=pl.coalesce(where, "creditor_country", "creditor_agent"),
        )
        .with_columns(
            into=pl.when(pl.col("target").is_not_null()).then("into"),
            out=pl.when(pl.col("source").is_not_null()).then("out"),
        )
        .filter(pl.col("into").is_not_null() | pl.col("out").is_not_null())
        .sort("booked_at", "transaction_id")
        .collect()
    )  # fmt: skip
    nodes = _codes(rows["source"], rows["target"])
    places = _codes(rows["into"], rows["out"])
    network = Network(
        source=nodes[0] + 1,
        target=nodes[1] + 1,
        time=rows["booked_at"].to_physical().to_numpy(),
        amount=rows["amount_base"].to_physical().cast(pl.Int64).clip(lower_bound=-1).fill_null(-1).to_numpy(),
        row=rows["row"].cast(pl.UInt32).to_numpy(),
        nodes=pl.concat([pl.Series("node", [None], dtype=pl.String), nodes[2].alias("node")]),
    )
    return network, (places[0], places[1])


def _codes(one: pl.Series, other: pl.Series) -> tuple[Array, Array, pl.Series]:
    """Codes of the texts of both, int32, -1 for null; and the text of each code, sorted."""
    texts = pl.concat([one.alias("text"), other.alias("text")]).drop_nulls().unique().sort()
    known = pl.DataFrame({"text": texts}).with_row_index("code")
    codes = [
        pl.DataFrame({"text": series}).join(known, on="text", how="left", maintain_order="left")["code"]
        for series in (one, other)
    ]
    first, second = (c.cast(pl.Int32).fill_null(-1).to_numpy() for c in codes)
    return first, second, texts


def funnels(search: Search) -> Found:
    """Accounts paid in at ``at_least`` places other than the one where they pay out."""
    net = search.network
    assert search.places is not None, "a network of placed payments"
    into, out = search.places
    ins = np.flatnonzero((into >= 0) & (net.source != net.target))
    outs = np.flatnonzero((out >= 0) & (net.source != net.target))
    pairs = np.unique(net.target[ins].astype(np.int64) << 32 | into[ins])
    flagged = np.bincount(pairs >> 32, minlength=len(net.nodes)) >= search.at_least
    ins, outs = ins[flagged[net.target[ins]]], outs[flagged[net.source[outs]]]
    found, accounts = items(
        np.concatenate([net.target[ins], net.source[outs]]).astype(np.int64),
        np.concatenate([ins, outs]),
        np.repeat([IN, OUT], [ins.size, outs.size]),
        np.concatenate([into[ins], out[outs]]),
        net.time,
        net.amount,
    )
    return strongest(
        FUNNEL, found, accounts, within=search.within, at_least=search.at_least, cap=search.cap,
        low=search.band.low, high=search.band.high,
    )  # fmt: skip
