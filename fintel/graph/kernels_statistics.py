"""What flows out of and into both ends of a payment, in trailing windows up to and with this payment.

One part for each side (out, in), all windows together; a payment is added once and leaves each window once. Sums of
amounts, of their squares and of their cubes are integers of 64, 128 and 192 bits, so nothing drifts however long
payments come and go, and the spread of amounts that differ in their last digit is right. The largest amount is the
front of a monotone queue; all windows share one, as each window's queue is a tail of the longest one's.

Self-transfers change nothing; their rows tell how the account stands.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from fintel.domain.schema import MONEY_UNITS
from fintel.graph.layout import GraphColumn, Part, Settings, enlarged, microseconds
from fintel.graph.prefetch import AHEAD, prefetch
from fintel.graph.wide import add, cubed, float_of, signed_float, subtract, times, wide

Array = Any

_jit = numba.njit(nogil=True, cache=True)

OUT, IN = 0, 1
#: One side of an account in one window: payments, those of known amount, different counterparties, the payment with
#: the largest amount (-1: none) and that amount, times of the oldest and of the latest payment, Σx, Σx² and Σx³ (lowest
#: word first). Times and the amount stand here, though the payments have them, to spare a walk to each.
SIDE = np.dtype(
    [(name, "i4") for name in ("payments", "known", "fan", "largest")]
    + [(name, "i8") for name in ("most", "since", "until", "sum")]
    + [(name, "u8") for name in ("square0", "square1", "cube0", "cube1", "cube2")]
)
#: In the queue of largest amounts: the next one towards the older (and larger), and towards the younger.
RANK = np.dtype([("larger", "i4"), ("smaller", "i4")])
_NONE = np.zeros((), SIDE)
_NONE["largest"] = -1

_COUNTS = (
    ("fan_{side}", "accounts", "Different {others} of the {role}"),
    ("payments_{side}", "payments", "Payments {way} the {role}"),
)
_REALS = (
    ("sum_{side}", "base", "Sum of payments {way} the {role}; NaN if all their amounts are unknown"),
    ("mean_{side}", "base", "Mean of payments {way} the {role}; NaN if there is none of known amount"),
    ("std_{side}", "base", "Standard deviation of payments {way} the {role}; NaN if there is none of known amount"),
    ("skew_{side}", "ratio", "Skewness of payments {way} the {role}; NaN below three, or if all are equal"),
    ("max_{side}", "base", "Largest payment {way} the {role}; NaN if there is none of known amount"),
    ("gap_{side}", "seconds", "Mean time between payments {way} the {role}; NaN below two"),
)
_WORDS = {
    OUT: {"side": "out", "others": "payees", "way": "out of"},
    IN: {"side": "in", "others": "payers", "way": "into"},
}
_ROLES = ("source", "target")


class StatisticsSettings(NamedTuple):
    """side: ``OUT`` or ``IN``; windows: int64 (w,) µs."""

    side: int
    windows: Array


class Statistics(NamedTuple):
    """sides: SIDE (n, w); ranks: RANK (m,); counters: int64 (w,): the next payment to leave each window."""

    sides: Array
    ranks: Array
    counters: Array


def parts(settings: Settings) -> tuple[Part, ...]:
    """Statistics of the side out and of the side in."""
    return tuple(_part(side, settings) for side in (OUT, IN))


def _part(side: int, settings: Settings) -> Part:
    windows = microseconds(settings.windows)

    def empty(nodes: int, edges: int) -> Statistics:
        sides = np.full((nodes, windows.size), _NONE)
        return Statistics(sides, np.zeros(edges, RANK), np.zeros(windows.size, np.int64))

    def grown(state: Statistics, nodes: int, edges: int) -> Statistics:
        return Statistics(enlarged(state.sides, nodes, _NONE), enlarged(state.ranks, edges), state.counters)

    return Part(
        name=f"statistics_{_WORDS[side]['side']}",
        columns=_columns(side, settings),
        settings=StatisticsSettings(side, windows),
        empty=empty,
        grown=grown,
        more=lambda state: state,
        advance=advance,
    )


def _columns(side: int, settings: Settings) -> tuple[GraphColumn, ...]:
    return tuple(
        GraphColumn(
            f"{role}_{name.format(**_WORDS[side])}_{settings.label(window)}",
            "statistics",
            unit,
            doc.format(**_WORDS[side], role=role),
            window,
            "count" if lines is _COUNTS else "real",
        )
        for lines in (_COUNTS, _REALS)
        for role in _ROLES
        for window in settings.windows
        for name, unit, doc in lines
    )


@_jit
def _enter(edges: Array, e: int, before: int, node: Array, ranks: Array, cutoff: int, fresh: Array) -> None:
    """Add payment e to all windows of a node (SIDE (w,)). ``fresh``: whether its counterparty is new to a window."""
    amount = edges[e].amount
    larger = before
    while larger >= 0 and edges[larger].amount <= amount and edges[larger].time > cutoff:
        for w in range(node.size):
            if node[w].largest == larger:
                node[w].largest = e
                node[w].most = amount
        larger = ranks[larger].larger
    if larger >= 0 and edges[larger].time <= cutoff:
        larger = -1
    ranks[e].larger = larger
    if larger >= 0:
        ranks[larger].smaller = e
    if amount >= 0:
        x = np.uint64(amount)
        square1, square0 = wide(x, x)
        cube2, cube1, cube0 = cubed(x)
    for w in range(node.size):
        if node[w].payments == 0:
            node[w].largest = e
            node[w].most = amount
            node[w].since = edges[e].time
        node[w].payments += 1
        node[w].until = edges[e].time
        node[w].fan += fresh[w]
        if amount >= 0:
            node[w].known += 1
            node[w].sum += amount
            _, node[w].square1, node[w].square0 = add(
                np.uint64(0), node[w].square1, node[w].square0, np.uint64(0), square1, square0
            )
            node[w].cube2, node[w].cube1, node[w].cube0 = add(
                node[w].cube2, node[w].cube1, node[w].cube0, cube2, cube1, cube0
            )


@_jit
def _leave(edges: Array, f: int, after: int, here: Any, ranks: Array, gone: int) -> None:
    """Take payment f, the oldest, out of one window of a node. ``gone``: 1 if its counterparty leaves with it."""
    amount = edges[f].amount
    here.payments -= 1
    here.fan -= gone
    if here.payments == 0:
        here.largest = -1
    else:
        here.since = edges[after].time
        if here.largest == f:
            here.largest = ranks[f].smaller
            here.most = edges[here.largest].amount
    if amount >= 0:
        x = np.uint64(amount)
        square1, square0 = wide(x, x)
        cube2, cube1, cube0 = cubed(x)
        here.known -= 1
        here.sum -= amount
        _, here.square1, here.square0 = subtract(
            np.uint64(0), here.square1, here.square0, np.uint64(0), square1, square0
        )
        here.cube2, here.cube1, here.cube0 = subtract(here.cube2, here.cube1, here.cube0, cube2, cube1, cube0)


@_jit
def _tell(node: Array, integers: Array, reals: Array, c: int, r: int, row: int) -> None:
    """Write the columns of one end of a payment, from ``c`` and ``r`` on."""
    for w in range(node.size):
        here = node[w]
        payments, known = here.payments, here.known
        integers[c, row] = here.fan
        integers[c + 1, row] = payments
        c += 2
        total = mean = std = skew = most = gap = np.nan
        if payments == 0:
            total = 0.0
        if payments > 1:
            gap = (here.until - here.since) / (payments - 1) / 1e6
        if known > 0:
            most = here.most / MONEY_UNITS
            # Larger sums would not fit; they are told as unknown, and are right again once they do.
            if float(here.most) * known < 4.6e18:
                total = here.sum / MONEY_UNITS
                mean = total / known
                std = 0.0
                if known > 1:
                    n, s1 = np.uint64(known), np.uint64(here.sum)
                    d2, d1, d0 = times(np.uint64(0), here.square1, here.square0, n)
                    f1, f0 = wide(s1, s1)
                    d2, d1, d0 = subtract(d2, d1, d0, np.uint64(0), f1, f0)
                    spread = float_of(d2, d1, d0)
                    root = np.sqrt(spread)
                    std = root / known / MONEY_UNITS
                    if known > 2 and spread > 0:
                        # n³ times the third central moment: n (n Σx³ - 3 Σx Σx²) + 2 (Σx)³
                        a2, a1, a0 = times(here.cube2, here.cube1, here.cube0, n)
                        b2, b1, b0 = times(np.uint64(0), here.square1, here.square0, s1)
                        b2, b1, b0 = times(b2, b1, b0, np.uint64(3))
                        a2, a1, a0 = subtract(a2, a1, a0, b2, b1, b0)
                        a2, a1, a0 = times(a2, a1, a0, n)
                        b2, b1, b0 = times(np.uint64(0), f1, f0, s1)
                        a2, a1, a0 = add(a2, a1, a0, b2, b1, b0)
                        a2, a1, a0 = add(a2, a1, a0, b2, b1, b0)
                        skew = signed_float(a2, a1, a0) / (spread * root)
        reals[r, row] = total
        reals[r + 1, row] = mean
        reals[r + 2, row] = std
        reals[r + 3, row] = skew
        reals[r + 4, row] = most
        reals[r + 5, row] = gap
        r += 6


@_jit
def advance(
    edges: Array,
    begin: int,
    end: int,
    first: int,
    settings: StatisticsSettings,
    state: Statistics,
    integers: Array,
    reals: Array,
    truncated: Array,
) -> int:
    """The kernel (see ``layout.Part``)."""
    side, windows = settings
    sides, ranks, tails = state
    size = windows.size
    out = side == OUT
    fresh = np.zeros(size, np.int32)
    for e in range(begin, end):
        now = edges[e].time
        u, v = edges[e].source, edges[e].target
        if e + AHEAD < end:
            prefetch(sides, edges[e + AHEAD].source)
            prefetch(sides, edges[e + AHEAD].target)
            prefetch(edges, max(edges[e + AHEAD].before_pair, 0))
        for w in range(size):
            f = tails[w]
            if f + AHEAD < e:
                leaver = edges[f + AHEAD].source if out else edges[f + AHEAD].target
                prefetch(sides[:, w], leaver)
                prefetch(edges, max(edges[f + AHEAD].after_out if out else edges[f + AHEAD].after_in, 0))
            start = now - windows[w]
            while edges[f].time <= start:
                if edges[f].source != edges[f].target:
                    again = edges[f].after_pair
                    gone = 0 if 0 <= again < e else 1
                    after = edges[f].after_out if out else edges[f].after_in
                    leaver = edges[f].source if out else edges[f].target
                    _leave(edges, f, after, sides[leaver, w], ranks, gone)
                f += 1
            tails[w] = f
        if u != v:
            again = edges[e].before_pair
            for w in range(size):
                fresh[w] = 0 if again >= 0 and edges[again].time > now - windows[w] else 1
            before = edges[e].before_out if out else edges[e].before_in
            _enter(edges, e, before, sides[u if out else v], ranks, now - windows[size - 1], fresh)
        row = e - first
        _tell(sides[u], integers, reals, 0, 0, row)
        _tell(sides[v], integers, reals, 2 * size, 6 * size, row)
    return end
