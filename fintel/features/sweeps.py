"""Kernels that features need beyond the engine's: window ends as of given moments, first meetings,
money passed on, concentration. Shapes and order are those of ``engine.kernels``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = Any

_jit = numba.njit(nogil=True, cache=True)


@_jit
def cuts(time: Array, begins: Array, ends: Array, moments: Array) -> Array:
    """First row of each partition that is not before each moment.

    ``begins``, ``ends``: int64 (p,), rows of each partition; ``moments``: int64 (s,), ascending.
    Returns int32 (p, s): rows [begin, cut) are strictly before the moment.
    """
    out = np.empty((begins.size, moments.size), np.int32)
    for p in range(begins.size):
        row = begins[p]
        for s in range(moments.size):
            while row < ends[p] and time[row] < moments[s]:
                row += 1
            out[p, s] = row
    return out


@_jit
def first_meetings(time: Array, starts: Array, codes: Array, size: int, span: int) -> Array:
    """Rows whose code did not occur in their partition within ``span`` before: uint8 (n,).

    Rows without a code (negative) are never first meetings.
    """
    out = np.zeros(time.size, np.uint8)
    seen_in = np.full(size, -1, np.int32)
    seen_at = np.zeros(size, np.int64)
    for row in range(time.size):
        code = codes[row]
        if code < 0:
            continue
        if seen_in[code] != starts[row] or seen_at[code] < time[row] - span:
            out[row] = 1
        seen_in[code] = starts[row]
        seen_at[code] = time[row]
    return out


@_jit
def passed_on(time: Array, starts: Array, credit: Array, debit: Array, values: Array, span: int) -> tuple[Array, Array]:
    """What each debit takes from credits of the ``span`` before it, oldest money first.

    Every unit of a credit is used once. ``credit``, ``debit``: uint8 (n,); ``values``: int64 (n,).
    Returns ``taken``: int64 (n,), in the unit of ``values``, and ``waited``: float64 (n,), the taken
    value times the hours it lay.
    """
    taken = np.zeros(time.size, np.int64)
    waited = np.zeros(time.size, np.float64)
    left = np.zeros(time.size, np.int64)
    head = 0
    for row in range(time.size):
        if head < starts[row]:
            head = starts[row]
        if credit[row]:
            left[row] = values[row]
        elif debit[row]:
            need = values[row]
            while head < row and need > 0:
                if left[head] == 0 or time[head] < time[row] - span:
                    head += 1
                    continue
                part = min(need, left[head])
                left[head] -= part
                need -= part
                taken[row] += part
                waited[row] += part * ((time[row] - time[head]) / 3.6e9)
    return taken, waited


@_jit
def top_share(codes: Array, size: int, mask: Array, lo: Array, hi: Array) -> Array:
    """Share of the most frequent code among the coded rows of each window: float64 (m,), NaN if none.

    Counts each window afresh: meant for windows as of a few moments, not at every entry.
    """
    out = np.empty(lo.size, np.float64)
    number = np.zeros(size, np.int32)
    for k in range(lo.size):
        most = 0
        rows = 0
        for i in range(lo[k], hi[k]):
            if mask[i] and codes[i] >= 0:
                number[codes[i]] += 1
                rows += 1
                most = max(most, number[codes[i]])
        for i in range(lo[k], hi[k]):
            if codes[i] >= 0:
                number[codes[i]] = 0
        out[k] = most / rows if rows else np.nan
    return out


@_jit
def spread(values: Array, mask: Array, lo: Array, hi: Array) -> Array:
    """Sample standard deviation of each window: float64 (m,), NaN under two rows.

    Two passes over each window, so that it depends on the window's rows alone, to the last bit, and not
    on the windows before it.
    """
    out = np.full(lo.size, np.nan)
    for k in range(lo.size):
        rows = 0
        total = np.int64(0)
        for i in range(lo[k], hi[k]):
            if mask[i]:
                rows += 1
                total += values[i]
        if rows > 1:
            mean = total / rows
            square = 0.0
            for i in range(lo[k], hi[k]):
                if mask[i]:
                    square += (values[i] - mean) ** 2
            out[k] = np.sqrt(square / (rows - 1))
    return out
