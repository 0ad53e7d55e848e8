"""Instances over layers of accounts: stacks, smurfing through a shared set of mules, triangles.

**Stack**: at least h payers each reach a payee over h mids or more, who were paid before they paid. Of one payee,
windows do not overlap in time, the widest is taken first; stacks of several payees that share a payment and fit in one
window are one.

**Smurfing**: two or more scatter–gathers, of other ends or at other times, over the same mules: they are tied if they
share at least ``at_least`` of them, and all that are tied are one instance. The payments are those of mules that are in
two or more.

**Triangle**: u pays v directly, and money of u had reached v over a mid before (the latest payments of both legs); or a
cycle over three accounts. Of triangles over the same accounts that share a payment one is kept: as of cycles.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numba
import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fintel.graph import kernels_meetings
from fintel.graph.instances_cycles import UNLOOKED, WRITTEN, cycles, magnitude, sequences
from fintel.graph.instances_found import Array, Found, Search, column_of, cut_at, joined, pushed
from fintel.graph.instances_stars import scatter_gather
from fintel.graph.kernels_amounts import kept
from fintel.graph.layout import MICROSECOND, Settings

_jit = numba.njit(nogil=True, cache=True)


#: Payments looked at for all triangles over a mid in a network.
LEGS = 100_000_000


def stacks(search: Search) -> Found:
    """Stacks of ``at_least`` payers and mids."""
    width, truncated = _meetings(search, "stack_width")
    net = search.network
    flagged = np.flatnonzero(width >= search.at_least)
    flagged = flagged[np.lexsort((flagged, -width[flagged]))]
    spans: dict[int, list[tuple[int, int]]] = {}
    cut = []
    parts: list[tuple[int, Array, Array]] = []
    for e in flagged.tolist():
        payee = int(net.target[e])
        last = int(net.time[e])
        taken = spans.setdefault(payee, [])
        if any(begun <= last and last - search.within < ended for begun, ended in taken):
            continue
        payer, mid, first, second, full = _ways(
            search.edges, e, search.within, search.band.low, search.band.high, search.cap, search.budget
        )
        if full:
            cut.append(payee)
        legs = _stacked(payer, mid, first, second, search.at_least)
        if legs is not None:
            taken.append((int(net.time[legs[0]].min()), last))
            parts.append((payee, *legs))
    told = _merged(search, parts)
    told.skipped = [
        *cut_at("hub among the mids, or more mids than the cap", net.source[np.flatnonzero(truncated)]),
        *cut_at("more ways over mids than the budget", np.asarray(cut, np.int64)),
    ]
    return told


def _meetings(search: Search, name: str) -> tuple[Array, Array]:
    window = search.within * MICROSECOND
    part = kernels_meetings.parts(Settings(meeting_windows=(window,), cap=search.cap))[0]
    return column_of(search, part, name)


def _stacked(payer: Array, mid: Array, first: Array, second: Array, least: int) -> tuple[Array, Array] | None:
    """First and second legs of the payers who have enough mids, if they are enough."""
    reached = np.unique(np.stack([payer, mid]), axis=1)
    payers, counts = np.unique(reached[0], return_counts=True)
    wide = payers[counts >= least]
    if wide.size < least:
        return None
    chosen = np.isin(payer, wide)
    return np.unique(first[chosen]), np.unique(second[chosen])


def _merged(search: Search, parts: list[tuple[int, Array, Array]]) -> Found:
    """Stacks that share a payment and fit in one window as one, the widest taking in the others."""
    time = search.network.time
    whole: list[tuple[int, set[int], set[int]]] = []
    at: dict[int, set[int]] = {}
    for payee, first, second in parts:
        mine = set(first.tolist()) | set(second.tolist())
        for k in sorted({k for e in mine for k in at.get(e, ())}):
            both = whole[k][1] | whole[k][2] | mine
            moments = time[np.fromiter(both, np.int64, len(both))]
            if moments.max() - moments.min() < search.within:
                break
        else:
            k = len(whole)
            whole.append((payee, set(), set()))
        whole[k][1].update(first.tolist())
        whole[k][2].update(second.tolist())
        for e in mine:
            at.setdefault(e, set()).add(k)
    return _two_layers(search, [(payee, first, second - first) for payee, first, second in whole])


def _two_layers(search: Search, whole: list[tuple[int, set[int], set[int]]]) -> Found:
    """Instances of (anchor, first legs, second legs); the score is the number of accounts in the middle."""
    net = search.network
    layers = [(anchor, np.array(sorted(a), np.int64), np.array(sorted(b), np.int64)) for anchor, a, b in whole]
    if not layers:
        return Found()
    sizes = [a.size + b.size for _, a, b in layers]
    return Found(
        anchor=np.array([anchor for anchor, _, _ in layers], np.int64),
        start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        edge=np.concatenate([x for _, a, b in layers for x in (a, b)]),
        hop=np.concatenate([np.repeat([1, 2], [a.size, b.size]) for _, a, b in layers]),
        retention=np.array([_share(net.amount[a], net.amount[b]) for _, a, b in layers]),
        score=np.array([np.unique(net.target[a]).size for _, a, _ in layers], np.int64),
    )


def _share(brought: Array, passed: Array) -> float:
    # As floats: a thousand of the largest payments are more than 64 bits hold.
    total = np.maximum(brought, 0).sum(dtype=np.float64)
    return float(np.maximum(passed, 0).sum(dtype=np.float64) / total) if total > 0 else np.nan


@_jit
def _ways(edges: Array, e: int, within: int, low: float, high: float, cap: int, budget: int) -> Any:
    """Payer, mid, first and second leg of each way that ends in e's payee in the window of ``e``; whether there are
    more."""
    payer = np.zeros(16, np.int64)
    mid = np.zeros(16, np.int64)
    first = np.zeros(16, np.int64)
    second = np.zeros(16, np.int64)
    size = 0
    steps = 0
    full = False
    since = edges[e].time - within
    g = e
    while g >= 0 and edges[g].time > since and not full:
        looked = 0
        f = edges[g].source_in
        while f >= 0 and edges[f].time > since:
            steps += 1
            looked += 1
            if looked > cap or steps > budget:
                full = True
                break
            fits = low <= 0 or kept(edges[f].amount, edges[g].amount, low, high)
            if fits and edges[f].time < edges[g].time and edges[f].source != edges[g].target:
                payer = pushed(payer, size, edges[f].source)
                mid = pushed(mid, size, edges[g].source)
                first = pushed(first, size, f)
                second = pushed(second, size, g)
                size += 1
            f = edges[f].before_in
        g = edges[g].before_in
    return payer[:size].copy(), mid[:size].copy(), first[:size].copy(), second[:size].copy(), full


def smurfing(search: Search) -> Found:
    """Scatter–gathers that share ``at_least`` mules."""
    met = scatter_gather(search)
    if len(met) < 2:
        return Found(skipped=met.skipped)
    net = search.network
    number = np.repeat(np.arange(len(met)), np.diff(met.start))
    mule = np.where(met.hop == 1, net.target[met.edge], net.source[met.edge])
    of = pl.DataFrame({"meeting": number, "mule": mule}).unique(maintain_order=True)
    busy = of.group_by("mule").len().filter(pl.col("len") > search.cap)
    shared = of.join(busy, on="mule", how="anti", maintain_order="left")
    tied = (
        shared.join(shared, on="mule", suffix="_other")
        .filter(pl.col("meeting") < pl.col("meeting_other"))
        .group_by("meeting", "meeting_other")
        .len()
        .filter(pl.col("len") >= search.at_least)
        .sort("meeting", "meeting_other")
    )
    ends = tied["meeting"].to_numpy(), tied["meeting_other"].to_numpy()
    _, group = connected_components(
        coo_array((np.ones(tied.height, np.int8), ends), shape=(len(met),) * 2), directed=False
    )
    again = (
        of.with_columns(group=pl.Series(group[of["meeting"].to_numpy()]))
        .group_by("group", "mule")
        .agg(meetings=pl.col("meeting").n_unique())
        .filter(pl.col("meetings") >= 2)
    )
    twice = set(again.select("group", "mule").iter_rows())
    whole: dict[int, tuple[int, set[int], set[int]]] = {}
    for i, e, hop, who in zip(number.tolist(), met.edge.tolist(), met.hop.tolist(), mule.tolist(), strict=True):
        if (int(group[i]), who) in twice:
            _, first, second = whole.setdefault(int(group[i]), (int(met.anchor[i]), set(), set()))
            (first if hop == 1 else second).add(e)
    told = _two_layers(search, list(whole.values()))
    told.skipped = [*met.skipped, *cut_at("mule of more meetings than the cap", busy["mule"].sort().to_numpy())]
    return told


def triangles(search: Search) -> Found:
    """Triangles in time order, through and round."""
    through, truncated = _meetings(search, "triangles_through")
    flagged = np.flatnonzero(through > 0)
    flagged = flagged[np.lexsort((flagged, -magnitude(search.network.amount[flagged])))]
    start, edge, cut, left = _through(
        search.edges, flagged, search.within, search.cap, search.band.low, search.band.high, search.budget, LEGS,
        WRITTEN,
    )  # fmt: skip
    direct = sequences(search, start, edge)
    direct.skipped = [
        *cut_at("hub among the mids, or more mids than the cap", search.network.source[np.flatnonzero(truncated)]),
        *cut_at("more payments than cap or budget allow to follow back", search.network.source[cut]),
        *cut_at(UNLOOKED, search.network.source[left]),
    ]
    return joined([direct, cycles(replace(search, hops=3, at_least=3))])


@_jit
def _through(
    edges: Array, flagged: Array, within: int, cap: int, low: float, high: float, budget: int, most_steps: int,
    most_written: int,
) -> Any:  # fmt: skip
    """Starts, and payments of each triangle: both legs, then the direct one; direct payments at which cap or budget was
    met; those that no steps were left for."""
    start = np.zeros(16, np.int64)
    edge = np.zeros(16, np.int32)
    cut = np.zeros(0, np.int64)
    count = size = cuts = spent = 0
    for i in range(flagged.size):
        if spent > most_steps or count >= most_written:
            return start[: count + 1].copy(), edge[:size].copy(), cut[:cuts].copy(), flagged[i:].copy()
        e = flagged[i]
        steps = 0
        u = edges[e].source
        t = edges[e].time
        looked = 0
        g = edges[e].before_in
        while g >= 0 and edges[g].time >= t:
            g = edges[g].before_in
        newest = g
        full = False
        while g >= 0 and edges[g].time > t - within:
            looked += 1
            if looked > cap or steps > budget:
                full = True
                break
            after = edges[g].after_pair
            if edges[g].source != u and (after < 0 or after > newest):
                deep = 0
                f = edges[g].source_in
                while f >= 0 and edges[f].time > t - within:
                    deep += 1
                    steps += 1
                    if deep > cap:
                        full = True
                        break
                    if edges[f].source == u and edges[f].time < edges[g].time:
                        if low <= 0 or kept(edges[f].amount, edges[g].amount, low, high):
                            edge = pushed(edge, size, f)
                            edge = pushed(edge, size + 1, g)
                            edge = pushed(edge, size + 2, e)
                            size += 3
                            count += 1
                            start = pushed(start, count, size)
                        break
                    f = edges[f].before_in
            g = edges[g].before_in
        spent += steps + looked
        if full:
            cut = pushed(cut, cuts, e)
            cuts += 1
    return start[: count + 1].copy(), edge[:size].copy(), cut[:cuts].copy(), flagged[:0].copy()
