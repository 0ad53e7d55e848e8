"""Temporal cycles: money that comes back to where it set out, in time order, closed by the payment at hand.

**What a cycle is.** The payment e = (u → v, t) closes a cycle of h payments if there are payments ``v → x1 → … → u``
(h - 1 of them) at strictly rising times, the first later than ``t - window`` and the last earlier than t, over h
different accounts. Parallel payments count once: cycles are counted as sequences of accounts, as in the temporal
cycles of IBM's Graph Feature Preprocessor (Blanuša et al., ICAIF 2024, arXiv 2402.08593; before it Kumar & Calders,
*2SCENT*, PVLDB 2018). A payment sees the past only: a cycle is counted at the payment that closes it and at no other.

**Amounts.** Of a sequence of accounts the *latest* payments are taken, going back from e. ``cycle_retention`` is the
smallest of their amounts divided by the largest (e included), for the best of all cycles of three payments or more; of
a round trip only where there is no other, so that a small payment straight back hides no ring. ``cycle_kept`` is how
many payments that cycle has. ``cycles_conserved`` counts
sequences of *payments* (parallel ones apart) in which each payment is from ``1 - fee - tolerance`` to ``1 +
tolerance`` times the one before.

**Bounds.** The search goes back from u level by level, so short cycles are found first. It looks at no more payments
than :func:`steps` says (fewer in longer windows), and at no more than ``cap`` payments into one account at a time
(hub policy). ``cycle_searched`` says up to how many payments the counts are complete; if that is less than the most
that was asked for, or if the count of conserved ones is not complete, the payment is marked truncated. Counts are
never too high. Conserved cycles are looked for on their own and so go deeper.

**Why it is fast.** Every edge knows the payment into its source that came before it, so the search needs no index.
And time is cut in two: the accounts that v's money reached in the earlier part and those that u's came from in the
later part are two small sets (where either alone would grow exponentially with the payments in the window); if they
do not meet, there is no cycle. When the steps are spent, open paths are still closed by what v is known to have paid:
that makes counts complete for one more payment.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, NamedTuple

import numba
import numpy as np

from fintel.graph.kernels_amounts import MICROSECONDS, kept
from fintel.graph.kernels_forward import NODE, SIEVE, UNSEEN, closes, mark, paid
from fintel.graph.kernels_tracks import FAST, FEWEST, KEPT, NOTED, PASSED, PATH, ROUND, note, on_path
from fintel.graph.layout import GraphColumn, Part, Settings, enlarged

Array = Any

_jit = numba.njit(nogil=True, cache=True)
_inlined = numba.njit(nogil=True, cache=True, forceinline=True)

#: Where the search from the front meets the search from the back: this far into the time since v first paid.
_MEETING = 0.65
_DAY = timedelta(days=1)
(TWO, THREE, FOUR, FIVE_SIX, SEVEN_UP, SHORTEST, SEARCHED, CONSERVED, KEPT_OVER) = range(9)
(RETENTION, FASTEST) = range(2)


class CycleSettings(NamedTuple):
    """Scalars of one window: times in µs, band of the share passed on."""

    window: int
    hops: int
    cap: int
    budget: int
    low: float
    high: float


class CycleState(NamedTuple):
    """nodes: NODE (accounts,). Scratch: paths: PATH (budget + 2,), front: int32, sieve: uint64, tally: float64 (4,),
    noted: int32 (NOTED, 2), which cycles are behind the numbers of the latest payment (``kernels_tracks``)."""

    nodes: Array
    paths: Array
    front: Array
    sieve: Array
    tally: Array
    noted: Array


@_inlined
def _count(
    edges: Array, g: int, paths: Array, at: int, hops: int, integers: Array, row: int, tally: Array, noted: Array
) -> None:
    """A cycle of ``hops`` payments: ``g``, then path ``at``. ``tally``: best retention, latest first payment; best
    retention of the cycles of the fewest payments, and of those over three accounts."""
    integers[min(hops, 5) - 2 if hops < 7 else SEVEN_UP, row] += 1
    least = min(paths[at].least, edges[g].amount)
    most = max(paths[at].most, edges[g].amount)
    retained = least / most if least >= 0 and most > 0 else -1.0
    if integers[SHORTEST, row] == 0:
        integers[SHORTEST, row] = hops
        tally[2] = retained
        note(noted, FEWEST, g, at)
    elif hops == integers[SHORTEST, row] and retained > tally[2]:
        tally[2] = retained
        note(noted, FEWEST, g, at)
    if hops == 3 and (integers[THREE, row] == 1 or retained > tally[3]):
        tally[3] = retained
        note(noted, ROUND, g, at)
    kept_over = integers[KEPT_OVER, row]
    if retained >= 0 and (kept_over == 0 or (hops > 2 and kept_over == 2) or retained > tally[0]):
        integers[KEPT_OVER, row] = hops
        tally[0] = retained
        note(noted, KEPT, g, at)
    if edges[g].time > tally[1]:
        tally[1] = np.float64(edges[g].time)
        note(noted, FAST, g, at)


@_jit
def close(edges: Array, e: int, low: int, settings: Any, state: Any, integers: Array, reals: Array, row: int) -> Any:
    """Count the cycles that ``e`` closes; ``low``: v's first payment in the window. True if something was left out."""
    nodes, paths, front, sieve, tally, noted = state
    u = edges[e].source
    v = edges[e].target
    t = edges[e].time
    until = edges[low].time + np.int64((t - edges[low].time) * _MEETING)
    known = closes(edges, e, low, until, nodes, front)
    integers[SEARCHED, row] = settings.hops
    if known == 0:
        return False
    marked = -1  # whether all that v paid are noted: not tried yet; 0: too many; 1: yes
    paths[0].edge = e
    paths[0].node = u
    paths[0].parent = -1
    paths[0].least = edges[e].amount
    paths[0].most = edges[e].amount
    tally[:] = -1
    size = 1
    begin = 0
    hops = 1
    steps = 0
    spent = False
    searched = settings.hops
    while begin < size and hops < settings.hops:
        stop = size
        last = hops + 1 == settings.hops
        for at in range(begin, stop):
            f = paths[at].edge
            bound = edges[f].time
            closed = False
            cut = spent
            if (last or spent) and marked < 0:
                marked = 1 if mark(edges, e, low, nodes, sieve) else 0
            if not spent and not (last and marked == 1):
                # Payments into this path's first payer, latest first: they extend the path, or close it.
                g = edges[f].source_in
                newest = g
                looked = 0
                while g >= low:
                    steps += 1
                    spent = steps > settings.budget
                    if edges[g].time >= bound and not spent:
                        g = edges[g].before_in
                        newest = g
                        continue
                    looked += 1
                    if spent or looked > settings.cap:
                        cut = True
                        break
                    y = edges[g].source
                    after = edges[g].after_pair
                    if after < 0 or after > newest:  # else the same payer paid again before the bound: seen already
                        if y == v:
                            closed = True
                            _count(edges, g, paths, at, hops + 1, integers, row, tally, noted)
                        elif not last and edges[g].source_in >= low:
                            leads = True
                            if known == 1 and edges[g].time <= until:
                                leads = nodes[y].seen == e + 1 and nodes[y].arrival < edges[g].time
                            if leads and not on_path(paths, at, y):
                                paths[size].edge = g
                                paths[size].node = y
                                paths[size].parent = at
                                paths[size].least = min(paths[at].least, edges[g].amount)
                                paths[size].most = max(paths[at].most, edges[g].amount)
                                size += 1
                    g = edges[g].before_in
            if cut and marked < 0:
                marked = 1 if mark(edges, e, low, nodes, sieve) else 0
            if cut:
                searched = min(searched, hops + marked)
            if (cut or last) and not closed and marked == 1:
                g = paid(edges, e, paths[at].node, bound, nodes, sieve)
                if g >= 0:
                    _count(edges, g, paths, at, hops + 1, integers, row, tally, noted)
        begin = stop
        hops += 1
    integers[SEARCHED, row] = searched
    if tally[0] >= 0:
        reals[RETENTION, row] = tally[0]
    if tally[1] >= 0:
        reals[FASTEST, row] = (t - tally[1]) / MICROSECONDS
    return searched < settings.hops


