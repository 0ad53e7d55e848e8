"""Sweeps behind ``profiles``: spread of amounts over counterparties, links among payers, MinHash signatures."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = Any

_jit = numba.njit(nogil=True, cache=True)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)


@_jit
def spread(start: Array, pair: Array, amount: Array) -> Array:
    """Of the amounts of each node's pairs: entropy (bits), Herfindahl index, Gini coefficient, largest share.

    Node v has the pairs ``pair[start[v]:start[v+1]]``; ``amount`` float64 (p,), what is not above zero is left out.
    Returns float64 (n, 4); NaN for a node without an amount.
    """
    n = start.size - 1
    out = np.full((n, 4), np.nan)
    longest = 0
    for v in range(n):
        longest = max(longest, start[v + 1] - start[v])
    room = np.empty(longest, np.float64)
    for v in range(n):
        k = 0
        total = 0.0
        for i in range(start[v], start[v + 1]):
            x = amount[pair[i]]
            if x > 0.0:
                room[k] = x
                total += x
                k += 1
        if k == 0:
            continue
        ordered = np.sort(room[:k])
        entropy = 0.0
        square = 0.0
        ranked = 0.0
        for r in range(k):
            share = ordered[r] / total
            entropy -= share * np.log2(share)
            square += share * share
            ranked += (2 * (r + 1) - k - 1) * share
        out[v, 0] = max(entropy, 0.0)
        out[v, 1] = square
        out[v, 2] = ranked / k
        out[v, 3] = ordered[k - 1] / total
    return out


@_jit
def both_ways(source: Array, target: Array, out_start: Array, in_start: Array, in_pair: Array) -> Array:
    """Number of the pair the other way, int32 (p,), -1 where there is none."""
    n = out_start.size - 1
    found = np.full(source.size, -1, np.int32)
    seen = np.full(n, -1, np.int64)
    for v in range(n):
        for i in range(in_start[v], in_start[v + 1]):
            seen[source[in_pair[i]]] = in_pair[i]
        for p in range(out_start[v], out_start[v + 1]):
            back = seen[target[p]]
            if back >= 0:
                found[p] = back
        for i in range(in_start[v], in_start[v + 1]):
            seen[source[in_pair[i]]] = -1
    return found


@_jit
def links(pairs: Array, back: Array, group: Array, hub: int) -> Array:
    """Pairs of payers of each node that belong together: of one ``group``, or one paid the other.

    ``pairs``: source, target, out_start, in_start, in_pair. ``back``: as ``both_ways`` gives it. ``group`` int64 (n,),
    -1: none. Payers with more than ``hub`` payees are looked at by group, and as payees of the others, only. Returns
    linked pairs int64 (n,) and the number of payers whose payments were not looked at, int64 (n,).
    """
    source, target, out_start, in_start, in_pair = pairs
    n = out_start.size - 1
    linked = np.zeros(n, np.int64)
    passed_over = np.zeros(n, np.int64)
    stamp = np.full(n, -1, np.int64)
    groups = 0
    for g in group:
        groups = max(groups, g + 1)
    members = np.zeros(groups, np.int64)
    for v in range(n):
        first, last = in_start[v], in_start[v + 1]
        if last - first < 2:
            continue
        for i in range(first, last):
            a = source[in_pair[i]]
            stamp[a] = v
            if group[a] >= 0:
                linked[v] += members[group[a]]
                members[group[a]] += 1
        for i in range(first, last):
            a = source[in_pair[i]]
            if group[a] >= 0:
                members[group[a]] = 0
            if out_start[a + 1] - out_start[a] > hub:
                passed_over[v] += 1
                continue
            for p in range(out_start[a], out_start[a + 1]):
                b = target[p]
                if stamp[b] != v or (group[a] >= 0 and group[a] == group[b]):
                    continue
                # Two that paid each other count once: at the lower number, unless that one is not looked at.
                counted_there = back[p] >= 0 and b < a and out_start[b + 1] - out_start[b] <= hub
                if not counted_there:
                    linked[v] += 1
    return linked, passed_over


@_jit
def signatures(start: Array, other: Array, nodes: Array, size: int) -> Array:
    """MinHash of the sets ``other[start[v]:start[v+1]]`` for the given nodes: uint64 (k, size).

    Each column is the least value of another mixing of the elements' numbers (splitmix64), so two columns agree with
    the probability of the sets' Jaccard similarity.
    """
    out = np.full((nodes.size, size), _FULL, np.uint64)
    for r in range(nodes.size):
        v = nodes[r]
        for i in range(start[v], start[v + 1]):
            x = np.uint64(other[i]) + np.uint64(1)
            for c in range(size):
                z = x * _GOLDEN + np.uint64(c + 1) * _MIX_1
                z = (z ^ (z >> _S30)) * _MIX_1
                z = (z ^ (z >> _S27)) * _MIX_2
                z = z ^ (z >> _S31)
                if z < out[r, c]:
                    out[r, c] = z
    return out


@_jit
def common(start: Array, other: Array, left: Array, right: Array) -> Array:
    """How many elements the sets of ``left[i]`` and ``right[i]`` share: int64 (k,). Sets are sorted ascending."""
    out = np.zeros(left.size, np.int64)
    for r in range(left.size):
        i, i_end = start[left[r]], start[left[r] + 1]
        j, j_end = start[right[r]], start[right[r] + 1]
        while i < i_end and j < j_end:
            if other[i] == other[j]:
                out[r] += 1
                i += 1
                j += 1
            elif other[i] < other[j]:
                i += 1
            else:
                j += 1
    return out
