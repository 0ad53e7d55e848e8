"""Ties each payment to those before it: of the same pair, of the same payer, of the same payee.

One pass in time order. What it writes into a payment never changes but for the ``after_*`` links, so
adjacency as of any payment can be read off the payments themselves, whatever came later.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from fintel.graph.layout import enlarged
from fintel.graph.prefetch import AHEAD, prefetch

Array = Any

_jit = numba.njit(nogil=True, cache=True)

#: Latest payment out of and into a node (-1: none).
NODE = np.dtype([("out", "i4"), ("into", "i4")])
#: Both directions between two nodes: ``key`` is the smaller node * 2**32 + the larger, -1 a free slot; the latest
#: payments from the smaller (``up``) and from the larger (``down``), -1 for none.
TIE = np.dtype([("key", "i8"), ("up", "i4"), ("down", "i4")])

#: Places in ``Links.counters``.
PAYMENTS, TIES = 0, 1
_FIBONACCI = np.uint64(0x9E3779B97F4A7C15)
_FREE = np.array((-1, -1, -1), TIE)
#: Share of the slots of a hash table that may be in use, in tenths.
FULL = 6


class Links(NamedTuple):
    """nodes: NODE (n,); ties: TIE (a power of two,); counters: int64 (2,): payments linked, ties in use."""

    nodes: Array
    ties: Array
    counters: Array


def empty(nodes: int, edges: int) -> Links:
    """Before the first payment; about as many pairs as half the payments are expected."""
    return Links(np.full(nodes, -1, NODE), np.full(_slots(edges // 2), _FREE, TIE), np.zeros(2, np.int64))


def grown(state: Links, nodes: int) -> Links:
    """Room for more nodes."""
    return state._replace(nodes=enlarged(state.nodes, nodes, -1))


def more(state: Links) -> Links:
    """Twice the room for pairs."""
    ties = np.full(2 * len(state.ties), _FREE, TIE)
    _rehash(state.ties, ties)
    return state._replace(ties=ties)


def _slots(pairs: int) -> int:
    return 1 << max(6, (pairs * 10 // FULL).bit_length())


@_jit
def home(key: int, slots: int) -> Any:
    """The slot where the search for a key begins: Fibonacci hashing over a power of two slots."""
    mixed = np.uint64(key) * _FIBONACCI
    mixed ^= mixed >> np.uint64(32)
    return np.int64(mixed & np.uint64(slots - 1))


@_jit
def _find(ties: Array, key: int) -> Any:
    """The slot of a key, or the free one where it belongs."""
    slots = ties.size
    slot = home(key, slots)
    while ties[slot].key != key and ties[slot].key != -1:
        slot = (slot + 1) & (slots - 1)
    return slot


@_jit
def _key(u: int, v: int) -> Any:
    return np.int64(min(u, v)) << 32 | np.int64(max(u, v))


@_jit
def _expect(edges: Array, e: int, nodes: Array, ties: Array) -> None:
    """Rows that the payments after ``e`` will want."""
    f = e + AHEAD
    u, v = edges[f].source, edges[f].target
    prefetch(ties, home(_key(u, v), ties.size))
    prefetch(nodes, u)
    prefetch(nodes, v)
    f = e + AHEAD // 2
    prefetch(edges, max(nodes[edges[f].source].out, 0))
    prefetch(edges, max(nodes[edges[f].target].into, 0))


@_jit
def _rehash(old: Array, new: Array) -> None:
    for slot in range(old.size):
        if old[slot].key != -1:
            new[_find(new, old[slot].key)] = old[slot]


@_jit
def link(edges: Array, begin: int, end: int, state: Links) -> int:
    """Link payments ``begin`` … ``end - 1``, whose source, target, time and amount are in ``edges`` (``layout.EDGE``).

    Returns ``end``, or the payment before which ``more`` room is needed.
    """
    nodes, ties, counters = state
    most = ties.size * FULL // 10
    for e in range(begin, end):
        u, v = edges[e].source, edges[e].target
        edges[e].pair = edges[e].reverse = edges[e].before_pair = -1
        edges[e].before_out = edges[e].before_in = edges[e].source_in = edges[e].target_out = -1
        edges[e].after_pair = edges[e].after_out = edges[e].after_in = -1
        if u == v:
            counters[PAYMENTS] = e + 1
            continue
        if counters[TIES] >= most:
            return e
        if e + AHEAD < end:
            _expect(edges, e, nodes, ties)
        up = u < v
        key = _key(u, v)
        slot = _find(ties, key)
        before = reverse = np.int32(-1)
        if ties[slot].key == -1:
            ties[slot].key = key
            edges[e].pair = 2 * counters[TIES] + (0 if up else 1)
            counters[TIES] += 1
        else:
            before, reverse = (ties[slot].up, ties[slot].down) if up else (ties[slot].down, ties[slot].up)
            edges[e].pair = edges[before].pair if before >= 0 else edges[reverse].pair ^ 1
        if up:
            ties[slot].up = e
        else:
            ties[slot].down = e
        edges[e].reverse = reverse
        edges[e].before_pair = before
        out, into = nodes[u].out, nodes[v].into
        edges[e].before_out = out
        edges[e].before_in = into
        edges[e].source_in = nodes[u].into
        edges[e].target_out = nodes[v].out
        if before >= 0:
            edges[before].after_pair = e
        if out >= 0:
            edges[out].after_out = e
        if into >= 0:
            edges[into].after_in = e
        nodes[u].out = e
        nodes[v].into = e
        counters[PAYMENTS] = e + 1
    return end
