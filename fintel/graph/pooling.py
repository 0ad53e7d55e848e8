"""Columns of payments added up by account over windows that end at given moments.

Windows of many moments overlap, so the payments between two neighbouring ends of windows are folded once, and the
windows are put together from these pieces. Sums are of whole millionths, so they do not depend on the order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from fintel.features.recipes import Pooled
from fintel.graph.entry_columns import of_payment
from fintel.graph.network import Network

Floats = Any
Whole = Any

_DAY = timedelta(days=1) // timedelta(microseconds=1)
_MILLION = 1_000_000
#: Values above count as this (a ratio of the largest payment to the smallest is 1e16): folds are of 64 bits.
_MOST = 10**12
_BOTH = ("out", "in")


class _Piece(NamedTuple):
    """What is kept of the payments of a piece: a fold of a column of one side's entries."""

    column: str
    fold: str
    side: str
    least: int = 1

    @property
    def key(self) -> str:
        return " ".join(map(str, self))

    def expression(self, schema: pl.Schema) -> pl.Expr:
        """Over the payments of one account and piece."""
        told = pl.col(self.column)
        if self.fold == "known":
            return told.is_not_null().sum().cast(pl.Int64).alias(self.key)
        if self.fold == "count":
            held = told if schema[self.column] == pl.Boolean else told >= self.least
            return held.fill_null(value=False).sum().cast(pl.Int64).alias(self.key)
        scaled = (told.cast(pl.Float64).clip(upper_bound=_MOST) * _MILLION).round().cast(pl.Int64)
        return (scaled.max() if self.fold == "max" else scaled.sum()).alias(self.key)


def pooled(
    net: Network, told: pl.DataFrame, undone: Whole, recipes: Mapping[str, Pooled], node: Whole, at: Whole
) -> dict[str, Floats]:
    """Values of each recipe, float32 (r,), for r pairs of ``node`` (-1: not in the network) and moment ``at`` (µs).

    Parameters
    ----------
    told: the payments' columns, as ``entry_columns.payment_columns`` gives them, (m,) rows.
    undone: when each payment was undone, µs (m,); it counts at the moments until then.
    """
    moments = np.unique(at)
    spans = sorted({r.days for r in recipes.values()})
    cuts = np.unique(np.concatenate([moments, *(moments - days * _DAY for days in spans)]))
    needed = tuple(dict.fromkeys(piece for recipe in recipes.values() for piece in _needed(recipe)))
    pieces = _pieces(net, told, undone, needed, cuts)
    folds = [pl.col(p.key).max() if p.fold == "max" else pl.col(p.key).sum() for p in needed]
    values = {name: np.full(node.size, np.nan, np.float32) for name in recipes}
    for moment in moments:
        here = np.flatnonzero(at == moment)
        who = pl.DataFrame({"node": node[here]}, schema={"node": pl.Int32})
        standing = pieces.filter(pl.col("undone") >= moment)
        last = int(np.searchsorted(cuts, moment))
        for days in spans:
            first = int(np.searchsorted(cuts, moment - days * _DAY))
            inside = standing.filter((pl.col("piece") > first) & (pl.col("piece") <= last))
            whole = who.join(inside.group_by("node").agg(folds), on="node", how="left", maintain_order="left")
            for name, recipe in recipes.items():
                if recipe.days == days:
                    values[name][here] = _value(recipe, whole)
    return values


def _needed(recipe: Pooled) -> Iterator[_Piece]:
    for side in _sides(recipe):
        yield from (_main(recipe, side), _Piece(recipe.column, "known", side), _Piece("row", "known", side))


def _sides(recipe: Pooled) -> tuple[str, ...]:
    return _BOTH if recipe.side == "both" else (recipe.side,)


def _main(recipe: Pooled, side: str) -> _Piece:
    fold = {"mean": "sum", "share": "count"}.get(recipe.fold, recipe.fold)
    return _Piece(recipe.column, fold, side, recipe.least)


def _pieces(net: Network, told: pl.DataFrame, undone: Whole, needed: Sequence[_Piece], cuts: Whole) -> pl.DataFrame:
    """``node, piece, undone`` and the folds needed; ``piece`` i holds the payments of [cuts[i - 1], cuts[i])."""
    fixed: dict[str, Any] = {"piece": np.searchsorted(cuts, net.time, side="right"), "undone": undone, "row": net.row}
    inside = (fixed["piece"] > 0) & (fixed["piece"] < cuts.size) & (net.source != net.target)
    parts = []
    for side, end in zip(_BOTH, (net.source, net.target), strict=True):
        mine = [p for p in needed if p.side == side]
        columns = {
            p.column: told[p.column if of_payment(p.column) else f"{p.column} {side}"]
            for p in mine
            if p.column != "row"
        }
        frame = pl.DataFrame({"node": end, **fixed, **columns}).filter(pl.Series(inside))
        parts.append(frame.group_by("node", "piece", "undone").agg(p.expression(frame.schema) for p in mine))
    return pl.concat(parts, how="diagonal")


def _value(recipe: Pooled, whole: pl.DataFrame) -> Floats:
    sides = _sides(recipe)

    def added(fold: str, column: str) -> Whole:
        return np.sum([_plain(whole, _Piece(column, fold, side)) for side in sides], axis=0)

    known, entries = added("known", recipe.column), added("known", "row")
    main = [_plain(whole, _main(recipe, side)) for side in sides]
    value = np.max(main, axis=0) if recipe.fold == "max" else np.sum(main, axis=0)
    value = value if recipe.fold in ("count", "share") else value / _MILLION
    if recipe.fold in ("mean", "share"):
        return np.divide(value, known, out=np.full(value.size, np.nan), where=known > 0).astype(np.float32)
    # Nothing happened: 0. Something happened, and nothing is known of it: unknown.
    return np.where(known > 0, value, np.where(entries > 0, np.nan, 0.0)).astype(np.float32)


def _plain(whole: pl.DataFrame, piece: _Piece) -> Whole:
    return whole[piece.key].fill_null(0).to_numpy()
