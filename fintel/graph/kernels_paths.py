"""Relations, paths over two of them, and meetings of paths: the pools that the kernel of meetings works with.

A *relation* is a payer and a payee with payments in the window; a *path* is two relations over a mid; a *meeting* is
a payer and a payee that paths connect. All three live in arrays whose free places are chained, so a place stays the
same for as long as the thing lasts: only a path that is made asks the hash table.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from fintel.graph.kernels_pairs import home
from fintel.graph.layout import enlarged

Array = Any

_jit = numba.njit(nogil=True, cache=True)
_inlined = numba.njit(nogil=True, cache=True, forceinline=True)

#: Stacks are not told apart beyond this width.
WIDEST = 64

_I4, _I8 = np.int32, np.int64
#: First relation in the lists of those that an account has as payer and as payee; -1: none.
NODE = np.dtype([("out", _I4), ("into", _I4)])
#: A relation: payments in the window, oldest and newest of them, neighbours in the two lists, its paths as first and
#: as second leg, whether paths of it were left out.
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


class MeetingState(NamedTuple):
    """nodes: NODE; place: int32, of each pair its relation (-1: none); pools of relations, paths, meetings; buckets:
    int32 (a power of two); bins: int32 (WIDEST + 1,), scratch; counters: int64."""

    nodes: Array
    place: Array
    relations: Array
    paths: Array
    meetings: Array
    buckets: Array
    bins: Array
    counters: Array


@_inlined
def _bucket(buckets: Array, key: int) -> Any:
    return home(key, buckets.size)


@_inlined
def met(state: Any, payer: int, payee: int) -> Any:
    """The meeting of two accounts, or -1."""
    key = np.int64(payer) << 32 | np.int64(payee)
    m = state.buckets[_bucket(state.buckets, key)]
    while m >= 0 and state.meetings[m].key != key:
        m = state.meetings[m].next
    return m


@_inlined
def _meet(state: Any, payer: int, payee: int) -> Any:
    """The meeting of two accounts, made if need be."""
    m = met(state, payer, payee)
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
def begin_relation(state: Any, u: int, v: int, cap: int) -> Any:
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
def end_relation(state: Any, r: int) -> None:
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


def empty(nodes: int, edges: int, cap: int) -> MeetingState:
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


def grown(state: MeetingState, nodes: int, edges: int) -> MeetingState:
    return state._replace(nodes=enlarged(state.nodes, nodes, -1), place=enlarged(state.place, 2 * edges, -1))


def more(state: MeetingState) -> MeetingState:
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
