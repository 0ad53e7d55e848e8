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

from fintel.engine import kernels, order
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
        return self._once(("mask", index), lambda: cast("Mask", order.bit(self._word(index // BITS), index % BITS)))

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
        return self._once(
            ("anchors", mask), lambda: cast("Rows", order.selected(self._word(mask // BITS), mask % BITS))
        )

    def bounds(self, anchors: Rows, span: int, offset: int) -> tuple[Rows, Rows]:
        """Window bounds at some rows, as half-open ranges of rows of the slice."""
        return cast("tuple[Rows, Rows]", order.window_bounds(self.time, self.starts, anchors, span, offset))

    def measure(self, measure: Measure, anchors_of: int) -> Floats:
        """A measure at the anchors of a mask: float64 (m,), NaN where there is no value."""
        return self._once((measure, anchors_of), lambda: cast("Floats", self._evaluate(measure, anchors_of)))

    def _evaluate(self, measure: Measure, anchors_of: int) -> Any:
        # Only the rows that the mask selects are looked at; windows are ranges of their numbers.
        kind, column, mask = measure.kind, measure.column, measure.mask
        lo, hi = self._ranks(mask, anchors_of, measure.span, measure.offset)
        if kind == "count":
            return (hi - lo).astype(np.float64)
        if kind == "distinct":
            codes = self.codes(column)
            return kernels.distinct(codes[self.anchors(mask)], int(codes.max(initial=-1)) + 1, self._all(mask), lo, hi)
        scale = self.entries.scales.get(column, 1)
        if kind == "sum":
            return self._sums(column, mask, lo, hi) / scale
        if kind == "mean":
            with np.errstate(invalid="ignore", divide="ignore"):
                return self._sums(column, mask, lo, hi) / (hi - lo) / scale
        values = self._picked(column, mask)
        if kind in ("min", "max"):
            best, found = kernels.extreme(values, self._all(mask), lo, hi, 1 if kind == "max" else -1)
            return np.where(found, best / scale, np.nan)
        if kind == "std":
            spread, found = kernels.deviation(values, self._all(mask), lo, hi)
            return np.where(found, spread / scale, np.nan)
        if kind in ("first", "last"):
            edge = np.append(values, 0)[hi - 1 if kind == "last" else lo]
            at = self.time[self.anchors(anchors_of)]
            return np.where(lo < hi, (at - edge) / _DAY if column == "booked_at" else edge / scale, np.nan)
        raise ValueError(f"unknown kind of measure '{kind}'; one of {', '.join(KINDS)}")

    def _ranks(self, mask: int, anchors_of: int, span: int, offset: int) -> tuple[Rows, Rows]:
        """Windows at the anchors as half-open ranges in the rows that a mask selects."""

        def find() -> tuple[Rows, Rows]:
            rows, anchors = self.anchors(mask), self.anchors(anchors_of)
            times = self._picked("booked_at", mask)
            return cast(
                "tuple[Rows, Rows]", order.window_ranks(rows, times, self.time, self.starts, anchors, span, offset)
            )

        return self._once(("ranks", mask, anchors_of, span, offset), find)

    def _picked(self, column: str, mask: int) -> npt.NDArray[np.int64]:
        """Integers of a column at the rows that a mask selects."""
        return self._once(("picked", column, mask), lambda: self.values(column)[self.anchors(mask)])

    def _sums(self, column: str, mask: int, lo: Rows, hi: Rows) -> npt.NDArray[np.int64]:
        """Exact integer sums over ranges of the rows that a mask selects."""

        def add_up() -> npt.NDArray[np.int64]:
            return np.concatenate(([0], np.cumsum(self._picked(column, mask))))

        running = self._once(("running", column, mask), add_up)
        return cast("npt.NDArray[np.int64]", running[hi] - running[lo])

    def _all(self, mask: int) -> Mask:
        return self._once(("all", mask), lambda: np.ones(self.anchors(mask).size, np.uint8))

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
    ordered = entries.order
    if masks is not None:
        ordered = ordered[_any(entries, masks)[ordered]]
    for column in reversed(per):
        codes = entries.codes[column]
        ordered, _ = order.counting_sort(codes, int(codes.max(initial=-1)) + 1, ordered)
    if ordered.size == 0:
        return
    changed = np.zeros(ordered.size, np.bool_)
    changed[0] = True
    for column in per:
        keys = entries.codes[column][ordered]
        changed[1:] |= keys[1:] != keys[:-1]
    begins = np.flatnonzero(changed)
    first = 0
    while first < begins.size:
        last = int(np.searchsorted(begins, begins[first] + SLICE_ROWS))
        last = max(last, first + 1)
        begin = int(begins[first])
        end = int(begins[last]) if last < begins.size else ordered.size
        inside = begins[first:last] - begin
        lengths = np.diff(np.append(inside, end - begin))
        starts = np.repeat(inside, lengths).astype(np.int32)
        yield Slice(entries, ordered[begin:end], starts)
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
