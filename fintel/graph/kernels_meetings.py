"""Meetings: payers and payees that several go-betweens connect. Scatter–gather, stacks, triangles.

**Terms.** Within a window (t - window, t], the payment at hand included: a *relation* u → v is that u paid v at least once. A *path* u → m → w
is two relations over a mid m, with u, m, w different. ``P(u, w)`` is the number of mids between u and w.

**Scatter–gather** (AMLworld, arXiv 2306.16424; Blanuša et al., *Graph Feature Preprocessor*, arXiv 2402.08593; BlazingAML, arXiv 2604.12241): one payer
pays several mids, which pay one payee: ``P(u, w) >= 2``. A payment u → v is a leg of it in two ways: as first leg
(v is a mid; one instance for each w that v pays, ``scatter_*``), or as second leg (u is a mid; one
for each s that paid u, ``gather_*``). These two ignore the order of the legs, as the cited papers do; they see only the past all the same.

**In order.** ``gathered_*`` want money that moved: a mid counts if a payment from the payer to it is strictly earlier than one from it
to the payee, and so must it be for the payment at hand. A mid is *conserved* if, of such two payments, the second is from ``1 - fee - tolerance``
to ``1 + tolerance`` times the first (the ``PARALLEL`` latest payments of either leg are compared).

**Stack** (AMLworld; layers of accounts, each paying the next): ``stack_width`` is the largest h such that h payers each
reach this payee, in order, over h mids or more, the payer at hand being one of those mids.

**Triangles.** ``triangles_through``: mids between the payer and the payee who are now paid directly (feed-forward). ``triangles_round``: mids
over which the payee's money reached the payer (cyclic; in any order; in time order see ``cycles_3``).

**Hub policy.** When a relation begins, the mid's ``cap`` latest relations on its other side are looked at (``cap`` of the settings, but no more than ``HUB``),
and a relation takes part in at most ``cap`` paths as first leg and in as many as second. What is beyond is left out of the counts, and the payments of the relations
concerned are marked truncated for as long as they last. Mids of a meeting are looked at for their order up to ``settings.cap`` for a payment, the latest first; else truncated.

**Cost.** A path is made and undone once; its count is found by hash when it is made and by position after that.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import numba
import numpy as np

from fintel.graph.kernels_amounts import kept
from fintel.graph.kernels_pairs import home
from fintel.graph.layout import MICROSECOND, GraphColumn, Part, Settings, enlarged

Array = Any

_jit = numba.njit(nogil=True, cache=True)
_inlined = numba.njit(nogil=True, cache=True, forceinline=True)

#: Latest payments of either leg that are compared to see whether the amount was passed on.
PARALLEL = 16
#: A mid with more relations on one side than this (or than ``cap``) is a hub: nobody's go-between.
HUB = 128
#: Stacks are not told apart beyond this width.
WIDEST = 64

_I4, _I8 = np.int32, np.int64
#: First relation in the lists of those that an account has as payer and as payee; -1: none.
NODE = np.dtype([("out", _I4), ("into", _I4)])
#: A relation: payments in the window, oldest and newest of them, neighbours in the two lists, its paths as first and as second leg.
RELATION = np.dtype(
    [(name, _I4) for name in (
        "source", "target", "payments", "oldest", "newest", "next_out", "back_out", "next_in", "back_in",
        "first", "firsts", "second", "seconds", "cut",
    )]
)  # fmt: skip
#: A path: its legs, its meeting, neighbours among the paths of the first leg, of the second, of the meeting.
PATH = np.dtype(
    [(name, _I4) for name in (
        "first", "second", "meeting", "next_first", "back_first", "next_second", "back_second", "next_met", "back_met",
    )]
)  # fmt: skip
#: Of two accounts (payer * 2**32 + payee): how many paths, the latest of them, next meeting in the same bucket.
MEETING = np.dtype([("key", _I8), ("mids", _I4), ("path", _I4), ("next", _I4), ("pad", _I4)])

(TAIL, RELATIONS, RELATION_FREE, RELATION_END, PATHS, PATH_FREE, PATH_END, MEETINGS, MEETING_FREE, MEETING_END) = range(
    10
)

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


class MeetingState(NamedTuple):
    """nodes: NODE; place: int32, of each pair its relation (-1: none); pools of relations, paths, meetings; buckets: int32
    (a power of two); bins: int32, scratch; counters: int64."""

    nodes: Array
    place: Array
    relations: Array
    paths: Array
    meetings: Array
    buckets: Array
    bins: Array
    counters: Array


@_inlined
def _bucket(buckets: Array, key: int) -> int:
    return home(key, buckets.size)


@_inlined
def _met(state: Any, payer: int, payee: int) -> int:
    """The meeting of two accounts, or -1."""
    key = np.int64(payer) << 32 | np.int64(payee)
    m = state.buckets[_bucket(state.buckets, key)]
    while m >= 0 and state.meetings[m].key != key:
        m = state.meetings[m].next
    return m


@_inlined
def _meet(state: Any, payer: int, payee: int) -> int:
    """The meeting of two accounts, made if need be."""
    m = _met(state, payer, payee)
    if m >= 0:
        return m
    counters, meetings = state.counters, state.meetings
    m = counters[MEETING_FREE]
    if m >= 0:
        counters[MEETING_FREE] = meetings[m].next
    else:
        m = counters[MEETING_END]
        counters[MEETING_END] += 1
    counters[MEETINGS] += 1
    key = np.int64(payer) << 32 | np.int64(payee)
    slot = _bucket(state.buckets, key)
    meetings[m].key = key
    meetings[m].mids = 0
    meetings[m].path = -1
    meetings[m].next = state.buckets[slot]
    state.buckets[slot] = m
    return m


@_inlined
def _part_company(state: Any, m: int) -> None:
    """Forget a meeting that no mid is left of."""
    meetings, buckets, counters = state.meetings, state.buckets, state.counters
    slot = _bucket(buckets, meetings[m].key)
    if buckets[slot] == m:
        buckets[slot] = meetings[m].next
    else:
        before = buckets[slot]
        while meetings[before].next != m:
            before = meetings[before].next
        meetings[before].next = meetings[m].next
    meetings[m].next = counters[MEETING_FREE]
    counters[MEETING_FREE] = m
    counters[MEETINGS] -= 1


@_inlined
def _join(state: Any, first: int, second: int) -> None:
    """Make the path of two relations."""
    paths, relations, counters = state.paths, state.relations, state.counters
    meetings = state.meetings
    m = _meet(state, relations[first].source, relations[second].target)
    p = counters[PATH_FREE]
    if p >= 0:
        counters[PATH_FREE] = paths[p].next_first
    else:
        p = counters[PATH_END]
        counters[PATH_END] += 1
    counters[PATHS] += 1
    paths[p].first = first
    paths[p].second = second
    paths[p].meeting = m
    paths[p].back_first = -1
    paths[p].back_second = -1
    paths[p].back_met = -1
    head = meetings[m].path
    paths[p].next_met = head
    if head >= 0:
        paths[head].back_met = p
    meetings[m].path = p
    meetings[m].mids += 1
    head = relations[first].first
    paths[p].next_first = head
    if head >= 0:
        paths[head].back_first = p
    relations[first].first = p
    relations[first].firsts += 1
    head = relations[second].second
    paths[p].next_second = head
    if head >= 0:
        paths[head].back_second = p
    relations[second].second = p
    relations[second].seconds += 1


@_inlined
def _undo(state: Any, p: int) -> None:
    """Forget a path."""
    paths, relations, meetings, counters = state.paths, state.relations, state.meetings, state.counters
    first, second, m = paths[p].first, paths[p].second, paths[p].meeting
    before, after = paths[p].back_first, paths[p].next_first
    if before >= 0:
        paths[before].next_first = after
    else:
        relations[first].first = after
    if after >= 0:
        paths[after].back_first = before
    before, after = paths[p].back_second, paths[p].next_second
    if before >= 0:
        paths[before].next_second = after
    else:
        relations[second].second = after
    if after >= 0:
        paths[after].back_second = before
    relations[first].firsts -= 1
    relations[second].seconds -= 1
    before, after = paths[p].back_met, paths[p].next_met
    if before >= 0:
        paths[before].next_met = after
    else:
        meetings[m].path = after
    if after >= 0:
        paths[after].back_met = before
    meetings[m].mids -= 1
    if meetings[m].mids == 0:
        _part_company(state, m)
    paths[p].next_first = counters[PATH_FREE]
    counters[PATH_FREE] = p
    counters[PATHS] -= 1


@_inlined
def _begin(state: Any, u: int, v: int, cap: int) -> int:
    """Make the relation u -> v, with its paths."""
    nodes, relations, counters = state.nodes, state.relations, state.counters
    r = counters[RELATION_FREE]
    if r >= 0:
        counters[RELATION_FREE] = relations[r].next_out
    else:
        r = counters[RELATION_END]
        counters[RELATION_END] += 1
    counters[RELATIONS] += 1
    relations[r].source = u
    relations[r].target = v
    relations[r].payments = 0
    relations[r].first = -1
    relations[r].firsts = 0
    relations[r].second = -1
    relations[r].seconds = 0
    relations[r].cut = 0
    looked = 0
    other = nodes[v].out
    while other >= 0:
        if relations[other].target != u:
            if looked == cap or relations[other].seconds >= cap:
                relations[r].cut = 1
                relations[other].cut = 1
            else:
                _join(state, r, other)
        looked += 1
        if looked > cap:
            break
        other = relations[other].next_out
    looked = 0
    other = nodes[u].into
    while other >= 0:
        if relations[other].source != v:
            if looked == cap or relations[other].firsts >= cap:
                relations[r].cut = 1
                relations[other].cut = 1
            else:
                _join(state, other, r)
        looked += 1
        if looked > cap:
            break
        other = relations[other].next_in
    head = nodes[u].out
    relations[r].next_out = head
    relations[r].back_out = -1
    if head >= 0:
        relations[head].back_out = r
    nodes[u].out = r
    head = nodes[v].into
    relations[r].next_in = head
    relations[r].back_in = -1
    if head >= 0:
        relations[head].back_in = r
    nodes[v].into = r
    return r


@_inlined
def _end(state: Any, r: int) -> None:
    """Forget a relation that has no payment left in the window, with its paths."""
    nodes, relations, counters = state.nodes, state.relations, state.counters
    while relations[r].first >= 0:
        _undo(state, relations[r].first)
    while relations[r].second >= 0:
        _undo(state, relations[r].second)
    before, after = relations[r].back_out, relations[r].next_out
    if before >= 0:
        relations[before].next_out = after
    else:
        nodes[relations[r].source].out = after
    if after >= 0:
        relations[after].back_out = before
    before, after = relations[r].back_in, relations[r].next_in
    if before >= 0:
        relations[before].next_in = after
    else:
        nodes[relations[r].target].into = after
    if after >= 0:
        relations[after].back_in = before
    relations[r].next_out = counters[RELATION_FREE]
    counters[RELATION_FREE] = r
    counters[RELATIONS] -= 1


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
        _end(state, r)
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
def _report(edges: Array, e: int, r: int, settings: Any, state: Any, integers: Array, row: int) -> bool:
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
    m = _met(state, u, v)
    if m >= 0:
        integers[TRIANGLES_THROUGH, row] = meetings[m].mids
    m = _met(state, v, u)
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
            r = _begin(state, edges[e].source, edges[e].target, settings.cap)
            state.place[pair] = r
            state.relations[r].oldest = e
        state.relations[r].payments += 1
        state.relations[r].newest = e
        if _report(edges, e, r, settings, state, integers, e - first):
            truncated[e - first] = 1
    return end


@_jit
def _rebucket(meetings: Array, buckets: Array, old: Array) -> None:
    for slot in range(old.size):
        m = old[slot]
        while m >= 0:
            after = meetings[m].next
            place = _bucket(buckets, meetings[m].key)
            meetings[m].next = buckets[place]
            buckets[place] = m
            m = after


def _empty(nodes: int, edges: int, cap: int) -> MeetingState:
    counters = np.zeros(10, np.int64)
    counters[[RELATION_FREE, PATH_FREE, MEETING_FREE]] = -1
    room = 1 << (8 * cap + 16).bit_length()
    return MeetingState(
        nodes=np.full(nodes, -1, NODE),
        place=np.full(2 * edges, -1, np.int32),
        relations=np.zeros(room, RELATION),
        paths=np.zeros(room, PATH),
        meetings=np.zeros(room, MEETING),
        buckets=np.full(room, -1, np.int32),
        bins=np.zeros(WIDEST + 1, np.int32),
        counters=counters,
    )


def _grown(state: MeetingState, nodes: int, edges: int) -> MeetingState:
    return state._replace(nodes=enlarged(state.nodes, nodes, -1), place=enlarged(state.place, 2 * edges, -1))


def _more(state: MeetingState) -> MeetingState:
    """Twice the room of whichever pool is more than half full."""
    counters = state.counters
    if 2 * counters[RELATIONS] > len(state.relations):
        state = state._replace(relations=enlarged(state.relations, 2 * len(state.relations)))
    if 2 * counters[PATHS] > len(state.paths):
        state = state._replace(paths=enlarged(state.paths, 2 * len(state.paths)))
    if 2 * counters[MEETINGS] > len(state.meetings):
        meetings = enlarged(state.meetings, 2 * len(state.meetings))
        buckets = np.full(len(meetings), -1, np.int32)
        _rebucket(meetings, buckets, state.buckets)
        state = state._replace(meetings=meetings, buckets=buckets)
    return state


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
        empty=lambda nodes, edges: _empty(nodes, edges, chosen.cap),
        grown=_grown,
        more=_more,
        advance=advance,
    )


def _columns(window: timedelta, label: str) -> tuple[GraphColumn, ...]:
    documented = {
        ("scatter_payees", "accounts"): "Accounts that this payer reaches over two mids or more, this payee being one of the mids.",
        ("scatter_mids", "accounts"): "Most mids between this payer and one such account, this payee included.",
        ("gather_payers", "accounts"): "Accounts that reach this payee over two mids or more, this payer being one of the mids.",
        ("gather_mids", "accounts"): "Most mids between one such account and this payee, this payer included.",
        ("gathered_payers", "accounts"): "As gather_payers, counting only mids that were paid before they paid.",
        ("gathered_mids", "accounts"): "As gather_mids, counting only mids that were paid before they paid.",
        ("gathered_conserved", "accounts"): "As gathered_mids, counting only mids that passed the amount on, less a fee at most.",
        ("stack_width", "accounts"): "Largest h for which h accounts each reach this payee over h mids that were paid before they paid, this payer one of them.",
        ("triangles_through", "accounts"): "Mids over which this payer also reaches this payee.",
        ("triangles_round", "accounts"): "Mids over which this payee reaches this payer.",
    }  # fmt: skip
    return tuple(
        GraphColumn(f"{name}_{label}", "meetings", unit, doc, window) for (name, unit), doc in documented.items()
    )
