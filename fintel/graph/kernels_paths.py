"""Who pays whom in the window, and over how many mids two accounts meet: what the kernel of meetings works with.

A *relation* is a payer and a payee with payments in the window. Each account has a compact list of its payees and one
of its payers, (account, relation) side by side in a block of a pool, so that going through them touches few cache
lines. Of two accounts that meet only the number of mids is kept, in one hash table; which mids these are is read off
the lists when it is asked for. Meetings that have come down to no mids stay in the table until it is made anew.
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
#: Payees and payers of an account: begin of the block, how many, size of the block is ``1 << class`` (-1: none yet);
#: whether it is a hub.
NODE = np.dtype(
    [(name, _I4) for name in ("payees", "outs", "out_class", "payers", "ins", "in_class", "hub", "pad")]
)  # fmt: skip
#: An account on a list, and the relation to it.
NEIGHBOUR = np.dtype([("node", _I4), ("relation", _I4)])
#: A relation: times of its oldest and newest payment in the window (µs), which these are, how many there are, its
#: places on the two lists.
RELATION = np.dtype(
    [("begun", _I8), ("last", _I8)]
    + [(name, _I4) for name in ("oldest", "newest", "payments", "at_out", "at_in", "pad")]
)  # fmt: skip
#: Of two accounts (payer * 2**32 + payee; -1: free): how many mids.
MEETING = np.dtype([("key", _I8), ("mids", _I8)])

#: Sizes of blocks are powers of two from 2**2 on; per class the first of the free ones.
CLASSES = 32
_SMALLEST = 2
(TAIL, RELATIONS, RELATION_FREE, RELATION_END, NEIGHBOURS, MEETINGS) = range(6)
FREE = 6
_NOBODY = np.array((0, 0, -1, 0, 0, -1, 0, 0), NODE)[()]
_FREE_MEETING = np.array((-1, 0), MEETING)[()]


class MeetingState(NamedTuple):
    """nodes: NODE; place: int32, of each payment its relation; relations, neighbours: pools; meetings: MEETING (a power
    of two); bins: int32 (WIDEST + 1,), scratch; counters: int64."""

    nodes: Array
    place: Array
    relations: Array
    neighbours: Array
    meetings: Array
    bins: Array
    counters: Array


@_inlined
def met(meetings: Array, payer: int, payee: int) -> Any:
    """Over how many mids two accounts meet."""
    key = np.int64(payer) << 32 | np.int64(payee)
    slot = home(key, meetings.size)
    while meetings[slot].key != key:
        if meetings[slot].key == -1:
            return np.int64(0)
        slot = (slot + 1) & (meetings.size - 1)
    return meetings[slot].mids


@_inlined
def meet(meetings: Array, counters: Array, payer: int, payee: int) -> Any:
    """One mid more between two accounts; how many there are now."""
    key = np.int64(payer) << 32 | np.int64(payee)
    slot = home(key, meetings.size)
    while meetings[slot].key != key:
        if meetings[slot].key == -1:
            meetings[slot].key = key
            meetings[slot].mids = 1
            counters[MEETINGS] += 1
            return np.int64(1)
        slot = (slot + 1) & (meetings.size - 1)
    meetings[slot].mids += 1
    return meetings[slot].mids


@_inlined
def _leave(meetings: Array, payer: int, payee: int) -> None:
    """One mid less between two accounts that do meet."""
    key = np.int64(payer) << 32 | np.int64(payee)
    slot = home(key, meetings.size)
    while meetings[slot].key != key:
        slot = (slot + 1) & (meetings.size - 1)
    meetings[slot].mids -= 1


@_inlined
def _block(neighbours: Array, counters: Array, size_class: int) -> Any:
    block = counters[FREE + size_class]
    if block >= 0:
        counters[FREE + size_class] = neighbours[block].node
    else:
        block = counters[NEIGHBOURS]
        counters[NEIGHBOURS] += 1 << size_class
    return block


@_inlined
def _moved(neighbours: Array, counters: Array, block: int, count: int, size_class: int) -> Any:
    """A block of twice the size with the same neighbours (of the smallest size, if there was none)."""
    if size_class < 0:
        return _block(neighbours, counters, _SMALLEST)
    wider = _block(neighbours, counters, size_class + 1)
    for i in range(count):
        neighbours[wider + i] = neighbours[block + i]
    neighbours[block].node = counters[FREE + size_class]
    counters[FREE + size_class] = block
    return wider


@_inlined
def room(state: Any, u: int, v: int, cap: int) -> Any:
    """Whether there is room for one relation more, u -> v."""
    nodes, counters = state.nodes, state.counters
    return (
        counters[RELATIONS] < state.relations.size
        and counters[NEIGHBOURS] + 2 * (nodes[u].outs + nodes[v].ins) + 8 <= state.neighbours.size
        and space(state, 2 * cap)
    )


@_inlined
def space(state: Any, meetings: int) -> Any:
    """Whether there is room for so many more meetings."""
    return 2 * (state.counters[MEETINGS] + meetings) <= state.meetings.size


@_inlined
def most_again(cap: int) -> Any:
    """Meetings that begin at most when a hub is one no more."""
    return (cap // 2) * (cap // 2)


@_jit
def _all_meet(state: Any, m: int) -> None:
    """``m`` is a go-between again."""
    nodes, neighbours = state.nodes, state.neighbours
    for i in range(nodes[m].payers, nodes[m].payers + nodes[m].ins):
        s = neighbours[i].node
        for j in range(nodes[m].payees, nodes[m].payees + nodes[m].outs):
            if neighbours[j].node != s:
                meet(state.meetings, state.counters, s, neighbours[j].node)


@_jit
def become_hub(state: Any, m: int) -> None:
    """``m`` is nobody's go-between any more."""
    nodes, neighbours = state.nodes, state.neighbours
    nodes[m].hub = 1
    for i in range(nodes[m].payers, nodes[m].payers + nodes[m].ins):
        s = neighbours[i].node
        for j in range(nodes[m].payees, nodes[m].payees + nodes[m].outs):
            if neighbours[j].node != s:
                _leave(state.meetings, s, neighbours[j].node)


