"""How much of the risk at some accounts reaches the others, along payments and against them.

**Model.** A seed puts in its weight. From every account ``passing`` (0.85) of the risk at it goes on, forwards to whom
it paid, in proportion to the amounts; backwards to who paid it. What reaches an account adds up over all ways:
``x = w + A x``. This is personalised PageRank, in units in which a seed of weight 1 that gets nothing back stands at 1;
divided by its sum it is the usual distribution. The equation is linear in the seeds, so an account's risk is the sum of
what each seed brings (``Risk.split``), exactly.

**Decay.** A payment passes on its share of *all* that the account paid (got), halved for each ``half_life`` of its
age. What decay takes is gone and not given to younger payments: an account whose dealings are all old passes little.

**Hubs.** An account counts as having at most ``hub`` counterparties: of what a payment brings to an account with more
payers (backwards: payees), only ``hub / payers`` arrives. One suspicious customer says little about an electricity
company or an exchange, one suspicious employee little about an employer; without this rule such accounts gather
the risk of all their thousands. The rule is a factor of the receiving account and no cap on the risk that arrives,
because a cap is not linear: the shares of seeds would no longer add up.

Payments without an amount in the base currency count as one of median amount. Self-transfers pass nothing on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from fintel.domain.schema import MONEY_UNITS
from fintel.frames import MONEY, TIMESTAMP
from fintel.graph.kernels_risk import follow, settle, settle_one
from fintel.graph.pairs import Pairs, pairs
from fintel.graph.seeds import seeds

if TYPE_CHECKING:
    from fintel.graph.network import Network

__all__ = ["DIRECTIONS", "HALF_LIFE", "HUB", "PASSING", "Flow", "Risk", "risk", "seeds"]

Array = Any

PASSING = 0.85
HALF_LIFE = timedelta(days=90)
HUB = 256
DIRECTIONS = ("forward", "backward")
#: Relative change of a sweep at which the solution stands: near the last digit, so that splits add up to 1e-12.
_TOLERANCE = 1e-15
_SWEEPS = 1_000


@dataclass(frozen=True)
class Flow:
    """One direction of the walk over ``n`` nodes and ``p`` pairs.

    ``passes`` float64 (p,): what is passed on along each pair. ``into``, ``out_of``: the pairs by the node where they
    end and where they begin, as the walk goes. ``put_in``, ``risk`` float64 (n,).
    """

    passes: Array
    into: _Rows
    out_of: _Rows
    put_in: Array
    risk: Array

    @property
    def distribution(self) -> Array:
        """The risk divided by its sum: personalised PageRank as usually given; zeros without seeds."""
        total = self.risk.sum()
        return self.risk / total if total > 0 else self.risk


class _Rows(NamedTuple):
    """Pairs grouped by one end: ``start`` int64 (n+1,); ``other`` int32 (p,), the other end; ``pair``, the number."""

    start: Array
    other: Array
    pair: Array


@dataclass(frozen=True)
class Risk:
    """Risk of all nodes of a network as of a moment. ``put_in``: weight of seeds by node, else 0."""

    network: Network
    seeds: pl.DataFrame
    edges: int
    pairs: Pairs
    forward: Flow
    backward: Flow

    @cached_property
    def _walks(self) -> dict[str, _Walk]:
        return {direction: _walk(self, direction) for direction in DIRECTIONS}

    @cached_property
    def frame(self) -> pl.DataFrame:
        """One row a node, in the network's order: ``account_id, risk_forward, risk_backward`` (the seed's own weight
        included), ``hops_to_seed`` (payments of the shortest chain in time order, either direction; 0 for a seed; empty
        where there is none), ``nearest_seed`` (at its other end)."""
        there, back = self._walks["forward"], self._walks["backward"]
        by_back = (back.hops >= 0) & (
            (there.hops < 0)
            | (back.hops < there.hops)
            | ((back.hops == there.hops) & (back.near_strength > there.near_strength))
        )
        hops: Array = np.where(by_back, back.hops, there.hops)
        near: Array = np.where(by_back, back.near, there.near)
        found = pl.Series("found", hops >= 0)
        nodes = self.network.nodes
        nearest = nodes.gather(np.maximum(near, 0)) if len(nodes) else nodes
        return pl.DataFrame(
            {
                "account_id": nodes,
                "risk_forward": self.forward.risk,
                "risk_backward": self.backward.risk,
                "hops_to_seed": pl.Series(hops, dtype=pl.Int64),
                "nearest_seed": nearest,
            }
        ).with_columns(
            hops_to_seed=pl.when(found).then("hops_to_seed"), nearest_seed=pl.when(found).then("nearest_seed")
        )

    def split(self, account_ids: Sequence[str], direction: str = "forward") -> pl.DataFrame:
        """What each seed brings to each account: ``account_id, seed_id, risk, share, origin, reason``, largest first.

        The rows of an account add up to its risk (``share``: to 1). One solution of the transposed equation gives all
        seeds of an account, so the cost does not grow with their number. Raises KeyError on an unknown account.
        """
        flow: Flow = getattr(self, _checked(direction))
        wanted = self._numbers(account_ids)
        unit = np.zeros((flow.put_in.size, wanted.size))
        unit[wanted, np.arange(wanted.size)] = 1.0
        # The transposed equation: what one unit put in anywhere would bring to the account.
        rows = flow.out_of
        brings, _ = settle(rows.start, rows.other, flow.passes[rows.pair], unit, _TOLERANCE, _SWEEPS)
        at = np.flatnonzero(flow.put_in)
        risk_of = brings[at] * flow.put_in[at, None]
        frames = [
            pl.DataFrame(
                {
                    "account_id": pl.Series([account_id] * at.size, dtype=pl.String),
                    "seed_id": self.network.nodes.gather(at),
                    "risk": risk_of[:, c],
                    "share": risk_of[:, c] / max(risk_of[:, c].sum(), np.finfo(float).tiny),
                }
            )
            .filter(pl.col("risk") > 0)
            .sort("risk", "seed_id", descending=[True, False])
            for c, account_id in enumerate(account_ids)
        ]
        reasons = self.seeds.select("account_id", "origin", "reason")
        return pl.concat(frames).join(
            reasons, left_on="seed_id", right_on="account_id", how="left", maintain_order="left"
        )

    def path(self, account_id: str, direction: str = "forward") -> pl.DataFrame:
        """The strongest chain of payments between a seed and the account, each later than the one before.

        ``hop`` (from 1, from the earliest payment), ``row`` (of transactions), ``source, target, booked_at``,
        ``amount_base``, ``passed`` (share of the risk that goes over this pair of accounts), ``risk`` (what has come
        along the chain up to here). Forward it starts at the seed, backward it ends there. Empty for a seed that no
        stronger one reaches, and where no chain in time order exists. The last ``risk`` never exceeds the account's.
        Raises KeyError on an unknown account.
        """
        walk = self._walks[_checked(direction)]
        edge = int(walk.last[self._numbers([account_id])[0]])
        chain = []
        while edge >= 0:
            chain.append(edge)
            edge = int(walk.before[edge])
        chain.reverse()
        at = walk.edges[np.asarray(chain, np.int64)]
        net, passed = self.network, walk.passes[np.asarray(chain, np.int64)]
        start = walk.put_in[walk.begin[chain[0]]] if chain else 1.0
        frame = pl.DataFrame(
            {
                "row": net.row[at],
                "source": net.nodes.gather(net.source[at]),
                "target": net.nodes.gather(net.target[at]),
                "booked_at": pl.Series(net.time[at], dtype=pl.Int64).cast(TIMESTAMP),
                "amount_base": pl.Series(
                    [None if x < 0 else Decimal(int(x)) / MONEY_UNITS for x in net.amount[at]], dtype=MONEY
                ),
                "passed": passed,
                "risk": start * np.cumprod(passed),
            }
        )
        frame = frame if direction == "forward" else frame.reverse()
        return frame.with_row_index("hop", offset=1)

    def _numbers(self, account_ids: Sequence[str]) -> Array:
        wanted = pl.Series(account_ids, dtype=pl.String)
        numbers = self.network.numbers(wanted)
        if (numbers < 0).any():
            raise KeyError(wanted[int(np.argmin(numbers))])
        return numbers


@dataclass(frozen=True)
class _Walk:
    edges: Array
    begin: Array
    passes: Array
    put_in: Array
    last: Array
    before: Array
    hops: Array
    near: Array
    near_strength: Array


def risk(
    network: Network,
    seeds: pl.DataFrame,
    *,
    as_of: datetime,
    passing: float = PASSING,
    half_life: timedelta | None = HALF_LIFE,
    hub: int | None = HUB,
) -> Risk:
    """Risk from seeds (``account_id, weight``, and for ``split`` ``origin, reason``) over payments up to ``as_of``.

    ``half_life``: None for no decay. ``hub``: None for no damping. Seeds that the network does not have are left
    out. Raises ValueError if ``passing`` is not between 0 and 1, a weight is negative, or a setting is not above zero.
    """
    if not 0 < passing < 1:
        raise ValueError(f"passing is {passing}, not between 0 and 1")
    if (half_life is not None and half_life <= timedelta(0)) or (hub is not None and hub < 1):
        raise ValueError("half_life and hub are above zero, or None")
    if seeds.filter(~(pl.col("weight") >= 0)).height:
        raise ValueError("a seed has a negative weight, or none")
    now = _micros(as_of)
    edges = int(np.searchsorted(network.time, now, side="right"))
    source, target = network.source[:edges], network.target[:edges]
    nodes = len(network.nodes)
    folded = pairs(source, target, nodes)
    amount = network.amount[:edges].astype(np.float64)
    unknown = amount < 0
    if unknown.any():
        amount[unknown] = 1.0 if unknown.all() else np.median(amount[~unknown])
    whole = folded.total(amount)
    aged = whole if half_life is None else folded.total(amount * _decay(network.time[:edges], now, half_life))
    put_in = _put_in(network, seeds)
    by_payer = _Rows(folded.out_start, folded.target, np.arange(folded.target.size))
    by_payee = _Rows(folded.in_start, folded.source[folded.in_pair], folded.in_pair)
    onward = _shares(aged, whole, folded.source, nodes) * _damping(folded.payers, hub)[folded.target]
    against = _shares(aged, whole, folded.target, nodes) * _damping(folded.payees, hub)[folded.source]
    return Risk(
        network=network,
        seeds=seeds,
        edges=edges,
        pairs=folded,
        forward=_flow(passing * onward, by_payee, by_payer, put_in),
        backward=_flow(passing * against, by_payer, by_payee, put_in),
    )


def _flow(passes: Array, into: _Rows, out_of: _Rows, put_in: Array) -> Flow:
    solved, _ = settle_one(into.start, into.other, passes[into.pair], put_in, _TOLERANCE, _SWEEPS)
    return Flow(passes, into, out_of, put_in, solved)


def _shares(aged: Array, whole: Array, of: Array, nodes: int) -> Array:
    total = np.bincount(of, weights=whole, minlength=nodes)[of]
    return np.divide(aged, total, out=np.zeros(aged.size), where=total > 0)


def _damping(counterparties: Array, hub: int | None) -> Array:
    if hub is None:
        return np.ones(counterparties.size)
    return np.minimum(1.0, hub / np.maximum(counterparties, 1))


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _decay(time: Array, now: int, half_life: timedelta) -> Array:
    """Half for each half-life of age: float64 (m,)."""
    return np.exp2((time - now) / (half_life / timedelta(microseconds=1)))


def _put_in(network: Network, seeds: pl.DataFrame) -> Array:
    weights = seeds.group_by("account_id").agg(pl.max("weight"))
    numbers = network.numbers(weights["account_id"])
    put_in = np.zeros(len(network.nodes))
    put_in[numbers[numbers >= 0]] = weights["weight"].to_numpy()[numbers >= 0]
    return put_in


def _walk(risk: Risk, direction: str) -> _Walk:
    """Chains in time order; backwards, the walk goes through the payments from the last to the first."""
    net = risk.network
    edges = np.arange(risk.edges)
    step = 1 if direction == "forward" else -1
    edges = edges[::step].copy()
    begin, end = (net.source, net.target) if step == 1 else (net.target, net.source)
    flow: Flow = getattr(risk, direction)
    of_edge = risk.pairs.of_edge[edges]
    passes = np.where(of_edge >= 0, flow.passes[of_edge], 0.0) if flow.passes.size else np.zeros(edges.size)
    rank = np.empty(len(net.nodes), np.int64)
    rank[net.nodes.arg_sort().to_numpy()] = np.arange(rank.size)
    found = follow(begin[edges], end[edges], step * net.time[edges], passes, flow.put_in, rank)
    return _Walk(edges, begin[edges], passes, flow.put_in, *found[1:])


def _checked(direction: str) -> str:
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is '{direction}', not one of {', '.join(DIRECTIONS)}")
    return direction
