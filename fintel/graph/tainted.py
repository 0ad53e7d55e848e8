"""Of the money that an account received: how much came from seeds, from which, and over which payments.

**Model.** Money mixes: what an account pays carries seeds' money in the proportion in which it had received it until
then (pro rata, the "haircut" of the literature on tainted coins: Möser, Böhme, Breuker, "Towards Risk Scoring of
Bitcoin Transactions", 2014). Only payments of the last ``days`` before ``as_of`` count, and a chain has at most
``hops`` payments, each later than the one before. What a seed pays is its own, whatever it
received. All is linear in the seeds, so an account's share is the sum of what each seed brings, exactly.

Personalised PageRank (``graph.risk``) answers another question, how much of the *seeds'* money arrives, which is small
where a seed pays many and says nothing of how much of the receiver's money it is. A sentence that a person can check
needs the receiver's side.

**Only money received counts.** Who *pays* a seed may be its customer or its victim; that is no suspicion.

**Weights.** ``weighted`` discounts a seed's share by its weight (``graph.seeds``), by ``PASSING`` for each account on
the way that may be innocent, and by ``HUB / payees`` for a seed with more payees in the period: half a town is paid by
an employer. An account's own holder is none of its seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fintel.graph.kernels_tainted import sweep, trace
from fintel.graph.risk import HUB, PASSING

if TYPE_CHECKING:
    from fintel.graph.network import Network

Array = Any

DAYS = 90
HOPS = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SPLIT = pl.Schema(
    [
        ("account_id", pl.String()),
        ("seed_id", pl.String()),
        ("seed_kind", pl.String()),
        ("share", pl.Float64()),
        ("weighted", pl.Float64()),
    ]
)
PATH = pl.Schema([("account_id", pl.String()), ("rows", pl.List(pl.UInt32))])


@dataclass(frozen=True)
class Tainted:
    """Seeds' money at all accounts of a network, as of a moment.

    ``nodes``: String (n,). ``weight`` float64 (n,), above 0 for seeds. ``shares``: ``account_id, weighted``, one row an
    account that anything reached, a holder's own seeds included.
    """

    network: Network
    seeds: pl.DataFrame
    shares: pl.DataFrame
    edges: Array
    amount: Array
    weight: Array
    received: Array
    before: Array
    carries: Array
    cut: Array
    holder: Array
    hops: int

    def told(self, account_ids: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What each seed brings to each account, and the strongest chain.

        Returns
        -------
        ``SPLIT``, largest first: ``share`` of all that the account received in the period, ``weighted`` the same
        discounted. ``PATH``: rows of transactions from the seed to the account. Seeds of the account's own holder are
        left out of both. Raises KeyError on an unknown account.
        """
        wanted = pl.Series(account_ids, dtype=pl.String)
        numbers = self.network.numbers(wanted)
        if (numbers < 0).any():
            raise KeyError(wanted[int(np.argmin(numbers))])
        start, edge = self._into
        size, carrying = self.weight.size, edge.size
        added, best = np.zeros((2, carrying)), np.zeros((2, carrying))
        down, onward = np.zeros((2, carrying), np.int32), np.zeros((self.hops, self.edges.size), np.int32)
        raw, weighted = np.zeros(size), np.zeros(size)
        net, seed = self.network, self.weight > 0
        source = net.source[self.edges]
        at_seed = np.flatnonzero(seed)
        parts: list[tuple[Array, Array, Array]] = []
        paths: list[list[int]] = []
        for number in numbers:
            excluded = at_seed[self.holder[at_seed] == self.holder[number]].astype(np.int32)
            found, chain = trace(
                number, self.received[number], start, edge, source, self.amount, self.before, self.cut,
                seed, excluded, self.weight, PASSING, self.hops, added, best, down, onward, raw, weighted,
            )  # fmt: skip
            at = np.asarray(found, np.int64)
            parts.append((at, raw[at], weighted[at]))
            raw[at] = weighted[at] = 0.0
            paths.append(net.row[self.edges[np.asarray(chain, np.int64)]].tolist())
        return self._split(wanted, parts), pl.DataFrame({"account_id": wanted, "rows": paths}, schema=PATH)

    def _split(self, wanted: pl.Series, parts: list[tuple[Array, Array, Array]]) -> pl.DataFrame:
        if not parts:
            return pl.DataFrame(schema=SPLIT)
        sizes = np.array([at.size for at, _, _ in parts])
        at, raw, weighted = (np.concatenate([p[i] for p in parts]) for i in range(3))
        kinds = self.seeds.select("account_id", seed_kind="origin").unique("account_id")
        return (
            pl.DataFrame(
                {
                    "account_id": wanted.gather(np.repeat(np.arange(sizes.size), sizes)),
                    "seed_id": self.network.nodes.gather(at),
                    "share": raw,
                    "weighted": weighted,
                }
            )
            .join(kinds, left_on="seed_id", right_on="account_id", how="left", maintain_order="left")
            .sort("account_id", "weighted", "seed_id", descending=[False, True, False])
            .select(SPLIT.names())
        )

    @cached_property
    def _into(self) -> tuple[Array, Array]:
        """Payments that carry something, by payee, in time order: starts int64 (n + 1,), payments int32 (p,)."""
        carrying = np.flatnonzero(self.carries)
        target = self.network.target[self.edges[carrying]]
        order = np.argsort(target, kind="stable")
        start = np.zeros(self.weight.size + 1, np.int64)
        np.cumsum(np.bincount(target, minlength=self.weight.size), out=start[1:])
        return start, carrying[order].astype(np.int32)


