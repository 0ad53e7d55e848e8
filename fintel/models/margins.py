"""Margins of many rows at once: every split of a tree asked of a block of rows, without a jump in sight.

A row's way through a tree is a chain of jumps that a processor cannot foresee. QuickScorer (Lucchese et al.,
*QuickScorer: a fast algorithm to rank documents with additive ensembles of regression trees*, SIGIR 2015) asks all
splits instead: one that sends the row right rules out the leaves to its left, and the leftmost leaf that is left over
is the row's. Asked of a block of rows, each question is one comparison of neighbours in memory, many at a time.

The leaves' values are added in the trees' order, so the margins are LightGBM's to the bit.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import lightgbm
import numba
import numpy as np
import numpy.typing as npt

from fintel.models.trees import MOST_TREES, Tree, parsed

Array = Any
Floats = npt.NDArray[np.float64]

_jit = numba.njit(nogil=True, cache=True)
#: Leaves of a tree that one word of bits can hold.
MOST_LEAVES = 64
#: Rows of a block, and of what a thread takes at once.
_BLOCK, _ROWS = 512, 32_768
#: From so many rows on it is worth reading the trees.
_WORTH = 20_000
_LEAVES = re.compile(r"^num_leaves=(\d+)$", re.MULTILINE)
_ZERO_IS_MISSING, _NAN_IS_MISSING = 1, 2
#: LightGBM takes numbers as small as this for zero, whatever a threshold says: 1e-35 as a float of 32 bits.
NIL = float(np.float32(1e-35))
_DEBRUIJN = np.uint64(0x03F79D71B4CB0A89)


def _places() -> npt.NDArray[np.int64]:
    found = np.zeros(64, np.int64)
    for bit in range(64):
        found[((1 << bit) * int(_DEBRUIJN) & (1 << 64) - 1) >> 58] = bit
    return found


_PLACES = _places()


class Questions(NamedTuple):
    """Splits by tree. ``feature, threshold``; ``unknown_left``: whether NaN goes left; ``left_over``: the leaves that
    remain when a row goes right, the leftmost leaf in the lowest bit. ``start`` (trees + 1,); ``value`` (leaves,) from
    left to right, ``leaf_start`` (trees + 1,)."""

    feature: Array
    threshold: Array
    unknown_left: Array
    left_over: Array
    start: Array
    value: Array
    leaf_start: Array


def margins_of(booster: lightgbm.Booster, x: Array, *, threads: int = 1) -> Floats | None:
    """The margins of a booster with two classes, float64 (rows,), the same bits as its own ``predict``.

    None where its own is as good or the only one: few rows, wide trees, or zeros that count as missing.
    """
    if x.shape[0] < _WORTH or not 0 < booster.num_trees() <= MOST_TREES:
        return None
    text = booster.model_to_string()
    if max(map(int, _LEAVES.findall(text))) > MOST_LEAVES:
        return None
    asked = questions(parsed(text, booster.num_feature()), x.dtype)
    return None if asked is None else margins(asked, x, threads=threads)


def questions(trees: list[Tree], dtype: Any) -> Questions | None:
    """The trees for rows of float64 or float32; None where they are not of the kind: more than ``MOST_LEAVES`` leaves,
    or zeros that count as missing."""
    features: list[int] = []
    thresholds: list[float] = []
    unknown: list[bool] = []
    left_over: list[int] = []
    values: list[float] = []
    start, leaf_start = [0], [0]
    widest = max((tree.leaves for tree in trees), default=1)
    if widest > MOST_LEAVES:
        return None
    for tree in trees:
        nodes = tree.leaves - 1
        order, lefts = _in_order(tree) if nodes else ([0], [])
        for node in range(nodes):
            decision, threshold = tree.ints["decision_type"][node], tree.floats["threshold"][node]
            missing = decision >> 2 & 3
            if missing == _ZERO_IS_MISSING:
                return None
            unknown.append(decision & 2 != 0 if missing == _NAN_IS_MISSING else threshold >= 0)
            features.append(tree.ints["split_feature"][node])
            thresholds.append(threshold)
            left_over.append(lefts[node] ^ (1 << MOST_LEAVES) - 1)
        values += [tree.floats["leaf_value"][leaf] for leaf in order]
        start.append(len(features))
        leaf_start.append(len(values))
    words = np.array(left_over, np.uint64)
    return Questions(
        np.array(features, np.int32), _below(np.array(thresholds, np.float64), dtype), np.array(unknown, np.bool_),
        words.astype(np.uint32) if widest <= 32 else words, np.array(start, np.int64),
        np.array(values, np.float64), np.array(leaf_start, np.int64),
    )  # fmt: skip


def _below(thresholds: Floats, dtype: Any) -> Array:
    """The greatest numbers of the type that are not above: for its numbers the comparison is the same."""
    with np.errstate(over="ignore"):
        near = thresholds.astype(dtype)
    return np.where(near.astype(np.float64) > thresholds, np.nextafter(near, np.array(-np.inf, dtype)), near)


def _in_order(tree: Tree) -> tuple[list[int], list[int]]:
    """Leaves from left to right, and of each node the places of the leaves to its left branch, as bits."""
    left, right = tree.ints["left_child"], tree.ints["right_child"]
    order: list[int] = []
    spans: dict[int, tuple[int, int]] = {}
    waiting: list[tuple[int, bool]] = [(0, False)]
    while waiting:
        node, seen = waiting.pop()
        if node < 0:
            spans[node] = (len(order), len(order) + 1)
            order.append(~node)
        elif not seen:
            waiting += [(node, True), (right[node], False), (left[node], False)]
        else:
            spans[node] = (spans[left[node]][0], spans[right[node]][1])
    lefts = [(1 << spans[left[n]][1]) - (1 << spans[left[n]][0]) for n in range(len(left))]
    return order, lefts


def margins(of: Questions, x: Array, *, threads: int = 1) -> Floats:
    """The margin of each row: float64 (rows,). ``x`` (rows, features) is of the type that ``of`` was made for."""
    out = np.zeros(x.shape[0])
    begins = range(0, x.shape[0], _ROWS)

    def run(begin: int) -> None:
        _add(of, x[begin : begin + _ROWS], out[begin : begin + _ROWS], _PLACES)

    if threads == 1 or len(begins) < 2:
        for begin in begins:
            run(begin)
    else:
        with ThreadPoolExecutor(threads, thread_name_prefix="fintel-margins") as pool:
            for done in [pool.submit(run, begin) for begin in begins]:
                done.result()
    return out


@_jit
def _add(of: Questions, x: Array, out: Array, places: Array) -> None:
    columns = np.empty((x.shape[1], _BLOCK), x.dtype)
    alive = np.empty(_BLOCK, of.left_over.dtype)
    for begin in range(0, x.shape[0], _BLOCK):
        rows = min(_BLOCK, x.shape[0] - begin)
        for r in range(rows):
            for c in range(x.shape[1]):
                value = x[begin + r, c]
                columns[c, r] = 0.0 if -NIL <= value <= NIL else value
        for t in range(of.start.size - 1):
            alive[:] = ~of.left_over.dtype.type(0)
            for k in range(of.start[t], of.start[t + 1]):
                _ask(columns[of.feature[k]], of.threshold[k], of.unknown_left[k], of.left_over[k], alive)
            first = of.leaf_start[t]
            for r in range(rows):
                word = np.uint64(alive[r])
                lowest = word & (~word + np.uint64(1))
                out[begin + r] += of.value[first + places[(lowest * _DEBRUIJN) >> np.uint64(58)]]


@_jit
def _ask(column: Array, threshold: Any, unknown_left: bool, left_over: Any, alive: Array) -> None:
    if unknown_left:
        for r in range(_BLOCK):
            alive[r] &= left_over if column[r] > threshold else ~alive.dtype.type(0)
    else:
        for r in range(_BLOCK):
            alive[r] &= ~alive.dtype.type(0) if column[r] <= threshold else left_over
