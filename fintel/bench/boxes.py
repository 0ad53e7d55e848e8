"""For which settings each measured point is a hit, and how many accounts each setting alerts.

A setting is a tuple of indices, one into the values of each axis (a swept parameter). A point hits at
the settings of a *box*: an interval of indices on every axis (several boxes where ``when`` has *or*).
A box inside another of the same account and month adds nothing and is dropped; what is left is tested
against every setting by one compiled loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.bench.thresholds import Comparison, Criterion, Every, Formula, Some, Truth, compare, truth_of, value_of
from fintel.errors import RuleError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]

#: Boxes at once: what *or* in *or* can multiply a point into is bounded.
MAX_BOXES = 200_000_000
#: Points looked at together.
_PIECE = 1_000_000
#: Boxes of one account and month that a new one is held against; older ones cannot hide it any more.
_KEPT = 64

_jit = numba.njit(nogil=True, cache=True)


@dataclass(frozen=True)
class Boxes:
    """``rows`` (m): the point; ``low``, ``high`` (m, k): first and last index on every axis."""

    rows: npt.NDArray[np.int64]
    low: Indices
    high: Indices


def boxes_of(
    criterion: Criterion, measures: Mapping[str, Floats], axes: Mapping[str, Floats], *, threads: int = 1
) -> Boxes:
    """Where in the settings every point hits; points that no setting hits are left out.

    Parameters
    ----------
    measures: float64 (n) each, NaN where there is no value.
    axes: ascending values of each open parameter, as ``when`` compares them.

    Raises
    ------
    RuleError: a condition cannot be swept (``Criterion.tangled`` says so before).
    """
    tangled = criterion.tangled()
    if tangled:
        name, why = next(iter(tangled.items()))
        raise RuleError(f"'{name}' cannot be swept: {why}", hint=f"--rerun {name}=…")
    size = next((v.size for v in measures.values()), 0)

    def piece(begin: int) -> Boxes:
        part = {name: values[begin : begin + _PIECE] for name, values in measures.items()}
        found = _Piece(criterion, part, axes).boxes()
        return Boxes(found.rows + begin, found.low, found.high)

    with ThreadPoolExecutor(max(threads, 1), thread_name_prefix="fintel-boxes") as pool:
        parts = list(pool.map(piece, range(0, size, _PIECE)))
    return _join(parts, len(axes))


class _Piece:
    """Some points. Conditions are applied one after the other, each to the boxes that are left."""

    def __init__(self, criterion: Criterion, measures: Mapping[str, Floats], axes: Mapping[str, Floats]) -> None:
        self.criterion = criterion
        self.frame = pl.DataFrame(dict(measures)).fill_nan(None)
        self.axes = dict(axes)
        self.number = {name: i for i, name in enumerate(axes)}

    def boxes(self) -> Boxes:
        """Boxes of these points."""
        size, width = self.frame.height, len(self.axes)
        last = np.array([v.size - 1 for v in self.axes.values()], np.int32)
        whole = Boxes(np.arange(size), np.zeros((size, width), np.int32), np.tile(last, (size, 1)))
        return self._within(self.criterion.formula, whole)

    def _within(self, formula: Formula, boxes: Boxes) -> Boxes:
        if isinstance(formula, Every):
            # without parameters first: what they leave over is all that the others look at
            for part in sorted(
                formula.parts, key=lambda p: not isinstance(p, (Comparison, Truth)) or bool(p.parameters)
            ):
                boxes = self._within(part, boxes)
            return boxes
        if isinstance(formula, Some):
            found = [self._within(part, boxes) for part in formula.parts]
            if sum(f.rows.size for f in found) > MAX_BOXES:
                raise RuleError("'when' has too many alternatives to be swept")
            return _join(found, len(self.axes))
        if boxes.rows.size == 0:
            return boxes
        frame = self.frame.select(sorted(formula.columns & set(self.frame.columns)))[boxes.rows]
        if isinstance(formula, Truth) or not formula.parameters:
            held = truth_of(formula, _with_height(frame, boxes.rows.size))
            return Boxes(boxes.rows[held], boxes.low[held], boxes.high[held])
        (name,) = formula.parameters
        axis = self.number[name]
        low, high = self._interval(formula, name, _with_height(frame, boxes.rows.size))
        low, high = np.maximum(low, boxes.low[:, axis]), np.minimum(high, boxes.high[:, axis])
        held = low <= high
        kept = Boxes(boxes.rows[held], boxes.low[held], boxes.high[held])
        kept.low[:, axis], kept.high[:, axis] = low[held], high[held]
        return kept

    def _interval(self, leaf: Comparison, name: str, frame: pl.DataFrame) -> tuple[Any, Any]:
        """First and last index of the axis at which a comparison holds in each row; first > last: nowhere."""
        values = self.axes[name]
        if leaf.bare == name:
            return _against(leaf.operator, value_of(leaf.left, frame), values)
        column, top = self.criterion.columns[name], values.size - 1

        def holds(rows: Any, index: Any) -> npt.NDArray[np.bool_]:
            tried = frame[rows].with_columns(pl.Series(column, np.broadcast_to(values[index], rows.size)))
            return compare(leaf.operator, value_of(leaf.left, tried), value_of(leaf.right, tried))

        everyone = np.arange(frame.height)
        at_first, at_last = holds(everyone, 0), holds(everyone, top)
        low = np.where(at_first, 0, np.where(at_last, top, 1)).astype(np.int32)
        high = np.where(at_last, top, 0).astype(np.int32)
        changing = np.flatnonzero(at_first != at_last)
        # `same` holds what the first index gives, `other` what the last gives; halve what lies between
        same, other = np.zeros(changing.size, np.int64), np.full(changing.size, top)
        while changing.size and (other - same).max(initial=0) > 1:
            middle = (same + other) // 2
            like_first = holds(changing, middle) == at_first[changing]
            same, other = np.where(like_first, middle, same), np.where(like_first, other, middle)
        rising = at_last[changing]
        low[changing[rising]] = other[rising]
        high[changing[~rising]] = same[~rising]
        return low, high


def _against(operator: str, left: Floats, values: Floats) -> tuple[Indices, Indices]:
    """As ``_interval``, of ``left operator parameter`` with the parameter alone."""
    side: Any = "right" if operator in (">=", "<") else "left"
    edge = np.searchsorted(values, left, side=side).astype(np.int32)
    unknown = np.isnan(left)
    if operator in (">=", ">"):
        return np.zeros(edge.size, np.int32), np.where(unknown, -1, edge - 1).astype(np.int32)
    return np.where(unknown, values.size, edge).astype(np.int32), np.full(edge.size, values.size - 1, np.int32)


def _with_height(frame: pl.DataFrame, height: int) -> pl.DataFrame:
    return frame if frame.width else pl.DataFrame({"": np.zeros(height, np.int8)})


def _join(parts: Sequence[Boxes], width: int) -> Boxes:
    if not parts:
        return Boxes(np.zeros(0, np.int64), np.zeros((0, width), np.int32), np.zeros((0, width), np.int32))
    return Boxes(
        np.concatenate([p.rows for p in parts]),
        np.concatenate([p.low for p in parts]),
        np.concatenate([p.high for p in parts]),
    )


@dataclass(frozen=True)
class Stacks:
    """Boxes in order of account and month.

    ``account`` (a): codes of accounts that some setting alerts; ``months`` (a + 1): the first of each
    account's months; ``starts`` (g + 1): the first box of each month; ``month`` (g): its number.
    """

    low: Indices
    high: Indices
    account: npt.NDArray[np.int32]
    months: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    month: npt.NDArray[np.int64]

    @property
    def boxes(self) -> int:
        """How many boxes are left to be tested."""
        return int(self.low.shape[0])


def stack(boxes: Boxes, account: npt.NDArray[np.int32], month: npt.NDArray[np.int32]) -> Stacks:
    """Sort boxes by account and month (of every point) and drop those that others cover."""
    accounts, months = account[boxes.rows], month[boxes.rows]
    # large boxes first, so that they are there to cover small ones
    volume = np.log1p(boxes.high - boxes.low).sum(axis=1)
    order = np.lexsort((-volume, months, accounts))
    accounts, months = accounts[order], months[order]
    low, high = boxes.low[order], boxes.high[order]
    fresh = _fresh(accounts, months)
    keep = _uncovered(low, high, np.append(np.flatnonzero(fresh), order.size)).view(np.bool_)
    accounts, months, low, high = accounts[keep], months[keep], low[keep], high[keep]
    starts = np.flatnonzero(_fresh(accounts, months))
    owners = accounts[starts]
    first = np.flatnonzero(_fresh(owners))
    return Stacks(
        np.ascontiguousarray(low),
        np.ascontiguousarray(high),
        owners[first],
        np.append(first, starts.size),
        np.append(starts, accounts.size),
        months[starts].astype(np.int64),
    )


def _fresh(*keys: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    fresh = np.ones(keys[0].size, np.bool_)
    if fresh.size:
        fresh[1:] = np.logical_or.reduce([k[1:] != k[:-1] for k in keys])
    return fresh


def count_alerts(
    stacks: Stacks, settings: Indices, groups: npt.NDArray[np.uint8], *, threads: int = 1, pieces: int = 16
) -> npt.NDArray[np.int64]:
    """What each setting alerts: int64 (s, 4): accounts, accounts times months, accounts of group 1 and of group 2.

    Parameters
    ----------
    settings: int32 (s, k), indices into the axes.
    groups: uint8 (a): 1 and 2 are two halves of the accounts known to be suspicious, 0 all others.
    """
    low, high = _spans(stacks.low, stacks.high, stacks.starts[stacks.months])

    def some(rows: Indices) -> npt.NDArray[np.int64]:
        return _count(  # type: ignore[no-any-return]
            np.ascontiguousarray(rows), stacks.low, stacks.high, stacks.starts, stacks.months, low, high, groups
        )

    with ThreadPoolExecutor(max(threads, 1), thread_name_prefix="fintel-tune") as pool:
        return np.concatenate(list(pool.map(some, np.array_split(settings.astype(np.int32), pieces))))


def alerted(stacks: Stacks, setting: Indices) -> npt.NDArray[np.int64]:
    """In how many months one setting alerts each account of ``stacks.account``: int64 (a)."""
    return _months(setting.astype(np.int32), stacks.low, stacks.high, stacks.starts, stacks.months)  # type: ignore[no-any-return]


@_jit
def _inside(setting: Any, low: Any, high: Any, row: int) -> bool:
    for k in range(setting.size):  # noqa: SIM110 - a loop is what compiles well
        if setting[k] < low[row, k] or setting[k] > high[row, k]:
            return False
    return True


@_jit
def _uncovered(low: Any, high: Any, starts: Any) -> Any:
    """1 for boxes that no box before them in their group covers: uint8 (m)."""
    keep = np.zeros(low.shape[0], np.uint8)
    kept = np.empty(_KEPT, np.int64)
    for g in range(starts.size - 1):
        number = 0
        for row in range(starts[g], starts[g + 1]):
            covered = False
            for i in range(min(number, _KEPT)):
                covered = True
                other = kept[i]
                for k in range(low.shape[1]):
                    if low[row, k] < low[other, k] or high[row, k] > high[other, k]:
                        covered = False
                        break
                if covered:
                    break
            if not covered:
                keep[row] = 1
                if number < _KEPT:
                    kept[number] = row
                number += 1
    return keep


@_jit
def _spans(low: Any, high: Any, starts: Any) -> Any:
    """The smallest box round all boxes of each account."""
    accounts = starts.size - 1
    least = np.empty((accounts, low.shape[1]), np.int32)
    most = np.empty((accounts, low.shape[1]), np.int32)
    for a in range(accounts):
        for k in range(low.shape[1]):
            least[a, k] = low[starts[a], k]
            most[a, k] = high[starts[a], k]
            for row in range(starts[a] + 1, starts[a + 1]):
                least[a, k] = min(least[a, k], low[row, k])
                most[a, k] = max(most[a, k], high[row, k])
    return least, most


@_jit
def _count(settings: Any, low: Any, high: Any, starts: Any, months: Any, least: Any, most: Any, groups: Any) -> Any:
    out = np.zeros((settings.shape[0], 4), np.int64)
    for s in range(settings.shape[0]):
        setting = settings[s]
        for a in range(months.size - 1):
            if not _inside(setting, least, most, a):
                continue
            hit = False
            for g in range(months[a], months[a + 1]):
                for row in range(starts[g], starts[g + 1]):
                    if _inside(setting, low, high, row):
                        out[s, 1] += 1
                        hit = True
                        break
            if hit:
                out[s, 0] += 1
                if groups[a] == 1:
                    out[s, 2] += 1
                elif groups[a] == 2:
                    out[s, 3] += 1
    return out


@_jit
def _months(setting: Any, low: Any, high: Any, starts: Any, months: Any) -> Any:
    out = np.zeros(months.size - 1, np.int64)
    for a in range(months.size - 1):
        for g in range(months[a], months[a + 1]):
            for row in range(starts[g], starts[g + 1]):
                if _inside(setting, low, high, row):
                    out[a] += 1
                    break
    return out
