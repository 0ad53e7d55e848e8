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

**Hub policy.** An account with more than ``cap`` payers or payees in the window (``cap`` of the settings, but no more
than ``HUB``) is nobody's go-between, until it has no more than half as many of both. Paths over it are left out of
the counts, and payments that are legs of such paths are marked truncated. As payer or payee of a meeting an account
may have any number of mids. Mids of a meeting are looked at for their order up to ``settings.cap`` for a payment (and
``PASSED`` times as many accounts that may be mids); else truncated.

**Cost.** A path costs one visit of a hash table when it begins, one when it ends and one at each payment of its legs
in between; which mids they are is asked only where there are two or more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import numba
import numpy as np

from fintel.graph import kernels_paths
from fintel.graph.kernels_amounts import kept
from fintel.graph.kernels_paths import (
    TAIL,
    WIDEST,
    become_hub,
    begin_relation,
    end_relation,
    meet,
    met,
    most_again,
    room,
    space,
)  # fmt: skip
from fintel.graph.layout import MICROSECOND, GraphColumn, Part, Settings
from fintel.graph.prefetch import AHEAD, prefetch

Array = Any

_jit = numba.njit(nogil=True, cache=True)
_inlined = numba.njit(nogil=True, cache=True, forceinline=True)

#: Latest payments of either leg that are compared to see whether the amount was passed on.
PARALLEL = 16
#: An account with more relations on one side than this (or than ``cap``) is a hub: nobody's go-between.
HUB = 128
#: Accounts passed in search of the mids of one meeting, for each mid that may be looked at.
PASSED = 2

(
    SCATTER_PAYEES, SCATTER_MIDS, GATHER_PAYERS, GATHER_MIDS, GATHERED_PAYERS, GATHERED_MIDS, GATHERED_CONSERVED,
    STACK_WIDTH, TRIANGLES_THROUGH, TRIANGLES_ROUND,
) = range(10)  # fmt: skip


class MeetingSettings(NamedTuple):
    """window in µs; most relations of a mid on one side; looks at mids of a meeting; band of the share passed on."""

    window: int
    cap: int
    looks: int
    low: float
    high: float


@_inlined
def _evict(edges: Array, f: int, state: Any, cap: int) -> None:
    """Payment ``f`` leaves the window."""
    relations = state.relations
    r = state.place[f]
    relations[r].payments -= 1
    if relations[r].payments == 0:
        end_relation(state, r, edges[f].source, edges[f].target, cap)
    else:
        after = edges[f].after_pair
        relations[r].oldest = after
        relations[r].begun = edges[after].time


@_jit
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


@_jit
def _in_order(
    edges: Array, s: int, v: int, mids: int, left: int, settings: Any, state: Any
) -> tuple[int, int, int, bool]:
    """Of the ``mids`` of s and v: how many were paid before they paid, and how many of these passed the amount on.

    ``left``: looks that are left, before and (returned) after. Last whether some were left out. It goes through the
    shorter of the lists of s and of v, and looks for the other of the two on the lists of those that it finds.
    """
    nodes, neighbours, relations = state.nodes, state.neighbours, state.relations
    forward = nodes[s].outs < nodes[v].ins
    begin, count = (nodes[s].payees, nodes[s].outs) if forward else (nodes[v].payers, nodes[v].ins)
    other = v if forward else s
    seen = 0
    in_order = 0
    conserved = 0
    passed = 0
    for i in range(begin + count - 1, begin - 1, -1):
        m = neighbours[i].node
        passed += 1
        if passed > PASSED * settings.looks:
            return in_order, conserved, left, True
        if nodes[m].hub:
            continue
        at, many = (nodes[m].payees, nodes[m].outs) if forward else (nodes[m].payers, nodes[m].ins)
        for j in range(at, at + many):
            if neighbours[j].node == other:
                if left == 0:
                    return in_order, conserved, left, True
                left -= 1
                first, second = neighbours[i].relation, neighbours[j].relation
                if not forward:
                    first, second = second, first
                if relations[first].begun < relations[second].last:
                    in_order += 1
                    if _conserves(edges, first, second, relations, settings.low, settings.high):
                        conserved += 1
                seen += 1
                break
        if seen == mids:
            break
    return in_order, conserved, left, False


@_jit
def _layers(bins: Array, longest: int) -> int:
    """The largest h for which h payers reach the payee over h mids; ``bins`` (payers by mids) is empty after that."""
    wide = 0
    above = 0
    for h in range(min(longest, WIDEST), 0, -1):
        above += bins[h]
        bins[h] = 0
        if wide == 0 and above >= h:
            wide = h
    return wide if wide >= 2 else 0


