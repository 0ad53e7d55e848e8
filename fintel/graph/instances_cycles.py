"""Cycles with their payments, looked for from the payment that closes them.

A payment e = (u → v) closes a cycle if money of v reached u by payments at strictly rising times within
the window (``kernels_cycles``). Without an amount rule each sequence of accounts is told once for a closing payment, by
its latest payments going back from e; with one, the sequences of payments in which each passes on the amount before it.

**One ring, one instance.** Of cycles over the same accounts in the same order that share a payment, one is kept: the
one that retains most, then the shortest in time, then the earliest.

**Bounds.** Most payments are told at once to close none: the sets of accounts before and after do not meet. The others
are searched with few steps (``FIRST``), then those that these did not suffice for with more (the budget). Each time
the largest payments (by powers of two) come first; if accounts were asked for, those nearest to them. Both together
take ``STEPS`` (``STEPS_ASKED``, if for accounts) and write ``WRITTEN`` cycles at most. The last payment of a way, and
that of each way still open when the steps are spent, is looked up among what the payee is known to have paid. Whatever
is left is told as skipped. None that is found is wrong.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from fintel.graph.instances_found import Array, Found, Search, cut_at, pushed
from fintel.graph.kernels_amounts import kept
from fintel.graph.kernels_forward import SIEVE, UNSEEN, closes, mark, paid
from fintel.graph.kernels_tracks import PATH, on_path

_jit = numba.njit(nogil=True, cache=True)

#: A payment's cycles are told up to so many, the shortest first.
PER_PAYMENT = 64
#: Steps for one payment, before those that need more get the budget.
FIRST = 2_000
#: Steps for a whole network, or for each payment of a large one; cycles written out.
STEPS, STEPS_EACH, WRITTEN = 50_000_000, 50, 200_000
UNLOOKED = "not looked at: the steps or the instances for the whole network were spent"
#: Steps for the cycles of accounts that were asked for.
STEPS_ASKED = 8_000_000
#: Payments looked at on either side to tell whether a payment can close a cycle at all: first of all, then of those.
GLANCE, FRONT = 32, 256
#: Cycles of so few payments are looked for outright.
SHORT = 3
#: Where the search from the front meets the search from the back (as in ``kernels_cycles``).
_MEETING = 0.65
#: How the search for the cycles of one payment ended.
(DONE, SPENT, CAPPED, FULL, LEFT) = range(5)


def cycles(search: Search) -> Found:
    """Cycles of ``at_least`` … ``hops`` payments."""
    edges = search.edges
    nodes = np.full(max(len(search.network.nodes), 1), UNSEEN)
    low = _begun(edges, search.within, nodes)
    near = search.distance(search.hops // 2)
    glance = np.zeros(GLANCE if search.members is None else 0, np.int32)
    todo = _in_order(edges, _likely(edges, low, near, search.hops, nodes, glance), near)
    ended = np.full(len(edges), DONE, np.uint8)
    ended[todo] = LEFT
    steps = max(STEPS, STEPS_EACH * len(edges)) if search.members is None else STEPS_ASKED
    start, edge = np.zeros(1, np.int64), np.zeros(0, np.int32)
    for budget in sorted({min(most, search.budget) for most in (FIRST, search.budget)}):
        nodes[["seen", "back", "paid"]] = 0
        more, added, state, spent = _closed(
            edges, todo, low, nodes, np.zeros(FRONT, np.int32), near, search.hops, search.at_least, search.cap, budget,
            search.band.low, search.band.high, search.band.open, PER_PAYMENT, steps, WRITTEN - (start.size - 1),
        )  # fmt: skip
        steps -= spent
        ended[todo[state != LEFT]] = state[state != LEFT]
        start, edge = _replaced(start, edge, todo[state != LEFT], more, added)
        todo = todo[state == SPENT]
        if not todo.size:
            break
    target = search.network.target
    result = sequences(search, start, edge)
    result.skipped = [
        *cut_at("more payments than cap or budget allow to follow back", target[(ended == SPENT) | (ended == CAPPED)]),
        *cut_at(UNLOOKED, target[ended == LEFT]),
        *cut_at(f"more than {PER_PAYMENT} cycles closed by one payment", target[ended == FULL]),
    ]
    return result


def _in_order(edges: Array, likely: Array, near: Array) -> Array:
    """The nearest, then the largest first."""
    todo = np.flatnonzero(likely)
    far = near[edges["source"][todo]] + near[edges["target"][todo]]
    return todo[np.lexsort((todo, -magnitude(edges["amount"][todo]), far))]


def magnitude(amount: Array) -> Array:
    """The power of two in an amount: payments are taken by it, then by time, since neighbours in time lie close in
    memory."""
    return np.floor(np.log2(np.maximum(amount, 1))).astype(np.int64)


@_jit
def _likely(edges: Array, low: Array, near: Array, hops: int, nodes: Array, front: Array) -> Array:
    """Whether a payment may close a cycle (with an account that was asked for), for all that sets of accounts tell;
    with no ``front`` to look at them, all are taken."""
    likely = np.zeros(edges.size, np.bool_)
    for e in range(edges.size):
        if low[e] >= 0 and near[edges[e].source] + near[edges[e].target] < hops:
            t, begun = edges[e].time, edges[low[e]].time
            likely[e] = (
                hops <= SHORT
                or front.size == 0
                or closes(edges, e, low[e], begun + np.int64((t - begun) * _MEETING), nodes, front) != 0
            )
    return likely


def _replaced(start: Array, edge: Array, again: Array, more: Array, added: Array) -> tuple[Array, Array]:
    """Sequences without those closed by a payment of ``again``, and with new ones."""
    stay = ~np.isin(edge[start[1:] - 1], again)
    sizes = np.diff(start)
    edge = edge[np.repeat(stay, sizes)]
    sizes = np.concatenate([sizes[stay], np.diff(more)])
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), np.concatenate([edge, added])


@_jit
def _begun(edges: Array, within: int, nodes: Array) -> Array:
    """The first payment out of each payment's payee in its window, int32; -1 where there is none or nothing came in
    since, so that it closes no cycle. Notes each account's very first payment out in ``nodes``."""
    ahead = np.full(nodes.size, -1, np.int32)
    low = np.full(edges.size, -1, np.int32)
    for e in range(edges.size):
        if edges[e].pair < 0:
            continue
        u = edges[e].source
        v = edges[e].target
        g = ahead[v]
        while g >= 0 and edges[g].time <= edges[e].time - within:
            g = edges[g].after_out
            if g >= e:
                g = -1
        ahead[v] = g
        if g >= 0 and edges[e].source_in >= g:
            low[e] = g
        if ahead[u] < 0:
            ahead[u] = e
        if nodes[u].first_out < 0:
            nodes[u].first_out = e
    return low


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
def _within_reach(paths: Array, at: int, near: Array) -> bool:
    """Whether an account that was asked for is on the path."""
    while at >= 0:
        if near[paths[at].node] == 0:
            return True
        at = paths[at].parent
    return False


