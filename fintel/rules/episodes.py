"""From hits to episodes: the hits of one rule on one subject that touch in time.

Everything here works on one slice of whole partitions, so an episode is never cut in two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.engine import kernels
from fintel.engine.partition import Slice
from fintel.rules.compiler import CompiledRule
from fintel.rules.expression import Clause

#: Evidence rows kept for one number; beyond it the clause says ``evidence_truncated``.
EVIDENCE_LIMIT = 50_000
#: The same for a number on the other side: a hub stands there often, and its rows would be told again and again.
TWIN_LIMIT = 1_000
#: Earlier anchors that an account's own normal rests on: enough for a median, few enough for a busy account.
_HISTORY = 100
_DAY = 86_400_000_000
#: How many doublings past a threshold count as full strength.
_FULL = 3.0
_UNBOUNDED = 60.0


@dataclass(frozen=True)
class Found:
    """What one rule found in one slice.

    ``episodes``: one row each (columns below); ``evidence``: episode number within the slice,
    measure, entry, and how many rows there are in truth; ``peaks``: per measure, the highest value at
    any anchor of each partition and the kind of its account, for peers. ``moments``: first hit of each
    episode on each day (UTC): ``number``, ``at`` (µs).
    """

    candidates: int
    hits: int
    episodes: pl.DataFrame | None
    evidence: pl.DataFrame | None
    peaks: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]]
    moments: pl.DataFrame | None = None


def _doublings(clauses: tuple[Clause, ...], cap: float) -> pl.Expr:
    """The mean over comparisons of how many doublings, up to ``cap``, the left side is past the right."""
    parts = []
    for clause in clauses:
        if clause.operator not in (">", ">=", "<", "<=") or clause.left is None or clause.right is None:
            continue
        left, right = clause.left.cast(pl.Float64), clause.right.cast(pl.Float64)
        big, small = (left, right) if clause.operator in (">", ">=") else (right, left)
        ratio = pl.when(small > 0).then(big / small).otherwise(2**_FULL)
        parts.append(ratio.clip(1.0, 2**cap).log(2).fill_nan(0.0).fill_null(0.0))
    return reduce(add, parts) / len(parts) if parts else pl.lit(_FULL / 2)


def find(piece: Slice, compiled: CompiledRule, given: Mapping[str, pl.Series]) -> Found:
    """Evaluate a rule at its anchors in a slice and join its hits.

    ``given``: measures that other partitions answer, at these anchors.
    """
    anchors = piece.anchors(compiled.anchor)
    if anchors.size == 0:
        return Found(0, 0, None, None, {})
    measured = compiled.observe(piece, given)
    kinds = piece.entries.codes["account_kind"]
    peaks = {}
    for name in compiled.measured:
        values = measured[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        first_rows, best = kernels.highest_by_partition(values, anchors, piece.starts)
        peaks[name] = (best, kinds[piece.rows[first_rows]])
    held = measured.select(compiled.when.fill_null(value=False).alias("hit")).to_series().to_numpy()
    hits = np.flatnonzero(held)
    if hits.size == 0:
        return Found(int(anchors.size), 0, None, None, peaks)
    joined = numbered_hits(piece, compiled, anchors, measured, hits)
    episodes = _own_normal(piece, compiled, anchors, measured, strongest(joined, compiled))
    days = joined.group_by("number", pl.col("time") // _DAY).agg(at=pl.col("time").min())
    moments = days.select("number", "at").sort("number", "at")
    return Found(int(anchors.size), int(hits.size), episodes, _evidence(piece, compiled, episodes), peaks, moments)


def numbered_hits(
    piece: Slice, compiled: CompiledRule, anchors: Any, measured: pl.DataFrame, hits: npt.NDArray[np.int64]
) -> pl.DataFrame:
    """Hits with their measures; those of one partition and account that touch have one ``number``.

    ``anchors``: rows of the slice; ``hits``: places among them.
    """
    rows = anchors[hits]
    entry = piece.rows[rows]
    sides = [
        expression.cast(pl.Float64).alias(f"{side}_{number}")
        for number, clause in enumerate(compiled.clauses)
        for side, expression in (("left", clause.left), ("right", clause.right))
        if clause.operator and expression is not None
    ]
    touching = pl.col("time") - compiled.reach <= pl.col("time").shift(1)
    same = (pl.col("partition") == pl.col("partition").shift(1)) & (pl.col("account") == pl.col("account").shift(1))
    frame = measured[hits].with_columns(
        *sides,
        # rounded: the last digit of a logarithm depends on how many rows are computed at once
        strength=(_doublings(compiled.clauses, _FULL) / _FULL).round(9),
        excess=_doublings(compiled.clauses, _UNBOUNDED).round(9),
        anchor=pl.Series(hits),
        entry=pl.Series(entry.astype(np.int64)),
        partition=pl.Series(piece.starts[rows]),
        account=pl.Series(piece.entries.codes["account_id"][entry]),
        time=pl.Series(piece.time[rows]),
    )
    return frame.sort("partition", "account", "anchor", maintain_order=True).with_columns(
        (~(same & touching).fill_null(value=False)).cum_sum().alias("number")
    )


def strongest(joined: pl.DataFrame, compiled: CompiledRule) -> pl.DataFrame:
    """Episodes: one row for the hits of one number, with the measures where they are furthest past the thresholds."""
    best = joined.sort("number", "excess", "anchor", descending=[False, True, False]).unique(
        "number", keep="first", maintain_order=True
    )
    spans = joined.group_by("number", maintain_order=True).agg(
        started=pl.col("time").first() - compiled.reach,
        first_entry=pl.col("entry").first(),
        ended=pl.col("time").last(),
        hits=pl.len(),
    )
    return best.join(spans, on="number", maintain_order="left")


def _own_normal(
    piece: Slice, compiled: CompiledRule, anchors: Any, measured: pl.DataFrame, episodes: pl.DataFrame
) -> pl.DataFrame:
    """Median of each measure at the subject's latest ``_HISTORY`` anchors before the episode's first window."""
    names = list(compiled.measured)
    known = pl.DataFrame(
        {"partition": piece.starts[anchors], "at": piece.time[anchors], "last": np.arange(anchors.size)}
    )
    asked = episodes.select("number", "partition", "started").sort("partition", "started")
    found = asked.join_asof(
        known, left_on="started", right_on="at", by="partition", strategy="backward", check_sortedness=False
    ).filter(pl.col("last").is_not_null())
    last = found["last"].to_numpy()
    first = np.maximum(
        last - _HISTORY + 1, np.searchsorted(known["partition"].to_numpy(), found["partition"].to_numpy())
    )
    counts = last - first + 1
    place = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    history = measured.select(names)[np.repeat(first, counts) + place]
    normal = (
        history.with_columns(number=pl.Series(np.repeat(found["number"].to_numpy(), counts)))
        .group_by("number")
        .agg(pl.col(names).median().name.prefix("normal_"), points=pl.len())
    )
    return episodes.join(normal, on="number", how="left", maintain_order="left").with_columns(
        pl.col("points").fill_null(0)
    )


def _evidence(piece: Slice, compiled: CompiledRule, episodes: pl.DataFrame) -> pl.DataFrame:
    """Entries that make each measure at each episode's peak."""
    at = episodes["anchor"].to_numpy()
    numbers = episodes["number"].to_numpy()
    parts = [
        pl.DataFrame(
            schema={"number": episodes.schema["number"], "entry": pl.Int64, "rows": pl.Int64, "measure": pl.String}
        )
    ]
    for name, window in compiled.windows.items():
        found = piece.window(window.mask, compiled.anchor, window.span, window.offset, window.same)
        rows, kept, counts = found.entries_of(at, EVIDENCE_LIMIT)
        parts.append(
            pl.DataFrame(
                {
                    "number": np.repeat(numbers, kept),
                    "entry": piece.rows[rows].astype(np.int64),
                    "rows": np.repeat(counts, kept),
                }
            ).with_columns(pl.lit(name).alias("measure"))
        )
    return pl.concat(parts)
