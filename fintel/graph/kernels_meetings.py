"""Meetings: payers and payees that several go-betweens connect. Scatter–gather, stacks, triangles.

**Terms.** Within a window (t - window, t], the payment at hand included: a *relation* u → v is that u paid v at least
once. A *path* u → m → w is two relations over a mid m, with u, m, w different. ``P(u, w)`` is the number of mids
between u and w.

**Scatter–gather** (AMLworld, arXiv 2306.16424; Blanuša et al., *Graph Feature Preprocessor*, arXiv 2402.08593;
BlazingAML, arXiv 2604.12241): one payer pays several mids, which pay one payee: ``P(u, w) >= 2``. A payment u → v is
a leg of it in two ways: as first leg (v is a mid; one instance for each w that v pays, ``scatter_*``), or as second
leg (u is a mid; one for each s that paid u, ``gather_*``). These two ignore the order of the legs, as the cited
papers do; they see only the past all the same.

**In order.** ``gathered_*`` want money that moved: a mid counts if a payment from the payer to it is strictly earlier
than one from it to the payee, and so must it be for the payment at hand. A mid is *conserved* if, of such two
payments, the second is from ``1 - fee - tolerance`` to ``1 + tolerance`` times the first (the ``PARALLEL`` latest
payments of either leg are compared).

**Stack** (AMLworld; layers of accounts, each paying the next): ``stack_width`` is the largest h such that h payers
each reach this payee, in order, over h mids or more, the payer at hand being one of those mids.

**Triangles.** ``triangles_through``: mids between the payer and the payee who are now paid directly (feed-forward).
``triangles_round``: mids over which the payee's money reached the payer (cyclic; in any order; in time order see
``cycles_3``).

**Hub policy.** When a relation begins, the mid's ``cap`` latest relations on its other side are looked at (``cap`` of
the settings, but no more than ``HUB``), and a relation takes part in at most ``cap`` paths as first leg and in as
many as second. What is beyond is left out of the counts, and the payments of the relations concerned are marked
truncated for as long as they last. Mids of a meeting are looked at for their order up to ``settings.cap`` for a
payment, the latest first; else truncated.

**Cost.** A path is made and undone once; its count is found by hash when it is made and by position after that.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import numba

from fintel.graph import kernels_paths
from fintel.graph.kernels_amounts import kept
from fintel.graph.kernels_paths import MEETINGS, PATHS, RELATIONS, TAIL, WIDEST, begin_relation, end_relation, met
from fintel.graph.layout import MICROSECOND, GraphColumn, Part, Settings

Array = Any

_jit = numba.njit(nogil=True, cache=True)
_inlined = numba.njit(nogil=True, cache=True, forceinline=True)

#: Latest payments of either leg that are compared to see whether the amount was passed on.
PARALLEL = 16
#: A mid with more relations on one side than this (or than ``cap``) is a hub: nobody's go-between.
HUB = 64

(
    SCATTER_PAYEES, SCATTER_MIDS, GATHER_PAYERS, GATHER_MIDS, GATHERED_PAYERS, GATHERED_MIDS, GATHERED_CONSERVED,
    STACK_WIDTH, TRIANGLES_THROUGH, TRIANGLES_ROUND,
) = range(10)  # fmt: skip


class MeetingSettings(NamedTuple):
    """window in µs; cap of relations of a mid; looks at mids of a meeting; band of the share passed on."""

    window: int
    cap: int
    looks: int
    low: float
    high: float


@_inlined
def _evict(edges: Array, f: int, state: Any) -> None:
    """Payment ``f`` leaves the window."""
    pair = edges[f].pair
    if pair < 0:
        return
    relations = state.relations
    r = state.place[pair]
    relations[r].payments -= 1
    if relations[r].payments == 0:
        end_relation(state, r)
        state.place[pair] = -1
    else:
        relations[r].oldest = edges[f].after_pair


@_inlined
def _conserves(edges: Array, first: int, second: int, relations: Array, low: float, high: float) -> bool:
    """Whether some payment of the second leg passes on an earlier one of the first."""
    g = relations[second].newest
    for _ in range(PARALLEL):
        f = relations[first].newest
        for _ in range(PARALLEL):
            if edges[f].time < edges[g].time and kept(edges[f].amount, edges[g].amount, low, high):
                return True
            if f == relations[first].oldest:
                break
            f = edges[f].before_pair
        if g == relations[second].oldest:
            break
        g = edges[g].before_pair
    return False


@_inlined
def _report(edges: Array, e: int, r: int, settings: Any, state: Any, integers: Array, row: int) -> Any:
    """Write the columns of payment ``e`` of relation ``r``. True if something was left out."""
    relations, paths, meetings, bins = state.relations, state.paths, state.meetings, state.bins
    cut = relations[r].cut > 0
    found = 0
    most = 0
    p = relations[r].first
    while p >= 0:
        mids = meetings[paths[p].meeting].mids
        if mids >= 2:
            found += 1
            most = max(most, mids)
        p = paths[p].next_first
    if found > 0:
        integers[SCATTER_PAYEES, row] = found
        integers[SCATTER_MIDS, row] = most
    found = 0
    most = 0
    payers = 0
    longest = 0
    kept_most = 0
    looked = 0
    p = relations[r].second
    while p >= 0:
        m = paths[p].meeting
        if meetings[m].mids >= 2:
            found += 1
            most = max(most, meetings[m].mids)
            if edges[relations[paths[p].first].oldest].time < edges[e].time:
                in_order = 0
                conserved = 0
                q = meetings[m].path
                while q >= 0:
                    looked += 1
                    if looked > settings.looks:
                        cut = True
                        break
                    first, second = paths[q].first, paths[q].second
                    if edges[relations[first].oldest].time < edges[relations[second].newest].time:
                        in_order += 1
                        if _conserves(edges, first, second, relations, settings.low, settings.high):
                            conserved += 1
                    q = paths[q].next_met
                if in_order >= 2:
                    payers += 1
                    longest = max(longest, in_order)
                    kept_most = max(kept_most, conserved)
                    bins[min(in_order, WIDEST)] += 1
        p = paths[p].next_second
    if found > 0:
        integers[GATHER_PAYERS, row] = found
        integers[GATHER_MIDS, row] = most
    if payers > 0:
        integers[GATHERED_PAYERS, row] = payers
        integers[GATHERED_MIDS, row] = longest
        integers[GATHERED_CONSERVED, row] = kept_most if kept_most >= 2 else 0
        wide = 0
        above = 0
        for h in range(min(longest, WIDEST), 0, -1):
            above += bins[h]
            bins[h] = 0
            if wide == 0 and above >= h:
                wide = h
        integers[STACK_WIDTH, row] = wide if wide >= 2 else 0
    u, v = edges[e].source, edges[e].target
    m = met(state, u, v)
    if m >= 0:
        integers[TRIANGLES_THROUGH, row] = meetings[m].mids
    m = met(state, v, u)
    if m >= 0:
        integers[TRIANGLES_ROUND, row] = meetings[m].mids
    return cut


@_jit
def advance(
    edges: Array, begin: int, end: int, first: int, settings: Any, state: Any,
    integers: Array, reals: Array, truncated: Array,
) -> int:  # fmt: skip
    """Process edges ``begin`` … ``end - 1`` in order; returns ``end``, or the edge that needs more room."""
    counters = state.counters
    most = 2 * settings.cap + 2
    for e in range(begin, end):
        start = edges[e].time - settings.window
        tail = counters[TAIL]
        while tail < e and edges[tail].time <= start:
            _evict(edges, tail, state)
            tail += 1
        counters[TAIL] = tail
        pair = edges[e].pair
        if pair < 0:
            continue
        r = state.place[pair]
        if r < 0:
            if (
                counters[RELATIONS] + 1 > state.relations.size
                or counters[PATHS] + most > state.paths.size
                or counters[MEETINGS] + most > state.meetings.size
            ):
                return e
            r = begin_relation(state, edges[e].source, edges[e].target, settings.cap)
            state.place[pair] = r
            state.relations[r].oldest = e
        state.relations[r].payments += 1
        state.relations[r].newest = e
        if _report(edges, e, r, settings, state, integers, e - first):
            truncated[e - first] = 1
    return end


def parts(settings: Settings) -> tuple[Part, ...]:
    """One part per window of ``settings.meeting_windows``."""
    return tuple(_part(window, settings) for window in settings.meeting_windows)


def _part(window: timedelta, settings: Settings) -> Part:
    label = settings.label(window)
    chosen = MeetingSettings(
        window // MICROSECOND,
        min(settings.cap, HUB),
        settings.cap,
        1 - settings.fee - settings.tolerance,
        1 + settings.tolerance,
    )
    return Part(
        name=f"meetings_{label}",
        columns=_columns(window, label),
        settings=chosen,
        empty=lambda nodes, edges: kernels_paths.empty(nodes, edges, chosen.cap),
        grown=kernels_paths.grown,
        more=kernels_paths.more,
        advance=advance,
    )


def _columns(window: timedelta, label: str) -> tuple[GraphColumn, ...]:
    documented = {
        ("scatter_payees", "accounts"): "Accounts that the payer reaches over two mids or more, this payee one.",
        ("scatter_mids", "accounts"): "Most mids between this payer and one such account, this payee included.",
        ("gather_payers", "accounts"): "Accounts that reach this payee over two mids or more, this payer one of them.",
        ("gather_mids", "accounts"): "Most mids between one such account and this payee, this payer included.",
        ("gathered_payers", "accounts"): "As gather_payers, counting only mids that were paid before they paid.",
        ("gathered_mids", "accounts"): "As gather_mids, counting only mids that were paid before they paid.",
        ("gathered_conserved", "accounts"): "As gathered_mids, counting only mids that passed the amount on.",
        ("stack_width", "accounts"): "Largest h for which h accounts reach the payee over h gathered_mids each.",
        ("triangles_through", "accounts"): "Mids over which this payer also reaches this payee.",
        ("triangles_round", "accounts"): "Mids over which this payee reaches this payer.",
    }  # fmt: skip
    return tuple(
        GraphColumn(f"{name}_{label}", "meetings", unit, doc, window) for (name, unit), doc in documented.items()
    )
