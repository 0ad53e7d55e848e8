"""Sliding kernels over entries in partition order. Each is one linear sweep.

Shapes shared by all: ``n`` rows in order (partition, time, credits first, id); ``m`` anchors, rows
of the same arrays in ascending order; ``lo`` and ``hi`` (int32, m) bound each anchor's window as the
half-open row range [lo, hi). Both never decrease within a partition, so a window only ever gains rows
at its end and loses rows at its start: the cost is the rows that some window covers, once, however
long the windows are. ``mask`` (uint8, n) selects rows. All run without the interpreter's lock.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = Any

_jit = numba.njit(nogil=True, cache=True)
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@_jit
def count(mask: Array, lo: Array, hi: Array) -> Array:
    """Rows selected in each window: float64 (m,)."""
    out = np.empty(lo.size, np.float64)
    a = 0
    b = 0
    total = 0
    for k in range(lo.size):
        if lo[k] >= b:
            a = b = lo[k]
            total = 0
        while b < hi[k]:
            total += mask[b]
            b += 1
        while a < lo[k]:
            total -= mask[a]
            a += 1
        out[k] = total
    return out


@_jit
def total(values: Array, mask: Array, lo: Array, hi: Array) -> Array:
    """Exact integer sum in each window: int64 (m,). Empty windows give 0."""
    out = np.empty(lo.size, np.int64)
    a = 0
    b = 0
    acc = np.int64(0)
    for k in range(lo.size):
        if lo[k] >= b:
            a = b = lo[k]
            acc = np.int64(0)
        while b < hi[k]:
            if mask[b]:
                acc += values[b]
            b += 1
        while a < lo[k]:
            if mask[a]:
                acc -= values[a]
            a += 1
        out[k] = acc
    return out


@_jit
def extreme(values: Array, mask: Array, lo: Array, hi: Array, sign: int) -> tuple[Array, Array]:
    """Largest (``sign`` 1) or smallest (-1) value in each window, by a monotone queue.

    Returns ``values``: int64 (m,) and ``found``: bool (m,), False for an empty window.
    """
    out = np.zeros(lo.size, np.int64)
    found = np.zeros(lo.size, np.bool_)
    queue = np.empty(mask.size + 1, np.int32)
    head = 0
    tail = 0
    b = 0
    for k in range(lo.size):
        if lo[k] >= b:
            b = lo[k]
            head = tail = 0
        while b < hi[k]:
            if mask[b]:
                value = sign * values[b]
                while tail > head and sign * values[queue[tail - 1]] <= value:
                    tail -= 1
                queue[tail] = b
                tail += 1
            b += 1
        while head < tail and queue[head] < lo[k]:
            head += 1
        if head < tail:
            out[k] = values[queue[head]]
            found[k] = True
    return out, found


@_jit
def distinct(codes: Array, size: int, mask: Array, lo: Array, hi: Array) -> Array:
    """Different codes in each window: float64 (m,). Codes: int32 in 0 … size-1; negative = null."""
    out = np.empty(lo.size, np.float64)
    seen = np.zeros(size, np.int32)
    different = 0
    a = 0
    b = 0
    for k in range(lo.size):
        fresh = lo[k] >= b
        stop = b if fresh else lo[k]
        while a < stop:
            if mask[a] and codes[a] >= 0:
                seen[codes[a]] -= 1
                if seen[codes[a]] == 0:
                    different -= 1
            a += 1
        if fresh:
            a = b = lo[k]
        while b < hi[k]:
            if mask[b] and codes[b] >= 0:
                if seen[codes[b]] == 0:
                    different += 1
                seen[codes[b]] += 1
            b += 1
        out[k] = different
    return out


@_jit
def edge_rows(mask: Array, lo: Array, hi: Array, last: bool) -> Array:
    """First (or last) selected row of each window: int32 (m,), -1 if there is none."""
    out = np.empty(lo.size, np.int32)
    b = 0
    current = -1
    for k in range(lo.size):
        if last:
            if lo[k] >= b:
                b = lo[k]
                current = -1
            while b < hi[k]:
                if mask[b]:
                    current = b
                b += 1
            out[k] = current if current >= lo[k] else -1
        else:
            b = max(b, lo[k])
            while b < hi[k] and not mask[b]:
                b += 1
            out[k] = b if b < hi[k] else -1
    return out


@_jit
def _two_sum(x: float, y: float) -> tuple[float, float]:
    s = x + y
    z = s - x
    return s, (x - (s - z)) + (y - z)


@_jit
def _square_words(value: int) -> tuple[Any, Any]:
    """``value`` squared, exactly, as two words of 64 bits: (high, low)."""
    size = np.uint64(-value if value < 0 else value)
    high = size >> _HALF
    low = size & _LOW
    cross = high * low
    square = low * low
    lower = square + (cross << np.uint64(33))
    upper = high * high + (cross >> np.uint64(31))
    if lower < square:
        upper += np.uint64(1)
    return upper, lower


@_jit
def _product(x: float, y: float) -> tuple[float, float]:
    # Veltkamp's splits and Dekker's product: x * y exactly, as a sum of two doubles.
    p = x * y
    c = 134217729.0 * x
    x_high = c - (c - x)
    x_low = x - x_high
    c = 134217729.0 * y
    y_high = c - (c - y)
    y_low = y - y_high
    return p, ((x_high * y_high - p) + x_high * y_low + x_low * y_high) + x_low * y_low


@_jit
def deviation(values: Array, mask: Array, lo: Array, hi: Array) -> tuple[Array, Array]:
    """Sample standard deviation in each window, in the unit of ``values``.

    Sums and sums of squares are integers of 64 and 128 bits, so a window's value does not depend on
    the windows before it; only the last step, n·Σx² - (Σx)², is rounded, in double-double arithmetic
    (T. J. Dekker, Numer. Math. 18, 1971).
    Returns ``std``: float64 (m,) and ``found``: bool (m,), False under two rows.
    """
    out = np.zeros(lo.size, np.float64)
    found = np.zeros(lo.size, np.bool_)
    a = 0
    b = 0
    n = 0
    total_ = np.int64(0)
    high = np.uint64(0)
    low = np.uint64(0)
    for k in range(lo.size):
        if lo[k] >= b:
            a = b = lo[k]
            n = 0
            total_ = np.int64(0)
            high = low = np.uint64(0)
        while b < hi[k]:
            if mask[b]:
                upper, lower = _square_words(values[b])
                low += lower
                if low < lower:
                    high += np.uint64(1)
                high += upper
                total_ += values[b]
                n += 1
            b += 1
        while a < lo[k]:
            if mask[a]:
                upper, lower = _square_words(values[a])
                if low < lower:
                    high -= np.uint64(1)
                low -= lower
                high -= upper
                total_ -= values[a]
                n -= 1
            a += 1
        if n >= 2:
            squares, rest = _two_sum(float(high >> _HALF) * 2.0**96, float(high & _LOW) * 2.0**64)
            for part in (float(low >> _HALF) * 2.0**32, float(low & _LOW)):
                squares, more = _two_sum(squares, part)
                rest += more
            left, left_rest = _product(squares, float(n))
            whole = float(total_)
            right, right_rest = _product(whole, whole)
            right_rest += 2.0 * whole * float(total_ - np.int64(whole))
            spread, more = _two_sum(left, -right)
            spread += more + (left_rest + rest * n - right_rest)
            out[k] = np.sqrt(max(spread, 0.0) / n / (n - 1))
            found[k] = True
    return out, found


@_jit
def highest_by_partition(values: Array, anchors: Array, starts: Array) -> tuple[Array, Array]:
    """Highest value at any anchor of each partition: (first row of the partition, value) pairs."""
    rows = np.empty(anchors.size, np.int32)
    best = np.empty(anchors.size, np.float64)
    size = 0
    for k in range(anchors.size):
        start = starts[anchors[k]]
        value = values[k]
        if size == 0 or rows[size - 1] != start:
            rows[size] = start
            best[size] = value
            size += 1
        elif value > best[size - 1] or np.isnan(best[size - 1]):
            best[size - 1] = value
    return rows[:size].copy(), best[:size].copy()


@_jit
def largest_group(codes: Array, size: int, weights: Array, lo: Array, hi: Array) -> Array:
    """Largest total weight of one code in each window: int64 (m,). Codes: int32 in 0 … size-1; negative = null.

    A binary tree over the codes holds the larger of each pair, so that a row that comes or goes
    costs the height of the tree. Empty windows give 0; weights must not be negative.
    """
    out = np.empty(lo.size, np.int64)
    leaves = 1
    while leaves < size:
        leaves *= 2
    tree = np.zeros(2 * leaves, np.int64)
    a = 0
    b = 0
    for k in range(lo.size):
        while a < min(b, lo[k]):
            if codes[a] >= 0:
                node = leaves + codes[a]
                tree[node] -= weights[a]
                while node > 1:
                    node //= 2
                    tree[node] = max(tree[2 * node], tree[2 * node + 1])
            a += 1
        if lo[k] >= b:
            a = b = lo[k]
        while b < hi[k]:
            if codes[b] >= 0:
                node = leaves + codes[b]
                tree[node] += weights[b]
                while node > 1:
                    node //= 2
                    tree[node] = max(tree[2 * node], tree[2 * node + 1])
            b += 1
        out[k] = tree[1]
    return out