@_inlined
def begin_relation(edges: Array, e: int, state: Any) -> Any:
    """Make the relation of payment ``e`` and put it on the lists."""
    nodes, relations, neighbours, counters = state.nodes, state.relations, state.neighbours, state.counters
    u, v = edges[e].source, edges[e].target
    r = counters[RELATION_FREE]
    if r >= 0:
        counters[RELATION_FREE] = relations[r].oldest
    else:
        r = counters[RELATION_END]
        counters[RELATION_END] += 1
    counters[RELATIONS] += 1
    relations[r].begun = edges[e].time
    relations[r].oldest = e
    relations[r].payments = 0
    count, kind = nodes[u].outs, nodes[u].out_class
    if kind < 0 or count == 1 << kind:
        nodes[u].payees = _moved(neighbours, counters, nodes[u].payees, count, kind)
        nodes[u].out_class = max(kind + 1, _SMALLEST)
    neighbours[nodes[u].payees + count].node = v
    neighbours[nodes[u].payees + count].relation = r
    relations[r].at_out = count
    nodes[u].outs = count + 1
    count, kind = nodes[v].ins, nodes[v].in_class
    if kind < 0 or count == 1 << kind:
        nodes[v].payers = _moved(neighbours, counters, nodes[v].payers, count, kind)
        nodes[v].in_class = max(kind + 1, _SMALLEST)
    neighbours[nodes[v].payers + count].node = u
    neighbours[nodes[v].payers + count].relation = r
    relations[r].at_in = count
    nodes[v].ins = count + 1
    return r


