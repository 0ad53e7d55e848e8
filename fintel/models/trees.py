"""LightGBM's text format, read as what it is: input from outside.

LightGBM trusts a model file: an index out of range is a read out of bounds, a loop in the children
never ends. So a text is parsed here, checked as a whole, and written anew from the checked numbers;
only that reaches LightGBM. Nothing in it is code, and nothing of it is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fintel.errors import Location, ModelError

MOST_BYTES = 64_000_000
MOST_TREES = 5_000
MOST_LEAVES = 1_024
#: Splits above a leaf, and all of them together over all leaves of all trees: what reads every way works in proportion.
#: 300 trees of 255 leaves, grown on noise, have ways of 81 splits and 1.5 million in all.
MOST_DEPTH, MOST_STEPS = 256, 5_000_000
#: Log odds of a leaf: far beyond any that training gives, and sums of them stay exact enough to be explained.
MOST_VALUE = 1e6
#: Greatest number, well inside a double: sums of as many trees stay finite.
_GREATEST = 1e300
#: Numeric splits only: bit 0 would mean categories; bits 2 and 3 say how missing values go.
_DECISIONS = frozenset({0, 2, 4, 6, 8, 10})

_NODE_FLOATS = ("split_gain", "threshold", "internal_value", "internal_weight")
_NODE_INTS = ("split_feature", "decision_type", "left_child", "right_child", "internal_count")
_LEAF_FLOATS = ("leaf_value", "leaf_weight")
_LEAF_INTS = ("leaf_count",)
_FIXED = {"version": "v4", "num_class": "1", "num_tree_per_iteration": "1", "objective": "binary sigmoid:1"}


@dataclass(frozen=True)
class Tree:
    """One tree: numbers of nodes and of leaves, by the names they have in the text."""

    leaves: int
    shrinkage: float
    floats: dict[str, list[float]]
    ints: dict[str, list[int]]

    def write(self, number: int) -> str:
        lines = [f"Tree={number}", f"num_leaves={self.leaves}", "num_cat=0"]
        lines += [f"{key}={' '.join(map(repr, whole))}" for key, whole in self.ints.items()]
        lines += [f"{key}={' '.join(map(repr, values))}" for key, values in self.floats.items()]
        return "\n".join([*lines, "is_linear=0", f"shrinkage={self.shrinkage!r}"]) + "\n"


def checked(text: str, features: int, where: Path | None = None) -> str:
    """The same trees, written anew from checked numbers.

    Raises
    ------
    ModelError: not LightGBM's text format, another objective, or a number that cannot be.
    """
    trees = parsed(text, features, where)
    names = " ".join(f"f{i}" for i in range(features))
    infos = " ".join("[-1e300:1e300]" for _ in range(features))
    head = ["tree", *(f"{k}={v}" for k, v in _FIXED.items()), "label_index=0", f"max_feature_idx={features - 1}"]
    body = [tree.write(number) for number, tree in enumerate(trees)]
    return "\n".join([*head, f"feature_names={names}", f"feature_infos={infos}", "", *body, "end of trees", ""])


def parsed(text: str, features: int, where: Path | None = None) -> list[Tree]:
    """The trees of a text, checked as ``checked`` does. Raises what that raises."""
    try:
        if len(text) > MOST_BYTES or not text.isascii():
            raise ValueError(f"more than {MOST_BYTES:,} bytes, or not plain text")
        blocks = [b for b in text.partition("\nend of trees")[0].split("\n\n") if b.strip()]
        header = _fields(blocks[0].removeprefix("tree\n") if blocks else "")
        for key, value in _FIXED.items():
            if header.get(key) != value:
                raise ValueError(f"{key} is {header.get(key, 'absent')!r:.40}, not '{value}'")
        if header.get("max_feature_idx") != str(features - 1):
            raise ValueError(f"it is made for {header.get('max_feature_idx', '?'):.20} + 1 features, not {features}")
        if not 0 < len(blocks) - 1 <= MOST_TREES:
            raise ValueError(f"{len(blocks) - 1} trees; 1 to {MOST_TREES} can be")
        return list(_within(_read(_fields(block), number, features) for number, block in enumerate(blocks[1:])))
    except (ValueError, KeyError, OverflowError) as error:
        raise ModelError(
            f"not a model that can be used: {error}",
            location=Location(str(where)) if where else None,
            hint="train it again, or fetch the file anew",
        ) from error


def _within(trees: Iterator[Tree]) -> Iterator[Tree]:
    """The trees, as long as their ways together are not too long."""
    steps = 0
    for tree in trees:
        steps += sum(_depths(tree.ints)) if tree.leaves > 1 else 0
        if steps > MOST_STEPS:
            raise ValueError(f"the ways to its leaves have more than {MOST_STEPS:,} splits")
        yield tree


def _depths(ints: dict[str, list[int]]) -> list[int]:
    """Splits above each leaf, of a tree whose shape is checked."""
    above = [0] * len(ints["left_child"])
    leaves = [0] * len(ints["leaf_count"])
    for node, pair in enumerate(zip(ints["left_child"], ints["right_child"], strict=True)):
        for child in pair:
            (above if child >= 0 else leaves)[child if child >= 0 else ~child] = above[node] + 1
    return leaves


def _fields(block: str) -> dict[str, str]:
    pairs = [line.partition("=") for line in block.strip("\n").split("\n")]
    fields = {key: value for key, _, value in pairs}
    if len(fields) != len(pairs):
        raise ValueError("a line stands twice")
    return fields


def _read(fields: dict[str, str], number: int, features: int) -> Tree:
    if fields["Tree"] != str(number) or fields["num_cat"] != "0" or fields.get("is_linear", "0") != "0":
        raise ValueError(f"tree {number} is out of order, linear or has categories")
    leaves = int(fields["num_leaves"])
    if not 1 <= leaves <= MOST_LEAVES:
        raise ValueError(f"tree {number} has {leaves} leaves")
    nodes = leaves - 1
    floats, ints = {}, {}
    if nodes:
        floats = {key: list(_floats(fields[key], nodes)) for key in _NODE_FLOATS}
        ints = {key: list(_ints(fields[key], nodes)) for key in _NODE_INTS}
        _check_shape(ints["left_child"], ints["right_child"], leaves)
        if not all(0 <= f < features for f in ints["split_feature"]):
            raise ValueError(f"tree {number} splits by a feature that does not exist")
        if not _DECISIONS.issuperset(ints["decision_type"]):
            raise ValueError(f"tree {number} has a decision that is not numeric")
        floats |= {key: list(_floats(fields[key], leaves)) for key in _LEAF_FLOATS}
        ints |= {key: list(_ints(fields[key], leaves)) for key in _LEAF_INTS}
        if min(ints["leaf_count"]) < 1 or min(ints["internal_count"]) < 1:
            raise ValueError(f"tree {number} has a node without rows")
        _check_counts(ints, number)
        if max(_depths(ints)) > MOST_DEPTH:
            raise ValueError(f"tree {number} has a leaf below more than {MOST_DEPTH} splits")
    else:
        floats = {"leaf_value": list(_floats(fields["leaf_value"], 1))}
    if max(map(abs, floats["leaf_value"])) > MOST_VALUE:
        raise ValueError(f"tree {number} has a leaf of more than {MOST_VALUE:,.0f} log odds")
    return Tree(leaves, next(_floats(fields["shrinkage"], 1)), floats, ints)


def _check_shape(left: Sequence[int], right: Sequence[int], leaves: int) -> None:
    """Each node and leaf is the child of exactly one earlier node, so the walk ends."""
    children = [*left, *right]
    if sorted(children) != [*range(-leaves, 0), *range(1, leaves - 1)]:
        raise ValueError("the nodes of a tree do not form a tree")
    if any(0 <= child <= parent for parent, pair in enumerate(zip(left, right, strict=True)) for child in pair):
        raise ValueError("a node stands before its parent")


def _check_counts(ints: dict[str, list[int]], number: int) -> None:
    """A node has the rows of both children: explanations weigh by these counts, scores do not."""
    nodes, leaves = ints["internal_count"], ints["leaf_count"]
    for node, pair in enumerate(zip(ints["left_child"], ints["right_child"], strict=True)):
        if nodes[node] != sum(nodes[child] if child >= 0 else leaves[~child] for child in pair):
            raise ValueError(f"tree {number} has a node with other rows than its children")


def _floats(text: str, size: int) -> Iterator[float]:
    for word in _words(text, size):
        # LightGBM writes an infinite threshold where a split only asks whether a value is known.
        value = math.copysign(_GREATEST, float(word)) if word in ("inf", "-inf") else float(word)
        if not math.isfinite(value) or abs(value) > _GREATEST:
            raise ValueError(f"{word[:40]} is not a number that can be")
        yield value


def _ints(text: str, size: int) -> Iterator[int]:
    for word in _words(text, size):
        value = int(word)
        if abs(value) >= 2**31:
            raise ValueError(f"{word[:40]} is too great")
        yield value


def _words(text: str, size: int) -> list[str]:
    words = text.split(" ")
    if len(words) != size or any(len(w) > 40 for w in words):
        raise ValueError(f"{len(words)} numbers instead of {size}")
    return words