@_jit
def conserve(
    edges: Array, e: int, low: int, settings: Any, paths: Array, noted: Array, integers: Array, row: int
) -> bool:
    """Count the sequences of payments, closed by ``e``, that pass the amount on. True if something was left out."""
    v = edges[e].target
    paths[0].edge = e
    paths[0].node = edges[e].source
    paths[0].parent = -1
    size = 1
    begin = 0
    hops = 1
    steps = 0
    budget = settings.budget
    cut = False
    found = 0
    while begin < size and hops < settings.hops:
        stop = size
        for at in range(begin, stop):
            f = paths[at].edge
            bound = edges[f].time
            amount = edges[f].amount
            g = edges[f].source_in
            looked = 0
            while g >= low:
                steps += 1
                looked += 1
                if looked > settings.cap or steps > budget:
                    cut = True
                    break
                if edges[g].time < bound and kept(edges[g].amount, amount, settings.low, settings.high):
                    y = edges[g].source
                    if y == v:
                        found += 1
                        if found == 1:
                            note(noted, PASSED, g, at)
                    elif hops + 1 < settings.hops and edges[g].source_in >= low and not on_path(paths, at, y):
                        paths[size].edge = g
                        paths[size].node = y
                        paths[size].parent = at
                        size += 1
                g = edges[g].before_in
            if steps > budget:
                break
        if steps > budget:
            break
        begin = stop
        hops += 1
    integers[CONSERVED, row] = found
    return cut


