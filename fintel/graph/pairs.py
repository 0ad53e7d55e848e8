"""Parallel payments folded into pairs of payer and payee: what static questions look at.

``Pairs`` keeps which payment belongs to which pair, so that an answer about a pair can always be taken
back to its payments. Self-transfers belong to none: money that stays where it is ties nobody to anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

Array = Any

_jit = numba.njit(nogil=True, cache=True)


@dataclass(frozen=True)
class Pairs:
    """Distinct (payer, payee), ordered by payer, within one by the first payment; ``n`` nodes, ``p`` pairs.

    ``of_edge`` int32 (m,): pair of each payment, -1 for a self-transfer; ``source``, ``target`` int32 (p,);
    ``out_start`` int64 (n+1,): pairs of a payer are ``out_start[u]:out_start[u+1]``;
    ``in_start`` int64 (n+1,) and ``in_pair`` int32 (p,): numbers of the pairs of a payee.
    """

    of_edge: Array
    source: Array
    target: Array
    out_start: Array
    in_start: Array
    in_pair: Array

    @property
    def payees(self) -> Array:
        """Distinct payees of each node: int64 (n,)."""
        return np.diff(self.out_start)

    @property
    def payers(self) -> Array:
        """Distinct payers of each node: int64 (n,)."""
        return np.diff(self.in_start)

    def total(self, values: Array) -> Array:
        """Sum of a value of payments (m,) over each pair: float64 (p,)."""
        return _total(self.of_edge, values, self.source.size)


def pairs(source: Array, target: Array, nodes: int) -> Pairs:
    """Fold payments (int32 (m,) each, in time order) between ``nodes`` accounts. O(m + n)."""
    of_edge, pair_source, pair_target, out_start = _fold(source, target, nodes)
    in_start, in_pair = grouped(pair_target, nodes)
    return Pairs(of_edge, pair_source, pair_target, out_start, in_start, in_pair)


@_jit
def grouped(keys: Array, groups: int) -> Array:
    """Counting sort: ``start`` int64 (groups+1,) and ``order`` int32: positions of each key, ascending."""
    start = np.zeros(groups + 1, np.int64)
    for key in keys:
        start[key + 1] += 1
    for g in range(groups):
        start[g + 1] += start[g]
    place = start[:-1].copy()
    order = np.empty(keys.size, np.int32)
    for i in range(keys.size):
        order[place[keys[i]]] = i
        place[keys[i]] += 1
    return start, order


@_jit
def _fold(source: Array, target: Array, nodes: int) -> Array:
    start, order = grouped(source, nodes)
    of_edge = np.full(source.size, -1, np.int32)
    pair_source = np.empty(source.size, np.int32)
    pair_target = np.empty(source.size, np.int32)
    out_start = np.zeros(nodes + 1, np.int64)
    seen = np.full(nodes, -1, np.int64)
    count = 0
    for u in range(nodes):
        first = count
        for k in range(start[u], start[u + 1]):
            e = order[k]
            v = target[e]
            if v == u:
                continue
            if seen[v] < first:
                seen[v] = count
                pair_source[count] = u
                pair_target[count] = v
                count += 1
            of_edge[e] = seen[v]
        out_start[u + 1] = count
    return of_edge, pair_source[:count].copy(), pair_target[:count].copy(), out_start


@_jit
def _total(of_edge: Array, values: Array, count: int) -> Array:
    total = np.zeros(count, np.float64)
    for e in range(of_edge.size):
        if of_edge[e] >= 0:
            total[of_edge[e]] += values[e]
    return total
