"""The partition function: windows over the entries of whole partitions.

``partition`` orders entries by a key once; ``Slice`` holds some whole partitions in order and
computes measures at anchors. A measure that several rules ask for is swept once per slice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from fintel.engine import kernels
from fintel.engine.arrays import BITS, Entries

V = TypeVar("V")
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.uint8]

KINDS = ("count", "sum", "min", "max", "mean", "std", "distinct", "first", "last")
_DAY = 86_400_000_000
#: Rows in a slice, about: small enough to stay in cache, large enough to keep overheads away.
SLICE_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Measure:
    """One number at an anchor: ``kind`` of ``column`` over (t - offset - span, t - offset].

    ``mask`` is the index of the mask that selects rows; ``span`` and ``offset`` are microseconds.
    ``first`` and ``last`` of ``booked_at`` are in days before the anchor.
    """

    kind: str
    column: str
    mask: int
    span: int
    offset: int = 0


@dataclass
class Slice:
    """Some whole partitions, in order. ``rows`` (uint32, n) point into the entries."""

    entries: Entries
    rows: npt.NDArray[np.uint32]
    starts: Rows
    time: npt.NDArray[np.int64] = field(init=False)
    _cache: dict[Any, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.time = self.entries.time[self.rows]

    def __len__(self) -> int:
        return int(self.rows.size)

    def mask(self, index: int) -> Mask:
        """A mask over the slice's rows."""
        return self._once(("mask", index), lambda: cast("Mask", kernels.bit(self._word(index // BITS), index % BITS)))

    def _word(self, number: int) -> npt.NDArray[np.int64]:
        # Fetched once: rows lie scattered over the entries, and that costs more than all the bits.
        return self._once(("word", number), lambda: self.entries.words[number][self.rows])

    def codes(self, column: str) -> npt.NDArray[np.int32]:
        """Codes of a column over the slice's rows, renumbered from 0 so that they stay small."""
        return self._once(("codes", column), lambda: _renumber(self.entries.codes[column][self.rows]))

    def values(self, column: str) -> npt.NDArray[np.int64]:
        """Integers of a column over the slice's rows."""
        if column == "booked_at":
            return self.time
        return self._once(("values", column), lambda: summable(self.entries.values[column][self.rows]))

    def anchors(self, mask: int) -> Rows:
        """Rows that a mask selects, ascending."""
        return self._once(("anchors", mask), lambda: np.flatnonzero(self.mask(mask)).astype(np.int32))

    def bounds(self, anchors_of: int, span: int, offset: int) -> tuple[Rows, Rows]:
        """Window bounds at the anchors of a mask."""
        return self._once(
            ("bounds", anchors_of, span, offset),
            lambda: cast(
                "tuple[Rows, Rows]",
                kernels.window_bounds(self.time, self.starts, self.anchors(anchors_of), span, offset),
            ),
        )

    def measure(self, measure: Measure, anchors_of: int) -> Floats:
        """A measure at the anchors of a mask: float64 (m,), NaN where there is no value."""
        lo, hi = self.bounds(anchors_of, measure.span, measure.offset)
        return self._once(
            (measure, anchors_of), lambda: self.evaluate(measure, lo, hi, self.time[self.anchors(anchors_of)])
        )

    def evaluate(self, measure: Measure, lo: Rows, hi: Rows, at: npt.NDArray[np.int64]) -> Floats:
        """A measure over given windows; ``at`` are the times they belong to."""
        return cast("Floats", self._evaluate(measure, lo, hi, at))

    def _evaluate(self, measure: Measure, lo: Rows, hi: Rows, at: npt.NDArray[np.int64]) -> Any:
        mask = self.mask(measure.mask)
        kind, column = measure.kind, measure.column
        if kind == "count":
            return kernels.count(mask, lo, hi)
        if kind == "distinct":
            codes = self.codes(column)
            return kernels.distinct(codes, int(codes.max(initial=-1)) + 1, mask, lo, hi)
        scale = self.entries.scales.get(column, 1)
        values = self.values(column)
        if kind == "sum":
            return kernels.total(values, mask, lo, hi) / scale
        if kind == "mean":
            number = kernels.count(mask, lo, hi)
            with np.errstate(invalid="ignore", divide="ignore"):
                return kernels.total(values, mask, lo, hi) / number / scale
        if kind in ("min", "max"):
            found_values, found = kernels.extreme(values, mask, lo, hi, 1 if kind == "max" else -1)
            return np.where(found, found_values / scale, np.nan)
        if kind == "std":
            spread, found = kernels.deviation(values, mask, lo, hi)
            return np.where(found, spread / scale, np.nan)
        if kind in ("first", "last"):
            edge = kernels.edge_rows(mask, lo, hi, kind == "last")
            picked = values[np.maximum(edge, 0)]
            result = (at - picked) / _DAY if column == "booked_at" else picked / scale
            return np.where(edge >= 0, result, np.nan)
        raise ValueError(f"unknown kind of measure '{kind}'; one of {', '.join(KINDS)}")

    def _once(self, key: Hashable, make: Callable[[], V]) -> V:
        if key not in self._cache:
            self._cache[key] = make()
        return cast("V", self._cache[key])


def summable(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The same values, if no sum over any of them can leave 64 bits.

    Raises
    ------
    OverflowError: it could; a wrapped sum would be a silent wrong answer.
    """
    if float(np.abs(values.astype(np.float64)).sum()) >= 2.0**63:
        raise OverflowError("amounts are too large to add up exactly in 64 bits; use a larger unit as base currency")
    return values


def _renumber(codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    top = int(codes.max(initial=-1)) + 1
    if top <= 4 * codes.size:
        return codes
    _, inverse = np.unique(codes, return_inverse=True)
    small = inverse.astype(np.int32)
    # Unique values are sorted, so nulls (-1) come first.
    return np.where(codes < 0, -1, small - (1 if (codes < 0).any() else 0)).astype(np.int32)


def partition(entries: Entries, per: Sequence[str], masks: Sequence[int] | None = None) -> Iterator[Slice]:
    """Order entries by the columns ``per`` and cut them into slices of whole partitions.

    Entries with a null in ``per`` are left out. With ``masks``, entries that none of them selects
    are left out too: they could not change any measure of those masks.
    """
    order = entries.order
    if masks is not None:
        order = order[_any(entries, masks)[order]]
    for column in reversed(per):
        codes = entries.codes[column]
        order, _ = kernels.counting_sort(codes, int(codes.max(initial=-1)) + 1, order)
    if order.size == 0:
        return
    changed = np.zeros(order.size, np.bool_)
    changed[0] = True
    for column in per:
        keys = entries.codes[column][order]
        changed[1:] |= keys[1:] != keys[:-1]
    begins = np.flatnonzero(changed)
    first = 0
    while first < begins.size:
        last = int(np.searchsorted(begins, begins[first] + SLICE_ROWS))
        last = max(last, first + 1)
        begin = int(begins[first])
        end = int(begins[last]) if last < begins.size else order.size
        inside = begins[first:last] - begin
        lengths = np.diff(np.append(inside, end - begin))
        starts = np.repeat(inside, lengths).astype(np.int32)
        yield Slice(entries, order[begin:end], starts)
        first = last


def _any(entries: Entries, masks: Sequence[int]) -> npt.NDArray[np.bool_]:
    keep = np.zeros(len(entries), np.bool_)
    for number, word in enumerate(entries.words):
        wanted = np.int64(0)
        for mask in masks:
            if mask // BITS == number:
                wanted |= np.int64(1) << np.int64(mask % BITS)
        if wanted:
            keep |= (word & wanted) != 0
    return keep
