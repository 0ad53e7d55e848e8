"""Values of measures from windows: every kind is arithmetic on ranges of the selected rows.

Sums are differences of running integer sums, so they are exact and cost nothing per window; extremes,
distinct values and largest groups slide (``kernels``).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from fintel.engine import kernels

if TYPE_CHECKING:
    from fintel.engine.partition import Measure, Selection, Slice

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]

KINDS = (
    "count", "sum", "min", "max", "mean", "std", "distinct", "first", "last", "growth", "rising", "top", "hops",
)  # fmt: skip
_DAY = 86_400_000_000
_METRES = 1000
#: Mean radius of the Earth in kilometres (IUGG).
_EARTH = 6371.0088


@dataclass(frozen=True)
class Window:
    """Windows of m anchors as half-open ranges [lo, hi) of k selected rows.

    ``rows`` (int32, k) and ``times`` (int64, k) are in the order in which the ranges count: of the
    slice, or first by what must be equal. ``sequence``: the anchors in the order of ``lo`` and ``hi``,
    None where that is their own. ``key`` names the rows.
    """

    key: Hashable
    rows: Rows
    times: Ints
    lo: Rows
    hi: Rows
    sequence: npt.NDArray[np.int64] | None

    def in_order(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of the windows, in the order of the anchors."""
        if self.sequence is None:
            return values
        out = np.empty_like(values)
        out[self.sequence] = values
        return out

    def entries_of(self, anchors: npt.NDArray[np.int64], limit: int) -> tuple[Rows, Ints, Ints]:
        """Rows of the windows of some anchors (places among the anchors), the latest ``limit`` of each.

        Returns rows, all windows one after another, ascending within each; how many of each are
        given; and how many there are in truth.
        """
        lo, hi = self.in_order(self.lo)[anchors].astype(np.int64), self.in_order(self.hi)[anchors].astype(np.int64)
        counts = hi - lo
        kept = np.minimum(counts, limit)
        ends = np.cumsum(kept)
        place = np.arange(int(ends[-1]) if ends.size else 0) - np.repeat(ends - kept, kept)
        return self.rows[np.repeat(hi - kept, kept) + place], kept, counts


def evaluate(piece: Slice, measure: Measure, anchors_of: Selection) -> Floats:
    """A measure at anchors: float64 (m,), NaN where there is no value."""
    window = piece.window(measure.mask, anchors_of, measure.span, measure.offset, measure.same)
    return cast("Floats", window.in_order(_Values(piece, measure, window, anchors_of).compute()))


