"""Where an account's money went: the half of the search for cycles that looks forward in time.

``reach`` marks all accounts that v's money can have reached by some moment; ``mark`` notes the accounts that v has
paid itself. Both write into the accounts' records, stamped with the payment at hand, so nothing has to be wiped.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = Any

_jit = numba.njit(nogil=True, cache=True)

#: Per account: earliest arrival of v's money and latest moment from which it reached u (µs); the payments (+1) at hand
#: for which these two hold; its first payment in the window; the payment (+1) at hand for which it was noted that v
#: paid it, and first by which one.
NODE = np.dtype(
    [("arrival", "i8"), ("left", "i8")]
    + [(name, "i4") for name in ("seen", "back", "first_out", "paid", "first", "pad")]
)
#: Payments of v that are noted one by one; words of the sieve (a power of two).
DIRECT = 128
SIEVE = 16
UNSEEN = np.array((0, 0, 0, 0, -1, 0, 0, 0), NODE)[()]


@_jit
def reach(edges: Array, e: int, low: int, until: int, nodes: Array, front: Array) -> bool:
    """Mark every account that v's money can reach by ``until``, with its earliest arrival. False: gave up."""
    u = edges[e].source
    v = edges[e].target
    seen = np.int32(e + 1)
    read = 0
    size = 0
    steps = 0
    g = low
    while 0 <= g < e and edges[g].time <= until:
        steps += 1
        if steps > front.size:
            return False
        y = edges[g].target
        if nodes[y].seen != seen:
            nodes[y].seen = seen
            nodes[y].arrival = edges[g].time
            front[size] = g
            size += 1
        g = edges[g].after_out
    while read < size:
        f = front[read]
        read += 1
        y = edges[f].target
        arrived = edges[f].time
        if y == u or nodes[y].arrival < arrived:
            continue
        b = edges[f].target_out
        g = edges[b].after_out if b >= 0 else nodes[y].first_out
        while 0 <= g < e and edges[g].time <= until:
            steps += 1
            if steps > front.size:
                return False
            z = edges[g].target
            when = edges[g].time
            if when > arrived and z != v and (nodes[z].seen != seen or nodes[z].arrival > when):
                nodes[z].seen = seen
                nodes[z].arrival = when
                front[size] = g
                size += 1
            g = edges[g].after_out
    return True


@_jit
def meets(edges: Array, e: int, low: int, until: int, nodes: Array, front: Array) -> int:
    """Whether u's money, traced back no further than ``until``, comes from an account that ``reach`` marked, or from v.

    0: no, so ``e`` closes no cycle; 1: yes, so it may; -1: gave up. With ``until`` before ``low`` only v counts.
    """
    u = edges[e].source
    v = edges[e].target
    stamp = np.int32(e + 1)
    ahead = until >= edges[low].time
    if ahead and nodes[u].seen == stamp:
        return 1
    front[0] = e
    read = 0
    size = 1
    steps = 0
    while read < size:
        f = front[read]
        read += 1
        leaves = edges[f].time
        if f != e and nodes[edges[f].source].left > leaves:
            continue
        g = edges[f].source_in
        while g >= low and edges[g].time > until:
            steps += 1
            if steps >= front.size:
                return -1
            when = edges[g].time
            if when < leaves:
                z = edges[g].source
                if z == v or (ahead and nodes[z].seen == stamp):
                    return 1
                if z != u and (nodes[z].back != stamp or nodes[z].left < when):
                    nodes[z].back = stamp
                    nodes[z].left = when
                    front[size] = g
                    size += 1
            g = edges[g].before_in
    return 0


@_jit
def closes(edges: Array, e: int, low: int, until: int, nodes: Array, front: Array) -> int:
    """0: ``e`` closes no cycle; 1: it may, and ``reach`` has marked all up to ``until``; -1: it may, for all we know.

    Sets of accounts, not paths, so cheap: forward from v and back from u until they meet in time. If one of them is too
    large, the other is tried over the whole window.
    """
    if reach(edges, e, low, until, nodes, front):
        known = meets(edges, e, low, until, nodes, front)
        return 0 if known == 0 else 1
    return 0 if meets(edges, e, low, edges[low].time - 1, nodes, front) == 0 else -1


@_jit
def mark(edges: Array, e: int, low: int, nodes: Array, sieve: Array) -> bool:
    """Note whom v has paid in the window, and first by which payment. False: too many.

    ``sieve`` gets a bit for each of them (and so for some others): most questions end there, in the nearest cache.
    """
    t = edges[e].time
    sieve[:] = 0
    looked = 0
    g = low
    while 0 <= g < e and edges[g].time < t:
        looked += 1
        if looked > DIRECT:
            return False
        y = edges[g].target
        if nodes[y].paid != e + 1:
            nodes[y].paid = e + 1
            nodes[y].first = g
            sieve[(y >> 6) & (SIEVE - 1)] |= np.uint64(1) << np.uint64(y & 63)
        g = edges[g].after_out
    return True


@numba.njit(nogil=True, cache=True, forceinline=True)
def paid(edges: Array, e: int, x: int, bound: int, nodes: Array, sieve: Array) -> Any:
    """The latest payment v -> x before ``bound``, of those that ``mark`` noted; -1 if there is none."""
    if (sieve[(x >> 6) & (SIEVE - 1)] >> np.uint64(x & 63)) & np.uint64(1) == 0 or nodes[x].paid != e + 1:
        return -1
    g = nodes[x].first
    if edges[g].time >= bound:
        return -1
    after = edges[g].after_pair
    while 0 <= after < e and edges[after].time < bound:
        g = after
        after = edges[g].after_pair
    return g
