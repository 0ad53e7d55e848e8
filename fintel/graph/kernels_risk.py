"""Sweeps behind ``risk``: a linear system with a rule of where money goes, and paths in time order."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = Any

_jit = numba.njit(nogil=True, cache=True)


@_jit
def settle(start: Array, other: Array, weight: Array, put_in: Array, tolerance: float, sweeps: int) -> Array:
    """Solve ``x = put_in + A x`` for k right-hand sides at once, by Gauss-Seidel.

    Row v of A has the entries ``start[v]:start[v+1]`` of ``other`` (column, int32) and ``weight`` (float64, not
    negative). Columns of A (or its rows) sum to less than one, so the sweeps contract. ``put_in``, ``x``:
    float64 (n, k). Stops when a sweep changed no side by more than ``tolerance`` of its sum, or after ``sweeps``.
    Returns x and the last sweep's largest relative change.
    """
    n, k = put_in.shape
    x = put_in.copy()
    acc = np.empty(k, np.float64)
    moved = np.empty(k, np.float64)
    total = np.empty(k, np.float64)
    worst = np.inf
    for _ in range(sweeps):
        moved[:] = 0.0
        total[:] = 0.0
        for v in range(n):
            for c in range(k):
                acc[c] = put_in[v, c]
            for i in range(start[v], start[v + 1]):
                u = other[i]
                w = weight[i]
                for c in range(k):
                    acc[c] += w * x[u, c]
            for c in range(k):
                moved[c] += abs(acc[c] - x[v, c])
                total[c] += acc[c]
                x[v, c] = acc[c]
        worst = 0.0
        for c in range(k):
            if total[c] > 0.0:
                worst = max(worst, moved[c] / total[c])
        if worst <= tolerance:
            break
    return x, worst


@_jit
def settle_one(start: Array, other: Array, weight: Array, put_in: Array, tolerance: float, sweeps: int) -> Array:
    """``settle`` for one right-hand side, float64 (n,): the inner loop stays in registers."""
    n = put_in.size
    x = put_in.copy()
    worst = np.inf
    for _ in range(sweeps):
        moved = 0.0
        total = 0.0
        for v in range(n):
            acc = put_in[v]
            for i in range(start[v], start[v + 1]):
                acc += weight[i] * x[other[i]]
            moved += abs(acc - x[v])
            total += acc
            x[v] = acc
        worst = moved / total if total > 0.0 else 0.0
        if worst <= tolerance:
            break
    return x, worst


@_jit
def follow(begin: Array, end: Array, time: Array, passes: Array, put_in: Array, rank: Array) -> Array:
    """Best chains of payments from seeds, each payment strictly later than the one before. One pass.

    ``begin``, ``end`` int32 (m,): the ends of each payment as the walk goes; ``time`` int64 (m,) ascending (for
    walks backwards in time: all arrays reversed and times negated); ``passes`` float64 (m,): what a payment
    passes on; ``put_in`` float64 (n,): weight of seeds, else 0; ``rank`` int32 (n,): order among equals.

    Two labels a node. Strongest: the largest product of weight and shares. Nearest: fewest payments, of those
    the strongest, of those the seed of lowest rank. Both orders survive adding one more payment to either of
    two chains, which is why one label a node is enough. Chains are found again from ``before``: the payment
    that came before this one (-1: its begin is the seed).

    Returns ``strength`` float64 (n,), ``last`` int32 (n,), ``before`` int32 (m,) for the strongest;
    ``hops`` int32 (n,; -1: none), ``near`` int32 (n,), ``near_strength`` float64 (n,) for the nearest.
    """
    n = put_in.size
    m = begin.size
    strength = put_in.copy()
    last = np.full(n, -1, np.int32)
    before = np.full(m, -1, np.int32)
    hops = np.full(n, -1, np.int32)
    near = np.full(n, -1, np.int32)
    near_strength = put_in.copy()
    for v in range(n):
        if put_in[v] > 0.0:
            hops[v] = 0
            near[v] = v
    # What payments of one instant bring is set aside until all of them have been looked at.
    brought = np.zeros(m, np.float64)
    came_hops = np.zeros(m, np.int32)
    came_near = np.zeros(m, np.int32)
    came_strength = np.zeros(m, np.float64)
    i = 0
    while i < m:
        j = i
        while j < m and time[j] == time[i]:
            u = begin[j]
            if hops[u] >= 0 and u != end[j]:
                brought[j] = strength[u] * passes[j]
                before[j] = last[u]
                came_hops[j] = hops[u] + 1
                came_near[j] = near[u]
                came_strength[j] = near_strength[u] * passes[j]
            j += 1
        for e in range(i, j):
            if came_hops[e] == 0:
                continue
            v = end[e]
            if brought[e] > strength[v]:
                strength[v] = brought[e]
                last[v] = e
            closer = hops[v] < 0 or came_hops[e] < hops[v]
            if not closer and came_hops[e] == hops[v] and came_hops[e] > 0:
                closer = came_strength[e] > near_strength[v] or (
                    came_strength[e] == near_strength[v] and rank[came_near[e]] < rank[near[v]]
                )
            if closer:
                hops[v] = came_hops[e]
                near[v] = came_near[e]
                near_strength[v] = came_strength[e]
        i = j
    return strength, last, before, hops, near, near_strength