@dataclass(frozen=True)
class _Values:
    piece: Slice
    measure: Measure
    window: Window
    anchors_of: Selection

    def compute(self) -> Floats:
        kind, lo, hi = self.measure.kind, self.window.lo, self.window.hi
        if kind == "count":
            return (hi - lo).astype(np.float64)
        if kind in ("distinct", "top", "hops"):
            return self._of_codes()
        between = self.measure.column in ("gap", "leg_km")
        if between:  # n rows have n - 1 gaps: the first row's gap lies before the window
            lo = np.minimum(lo + 1, hi)
        values, scale = self._numbers()
        if kind in ("sum", "mean"):
            total = self._sums(self.measure.column, values, lo, hi)
            with np.errstate(invalid="ignore", divide="ignore"):
                return total / scale if kind == "sum" else total / (hi - lo) / scale
        if kind in ("min", "max"):
            best, found = kernels.extreme(values, _ones(values), lo, hi, 1 if kind == "max" else -1)
            return np.where(found, best / scale, np.nan)
        if kind == "std":
            spread, found = kernels.deviation(values, _ones(values), lo, hi)
            return np.where(found, spread / scale, np.nan)
        if kind == "growth":
            return self._growth(values, lo, hi)
        if kind == "rising":
            return self._rising(values, lo, hi)
        if kind in ("first", "last"):
            return self._edge(values, scale)
        raise ValueError(f"unknown kind of measure '{kind}'; one of {', '.join(KINDS)}")

    # -- numbers of the rows

    def _numbers(self) -> tuple[Ints, int]:
        """One integer a row, and what divides it."""
        column, key = self.measure.column, self.window.key
        if column == "gap":
            return self.piece.remembered(("gap", key), self._gaps), _DAY
        if column == "leg_km":
            return self.piece.remembered(("leg_km", key), self._legs), _METRES
        values = self.piece.remembered(("picked", column, key), lambda: self.piece.values(column)[self.window.rows])
        return values, self.piece.entries.scales.get(column, 1)

    def _gaps(self) -> Ints:
        """Microseconds since the row before (across partitions it means nothing and is never used)."""
        return cast("Ints", np.diff(self.window.times, prepend=self.window.times[:1]))

    def _legs(self) -> Ints:
        """Metres from the place of the row before, along the great circle (haversine)."""
        scale = self.piece.entries.scales["place_latitude"]
        north, east = (
            np.radians(self.piece.values(name)[self.window.rows] / scale)
            for name in ("place_latitude", "place_longitude")
        )
        step_north, step_east = np.diff(north, prepend=north[:1]), np.diff(east, prepend=east[:1])
        chord = np.sin(step_north / 2) ** 2 + np.cos(north) * np.cos(north - step_north) * np.sin(step_east / 2) ** 2
        metres = 2 * _EARTH * _METRES * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))
        return cast("Ints", np.rint(metres).astype(np.int64))

    def _sums(self, name: str, values: Ints, lo: Rows, hi: Rows) -> Ints:
        """Sums over ranges of rows. A running sum may wrap round; the difference of two is exact all the same."""

        def add_up() -> Ints:
            return np.concatenate((np.zeros(1, np.int64), np.cumsum(values)))

        running = self.piece.remembered(("running", name, self.window.key), add_up)
        return cast("Ints", running[hi] - running[lo])

    # -- kinds

    def _growth(self, values: Ints, lo: Rows, hi: Rows) -> Floats:
        """Mean of the later half over mean of the earlier half."""
        half = (hi - lo) // 2
        earlier = self._sums(self.measure.column, values, lo, lo + half)
        later = self._sums(self.measure.column, values, hi - half, hi)
        known = (half > 0) & (earlier > 0)
        return cast("Floats", np.divide(later, earlier, out=np.full(half.shape, np.nan), where=known))

    def _rising(self, values: Ints, lo: Rows, hi: Rows) -> Floats:
        """Steps up less steps down, as a share of all steps."""
        signs = np.sign(np.diff(values, prepend=values[:1]))
        total = self._sums(f"{self.measure.column} rising", signs, np.minimum(lo + 1, hi), hi)
        steps = hi - lo - 1
        return cast("Floats", np.divide(total, steps, out=np.full(steps.shape, np.nan), where=steps > 0))

    def _edge(self, values: Ints, scale: int) -> Floats:
        window = self.window
        edge = np.append(values, 0)[window.hi - 1 if self.measure.kind == "last" else window.lo]
        if self.measure.column != "booked_at":
            return np.where(window.lo < window.hi, edge / scale, np.nan)
        anchors = self.piece.anchors(self.anchors_of)
        at = self.piece.time[anchors if window.sequence is None else anchors[window.sequence]]
        return np.where(window.lo < window.hi, (at - edge) / _DAY, np.nan)

    def _of_codes(self) -> Floats:
        kind, lo, hi = self.measure.kind, self.window.lo, self.window.hi
        everywhere = self.piece.codes(self.measure.column)
        codes, size = everywhere[self.window.rows], int(everywhere.max(initial=-1)) + 1
        if kind == "distinct":
            return cast("Floats", kernels.distinct(codes, size, _ones(codes), lo, hi))
        if kind == "hops":
            changes = (np.diff(codes, prepend=codes[:1]) != 0).astype(np.int64)
            return self._sums(f"{self.measure.column} hops", changes, np.minimum(lo + 1, hi), hi).astype(np.float64)
        if not self.measure.of:
            return cast(
                "Floats", kernels.largest_group(codes, size, np.ones(codes.size, np.int64), lo, hi).astype(np.float64)
            )
        weights = self.piece.values(self.measure.of)[self.window.rows]
        largest = kernels.largest_group(codes, size, weights, lo, hi)
        return cast("Floats", largest / self.piece.entries.scales.get(self.measure.of, 1))


def _ones(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ones(values.size, np.uint8)