def tainted(
    network: Network,
    seeds: pl.DataFrame,
    *,
    as_of: datetime,
    holders: pl.DataFrame | None = None,
    days: int = DAYS,
    hops: int = HOPS,
) -> Tainted:
    """Follow seeds' money through the payments of the last ``days`` before ``as_of``.

    Parameters
    ----------
    seeds: ``account_id, weight`` (0 to 1), ``origin``, one row an account; those without a payment are left out.
    holders: ``account_id, party_id``: accounts of one holder are no seeds of each other.

    Raises
    ------
    ValueError: ``days`` or ``hops`` is below 1.
    """
    if days < 1 or hops < 1:
        raise ValueError("days and hops are at least 1")
    now = (as_of - _EPOCH) // timedelta(microseconds=1)
    since = now - timedelta(days=days) // timedelta(microseconds=1)
    first, last = (int(i) for i in np.searchsorted(network.time, [since, now], side="right"))
    edges = np.arange(first, last)
    amount = network.amount[edges].astype(np.float64)
    known = amount > 0
    amount[amount < 0] = np.median(amount[known]) if known.any() else 1.0
    kept = (network.source[edges] != network.target[edges]) & (amount > 0)
    edges, amount = edges[kept], amount[kept]
    source, target = network.source[edges], network.target[edges]
    weight = _weights(network, seeds, source, target)
    received, came, before, carries, cut = sweep(source, target, network.time[edges], amount, weight, hops)
    discounted = came @ PASSING ** np.arange(hops)
    share = np.divide(discounted, received, out=np.zeros(received.size), where=received > 0)
    reached = np.flatnonzero(share > 0)
    shares = pl.DataFrame({"account_id": network.nodes.gather(reached), "weighted": share[reached]})
    holder = _holder(network, holders)
    return Tainted(
        network, seeds, shares, edges, amount, weight, received, before, carries, cut, holder, hops
    )  # fmt: skip


def _weights(network: Network, seeds: pl.DataFrame, source: Array, target: Array) -> Array:
    size = len(network.nodes)
    numbers = network.numbers(seeds["account_id"])
    weight = np.zeros(size)
    weight[numbers[numbers >= 0]] = seeds["weight"].to_numpy()[numbers >= 0]
    pair = np.unique(source.astype(np.int64) * size + target)
    payees = np.bincount(pair // max(size, 1), minlength=size)
    return weight * np.minimum(1.0, HUB / np.maximum(payees, 1))


def _holder(network: Network, holders: pl.DataFrame | None) -> Array:
    """A number by node, equal where one party holds both: int64 (n,)."""
    nodes = network.nodes.alias("account_id").to_frame().with_row_index("node")
    if holders is None:
        return np.arange(nodes.height)
    known = holders.filter(pl.col("party_id").is_not_null()).unique("account_id").select("account_id", "party_id")
    joined = nodes.join(known, on="account_id", how="left", maintain_order="left")
    alone = pl.format("\x1f{}", "node")
    return joined.select(pl.coalesce("party_id", alone).rank("dense").cast(pl.Int64)).to_series().to_numpy()
