"""Exact contributions of features to a sum of trees (path-dependent TreeSHAP), for trees in arrays.

Lundberg et al., 2020, define the value of a coalition of features by walking the tree: at a split by a
feature outside the coalition both children are taken, in proportion to their training rows. A leaf then
counts for a coalition with the product, over the features on its path, of ``o`` (1 if the row goes that
way, else 0) for those inside and ``z`` (share of rows that go that way) for those outside. The Shapley
value of such a product is an integral (Owen, 1972),

    value · (o_i - z_i) · ∫₀¹ Π_{j≠i} (t·o_j + (1-t)·z_j) dt,

of a polynomial of degree k - 1 in t for k features on the path: Gauss–Legendre nodes, k/2 of them, give it
exactly, and as no term is negative nothing cancels. (The usual recursion divides by small z.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Array = Any


@dataclass(frozen=True)
class Paths:
    """Leaves of all trees with the conditions on the way to each, one condition a feature.

    A row meets a condition if ``low < x <= high``, or, where x is NaN, if ``unknown``. ``share``: product of
    the shares of rows along the splits by this feature. ``start``: (leaves + 1,), where each leaf's
    conditions begin; ``value``: (leaves,). ``base``: the mean output over training rows, all trees together.
    """

    start: Ints
    value: Floats
    feature: Ints
    low: Floats
    high: Floats
    unknown: npt.NDArray[np.bool_]
    share: Floats
    base: float
    nodes: Floats
    weights: Floats


@dataclass
class _Condition:
    low: float = -np.inf
    high: float = np.inf
    unknown: bool = True
    share: float = 1.0


def paths(trees: list[npt.NDArray[np.void]]) -> Paths:
    """Paths of trees as scikit-learn's histogram boosting keeps them.

    Parameters
    ----------
    trees: records with ``value, count, feature_idx, num_threshold, missing_go_to_left, left, right, is_leaf``;
        the root first; splits send ``x <= num_threshold`` to the left.
    """
    leaves: list[tuple[float, dict[int, _Condition]]] = []
    base = 0.0
    for tree in trees:
        rows = float(tree[0]["count"])
        waiting: list[tuple[int, dict[int, _Condition]]] = [(0, {})]
        while waiting:
            place, met = waiting.pop()
            node = tree[place]
            if node["is_leaf"]:
                base += float(node["value"]) * float(node["count"]) / rows
                leaves.append((float(node["value"]), met))
                continue
            waiting += [(int(node[side]), _taken(met, tree, node, side)) for side in ("right", "left")]
    return _packed(leaves, base)


def _taken(met: dict[int, _Condition], tree: npt.NDArray[np.void], node: np.void, side: str) -> dict[int, _Condition]:
    """Conditions after one more split."""
    feature, threshold = int(node["feature_idx"]), float(node["num_threshold"])
    before = met.get(feature, _Condition())
    left = side == "left"
    after = _Condition(
        low=before.low if left else max(before.low, threshold),
        high=min(before.high, threshold) if left else before.high,
        unknown=before.unknown and bool(node["missing_go_to_left"]) == left,
        share=before.share * float(tree[int(node[side])]["count"]) / float(node["count"]),
    )
    return {**met, feature: after}


def _packed(leaves: list[tuple[float, dict[int, _Condition]]], base: float) -> Paths:
    conditions = [(feature, c) for _, met in leaves for feature, c in sorted(met.items())]
    longest = max((len(met) for _, met in leaves), default=0)
    size = longest // 2 + 2
    nodes, weights = np.zeros((size, size)), np.zeros((size, size))
    for number in range(1, size):
        at, worth = np.polynomial.legendre.leggauss(number)
        nodes[number, :number], weights[number, :number] = (at + 1) / 2, worth / 2
    return Paths(
        start=np.cumsum([0, *(len(met) for _, met in leaves)]).astype(np.int32),
        value=np.array([value for value, _ in leaves], np.float64),
        feature=np.array([f for f, _ in conditions], np.int32),
        low=np.array([c.low for _, c in conditions], np.float64),
        high=np.array([c.high for _, c in conditions], np.float64),
        unknown=np.array([c.unknown for _, c in conditions], np.bool_),
        share=np.array([c.share for _, c in conditions], np.float64),
        base=base,
        nodes=nodes,
        weights=weights,
    )


def values(found: Paths, X: Floats) -> Floats:
    """(rows, features + 1): contributions of each feature, the base last.

    Parameters
    ----------
    X: (rows, features) float64, C order, NaN = unknown.
    """
    out = np.zeros((X.shape[0], X.shape[1] + 1))
    out[:, -1] = found.base
    if found.feature.size:
        _add_values(
            X, found.start, found.value, found.feature, found.low, found.high, found.unknown, found.share,
            found.nodes, found.weights, out,
        )  # fmt: skip
    return out


@njit(cache=True, nogil=True)
def _add_values(
    X: Array, start: Array, value: Array, feature: Array, low: Array, high: Array, unknown: Array, share: Array,
    nodes: Array, weights: Array, out: Array,
) -> None:  # fmt: skip
    """Add each leaf's contributions to each row of ``out``; shapes as in ``Paths``."""
    longest = 0
    for leaf in range(value.size):
        longest = max(longest, start[leaf + 1] - start[leaf])
    one = np.empty(longest, np.float64)
    for row in range(X.shape[0]):
        for leaf in range(value.size):
            first, size = start[leaf], start[leaf + 1] - start[leaf]
            for i in range(size):
                c = first + i
                x = X[row, feature[c]]
                holds = unknown[c] if np.isnan(x) else low[c] < x <= high[c]
                one[i] = 1.0 if holds else 0.0
            points = (size + 1) // 2
            for q in range(points):
                t = nodes[points, q]
                product = value[leaf] * weights[points, q]
                for i in range(size):
                    product *= t * one[i] + (1.0 - t) * share[first + i]
                for i in range(size):
                    z = share[first + i]
                    out[row, feature[first + i]] += (one[i] - z) * product / (t * one[i] + (1.0 - t) * z)