@_jit
def _written(edge: Array, size: int, first: int, paths: Array, at: int) -> tuple[Array, int]:
    """``edge`` with ``first`` and the payments of the path at the end, and its new size."""
    edge = pushed(edge, size, first)
    size += 1
    while at >= 0:
        edge = pushed(edge, size, paths[at].edge)
        size += 1
        at = paths[at].parent
    return edge, size


@_jit
def _closed(
    edges: Array, todo: Array, lows: Array, nodes: Array, front: Array, near: Array, hops: int, at_least: int,
    cap: int, budget: int, low: float, high: float, any_amount: bool, most: int, most_steps: int, most_written: int,
) -> Any:  # fmt: skip
    """Sequences of payments, each in time order: starts, edges; how the search of each of ``todo`` ended; steps."""
    start = np.zeros(16, np.int64)
    edge = np.zeros(16, np.int32)
    ended = np.full(todo.size, LEFT, np.uint8)
    count = size = 0
    paths = np.zeros(budget + 2, PATH)
    sieve = np.zeros(SIEVE, np.uint64)
    spent = 0
    for i in range(todo.size):
        if spent > most_steps or count >= most_written:
            break
        e = todo[i]
        v = edges[e].target
        first = lows[e]
        until = edges[first].time + np.int64((edges[e].time - edges[first].time) * _MEETING)
        known = -1
        ended[i] = DONE
        if hops > SHORT:
            known = closes(edges, e, first, until, nodes, front)
            spent += front.size // 8 if known == 0 else front.size
            if known == 0:
                continue
        noted = mark(edges, e, first, nodes, sieve)
        paths[0].edge = e
        paths[0].node = edges[e].source
        paths[0].parent = -1
        room = 1
        begin = 0
        length = 1
        steps = told = 0
        while begin < room and length < hops and told <= most:
            stop = room
            for at in range(begin, stop):
                f = paths[at].edge
                bound = edges[f].time
                before = told
                g = edges[f].source_in
                if steps > budget:
                    ended[i] = SPENT
                if steps > budget or (noted and length + 1 == hops):
                    g = -1
                while g >= first and edges[g].time >= bound:
                    steps += 1
                    g = edges[g].before_in
                newest = g
                looked = 0
                while g >= first:
                    steps += 1
                    looked += 1
                    if looked > cap or steps > budget:
                        ended[i] = SPENT if steps > budget else CAPPED
                        break
                    after = edges[g].after_pair
                    if any_amount:
                        fits = after < 0 or after > newest
                    else:
                        fits = kept(edges[g].amount, edges[f].amount, low, high)
                    y = edges[g].source
                    if fits and y == v:
                        if length + 1 >= at_least and (near[v] == 0 or _within_reach(paths, at, near)):
                            told += 1
                            if told > most:
                                break
                            edge, size = _written(edge, size, g, paths, at)
                            count += 1
                            start = pushed(start, count, size)
                    elif fits and length + 1 < hops and edges[g].source_in >= first:
                        leads = known < 1 or edges[g].time > until
                        if not leads:
                            leads = nodes[y].seen == e + 1 and nodes[y].arrival < edges[g].time
                        if leads and near[y] > 0:
                            leads = near[y] + near[v] < hops - length or _within_reach(paths, at, near)
                        if leads and not on_path(paths, at, y):
                            paths[room].edge = g
                            paths[room].node = y
                            paths[room].parent = at
                            room += 1
                    g = edges[g].before_in
                if noted and told == before and (steps > budget or length + 1 == hops):
                    spent += 1
                    g = paid(edges, e, paths[at].node, bound, nodes, sieve)
                    while g >= first and length + 1 >= at_least and told <= most:
                        if any_amount or kept(edges[g].amount, edges[f].amount, low, high):
                            if near[v] == 0 or _within_reach(paths, at, near):
                                told += 1
                                if told <= most:
                                    edge, size = _written(edge, size, g, paths, at)
                                    count += 1
                                    start = pushed(start, count, size)
                            if any_amount:
                                break
                        g = edges[g].before_pair
                if told > most:
                    ended[i] = FULL
                    break
            begin = stop
            length += 1
        spent += steps
    return start[: count + 1].copy(), edge[:size].copy(), ended, spent