@_inlined
def _report(edges: Array, e: int, fresh: bool, settings: Any, state: Any, integers: Array, row: int) -> Any:
    """Write the columns of payment ``e``; a ``fresh`` relation's paths are made. True: something is left out."""
    nodes, neighbours, meetings, counters = state.nodes, state.neighbours, state.meetings, state.counters
    u, v = edges[e].source, edges[e].target
    cut = False
    if nodes[v].hub:
        cut = nodes[v].outs > 0
    else:
        found = 0
        most = 0
        for i in range(nodes[v].payees, nodes[v].payees + nodes[v].outs):
            w = neighbours[i].node
            if w != u:
                mids = meet(meetings, counters, u, w) if fresh else met(meetings, u, w)
                if mids >= 2:
                    found += 1
                    most = max(most, mids)
        if found > 0:
            integers[SCATTER_PAYEES, row] = found
            integers[SCATTER_MIDS, row] = most
    if nodes[u].hub:
        cut = cut or nodes[u].ins > 0
    else:
        found = 0
        most = 0
        payers = 0
        longest = 0
        kept_most = 0
        left = settings.looks
        for i in range(nodes[u].payers, nodes[u].payers + nodes[u].ins):
            s = neighbours[i].node
            if s == v:
                continue
            mids = meet(meetings, counters, s, v) if fresh else met(meetings, s, v)
            if mids >= 2:
                found += 1
                most = max(most, mids)
                if state.relations[neighbours[i].relation].begun < edges[e].time:
                    in_order, conserved, left, short = _in_order(edges, s, v, mids, left, settings, state)
                    cut = cut or short
                    if in_order >= 2:
                        payers += 1
                        longest = max(longest, in_order)
                        kept_most = max(kept_most, conserved)
                        state.bins[min(in_order, WIDEST)] += 1
        if found > 0:
            integers[GATHER_PAYERS, row] = found
            integers[GATHER_MIDS, row] = most
        if payers > 0:
            integers[GATHERED_PAYERS, row] = payers
            integers[GATHERED_MIDS, row] = longest
            integers[GATHERED_CONSERVED, row] = kept_most if kept_most >= 2 else 0
            integers[STACK_WIDTH, row] = _layers(state.bins, longest)
    if nodes[u].outs > 1 and nodes[v].ins > 1:
        integers[TRIANGLES_THROUGH, row] = met(meetings, u, v)
    if nodes[v].outs > 0 and nodes[u].ins > 0:
        integers[TRIANGLES_ROUND, row] = met(meetings, v, u)
    return cut


@_jit
def advance(
    edges: Array, begin: int, end: int, first: int, settings: Any, state: Any,
    integers: Array, reals: Array, truncated: Array,
) -> int:  # fmt: skip
    """Process edges ``begin`` … ``end - 1`` in order; returns ``end``, or the edge that needs more room."""
    counters, nodes, place, relations = state.counters, state.nodes, state.place, state.relations
    cap = settings.cap
    again = most_again(cap)
    for e in range(begin, end):
        start = edges[e].time - settings.window
        if e + AHEAD < end:
            prefetch(nodes, edges[e + AHEAD].source)
            prefetch(nodes, edges[e + AHEAD].target)
            prefetch(edges, max(edges[e + AHEAD].before_pair, 0))
            near = edges[e + AHEAD // 2]
            prefetch(state.neighbours, nodes[near.source].payers)
            prefetch(state.neighbours, nodes[near.source].payees)
            prefetch(state.neighbours, nodes[near.target].payers)
            prefetch(state.neighbours, nodes[near.target].payees)
        tail = counters[TAIL]
        if tail + AHEAD < e:
            prefetch(relations, place[tail + AHEAD])
            prefetch(nodes, edges[tail + AHEAD].source)
            prefetch(nodes, edges[tail + AHEAD].target)
        while tail < e and edges[tail].time <= start:
            if edges[tail].pair >= 0:
                if not space(state, again):
                    counters[TAIL] = tail
                    return e
                _evict(edges, tail, state, cap)
            tail += 1
        counters[TAIL] = tail
        if edges[e].pair < 0:
            continue
        u, v = edges[e].source, edges[e].target
        before = edges[e].before_pair
        fresh = before < tail
        if fresh:
            if not room(state, u, v, cap):
                return e
            if nodes[u].hub == 0 and nodes[u].outs == cap:
                become_hub(state, u)
            if nodes[v].hub == 0 and nodes[v].ins == cap:
                become_hub(state, v)
            r = begin_relation(edges, e, state)
        else:
            r = np.int64(place[before])
        place[e] = r
        relations[r].payments += 1
        relations[r].newest = e
        relations[r].last = edges[e].time
        if _report(edges, e, fresh, settings, state, integers, e - first):
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
