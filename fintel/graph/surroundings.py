"""What an account deals with: who pays it and whom it pays, over one or more steps, small enough to look at.

**Hub policy.** An account with more than ``hub`` counterparties in the period is a hub: it stands in the picture as one
node, with its number of counterparties, and is not looked behind. Of an account's counterparties of one step at most
``most`` are shown, those with the largest sums; the others are one node that says how many they are. Nothing is left
out without a count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from fintel.domain.schema import MONEY_UNITS
from fintel.errors import FintelError
from fintel.frames import MONEY_SUM, TIMESTAMP
from fintel.graph.network import Network

HUB = 100
MOST = 12
#: Nodes of the whole picture at most; beyond it accounts are not looked behind.
NODES = 120


@dataclass(frozen=True)
class Surroundings:
    """Around one account.

    nodes: ``node`` (each once: an account id, or for those that are one node ``+payers:<id>``, ``+payees:<id>``, with
    more of ``+`` where an account of the network is called so), ``label`` (its text), ``account_id`` (null for those
    that are one node; the only name by which to look an account up), ``step`` (0 the account itself; negative: money
    comes from there; positive: goes there), ``counterparties`` in the period (of a group: its members), ``hub``,
    ``behind`` (node over which it was met; null for the account itself). edges: ``source, target`` (nodes),
    ``payments, amount`` (sum, base currency, wider than the money of one payment), ``first, last`` (booked).
    """

    account_id: str
    nodes: pl.DataFrame
    edges: pl.DataFrame


def around(network: Network, account_id: str, *, hops: int = 1, hub: int = HUB, most: int = MOST) -> Surroundings:
    """The surroundings of an account in a network (``ways.between`` cuts it to a period).

    Raises ``FintelError`` if no payment of the network names the account, or ``hops`` is not from 1 to 6.
    """
    if not 1 <= hops <= 6 or hub < 1 or most < 1:
        raise FintelError("hops is from 1 to 6, hub and most at least 1")
    centre = int(network.numbers(pl.Series([account_id], dtype=pl.String))[0])
    pairs = _pairs(network)
    if centre < 0 or not ((pairs["source"] == centre) | (pairs["target"] == centre)).any():
        raise FintelError(f"no payment of the period names '{account_id}'", hint="a longer --days, or --from and --to")
    ends = pl.concat([pairs.select(pl.col("source").alias("v")), pairs.select(pl.col("target").alias("v"))])
    degree = np.bincount(ends["v"].to_numpy(), minlength=len(network.nodes))
    step = {centre: 0}
    behind: dict[int, int] = {}
    groups: list[tuple[str, int, int, int]] = []
    members: dict[tuple[str, int], list[int]] = {}
    edge_of_ring = [centre]
    for hop in range(1, hops + 1):
        following: list[int] = []
        for v in edge_of_ring:
            if (v != centre and degree[v] > hub) or len(step) > NODES:
                continue
            for side, other, sign in (("target", "source", -1), ("source", "target", 1)):
                near = pairs.filter(pl.col(side) == v).sort("units", other, descending=[True, False])
                fresh = [int(w) for w in near[other] if int(w) not in step]
                kept, rest = (fresh, []) if len(fresh) <= most else (fresh[: most - 1], fresh[most - 1 :])
                for w in kept:
                    step[w] = sign * hop if step[v] == 0 else (hop if step[v] > 0 else -hop)
                    behind[w] = v
                    following.append(w)
                if rest:
                    word = "payers" if sign < 0 else "payees"
                    where = sign * hop if step[v] == 0 else (hop if step[v] > 0 else -hop)
                    groups.append((word, v, where, len(rest)))
                    members[word, v] = rest
        edge_of_ring = following
    return Surroundings(
        account_id, _nodes(network, step, behind, degree, hub, groups), _edges(network, pairs, step, members)
    )


def _pairs(network: Network) -> pl.DataFrame:
    """Payments by pair: ``source, target`` (numbers), ``payments, units, first, last``."""
    return (
        pl.DataFrame(
            {"source": network.source, "target": network.target, "time": network.time, "units": network.amount}
        )
        .filter(pl.col("source") != pl.col("target"))
        .group_by("source", "target")
        .agg(
            payments=pl.len().cast(pl.Int64),
            units=pl.col("units").clip(lower_bound=0).cast(pl.Int128).sum(),
            first=pl.min("time"),
            last=pl.max("time"),
        )
        .sort("source", "target")
    )


def _nodes(
    network: Network, step: dict[int, int], behind: dict[int, int], degree: np.ndarray, hub: int,
    groups: list[tuple[str, int, int, int]],
) -> pl.DataFrame:  # fmt: skip
    name = network.nodes
    rows = [
        (
            name[v], name[v], name[v], where, int(degree[v]), bool(degree[v] > hub),
            name[behind[v]] if v in behind else None,
        )
        for v, where in step.items()
    ]  # fmt: skip
    rows += [
        (_group(name, word, v), f"{size:,} {word} of {name[v]}", None, where, size, False, name[v])
        for word, v, where, size in groups
    ]
    return pl.DataFrame(
        rows,
        schema={
            "node": pl.String, "label": pl.String, "account_id": pl.String, "step": pl.Int64,
            "counterparties": pl.Int64, "hub": pl.Boolean, "behind": pl.String,
        },
        orient="row",
    ).sort("step", "node")  # fmt: skip


def _group(names: pl.Series, word: str, v: int) -> str:
    """The name of those who are one node beside an account. Ids come from feeds, so one may look like such a name:
    this one is no account's."""
    found = f"+{word}:{names[v]}"
    while (names == found).any():
        found = f"+{found}"
    return found


def _edges(
    network: Network, pairs: pl.DataFrame, step: dict[int, int], members: dict[tuple[str, int], list[int]]
) -> pl.DataFrame:
    shown = list(step)
    parts = [pairs.filter(pl.col("source").is_in(shown) & pl.col("target").is_in(shown))]
    names = {v: network.nodes[v] for v in shown}
    for number, ((word, v), others) in enumerate(members.items(), start=1):
        own, other = ("target", "source") if word == "payers" else ("source", "target")
        # Groups have numbers below those of accounts; they are told apart by number, never by name.
        names[-number] = _group(network.nodes, word, v)
        parts.append(
            pairs.filter((pl.col(own) == v) & pl.col(other).is_in(others)).with_columns(
                pl.lit(-number, pl.Int32).alias(other)
            )
        )
    return (
        pl.concat(parts)
        .group_by("source", "target")
        .agg(pl.sum("payments", "units"), pl.min("first"), pl.max("last"))
        .select(
            pl.col("source", "target").replace_strict(names, return_dtype=pl.String),
            "payments",
            amount=(pl.col("units").cast(MONEY_SUM) / MONEY_UNITS).cast(MONEY_SUM),
            first=pl.col("first").cast(TIMESTAMP),
            last=pl.col("last").cast(TIMESTAMP),
        )
        .sort("source", "target")
    )
