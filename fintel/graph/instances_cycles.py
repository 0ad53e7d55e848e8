"""Cycles with their payments: what the payments that the columns flag close, written out.

A payment e = (u → v) closes a cycle if money of v reached u by payments at strictly rising times within
the window (``kernels_cycles``). Without an amount rule each sequence of accounts is told once for a closing payment, by
its latest payments going back from e; with one, the sequences of payments in which each passes on the amount before it.

**One ring, one instance.** Of cycles over the same accounts in the same order that share a payment, one is kept: the
one that retains most, then the shortest in time, then the earliest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numba
import numpy as np

from fintel.graph import kernels_cycles
from fintel.graph.instances_found import Array, Found, Search, columns_of, cut_at, pushed
from fintel.graph.kernels_amounts import kept
from fintel.graph.kernels_tracks import PATH, on_path
from fintel.graph.layout import MICROSECOND, Settings

_jit = numba.njit(nogil=True, cache=True)

#: A payment's cycles are told up to so many, the shortest first.
PER_PAYMENT = 64
#: Steps for each payment of the network, to tell whether it closes any; ``budget`` is for those that do.
FLAGGING = 2_000
#: Steps, and cycles written out, for a whole network; what is left then is told as skipped.
STEPS, WRITTEN = 200_000_000, 200_000


def cycles(search: Search) -> Found:
    """Cycles of ``at_least`` … ``hops`` payments."""
    window = search.within * MICROSECOND
    part = kernels_cycles.parts(Settings(cycle_windows=(window,), cap=search.cap))[0]
    chosen = part.settings._replace(
        hops=search.hops, budget=min(search.budget, FLAGGING), low=max(search.band.low, 0.0), high=search.band.high
    )
    nodes = len(search.network.nodes)
    state = part.empty(nodes, len(search.edges))._replace(paths=np.zeros(search.budget + 2, PATH))
    found, truncated = columns_of(replace(part, settings=chosen, empty=lambda nodes, edges: state), search.edges, nodes)
    shortest = next(values for name, values in found.items() if name.startswith("cycle_shortest"))
    conserved = next(values for name, values in found.items() if name.startswith("cycles_conserved"))
    flagged = np.flatnonzero(shortest > 0 if search.band.open else (conserved > 0) | ((truncated > 0) & (shortest > 0)))
    start, edge, full, left = _closed(
        search.edges, flagged, search.within, search.hops, search.at_least, search.cap, search.budget,
        search.band.low, search.band.high, search.band.open, PER_PAYMENT, STEPS, WRITTEN,
    )  # fmt: skip
    target = search.network.target
    result = sequences(search, start, edge)
    result.skipped = [
        *cut_at("more payments than cap or budget allow to follow back", target[np.flatnonzero(truncated)]),
        *cut_at(f"more than {STEPS:,} steps or {WRITTEN:,} cycles in the network", target[left]),
        *cut_at(f"more than {PER_PAYMENT} cycles closed by one payment", target[full]),
    ]
    return result


def sequences(search: Search, start: Array, edge: Array) -> Found:
    """Sequences of payments in time order as instances, one for those over the same ring of accounts that share a
    payment."""
    if start.size == 1:
        return Found()
    amount = search.network.amount[edge].astype(np.float64)
    sizes = np.diff(start)
    known = np.minimum.reduceat(amount, start[:-1]) >= 0
    least, most = np.minimum.reduceat(amount, start[:-1]), np.maximum.reduceat(amount, start[:-1])
    retention = np.where(known & (most > 0), least / np.maximum(most, 1), np.nan)
    time = search.network.time[edge]
    spans = time[start[1:] - 1] - time[start[:-1]]
    order = np.lexsort((edge[start[:-1]], edge[start[1:] - 1], spans, -np.nan_to_num(retention, nan=-1.0)))
    ring = _ring(search.network.source[edge].astype(np.int64) << 32 | search.network.target[edge], start)
    free = _unshared(order, ring, start, edge)
    hop = np.arange(edge.size) - np.repeat(start[:-1], sizes) + 1
    whole = Found(
        search.network.source[edge[start[:-1]]].astype(np.int64), start, edge.astype(np.int64), hop, retention, sizes
    )
    return whole.kept(np.flatnonzero(free))


@_jit
def _ring(accounts: Array, start: Array) -> Array:
    """The number of each sequence of accounts up to rotation: equal rings get equal hashes (int64)."""
    rings = np.empty(start.size - 1, np.int64)
    for i in range(start.size - 1):
        a, b = start[i], start[i + 1]
        first = a
        for k in range(a, b):
            if accounts[k] < accounts[first]:
                first = k
        mixed = np.uint64(b - a)
        for k in range(b - a):
            mixed = (mixed ^ np.uint64(accounts[a + (first - a + k) % (b - a)])) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        rings[i] = np.int64(mixed)
    return rings


def _unshared(order: Array, ring: Array, start: Array, edge: Array) -> Array:
    """Which to keep, taken in ``order``: none whose ring has a kept one with a payment of it. bool (i,)."""
    free = np.zeros(order.size, bool)
    taken: dict[int, set[int]] = {}
    for i in order:
        mine = edge[start[i] : start[i + 1]].tolist()
        used = taken.setdefault(int(ring[i]), set())
        if used.isdisjoint(mine):
            used.update(mine)
            free[i] = True
    return free


@_jit
def _closed(
    edges: Array, flagged: Array, within: int, hops: int, at_least: int, cap: int, budget: int,
    low: float, high: float, any_amount: bool, most: int, most_steps: int, most_written: int,
) -> Any:  # fmt: skip
    """Sequences of payments, each in time order: starts, edges; closing payments with more than
    ``most``; those that no steps were left for."""
    start = np.zeros(16, np.int64)
    edge = np.zeros(16, np.int32)
    full = np.zeros(0, np.int64)
    count = size = cut = 0
    paths = np.zeros(budget + 2, PATH)
    spent = 0
    for i in range(flagged.size):
        if spent > most_steps or count > most_written:
            return start[: count + 1].copy(), edge[:size].copy(), full[:cut].copy(), flagged[i:].copy()
        e = flagged[i]
        v = edges[e].target
        since = edges[e].time - within
        paths[0].edge = e
        paths[0].node = edges[e].source
        paths[0].parent = -1
        room = 1
        begin = 0
        length = 1
        steps = told = 0
        while begin < room and length < hops and steps <= budget and told <= most:
            stop = room
            for at in range(begin, stop):
                f = paths[at].edge
                bound = edges[f].time
                g = edges[f].source_in
                while g >= 0 and edges[g].time >= bound:
                    steps += 1
                    g = edges[g].before_in
                newest = g
                looked = 0
                while g >= 0 and edges[g].time > since:
                    steps += 1
                    looked += 1
                    if looked > cap or steps > budget:
                        break
                    after = edges[g].after_pair
                    if any_amount:
                        fits = after < 0 or after > newest
                    else:
                        fits = kept(edges[g].amount, edges[f].amount, low, high)
                    y = edges[g].source
                    if fits and y == v:
                        if length + 1 >= at_least:
                            told += 1
                            if told > most:
                                full = pushed(full, cut, e)
                                cut += 1
                                break
                            edge = pushed(edge, size, g)
                            size += 1
                            p = at
                            while p >= 0:
                                edge = pushed(edge, size, paths[p].edge)
                                size += 1
                                p = paths[p].parent
                            count += 1
                            start = pushed(start, count, size)
                    elif fits and length + 1 < hops and not on_path(paths, at, y):
                        paths[room].edge = g
                        paths[room].node = y
                        paths[room].parent = at
                        room += 1
                    g = edges[g].before_in
                if steps > budget or told > most:
                    break
            begin = stop
            length += 1
        spent += steps
    return start[: count + 1].copy(), edge[:size].copy(), full[:cut].copy(), flagged[:0].copy()
