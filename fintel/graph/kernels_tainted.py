"""Sweeps of ``tainted``: forwards in time for every account at once, backwards in time from one account.

Both see a payment's payer as it stood before the payment's instant: payments of one instant know nothing of each
other, so the order of rows inside an instant changes nothing.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_jit = numba.njit(nogil=True, cache=True)
Array = Any


@_jit
def sweep(source: Array, target: Array, time: Array, amount: Array, weight: Array, hops: int) -> Any:
    """What each account received, and how much of it came from seeds.

    Parameters
    ----------
    source, target: int32 (m,). time: int64 (m,), not falling. amount: float64 (m,), above 0.
    weight: float64 (n,): above 0 for a seed, whose payments carry it whole whatever the seed received.
    hops: payments of a chain at most, h.

    Returns
    -------
    ``received`` float64 (n,); ``came`` float64 (n, h): weighted money whose chain from a seed has so many payments;
    ``before`` float64 (m,): what the payer had received before the payment's instant; ``carries`` bool (m,): something
    of it came from a seed; ``cut`` int32 (m,): how many payments that carry something the payer had received by then.
    """
    n, m = weight.size, source.size
    received, came = np.zeros(n), np.zeros((n, hops))
    met = np.zeros(n, np.int32)
    before, carries, cut = np.zeros(m), np.zeros(m, np.bool_), np.zeros(m, np.int32)
    share = np.zeros((m, hops))
    first = 0
    while first < m:
        last = first
        while last < m and time[last] == time[first]:
            s = source[last]
            before[last], cut[last] = received[s], met[s]
            if weight[s] > 0:
                share[last, 0] = weight[s]
                carries[last] = True
            elif received[s] > 0:
                for h in range(1, hops):
                    share[last, h] = came[s, h - 1] / received[s]
                    carries[last] |= share[last, h] > 0
            last += 1
        for e in range(first, last):
            t = target[e]
            received[t] += amount[e]
            if carries[e]:
                met[t] += 1
                for h in range(hops):
                    came[t, h] += amount[e] * share[e, h]
        first = last
    return received, came, before, carries, cut


@_jit
def trace(
    account: int, received: float, start: Array, edge: Array, source: Array, amount: Array, before: Array, cut: Array,
    seed: Array, excluded: Array, weight: Array, passing: float, hops: int,
    added: Array, best: Array, down: Array, onward: Array, raw: Array, weighted: Array,
) -> Any:  # fmt: skip
    """Whose money reached one account: the sum over all chains by seed, and the strongest chain.

    Parameters
    ----------
    start int64 (n + 1,), edge int32 (p,): payments that carry something, by payee, in time order.
    source, amount, before, cut: by payment, as ``sweep`` took and gave them. seed: bool (n,).
    excluded: int32: seeds of the same holder, whose money is not told. weight: float64 (n,).
    added, best float64 (2, p), down int32 (2, p): zeros and left so; onward int32 (h, m).
    raw, weighted: float64 (n,), zeros; the caller clears what is told here.

    Returns
    -------
    ``seeds`` int32 (k,); ``chain`` int32: payments from the seed to the account; empty where no seed reaches it.
    """
    told = [np.int64(0)]
    told.clear()
    touched = [np.int64(account)]
    top, top_edge, top_level = 0.0, -1, -1
    a = start[account + 1] - 1
    if a >= start[account] and received > 0:
        added[0, a], best[0, a], down[0, a] = 1.0 / received, 1.0 / received, -1
    discount = 1.0
    for level in range(hops):
        now, then = level % 2, (level + 1) % 2
        later = [np.int64(0)]
        later.clear()
        for v in touched:
            run, most, via = 0.0, 0.0, -1
            for i in range(start[v + 1] - 1, start[v] - 1, -1):
                run += added[now, i]
                if best[now, i] > most:
                    most, via = best[now, i], down[now, i]
                added[now, i], best[now, i], down[now, i] = 0.0, 0.0, 0
                if run <= 0.0:
                    continue
                e = edge[i]
                s = np.int64(source[e])
                part, chain = amount[e] * run, amount[e] * most
                onward[level, e] = via
                if seed[s]:
                    if np.any(excluded == s):
                        continue
                    if raw[s] == 0.0:
                        told.append(s)
                    raw[s] += part
                    weighted[s] += part * discount * weight[s]
                    if chain * discount * weight[s] > top:
                        top, top_edge, top_level = chain * discount * weight[s], e, level
                elif cut[e] > 0 and level + 1 < hops:
                    at = start[s] + cut[e] - 1
                    added[then, at] += part / before[e]
                    if chain / before[e] > best[then, at]:
                        best[then, at], down[then, at] = chain / before[e], e
                    later.append(s)
        touched = sorted(set(later))
        discount *= passing
    path = [0]
    path.clear()
    while top_edge >= 0:
        path.append(top_edge)
        top_edge, top_level = onward[top_level, top_edge], top_level - 1
    return told, path
