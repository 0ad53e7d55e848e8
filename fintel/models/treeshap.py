"""Contributions of features to a margin, by leaf instead of by row: TreeSHAP's numbers, many rows at once.

Path-dependent TreeSHAP (Lundberg, Erion, Lee, *Consistent Individualized Feature Attribution for Tree Ensembles*, arXiv
1802.03888, algorithm 2) is what LightGBM's ``pred_contrib`` gives. A leaf is reached through d different features. To
each it says: of the training rows above, the share z went on towards this leaf, and this row does (o = 1) or does not
(o = 0). What the leaf gives to its features depends on nothing but which of them say yes: 2^d cases at most, and far
fewer among real rows. So each leaf works out a case when a row first brings it, and all other rows look it up
(the idea of Yang, *Fast TreeSHAP*, arXiv 2109.09847, who tabulates all cases beforehand).

``contributions`` equals ``pred_contrib`` to about 1e-13; tests hold it to 1e-9.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import lightgbm
import numba
import numpy as np
import numpy.typing as npt

from fintel.errors import ModelError
from fintel.models.margins import NIL
from fintel.models.trees import parsed

Array = Any
Floats = npt.NDArray[np.float64]

_jit = numba.njit(nogil=True, cache=True)
#: Features of a path whose cases have a table of their own; longer paths are worked out row by row.
_TABLED = 14
#: Features of a path that are worked out here. A case is a word of 64 bits; and taking a feature out of
#: the weights again multiplies rounding, on the worst of ways to 1e-6 at 40 features and to 1e-3 at 50.
MOST_FEATURES = 40
#: Rows that share their tables.
_ROWS = 2_048
_ZERO = 1


class Forest(NamedTuple):
    """All trees, one behind the other.

    Nodes: ``feature, threshold, decision`` (LightGBM's bits), ``left, right`` (a node of the same tree, or ``~leaf``).
    Leaves: ``value``. ``node_start, leaf_start``: int64 (trees + 1,). ``step_start`` (leaves + 1,): the features on the
    way to each leaf; of each step ``step_feature`` and ``step_share`` (z); ``place_start`` (steps + 1,): where it is
    decided, ``place_node`` (a node of the tree) and ``place_left`` (whether the way goes left). ``base``: the mean
    margin.
    """

    feature: Array
    threshold: Array
    decision: Array
    left: Array
    right: Array
    value: Array
    node_start: Array
    leaf_start: Array
    step_start: Array
    step_feature: Array
    step_share: Array
    place_start: Array
    place_node: Array
    place_left: Array
    base: float

    @property
    def widest(self) -> int:
        """Different features on the way to a leaf, at most."""
        return int(np.diff(self.step_start).max(initial=0))


def forest(booster: lightgbm.Booster) -> Forest:
    """The trees of a booster with two classes and numeric splits only.

    Raises
    ------
    ModelError: other trees (see ``trees.checked``).
    """
    trees = parsed(booster.model_to_string(), booster.num_feature())
    nodes: dict[str, list[Any]] = {name: [] for name in ("feature", "threshold", "decision", "left", "right")}
    values: list[float] = []
    node_start, leaf_start, step_start, place_start = [0], [0], [0], [0]
    step_feature: list[int] = []
    step_share: list[float] = []
    place_node: list[int] = []
    place_left: list[bool] = []
    base = 0.0
    for tree in trees:
        leaf_values, counts = tree.floats["leaf_value"], tree.ints.get("leaf_count", [1])
        base += sum(v * c for v, c in zip(leaf_values, counts, strict=True)) / sum(counts)
        values += leaf_values
        if tree.leaves > 1:
            nodes["feature"] += tree.ints["split_feature"]
            nodes["threshold"] += tree.floats["threshold"]
            nodes["decision"] += tree.ints["decision_type"]
            nodes["left"] += tree.ints["left_child"]
            nodes["right"] += tree.ints["right_child"]
        ways = _ways(tree.ints) if tree.leaves > 1 else [[]]
        for way in ways:
            by: dict[int, list[tuple[int, bool, float]]] = {}
            for node, left, share in way:
                by.setdefault(tree.ints["split_feature"][node], []).append((node, left, share))
            for feature, places in by.items():
                step_feature.append(feature)
                step_share.append(float(np.prod([share for _, _, share in places])))
                place_node += [node for node, _, _ in places]
                place_left += [left for _, left, _ in places]
                place_start.append(len(place_node))
            step_start.append(len(step_feature))
        node_start.append(len(nodes["feature"]))
        leaf_start.append(len(values))
    return Forest(
        np.array(nodes["feature"], np.int32), np.array(nodes["threshold"], np.float64),
        np.array(nodes["decision"], np.uint8), np.array(nodes["left"], np.int32), np.array(nodes["right"], np.int32),
        np.array(values, np.float64), np.array(node_start, np.int64), np.array(leaf_start, np.int64),
        np.array(step_start, np.int64), np.array(step_feature, np.int32), np.array(step_share, np.float64),
        np.array(place_start, np.int64), np.array(place_node, np.int32), np.array(place_left, np.bool_), base,
    )  # fmt: skip


def _ways(ints: dict[str, list[int]]) -> list[list[tuple[int, bool, float]]]:
    """The way to each leaf: node, whether it goes left there, and the share of the node's rows that do."""
    found: list[list[tuple[int, bool, float]]] = [[] for _ in ints["leaf_count"]]
    waiting: list[tuple[int, list[tuple[int, bool, float]]]] = [(0, [])]
    while waiting:
        node, way = waiting.pop()
        if node < 0:
            found[~node] = way
            continue
        for child, left in ((ints["left_child"][node], True), (ints["right_child"][node], False)):
            rows = ints["internal_count"][child] if child >= 0 else ints["leaf_count"][~child]
            waiting.append((child, [*way, (node, left, rows / ints["internal_count"][node])]))
    return found


def contributions(of: Forest, x: Array, *, threads: int = 1) -> Floats:
    """TreeSHAP values in natural log odds, the base last: float64 (rows, features + 1).

    Parameters
    ----------
    x: float64 or float32 (rows, features), NaN where not known.

    Raises
    ------
    ModelError: a way with more than ``MOST_FEATURES`` different features.
    """
    if of.widest > MOST_FEATURES:
        raise ModelError(f"a leaf depends on {of.widest} features; up to {MOST_FEATURES} can be told apart")
    x = np.ascontiguousarray(x)
    out = np.zeros((x.shape[0], x.shape[1] + 1))
    out[:, -1] = of.base
    begins = range(0, x.shape[0], _ROWS)

    def run(begin: int) -> None:
        _shared(of, x[begin : begin + _ROWS], out[begin : begin + _ROWS])

    if threads == 1 or len(begins) < 2:
        for begin in begins:
            run(begin)
    else:
        with ThreadPoolExecutor(threads, thread_name_prefix="fintel-treeshap") as pool:
            for done in [pool.submit(run, begin) for begin in begins]:
                done.result()
    return out


@_jit
def goes_left(value: float, threshold: float, decision: int) -> bool:
    """LightGBM's numeric decision: bit 1 says where a missing value goes, bits 2 and 3 what is one."""
    missing = decision >> 2 & 3
    if np.isnan(value):
        if missing > _ZERO:
            return decision & 2 != 0
        value = 0.0
    if -NIL <= value <= NIL:
        if missing == _ZERO:
            return decision & 2 != 0
        value = 0.0
    return value <= threshold


@_jit
def _shared(of: Forest, x: Array, out: Array) -> None:
    """Add the contributions of every tree to rows: (rows, features) in, (rows, features + 1) out."""
    rows = x.shape[0]
    widest = 1
    for t in range(of.node_start.size - 1):
        widest = max(widest, of.node_start[t + 1] - of.node_start[t])
    left = np.empty((widest, rows), np.bool_)
    case = np.empty(rows, np.int64)
    known = np.empty(1 << _TABLED, np.int32)
    deepest = 1
    for leaf in range(of.step_start.size - 1):
        deepest = max(deepest, of.step_start[leaf + 1] - of.step_start[leaf])
    told = np.empty((min(rows, 1 << _TABLED) + 1, deepest))
    ones = np.empty(deepest, np.bool_)
    weights = np.empty(deepest + 1)
    for t in range(of.node_start.size - 1):
        first = of.node_start[t]
        for n in range(of.node_start[t + 1] - first):
            feature, threshold, decision = of.feature[first + n], of.threshold[first + n], of.decision[first + n]
            for r in range(rows):
                left[n, r] = goes_left(np.float64(x[r, feature]), threshold, decision)
        for leaf in range(of.leaf_start[t], of.leaf_start[t + 1]):
            _of_leaf(of, leaf, left, case, known, told, ones, weights, out)


@_jit
def _of_leaf(
    of: Forest, leaf: int, left: Array, case: Array, known: Array, told: Array, ones: Array, weights: Array, out: Array
) -> None:
    begin = of.step_start[leaf]
    depth = of.step_start[leaf + 1] - begin
    if depth == 0:
        return
    rows = case.size
    case[:] = 0
    for j in range(depth):
        for r in range(rows):
            case[r] |= 1 << j
        for p in range(of.place_start[begin + j], of.place_start[begin + j + 1]):
            node, way = of.place_node[p], of.place_left[p]
            for r in range(rows):
                if left[node, r] != way:
                    case[r] &= ~(1 << j)
    tabled = depth <= _TABLED
    if tabled:
        known[: 1 << depth] = -1
    count = 0
    for r in range(rows):
        at = known[case[r]] if tabled else -1
        if at < 0:
            at = count if tabled else 0
            for j in range(depth):
                ones[j] = case[r] >> j & 1 == 1
            _one_case(of.step_share[begin : begin + depth], ones, of.value[leaf], weights, told[at])
            if tabled:
                known[case[r]] = at
                count += 1
        for j in range(depth):
            out[r, of.step_feature[begin + j]] += told[at, j]


@_jit
def _one_case(share: Array, ones: Array, value: float, weights: Array, told: Array) -> None:
    """What a leaf of a value gives to each feature on its way, for one case."""
    depth = share.size
    # ``weights[k]``: Shapley's weights of subsets with k of the features that are kept, the rest by their shares.
    weights[0] = 1.0
    for i in range(depth):
        one = 1.0 if ones[i] else 0.0
        weights[i + 1] = 0.0
        for k in range(i, -1, -1):
            weights[k + 1] += one * weights[k] * (k + 1) / (i + 2)
            weights[k] = share[i] * weights[k] * (i + 1 - k) / (i + 2)
    for i in range(depth):
        total = 0.0
        if ones[i]:
            ahead = weights[depth]
            for k in range(depth - 1, -1, -1):
                mine = ahead * (depth + 1) / (k + 1)
                total += mine
                ahead = weights[k] - mine * share[i] * (depth - k) / (depth + 1)
            told[i] = total * (1.0 - share[i]) * value
        else:
            for k in range(depth):
                total += weights[k] * (depth + 1) / (share[i] * (depth - k))
            told[i] = -total * share[i] * value
