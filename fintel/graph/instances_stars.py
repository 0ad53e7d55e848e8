"""Instances around one account or between two: fans, gather–scatter, round trips, scatter–gather."""

from __future__ import annotations

import numba
import numpy as np

from fintel.graph import kernels_flows, kernels_meetings, kernels_statistics
from fintel.graph.instances_found import Array, Found, Search, column_of, columns_of, cut_at, joined, pushed
from fintel.graph.instances_windows import FAN, IN, MEETING, OUT, ROUND, TURN, items, strongest
from fintel.graph.layout import MICROSECOND, Part, Settings

_jit = numba.njit(nogil=True, cache=True)

#: A burst is at least so many times what is usual in a day (``source_new_burst``).
RISE = 3.0
#: Ways over mids that are looked at for all scatter–gathers of a network.
WAYS = 4_000_000


def fan_in(search: Search) -> Found:
    """Many pay one, counted at the payee."""
    return _fan(search, "target_fan_in_", search.network.target, search.network.source)


def fan_out(search: Search) -> Found:
    """One pays many, counted at the payer."""
    return _fan(search, "source_fan_out_", search.network.source, search.network.target)


def _fan(search: Search, column: str, anchor: Array, other: Array) -> Found:
    window = search.within * MICROSECOND
    side = kernels_statistics.IN if column.startswith("target") else kernels_statistics.OUT
    part = kernels_statistics.parts(Settings(windows=(window,)))[side]
    fan, _ = column_of(search, part, column)
    return around(search, fan >= search.at_least, anchor, other)


def around(search: Search, flagged: Array, anchor: Array, other: Array, eligible: Array | None = None) -> Found:
    """Fans of the accounts that a payment flags, over the ``eligible`` payments (all by default)."""
    mine = np.zeros(len(search.network.nodes), bool)
    mine[anchor[flagged]] = True
    chosen = mine[anchor] & (search.network.source != search.network.target)
    edge = np.flatnonzero(chosen if eligible is None else chosen & eligible)
    found, groups = items(
        anchor[edge].astype(np.int64),
        edge,
        np.zeros(edge.size),
        other[edge],
        search.network.time,
        search.network.amount,
    )
    return _strongest(search, FAN, found, groups)


