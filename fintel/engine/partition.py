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

from fintel.engine import order
from fintel.engine.arrays import BITS, Entries
from fintel.engine.values import KINDS, Window, evaluate

V = TypeVar("V")
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.uint8]
#: Pairs of columns: the anchor's and the others', which must be equal.
Same = tuple[tuple[str, str], ...]

__all__ = ["KINDS", "Measure", "Selection", "Slice", "Step", "Window", "partition", "summable"]
#: Rows in a slice, about: small enough to stay in cache, large enough to keep overheads away.
SLICE_ROWS = 1_000_000
#: Numbers are counted as they are up to so many a row; beyond it they are numbered anew.
_SPARSE = 4


@dataclass(frozen=True, slots=True)
class Step:
    """Entries of a mask before which, within ``span`` µs, stand ``at_least`` of another selection."""

    mask: int
    after: Selection
    span: int
    at_least: int = 1
    same: Same = ()


#: What selects entries: a mask by its index, or a step of a chain.
Selection = int | Step


@dataclass(frozen=True, slots=True)
class Measure:
    """One number at an anchor: ``kind`` of ``column`` over (t - offset - span, t - offset].

    ``mask`` selects rows; ``span`` and ``offset`` are microseconds. ``first`` and ``last`` of
    ``booked_at`` are in days before the anchor. ``same`` keeps the rows that equal the anchor in
    some columns; ``of`` is what ``top`` adds up, nothing for a count.
    """

    kind: str
    column: str
    mask: Selection
    span: int
    offset: int = 0
    same: Same = ()
    of: str = ""


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

    def anchors(self, selection: Selection) -> Rows:
        """Rows that are selected, ascending."""
        if isinstance(selection, Step):
            return self._once(("anchors", selection), lambda: self._linked(selection))
        word, bit = selection // BITS, selection % BITS
        return self._once(("anchors", selection), lambda: cast("Rows", order.selected(self._word(word), bit)))

    def _linked(self, step: Step) -> Rows:
        window = self.window(step.after, step.mask, step.span, 0, step.same, before=1)
        return self.anchors(step.mask)[window.in_order(window.hi - window.lo) >= step.at_least]

    def window(
        self, selection: Selection, anchors: Selection, span: int, offset: int, same: Same = (), before: int = 0
    ) -> Window:
        """Where the windows of anchors lie among the rows of a selection.

        ``same``: only rows that equal the anchor; ``before``: 1 leaves the anchor itself out.
        """
        key = ("window", selection, anchors, span, offset, same, before)
        return self._once(key, lambda: self._find(selection, anchors, span, offset, same, before))

    def _find(self, chosen: Selection, at: Selection, span: int, offset: int, same: Same, before: int) -> Window:
        rows, anchors = self.anchors(chosen), self.anchors(at)
        if not same:
            times = self._once(("times", chosen), lambda: self.time[rows])
            lo, hi = order.window_ranks(rows, times, self.time, self.starts, anchors, span, offset, before)
            return Window((chosen, ()), rows, times, lo, hi, None)
        keys, rows, times, wanted, sequence = self._once(
            ("keys", chosen, at, same), lambda: self._match(rows, anchors, same)
        )
        ordered = anchors[sequence]
        lo, hi = order.matched_ranks(
            keys, rows, times, wanted[sequence], ordered, self.time[ordered], span, offset, before
        )
        return Window((chosen, at, same), rows, times, lo, hi, sequence)

    def _match(self, rows: Rows, anchors: Rows, same: Same) -> tuple[Any, ...]:
        """Rows and anchors by what must be equal: a number for each set of values in each partition."""
        theirs, mine, width = np.zeros(rows.size, np.int64), np.zeros(anchors.size, np.int64), 1
        for here, there in same:
            a, b = self._entry_codes(there, rows), self._entry_codes(here, anchors)
            if here != there:
                a = self.entries.translated(there, here)[a]
            values = max(int(a.max(initial=-1)), int(b.max(initial=-1)), 0) + 1
            theirs = np.where((a >= 0) & (theirs >= 0), theirs * values + a, -1)
            mine = np.where((b >= 0) & (mine >= 0), mine * values + b, -1)
            width *= values
            if width > _SPARSE * (rows.size + anchors.size):  # also keeps the product within 64 bits
                known, joint = np.unique(np.concatenate((theirs, mine)), return_inverse=True)
                joint -= int(known.size > 0 and known[0] < 0)
                theirs, mine, width = joint[: rows.size], joint[rows.size :], known.size
        kept, sequence = _by_number(theirs, width), _by_number(mine, width)
        sequence = np.concatenate((np.flatnonzero(mine < 0), sequence))
        # Within a number rows ascend, and so do partitions: no second sort is needed.
        keys = theirs[kept] * len(self) + self.starts[rows[kept]]
        wanted = np.where(mine < 0, -1, mine * len(self) + self.starts[anchors])
        return keys, rows[kept], self.time[rows[kept]], wanted, sequence

    def _entry_codes(self, column: str, rows: Rows) -> npt.NDArray[np.int64]:
        return self.entries.codes[column][self.rows[rows]].astype(np.int64)

    def measure(self, measure: Measure, anchors_of: Selection) -> Floats:
        """A measure at the anchors of a selection: float64 (m,), NaN where there is no value."""
        return self._once((measure, anchors_of), lambda: evaluate(self, measure, anchors_of))

    def remembered(self, key: Hashable, make: Callable[[], V]) -> V:
        """What ``make`` gives, made once for this slice."""
        return self._once(key, make)

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


def _by_number(numbers: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.int64]:
    """Places in the order of their numbers (0 … width - 1); negative ones are left out."""
    places = np.arange(numbers.size, dtype=np.uint32)
    return cast("npt.NDArray[np.int64]", order.counting_sort(numbers, width, places)[0].astype(np.int64))


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
