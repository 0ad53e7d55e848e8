"""Moving nodes between communities from a given start: what keeps communities when the graph grows a little."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = Any

_jit = numba.njit(nogil=True, cache=True)


@_jit
def move(start: Array, other: Array, weight: Array, label: Array, resolution: float, moves: int) -> Array:
    """Labels, int64 (n,), after moving nodes one by one to the neighbouring community that gains most modularity.

    Both directions of each edge stand in ``start`` int64 (n+1,), ``other`` int32, ``weight`` float64. ``label`` int64
    (n,), below n, is the start. An edge of a node to itself goes where it goes. All nodes queue in order; a node that
    moves sends its neighbours to the queue's end. Ends when the queue is empty or after ``moves`` nodes looked at. A
    move must gain more than rounding does.
    """
    n = label.size
    label = label.copy()
    strength = np.zeros(n, np.float64)
    inside = np.zeros(n, np.float64)
    whole = 0.0
    for v in range(n):
        for i in range(start[v], start[v + 1]):
            strength[v] += weight[i]
        inside[label[v]] += strength[v]
        whole += strength[v]
    if whole == 0.0:
        return label
    queue = np.arange(n)
    waiting = np.ones(n, np.bool_)
    first = 0
    left = n
    toward = np.zeros(n, np.float64)
    met = np.empty(n, np.int64)
    for _ in range(moves):
        if left == 0:
            break
        v = queue[first]
        first = (first + 1) % n
        left -= 1
        waiting[v] = False
        own = label[v]
        count = 0
        for i in range(start[v], start[v + 1]):
            if other[i] == v:
                continue
            c = label[other[i]]
            if toward[c] == 0.0:
                met[count] = c
                count += 1
            toward[c] += weight[i]
        inside[own] -= strength[v]
        scale = resolution * strength[v] / whole
        best = own
        most = toward[own] - scale * inside[own] + 1e-12 * strength[v]
        for k in range(count):
            c = met[k]
            gain = toward[c] - scale * inside[c]
            if gain > most:
                most = gain
                best = c
            toward[c] = 0.0
        toward[own] = 0.0
        inside[best] += strength[v]
        if best != own:
            label[v] = best
            for i in range(start[v], start[v + 1]):
                u = other[i]
                if not waiting[u] and label[u] != best:
                    waiting[u] = True
                    queue[(first + left) % n] = u
                    left += 1
    return label