def bursts(search: Search) -> Found:
    """Accounts that pay, or are paid by, many whom they had not dealt with for long, all within a day."""
    part = _part(kernels_flows.parts(Settings(cap=search.cap)), "ties")
    found, _ = columns_of(part, search.edges, len(search.network.nodes))
    net = search.network
    before = search.edges["before_pair"]
    gap = net.time - net.time[np.maximum(before, 0)]
    new = (before < 0) | (gap >= kernels_flows.HORIZON // MICROSECOND)
    told = []
    for end, count, anchor, other in (
        ("source", "payees", net.source, net.target), ("target", "payers", net.target, net.source),
    ):  # fmt: skip
        enough = found[f"{end}_new_{count}_1d"] >= search.at_least
        told.append(around(search, enough & (found[f"{end}_new_burst"] >= RISE), anchor, other, new))
    return joined(told)


def gather_scatter(search: Search) -> Found:
    """Many pay one, who then pays many."""
    window = search.within * MICROSECOND
    part = _part(kernels_flows.parts(Settings(meeting_windows=(window,), cap=search.cap)), "gather_scatter")
    width, truncated = column_of(search, part, "gather_scatter_width")
    net = search.network
    mine = np.zeros(len(net.nodes), bool)
    mine[net.source[width >= search.at_least]] = True
    apart = net.source != net.target
    into, out = np.flatnonzero(mine[net.target] & apart), np.flatnonzero(mine[net.source] & apart)
    found, groups = items(
        np.concatenate([net.target[into], net.source[out]]).astype(np.int64),
        np.concatenate([into, out]),
        np.repeat([IN, OUT], [into.size, out.size]),
        np.concatenate([net.source[into], net.target[out]]),
        net.time,
        net.amount,
    )
    told = _strongest(search, TURN, found, groups)
    told.skipped += cut_at("more payments in a window than the cap", net.source[np.flatnonzero(truncated)])
    return told


def round_trips(search: Search) -> Found:
    """Two accounts that pay each other; the anchor is who paid first."""
    window = search.within * MICROSECOND
    part = _part(kernels_flows.parts(Settings(windows=(window,), cap=search.cap)), "ties")
    returned, truncated = column_of(search, part, "returned_payments")
    pair = search.edges["pair"].astype(np.int64)
    mine = np.zeros(max(int(pair.max(initial=-1)) // 2 + 1, 1), bool)
    mine[pair[returned > 0] // 2] = True
    edge = np.flatnonzero((pair >= 0) & mine[np.maximum(pair, 0) // 2])
    net = search.network
    found, groups = items(pair[edge] // 2, edge, pair[edge] % 2, np.zeros(edge.size), net.time, net.amount)
    told = _strongest(search, ROUND, found, groups, net.source[found.edge[found.start[:-1]]])
    told.anchor = net.source[told.edge[told.start[:-1]]].astype(np.int64)
    told.skipped += cut_at("more payments between two accounts than the cap", net.source[np.flatnonzero(truncated)])
    return told


def scatter_gather(search: Search) -> Found:
    """One payer, several mids, one payee; each mid is paid before it pays. The anchor is the payer."""
    window = search.within * MICROSECOND
    part = kernels_meetings.parts(Settings(meeting_windows=(window,), cap=search.cap))[0]
    mids, truncated = column_of(search, part, "gathered_mids")
    net = search.network
    flagged = np.flatnonzero(mids >= search.at_least)
    payer, mid, payee, left = triples(search.edges, flagged, search.within, search.cap)
    told = _meetings(search, payer, mid, payee)
    told.skipped += cut_at(f"more than {WAYS:,} ways over mids in the network", net.target[left])
    told.skipped += cut_at("hub among the mids, or more mids than the cap", net.source[np.flatnonzero(truncated)])
    return told


def _meetings(search: Search, payer: Array, mid: Array, payee: Array) -> Found:
    """Instances of payers and payees of ``triples`` who have enough mids."""
    net, edges = search.network, search.edges
    key = payer << 32 | payee
    groups, of, sizes = np.unique(key, return_inverse=True, return_counts=True)
    enough = (sizes >= search.at_least)[of]
    payer, mid, payee, of = payer[enough], mid[enough], payee[enough], of[enough]
    if not payer.size:
        return Found()
    latest = _latest(edges)
    row = np.arange(payer.size)
    legs = [_parallel(edges, latest, *ends, row) for ends in ((payer, mid), (mid, payee))]
    edge = np.concatenate([leg[0] for leg in legs])
    which = np.concatenate([leg[1] for leg in legs])
    side = np.repeat([IN, OUT], [leg[0].size for leg in legs])
    found, kept = items(of[which].astype(np.int64), edge, side, mid[which], net.time, net.amount)
    return _strongest(search, MEETING, found, groups[kept] >> 32)


def _strongest(search: Search, kind: int, found: object, groups: Array, anchors: Array | None = None) -> Found:
    return strongest(
        kind, found, (groups if anchors is None else anchors).astype(np.int64),  # type: ignore[arg-type]
        within=search.within, at_least=search.at_least, cap=search.cap, low=search.band.low, high=search.band.high,
    )  # fmt: skip


def _part(parts: tuple[Part, ...], name: str) -> Part:
    return next(part for part in parts if part.name.startswith(name))


def triples(edges: Array, flagged: Array, within: int, cap: int) -> tuple[Array, Array, Array, Array]:
    """Payer, mid and payee of each way whose second leg is a flagged payment or stands before one of the same payee in
    its window: int64, each once; and the flagged payments (in order of time) that more than ``WAYS`` ways left no room
    for. Of a mid the latest ``HUB`` payers are looked at, as the columns do."""
    payer, mid, payee, left = _triples(edges, flagged, within, min(cap, kernels_meetings.HUB), WAYS)
    order = np.lexsort((mid, payee, payer))
    payer, mid, payee = payer[order], mid[order], payee[order]
    first = np.ones(payer.size, bool)
    first[1:] = (np.diff(payer) != 0) | (np.diff(mid) != 0) | (np.diff(payee) != 0)
    return payer[first], mid[first], payee[first], left


@_jit
def _triples(edges: Array, flagged: Array, within: int, cap: int, most: int) -> tuple[Array, Array, Array, Array]:
    payer = np.zeros(16, np.int64)
    mid = np.zeros(16, np.int64)
    payee = np.zeros(16, np.int64)
    seen = np.zeros(edges.size, np.uint8)
    size = 0
    for i in range(flagged.size):
        if size > most:
            return payer[:size].copy(), mid[:size].copy(), payee[:size].copy(), flagged[i:].copy()
        e = flagged[i]
        g = e
        # Flagged ones come in order of time, so what stands before one that was seen was seen as far back as needed.
        while g >= 0 and edges[g].time > edges[e].time - within and not seen[g]:
            seen[g] = 1
            looked = 0
            f = edges[g].source_in
            while f >= 0 and edges[f].time > edges[g].time - within and looked < cap:
                # Of parallel payments the latest stands for all.
                after = edges[f].after_pair
                if 0 <= after < g and edges[after].time < edges[g].time:
                    f = edges[f].before_in
                    continue
                looked += 1
                if edges[f].time < edges[g].time and edges[f].source != edges[g].target:
                    payer = pushed(payer, size, edges[f].source)
                    mid = pushed(mid, size, edges[g].source)
                    payee = pushed(payee, size, edges[g].target)
                    size += 1
                f = edges[f].before_in
            g = edges[g].before_in
    return payer[:size].copy(), mid[:size].copy(), payee[:size].copy(), flagged[:0].copy()


@_jit
def _latest(edges: Array) -> Array:
    """The latest payment of each pair, -1 where there is none."""
    most = -1
    for e in range(edges.size):
        most = max(most, edges[e].pair)
    latest = np.full((most | 1) + 1, -1, np.int32)
    for e in range(edges.size):
        if edges[e].pair >= 0:
            latest[edges[e].pair] = e
    return latest


def _parallel(edges: Array, latest: Array, source: Array, target: Array, row: Array) -> tuple[Array, Array]:
    """All payments of each pair (source, target), and the row it is of. Pairs must exist."""
    keys = edges["source"].astype(np.int64) << 32 | edges["target"]
    last = latest[latest >= 0]
    order = np.argsort(keys[last], kind="stable")
    at = last[order][np.searchsorted(keys[last][order], source << 32 | target)]
    edge, which = _gathered(edges, at.astype(np.int64), row.astype(np.int64))
    return edge, which


@_jit
def _gathered(edges: Array, at: Array, row: Array) -> tuple[Array, Array]:
    edge = np.zeros(16, np.int64)
    which = np.zeros(16, np.int64)
    size = 0
    for i in range(at.size):
        e = at[i]
        while e >= 0:
            edge = pushed(edge, size, e)
            which = pushed(which, size, row[i])
            size += 1
            e = edges[e].before_pair
    return edge[:size].copy(), which[:size].copy()
