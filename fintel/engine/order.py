"""Kernels about rows: their order, masks as bits, and where windows begin and end.

Shapes as in ``kernels``: ``n`` rows in order (partition, time, credits first, id), ``m`` anchors, rows
of the same arrays in ascending order. All run without the interpreter's lock.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = Any

_jit = numba.njit(nogil=True, cache=True)


@_jit
def counting_sort(codes: Array, size: int, order: Array) -> tuple[Array, Array]:
    """Stable order by code.

    Parameters
    ----------
    codes: int32 (n,), values 0 … size-1; negative codes are left out.
    order: uint32 (k,), rows in the order to be kept among equal codes.

    Returns
    -------
    sorted order: uint32 (k',), and offsets: int64 (size + 1,) where each code's rows begin.
    """
    offsets = np.zeros(size + 1, np.int64)
    for i in range(order.size):
        code = codes[order[i]]
        if code >= 0:
            offsets[code + 1] += 1
    for c in range(size):
        offsets[c + 1] += offsets[c]
    place = offsets[:-1].copy()
    out = np.empty(offsets[size], np.uint32)
    for i in range(order.size):
        row = order[i]
        code = codes[row]
        if code >= 0:
            out[place[code]] = row
            place[code] += 1
    return out, offsets


@_jit
def time_order(time: Array, row: Array, side: Array, payments: Array) -> Array:
    """Entries by (time, credits before debits, payment id): uint32 (n,).

    ``time``: int64 (n,) µs; ``row``: uint32 (n,) payment of each entry; ``side``: uint8 (n,), 0 or 1;
    ``payments``: uint32 (p,), payments by (time, id). Entries of other payments are left out.
    """
    size = np.int64(0)
    for i in range(row.size):
        size = max(size, np.int64(row[i]) + 1)
    place = np.full((2, size), -1, np.int32)
    for i in range(row.size):
        place[side[i], row[i]] = i
    # Each side alone is in order already; merge the two.
    out = np.empty(row.size, np.uint32)
    done = 0
    next_of = np.zeros(2, np.int64)
    while True:
        best = -1
        chosen = 0
        for s in range(2):
            k = next_of[s]
            while k < payments.size and (payments[k] >= size or place[s, payments[k]] < 0):
                k += 1
            next_of[s] = k
            if k < payments.size:
                entry = place[s, payments[k]]
                if best < 0 or time[entry] < time[best]:
                    best = entry
                    chosen = s
        if best < 0:
            return out[:done].copy()
        out[done] = best
        done += 1
        next_of[chosen] += 1


@_jit
def bit(word: Array, number: int) -> Array:
    """One bit of each element of ``word`` (int64, n): uint8 (n,)."""
    out = np.empty(word.size, np.uint8)
    for i in range(word.size):
        out[i] = (word[i] >> number) & 1
    return out


@_jit
def selected(word: Array, number: int) -> Array:
    """Places where one bit of ``word`` (int64, n) is set, ascending: int32."""
    size = 0
    for i in range(word.size):
        size += (word[i] >> number) & 1
    out = np.empty(size + 1, np.int32)
    done = 0
    for i in range(word.size):
        out[done] = i
        done += (word[i] >> number) & 1
    return out[:size]


@_jit
def window_ranks(
    rows: Array, times: Array, time: Array, starts: Array, anchors: Array, span: int, offset: int, before: int
) -> tuple[Array, Array]:
    """The windows (t - offset - span, t - offset] of anchors, counted in the rows that some mask selects.

    ``rows``: int32 (k,), ascending, and ``times``: int64 (k,), theirs, in µs; ``time``: int64 (n,);
    ``starts``: int32 (n,), first row of each row's partition; ``anchors``: int32 (m,), ascending. Rows
    after the anchor are left out, and with ``before`` 1 (else 0) the anchor itself.

    Returns ``lo, hi``: int32 (m,), the half-open range of each window in ``rows``. Neither
    ever decreases, and the cost is k + m: rows that the mask leaves out cost nothing.
    """
    m = anchors.size
    lo = np.empty(m, np.int32)
    hi = np.empty(m, np.int32)
    a = 0
    b = 0
    for i in range(m):
        row = anchors[i]
        start = starts[row]
        end = time[row] - offset
        while b < rows.size and rows[b] + before <= row and (rows[b] < start or times[b] <= end):
            b += 1
        while a < b and (rows[a] < start or times[a] <= end - span):
            a += 1
        lo[i] = a
        hi[i] = b
    return lo, hi


@_jit
def matched_ranks(
    keys: Array,
    rows: Array,
    times: Array,
    wanted: Array,
    anchors: Array,
    moments: Array,
    span: int,
    offset: int,
    before: int,
) -> tuple[Array, Array]:
    """``window_ranks`` among the rows that have the anchor's key.

    ``keys``: int64 (k,), ascending, ``rows`` ascending within a key; ``wanted``: int64 (m,), ascending,
    ``anchors`` ascending within one. A negative key is nobody's. A key holds one partition only.
    """
    m = anchors.size
    lo = np.empty(m, np.int32)
    hi = np.empty(m, np.int32)
    a = 0
    b = 0
    for i in range(m):
        key = wanted[i]
        end = moments[i] - offset
        while b < keys.size and (
            keys[b] < key or (keys[b] == key and rows[b] + before <= anchors[i] and times[b] <= end)
        ):
            b += 1
        while a < b and (keys[a] < key or times[a] <= end - span):
            a += 1
        lo[i] = a
        hi[i] = b
        if key < 0:
            lo[i] = hi[i]
    return lo, hi
