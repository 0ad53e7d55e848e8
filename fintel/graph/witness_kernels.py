"""The payments behind the numbers of single payments: what ``witnesses`` asks for, written out.

Each search looks at the payments that are asked for and at no others, with the bounds of the kernel that counted, so
that it finds what that kernel found. All return starts (int64, one more than asked), edges (int32), and by payment the
number that was found (float64; 0: nothing).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from fintel.graph.instances_chains import followed
from fintel.graph.instances_found import pushed
from fintel.graph.kernels_amounts import kept
from fintel.graph.kernels_cycles import CONSERVED as PASSED_ON
from fintel.graph.kernels_cycles import FASTEST, KEPT_OVER, SHORTEST, THREE, close, conserve
from fintel.graph.kernels_tracks import FAST, FEWEST, KEPT, PASSED, ROUND

Array = Any

_jit = numba.njit(nogil=True, cache=True)

#: Seconds.
HOUR = 3_600.0


@_jit
def cycles(edges: Array, asked: Array, which: int, settings: Any, state: Any) -> Any:
    """One cycle that each payment closes; ``which``: a row of ``kernels_tracks.NOTED``. In order of time.

    ``state``: of ``kernels_cycles``, before the first payment.
    """
    start = np.zeros(asked.size + 1, np.int64)
    edge = np.zeros(16, np.int32)
    number = np.zeros(asked.size)
    integers = np.zeros((KEPT_OVER + 1, 1), np.int32)
    reals = np.zeros((2, 1), np.float32)
    nodes, paths, noted = state.nodes, state.paths, state.noted
    for e in range(edges.size - 1, -1, -1):
        if edges[e].pair >= 0:
            nodes[edges[e].source].first_out = e
    size = 0
    for i in range(asked.size):
        e = asked[i]
        low = -1
        g = edges[e].target_out
        while g >= 0 and edges[g].time > edges[e].time - settings.window:
            low = g
            g = edges[g].before_out
        if edges[e].pair >= 0 and low >= 0 and edges[e].source_in >= low:
            integers[:] = 0
            noted[:] = -1
            if which == PASSED:
                conserve(edges, e, low, settings, paths, noted, integers, 0)
            else:
                close(edges, e, low, settings, state, integers, reals, 0)
            if noted[which, 0] >= 0:
                edge = pushed(edge, size, noted[which, 0])
                size += 1
                at = noted[which, 1]
                while at >= 0:
                    edge = pushed(edge, size, paths[at].edge)
                    size += 1
                    at = paths[at].parent
                if which == FEWEST:
                    number[i] = integers[SHORTEST, 0]
                elif which == ROUND:
                    number[i] = integers[THREE, 0]
                elif which == PASSED:
                    number[i] = integers[PASSED_ON, 0]
                elif which == KEPT:
                    number[i] = integers[KEPT_OVER, 0]
                elif which == FAST:
                    number[i] = reals[FASTEST, 0] / HOUR
        start[i + 1] = size
    return start, edge[:size].copy(), number


@_jit
def chains(
    edges: Array, asked: Array, length: Array, dwell: int, cap: int, low: float, high: float, peel: bool, limit: int
) -> Any:
    """The chain that ends in each payment, its latest ``limit`` payments, in order of time."""
    start = np.zeros(asked.size + 1, np.int64)
    edge = np.zeros(16, np.int32)
    number = np.zeros(asked.size)
    size = 0
    for i in range(asked.size):
        e = asked[i]
        if length[e] > 1:
            number[i] = length[e]
            f = e
            for _ in range(min(length[e], limit)):
                edge = pushed(edge, size, f)
                size += 1
                f = followed(edges, f, length, dwell, cap, low, high, peel) if length[f] > 1 else -1
            edge[start[i] : size] = edge[start[i] : size][::-1].copy()
        start[i + 1] = size
    return start, edge[:size].copy(), number


@_jit
def _turn(edges: Array, e: int, since: int, cap: int) -> Any:
    """The widest gather–scatter of the payer of ``e``, and the moment between its two halves; 0: there is none."""
    payers = 0
    f = edges[e].source_in
    while f >= 0 and edges[f].time > since:
        before = edges[f].before_pair
        payers += before < 0 or edges[before].time <= since
        f = edges[f].before_in
    payees = best = looked_in = looked_out = 0
    moment = np.int64(0)
    f = edges[e].source_in
    g = np.int64(e)
    while g >= 0 and edges[g].time > since and payees < payers:
        when = edges[g].time
        while g >= 0 and edges[g].time == when:
            looked_out += 1
            if looked_out > cap:
                return best, moment
            again = edges[g].after_pair
            payees += g == e or again < 0 or again > e
            g = np.int64(edges[g].before_out)
        while f >= 0 and edges[f].time >= when:
            looked_in += 1
            if looked_in > cap:
                return best, moment
            before = edges[f].before_pair
            payers -= before < 0 or edges[before].time <= since
            f = edges[f].before_in
        if min(payers, payees) > best:
            best = min(payers, payees)
            moment = when
    return best, moment


@_jit
def turns(edges: Array, asked: Array, within: int, cap: int, limit: int) -> Any:
    """What was gathered before the moment at which each payment's gather–scatter is widest, and scattered from then on:
    the latest ``limit`` payments of either; also how many there are (int64)."""
    start = np.zeros(asked.size + 1, np.int64)
    edge = np.zeros(16, np.int32)
    number = np.zeros(asked.size)
    there = np.zeros(asked.size, np.int64)
    size = 0
    for i in range(asked.size):
        e = asked[i]
        since = edges[e].time - within
        width, moment = _turn(edges, e, since, cap)
        number[i] = width
        if width > 0:
            taken = 0
            g = np.int64(e)
            while g >= 0 and edges[g].time >= moment:
                if taken < limit:
                    edge = pushed(edge, size, g)
                    size += 1
                taken += 1
                g = np.int64(edges[g].before_out)
            there[i] = taken
            taken = 0
            f = edges[e].source_in
            while f >= 0 and edges[f].time > since:
                if edges[f].time < moment:
                    if taken < limit:
                        edge = pushed(edge, size, f)
                        size += 1
                    taken += 1
                f = edges[f].before_in
            there[i] += taken
        start[i + 1] = size
    return start, edge[:size].copy(), number, there


@_jit
def returns(edges: Array, asked: Array, within: int, cap: int) -> Any:
    """What came back before each payment, and what went out the same way, this payment included."""
    start = np.zeros(asked.size + 1, np.int64)
    edge = np.zeros(16, np.int32)
    number = np.zeros(asked.size)
    size = 0
    for i in range(asked.size):
        e = asked[i]
        t = edges[e].time
        looked = 0
        f = edges[e].reverse
        while f >= 0 and edges[f].time > t - within and looked < cap:
            looked += 1
            if edges[f].time < t:
                edge = pushed(edge, size, f)
                size += 1
                number[i] += 1
            f = edges[f].before_pair
        looked = 0
        f = e
        while number[i] > 0 and f >= 0 and edges[f].time > t - within and looked < cap:
            looked += 1
            edge = pushed(edge, size, f)
            size += 1
            f = edges[f].before_pair
        start[i + 1] = size
    return start, edge[:size].copy(), number


@_jit
def meetings(
    edges: Array, asked: Array, nodes: int, within: int, cap: int, budget: int, low: float, high: float
) -> Any:
    """Ways s → m → w into the payee w of each payment u → w, whose s had paid u: int64 arrays of the number of the
    payment asked for, s, m, the first and the second leg, and whether the second passes the first on. ``budget``:
    payments looked at, for each; those for which it was spent have a 1 in the last array."""
    of = np.zeros(16, np.int64)
    payer = np.zeros(16, np.int64)
    mid = np.zeros(16, np.int64)
    first = np.zeros(16, np.int64)
    second = np.zeros(16, np.int64)
    keeps = np.zeros(16, np.int64)
    spent = np.zeros(asked.size, np.uint8)
    paid = np.full(nodes, -1, np.int64)
    size = 0
    for i in range(asked.size):
        e = asked[i]
        t, v = edges[e].time, edges[e].target
        since = t - within
        steps = 0
        f = edges[e].source_in
        while f >= 0 and edges[f].time > since and steps < budget:
            steps += 1
            if edges[f].time < t and edges[f].source != v:
                paid[edges[f].source] = i
            f = edges[f].before_in
        g = np.int64(e)
        while g >= 0 and edges[g].time > since and steps < budget:
            steps += 1
            looked = 0
            f = edges[g].source_in
            while f >= 0 and edges[f].time > since and looked < cap and steps < budget:
                steps += 1
                looked += 1
                if paid[edges[f].source] == i and edges[f].time < edges[g].time:
                    of = pushed(of, size, i)
                    payer = pushed(payer, size, edges[f].source)
                    mid = pushed(mid, size, edges[g].source)
                    first = pushed(first, size, f)
                    second = pushed(second, size, g)
                    keeps = pushed(keeps, size, kept(edges[f].amount, edges[g].amount, low, high))
                    size += 1
                f = edges[f].before_in
            g = np.int64(edges[g].before_in)
        spent[i] = steps >= budget
    return of[:size], payer[:size], mid[:size], first[:size], second[:size], keeps[:size], spent
