"""Pass-through chains and peel chains with their payments.

Each payment follows at most one other (``kernels_chains``: the one with the longest chain, the latest among equals; of
peel chains the largest sum received), so chains are the ways through a forest. **One instance for each payment that
nothing goes on from**: the longest chain that ends there. None is contained in another; chains that part ways share
what came before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numba
import numpy as np

from fintel.graph import kernels_chains
from fintel.graph.instances_found import Array, Found, Search, columns_of, cut_at, pushed
from fintel.graph.kernels_amounts import kept
from fintel.graph.layout import Settings

_jit = numba.njit(nogil=True, cache=True)


def chains(search: Search) -> Found:
    """Chains of ``at_least`` payments or more; ``within``: how long money lies at an account at most."""
    return _told(search, "chain_payments", peel=False)


def peel_chains(search: Search) -> Found:
    """Peel chains; the band is the share passed on at each hop."""
    return _told(search, "peel_payments", peel=True)


def _told(search: Search, column: str, *, peel: bool) -> Found:
    part = kernels_chains.parts(Settings(cap=search.cap))[0]
    low, high = max(search.band.low, 0.0), search.band.high
    band = {"least": low, "most": high} if peel else {"low": low, "high": high}
    part = replace(part, settings=part.settings._replace(dwell=search.within, **band))
    found, truncated = columns_of(part, search.edges, len(search.network.nodes))
    length = found[column]
    start, edge = _leaves(search.edges, length, search.within, search.cap, low, high, search.at_least, peel)
    sizes = np.diff(start)
    amount = search.network.amount[edge].astype(np.float64)
    first, last = amount[start[:-1]], amount[start[1:] - 1]
    retention = np.where((first > 0) & (last >= 0), last / np.maximum(first, 1), np.nan)
    hop = np.arange(edge.size) - np.repeat(start[:-1], sizes) + 1
    anchor = search.network.source[edge[start[:-1]]].astype(np.int64)
    cut = search.network.source[np.flatnonzero(truncated)]
    return Found(
        anchor, start, edge.astype(np.int64), hop, retention, sizes,
        cut_at("more payments in than the cap, while the money lay", cut),
    )  # fmt: skip


@_jit
def followed(edges: Array, e: int, length: Array, dwell: int, cap: int, low: float, high: float, peel: bool) -> int:
    """The payment that ``e`` follows, or -1: as the kernel chose it."""
    v = edges[e].target
    t = edges[e].time
    best = -1
    looked = 0
    f = edges[e].source_in
    while f >= 0 and edges[f].time >= t - dwell:
        looked += 1
        if looked > cap:
            break
        if edges[f].time < t and edges[f].source != v:
            if peel:
                if best < 0 or edges[f].amount > edges[best].amount:
                    best = f
            elif kept(edges[f].amount, edges[e].amount, low, high) and (best < 0 or length[f] > length[best]):
                best = f
        f = edges[f].before_in
    return best


@_jit
def _leaves(
    edges: Array, length: Array, dwell: int, cap: int, low: float, high: float, at_least: int, peel: bool
) -> Any:
    """Starts and edges of the chains that end in a payment that no other follows."""
    before = np.full(length.size, -1, np.int32)
    onward = np.zeros(length.size, np.uint8)
    for e in range(length.size):
        if length[e] > 1:
            f = followed(edges, e, length, dwell, cap, low, high, peel)
            before[e] = f
            onward[f] = 1
    start = np.zeros(16, np.int64)
    edge = np.zeros(16, np.int32)
    count = size = 0
    for e in range(length.size):
        if length[e] >= at_least and not onward[e]:
            size += length[e]
            f = e
            for k in range(length[e]):
                at = size - 1 - k
                while at >= edge.size:
                    edge = pushed(edge, edge.size, 0)
                edge[at] = f
                f = before[f]
            count += 1
            start = pushed(start, count, size)
    return start[: count + 1].copy(), edge[:size].copy()
