"""How many counterparties the windows of an account have: one pass over its payments."""

from __future__ import annotations

from typing import Any

import numba
import numpy.typing as npt

Array = npt.NDArray[Any]

_jit = numba.njit(nogil=True, cache=True)


@_jit
def widest(time: Array, code: Array, begin: int, end: int, within: int, cap: int, counts: Array) -> Any:
    """score, first, last, payments of the strongest window in items begin … end - 1; and whether a hub's was left
    out."""
    score, at, to, size = 0, -1, -1, 0
    hub = False
    i = begin
    distinct = 0
    for j in range(begin, end):
        counts[code[j]] += 1
        if counts[code[j]] == 1:
            distinct += 1
        while time[i] <= time[j] - within:
            counts[code[i]] -= 1
            if counts[code[i]] == 0:
                distinct -= 1
            i += 1
        if distinct > cap:
            hub = True
        elif distinct > score or (distinct == score and j - i + 1 > size):
            score, at, to, size = distinct, i, j, j - i + 1
    for k in range(i, end):
        counts[code[k]] = 0
    return score, at, to, size, hub


@_jit
def widths(time: Array, code: Array, begin: int, end: int, within: int, counts: Array, fans: Array) -> None:
    """Different counterparties in the window that ends at each of items begin … end - 1."""
    i = begin
    distinct = 0
    for j in range(begin, end):
        counts[code[j]] += 1
        if counts[code[j]] == 1:
            distinct += 1
        while time[i] <= time[j] - within:
            counts[code[i]] -= 1
            if counts[code[i]] == 0:
                distinct -= 1
            i += 1
        fans[j - begin] = distinct
    for k in range(i, end):
        counts[code[k]] = 0
