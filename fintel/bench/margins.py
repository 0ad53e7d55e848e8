"""How far accounts stand from a line, and a sample of both sides for a person to look at.

The margin of a comparison is how many doublings its left side is past its right one (negative: short
of it). Of conditions joined by *and* the least margin counts, of those joined by *or* the greatest,
of an account's entries the greatest. A condition of another kind only holds or fails, at any distance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.bench.measured import Measured
from fintel.bench.thresholds import Comparison, Every, Formula, Truth, compare, criterion, truth_of, value_of

Floats = npt.NDArray[np.float64]

#: Bands by the ratio of what was observed to what is asked for, or the other way round.
CUTS = (1.1, 1.25, 1.5, 2.0)
BANDS = ("within 1.1x", "1.1-1.25x", "1.25-1.5x", "1.5-2x", "over 2x")
SIDES = ("above", "below")
_TINY = math.ulp(0.0)


def margins(measured: Measured, parameters: Mapping[str, float]) -> Floats:
    """Margin of every anchor entry in doublings: float64 (n). At least 0 exactly where the rule hits;
    -inf where it cannot be said how far a condition is from holding.

    Parameters
    ----------
    parameters: all of the rule's, as ``when`` sees them (money in the base currency).
    """
    when = criterion(measured.rule.when, tuple(measured.measures), parameters, ())
    return _margin(when.formula, measured.frame)


def _margin(formula: Formula, frame: pl.DataFrame) -> Floats:
    if isinstance(formula, Truth):
        return np.where(truth_of(formula, frame), np.inf, -np.inf)
    if isinstance(formula, Comparison):
        return _past(formula, value_of(formula.left, frame), value_of(formula.right, frame))
    parts = [_margin(part, frame) for part in formula.parts]
    joined: Floats = (np.minimum if isinstance(formula, Every) else np.maximum).reduce(parts)
    return joined


def _past(leaf: Comparison, left: Floats, right: Floats) -> Floats:
    held = compare(leaf.operator, left, right)
    big, small = (left, right) if leaf.operator in (">", ">=") else (right, left)
    with np.errstate(all="ignore"):
        doublings = np.log2(big / small)
        # no ratio on this side of zero: the difference, against the larger of the two
        plain = (big - small) / np.maximum(np.abs(big), np.abs(small))
    past = np.where((big > 0) & (small > 0), doublings, np.where(big == small, 0.0, plain))
    past = np.where(np.isnan(past), -np.inf, past)
    # rounding must not put a point on the other side than the rule does
    return np.where(held, np.maximum(past, 0.0), np.minimum(past, -_TINY))


@dataclass(frozen=True)
class Line:
    """Where every account stands to one setting.

    ``accounts``: one row for each account with an anchor entry, in the order of ``Measured.accounts``:
    ``side`` (above, below), ``band`` (of ``BANDS``; null where the distance is not known), ``margin``,
    ``point`` (number of the anchor entry that comes nearest).
    """

    name: str
    accounts: pl.DataFrame

    def strata(self) -> pl.DataFrame:
        """``side, band, population``: how many accounts stand in each."""
        return self.accounts.drop_nulls("band").group_by("side", "band").agg(population=pl.len())


def line(name: str, measured: Measured, parameters: Mapping[str, float]) -> Line:
    """Where every account stands to a setting; parameters as in ``margins``."""
    margin = margins(measured, parameters)
    size = measured.accounts.height
    best = np.full(size, -np.inf)
    np.maximum.at(best, measured.account, margin)
    nearest = np.flatnonzero(margin == best[measured.account])
    point = np.zeros(size, np.int64)
    # the last of equal ones: the most recent is what a person can still look into
    point[measured.account[nearest]] = nearest
    number = np.searchsorted(CUTS, 2.0 ** np.minimum(np.abs(best), 64.0), side="left")
    known = np.isfinite(best) | (best > 0)
    return Line(
        name,
        pl.DataFrame(
            {
                "side": np.where(best >= 0, SIDES[0], SIDES[1]),
                "band": pl.Series(np.array(BANDS)[number]),
                "margin": best,
                "point": point,
            }
        ).with_columns(band=pl.when(pl.Series(known)).then("band")),
    )


def draw(lines: list[Line], *, each: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Accounts (rows of ``Measured.accounts``) drawn for each line: up to ``each`` of every side and band."""
    drawn = []
    for number, one in enumerate(lines):
        rng = np.random.default_rng([seed, 13, number])
        chosen = []
        for side in SIDES:
            for band in BANDS:
                inside = one.accounts.select((pl.col("side") == side) & (pl.col("band") == band)).to_series()
                rows = np.flatnonzero(inside.fill_null(value=False).to_numpy())
                chosen.append(rng.choice(rows, min(each, rows.size), replace=False))
        drawn.append(np.sort(np.concatenate(chosen)))
    return drawn
