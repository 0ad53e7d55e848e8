"""What the kernels of the graph stage share: the record of an edge, settings, columns, and parts.

A *part* is a family of columns, or a share of one, that is computed on its own: it has its own state and its own
kernel, reads the edges and writes its columns. All parts walk the same edges in the same order, so they can run one
after another for one payment, or each in its own thread for millions; the numbers are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = Any

#: One payment, in one cache line. ``time`` µs UTC, ``amount`` units of 1e-5 base currency (-1 unknown), ``pair`` the
#: dense number of (source, target), that of (target, source) being ``pair ^ 1``. All else are edge numbers, -1: none.
#: ``reverse`` the latest payment back, ``before_*`` the payment before this one of the same pair, out of the same
#: source, into the same target, ``source_in`` the latest into the source, ``target_out`` the latest out of the
#: target: all as they stood when this payment came, so that whoever follows them never sees the future. ``after_*``
#: are the way back, and do point to the future once later payments are in.
EDGE = np.dtype(
    [("time", "i8"), ("amount", "i8")]
    + [
        (name, "i4")
        for name in (
            "source", "target", "pair", "reverse", "before_pair", "before_out", "before_in",
            "source_in", "target_out", "after_pair", "after_out", "after_in",
        )
    ]
)  # fmt: skip
assert EDGE.itemsize == 64

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Settings:
    """What the columns look at.

    windows: trailing windows (t - window, t] of the statistics of both ends, shortest first.
    meeting_windows: of motifs over two steps, whose number grows with the square of the window.
    cycle_windows, cycle_hops: of cycles in time order and how many payments they have at most.
    cap: at most so many latest neighbours of an account are looked at for a payment.
    budget: at most so many payments are looked at for the cycles that one payment closes.
    tolerance, fee: money is passed on if the next amount lies in [x * (1 - fee - tolerance), x * (1 + tolerance)].
    dwell: how long money may lie before it is passed on.
    """

    windows: tuple[timedelta, ...] = (_DAY, 7 * _DAY, 30 * _DAY)
    meeting_windows: tuple[timedelta, ...] = (6 * _HOUR, _DAY)
    cycle_windows: tuple[timedelta, ...] = (_DAY, 7 * _DAY)
    cycle_hops: int = 10
    cap: int = 512
    budget: int = 2_000
    tolerance: float = 0.05
    fee: float = 0.10
    dwell: timedelta = 48 * _HOUR

    def __post_init__(self) -> None:
        for name in ("windows", "meeting_windows", "cycle_windows"):
            spans = getattr(self, name)
            if list(spans) != sorted(set(spans)) or any(span <= timedelta() for span in spans):
                raise ValueError(f"{name} must be positive, different and rising")
        if self.cap < 1 or self.budget < 1 or not 2 <= self.cycle_hops <= 10:
            raise ValueError("cap and budget must be at least 1, cycle_hops from 2 to 10")
        if self.dwell <= timedelta() or not (0 <= self.tolerance < 1 and 0 <= self.fee < 1):
            raise ValueError("dwell must be positive, tolerance and fee from 0 to less than 1")

    @staticmethod
    def label(window: timedelta) -> str:
        """A window as it stands in a column's name: ``90m``, ``6h``, ``1d``."""
        seconds = round(window.total_seconds())
        for letter, unit in (("d", 86_400), ("h", 3_600), ("m", 60)):
            if seconds % unit == 0:
                return f"{seconds // unit}{letter}"
        return f"{seconds}s"


def microseconds(spans: tuple[timedelta, ...]) -> npt.NDArray[np.int64]:
    """Spans as int64 microseconds."""
    return np.array([span // MICROSECOND for span in spans], np.int64)


@dataclass(frozen=True)
class GraphColumn:
    """A column of edge features. ``kind``: ``count`` is int32, ``real`` float32. ``unit``: what the number counts."""

    name: str
    family: str
    unit: str
    doc: str
    window: timedelta | None = None
    kind: Literal["count", "real"] = "count"


@dataclass(frozen=True)
class Part:
    """A family of columns, or a share of one, computed on its own.

    columns: counts first, then reals: the order in which the kernel numbers them.
    settings: a NamedTuple of scalars and small arrays. State: a NamedTuple of arrays and nothing else.
    empty(nodes, edges): the state before the first edge, with room for so many.
    grown(state, nodes, edges): the same with room for more of both.
    more(state): the same with more of the room that the kernel said it lacks.
    advance(edges, begin, end, first, settings, state, integers, reals, truncated): a kernel that takes edges
    begin … end - 1; edge e has column e - first in ``integers`` (int32), ``reals`` (float32) and ``truncated`` (uint8),
    which are zero before. Returns ``end``, or the edge before which it needs more room.
    """

    name: str
    columns: tuple[GraphColumn, ...]
    settings: Any
    empty: Callable[[int, int], Any]
    grown: Callable[[Any, int, int], Any]
    more: Callable[[Any], Any]
    advance: Callable[..., int]

    @property
    def integers(self) -> int:
        """How many columns are counts."""
        return sum(c.kind == "count" for c in self.columns)

    def __post_init__(self) -> None:
        kinds = [c.kind for c in self.columns]
        assert kinds == sorted(kinds), "counts stand before reals"


def enlarged(array: npt.NDArray[Any], rows: int, fill: Any = None) -> npt.NDArray[Any]:
    """The array with at least ``rows`` rows; new ones hold ``fill``, or zeros. The same array if it has them."""
    if len(array) >= rows:
        return array
    wider = np.zeros((rows, *array.shape[1:]), array.dtype)
    wider[: len(array)] = array
    if fill is not None:
        wider[len(array) :] = fill
    return wider