@_jit
def end_relation(state: Any, r: int, u: int, v: int, cap: int) -> None:
    """Forget a relation u -> v that has no payment left in the window."""
    nodes, relations, neighbours, counters = state.nodes, state.relations, state.neighbours, state.counters
    meetings = state.meetings
    at = nodes[u].payees + relations[r].at_out
    nodes[u].outs -= 1
    last = nodes[u].payees + nodes[u].outs
    neighbours[at] = neighbours[last]
    relations[neighbours[at].relation].at_out = at - nodes[u].payees
    at = nodes[v].payers + relations[r].at_in
    nodes[v].ins -= 1
    last = nodes[v].payers + nodes[v].ins
    neighbours[at] = neighbours[last]
    relations[neighbours[at].relation].at_in = at - nodes[v].payers
    relations[r].oldest = counters[RELATION_FREE]
    counters[RELATION_FREE] = r
    counters[RELATIONS] -= 1
    if nodes[v].hub == 0:
        for i in range(nodes[v].payees, nodes[v].payees + nodes[v].outs):
            w = neighbours[i].node
            if w != u:
                _leave(meetings, u, w)
    elif max(nodes[v].ins, nodes[v].outs) <= cap // 2:
        nodes[v].hub = 0
        _all_meet(state, v)
    if nodes[u].hub == 0:
        for i in range(nodes[u].payers, nodes[u].payers + nodes[u].ins):
            s = neighbours[i].node
            if s != v:
                _leave(meetings, s, v)
    elif max(nodes[u].ins, nodes[u].outs) <= cap // 2:
        nodes[u].hub = 0
        _all_meet(state, u)


@_jit
def _keep(old: Array, new: Array) -> int:
    """Take over the meetings that there still are; how many."""
    kept = 0
    for i in range(old.size):
        if old[i].mids > 0:
            slot = home(old[i].key, new.size)
            while new[slot].key != -1:
                slot = (slot + 1) & (new.size - 1)
            new[slot] = old[i]
            kept += 1
    return kept


def empty(nodes: int, edges: int, cap: int) -> MeetingState:
    """Before the first payment. Room in the hash table is six times what one step may need: ``more`` relies on it."""
    counters = np.zeros(FREE + CLASSES, np.int64)
    counters[[RELATION_FREE, *range(FREE, FREE + CLASSES)]] = -1
    size = 1 << (6 * max(most_again(cap), 2 * cap)).bit_length()
    return MeetingState(
        nodes=np.full(nodes, _NOBODY, NODE),
        place=np.zeros(edges, np.int32),
        relations=np.zeros(1024, RELATION),
        neighbours=np.zeros(4096, NEIGHBOUR),
        meetings=np.full(size, _FREE_MEETING, MEETING),
        bins=np.zeros(WIDEST + 1, np.int32),
        counters=counters,
    )


def grown(state: MeetingState, nodes: int, edges: int) -> MeetingState:
    return state._replace(nodes=enlarged(state.nodes, nodes, _NOBODY), place=enlarged(state.place, edges))


def more(state: MeetingState) -> MeetingState:
    """Twice the room of whichever pool is more than half full; meetings without mids are let go."""
    counters = state.counters
    if 2 * counters[RELATIONS] > len(state.relations):
        state = state._replace(relations=enlarged(state.relations, 2 * len(state.relations)))
    if 4 * counters[NEIGHBOURS] > len(state.neighbours):
        state = state._replace(neighbours=enlarged(state.neighbours, 2 * len(state.neighbours)))
    if 3 * counters[MEETINGS] > len(state.meetings):
        live = np.count_nonzero(state.meetings["mids"])
        size = len(state.meetings) * (2 if 4 * live > len(state.meetings) else 1)
        meetings = np.full(size, _FREE_MEETING, MEETING)
        counters[MEETINGS] = _keep(state.meetings, meetings)
        state = state._replace(meetings=meetings)
    return state