@_jit
def advance(
    edges: Array, begin: int, end: int, first: int, settings: Any, state: Any,
    integers: Array, reals: Array, truncated: Array,
) -> int:  # fmt: skip
    """Process edges ``begin`` … ``end - 1`` in order. Never needs more room."""
    nodes = state.nodes
    for e in range(begin, end):
        row = e - first
        reals[RETENTION, row] = np.nan
        reals[FASTEST, row] = np.nan
        if edges[e].pair < 0:
            continue
        u = edges[e].source
        v = edges[e].target
        start = edges[e].time - settings.window
        integers[SEARCHED, row] = settings.hops
        low = nodes[v].first_out
        if low >= 0 and edges[low].time <= start:
            while low >= 0 and edges[low].time <= start:
                low = edges[low].after_out
                if low >= e:
                    low = -1
            nodes[v].first_out = low
        if low >= 0 and edges[e].source_in >= low:
            cut = close(edges, e, low, settings, state, integers, reals, row)
            if cut or integers[SHORTEST, row] > 0:
                cut = conserve(edges, e, low, settings, state.paths, state.noted, integers, row) or cut
            if cut:
                truncated[row] = 1
        if nodes[u].first_out < 0:
            nodes[u].first_out = e
    return end


def steps(window: timedelta, budget: int) -> int:
    """Payments that one search looks at: a sixteenth of ``budget`` in windows up to a day, half of that in longer ones.

    A payment may cost three such searches: whether there can be a cycle at all, all cycles, conserved cycles.
    """
    return max(1, budget // (16 if window <= _DAY else 32))


def parts(settings: Settings) -> tuple[Part, ...]:
    """One part per window of ``settings.cycle_windows``."""
    return tuple(_part(window, settings) for window in settings.cycle_windows)


def _part(window: timedelta, settings: Settings) -> Part:
    label = settings.label(window)
    budget = steps(window, settings.budget)
    chosen = CycleSettings(
        window=window // timedelta(microseconds=1),
        hops=settings.cycle_hops,
        cap=settings.cap,
        budget=budget,
        low=1 - settings.fee - settings.tolerance,
        high=1 + settings.tolerance,
    )
    return Part(
        name=f"cycles_{label}",
        columns=_columns(window, label),
        settings=chosen,
        empty=lambda nodes, edges: CycleState(
            enlarged(np.empty(0, NODE), nodes, UNSEEN),
            np.zeros(budget + 2, PATH),
            np.zeros(budget // 2 + 1, np.int32),
            np.zeros(SIEVE, np.uint64),
            np.zeros(4),
            np.zeros((NOTED, 2), np.int32),
        ),
        grown=lambda state, nodes, edges: state._replace(nodes=enlarged(state.nodes, nodes, UNSEEN)),
        more=lambda state: state,
        advance=advance,
    )


def _columns(window: timedelta, label: str) -> tuple[GraphColumn, ...]:
    def column(name: str, unit: str, doc: str, kind: Literal["count", "real"] = "count") -> GraphColumn:
        return GraphColumn(f"{name}_{label}", "cycles", unit, doc, window, kind)

    back = "in which this payment brings money back to its payee in time order"
    return (
        column("cycles_2", "cycles", "Round trips: 1 if the payee paid the payer before."),
        column("cycles_3", "cycles", f"Temporal triangles: ways over 3 accounts {back}."),
        column("cycles_4", "cycles", f"Ways over 4 accounts {back}."),
        column("cycles_5_6", "cycles", f"Ways over 5 or 6 accounts {back}."),
        column("cycles_7_up", "cycles", f"Ways over 7 accounts or more {back}."),
        column("cycle_shortest", "payments", "Payments in the shortest cycle that this payment closes; 0 if none."),
        column("cycle_searched", "payments", "Up to how many payments a cycle was looked for everywhere (see bounds)."),
        column(
            "cycles_conserved", "cycles",
            "Cycles of payments, closed by this one, in which each passes on the one before, less a fee at most.",
        ),
        column(
            "cycle_kept", "payments",
            "Payments in the cycle of which cycle_retention tells; 0 if none, or if no amounts are known.",
        ),
        column(
            "cycle_retention", "share",
            "Smallest amount divided by the largest, in the best cycle of three payments or more that this payment "
            "closes; of a round trip if there is no other.", "real",
        ),
        column(
            "cycle_duration", "seconds",
            "Time from the first payment of a cycle to this one, which closes it; the fastest cycle.", "real",
        ),
    )  # fmt: skip
