"""Temporal cycles: money that comes back to where it set out, in time order, closed by the payment at hand.

**What a cycle is.** The payment e = (u → v, t) closes a cycle of h hops if there are payments
``v → x1 → … → u`` (h - 1 of them) at strictly rising times, the first later than ``t - window`` and the
last earlier than t, over h different accounts. Parallel payments count once: cycles are counted as sequences
of accounts, as IBM's Graph Feature Preprocessor does (Blanuša et al., ICAIF 2024, arXiv 2402.08593; temporal
cycles: Kumar & Calders, *2SCENT*, PVLDB 2018). A payment sees the past only, so a cycle is counted
at the payment that closes it, and at no other.

**Amounts.** Of a sequence of accounts the *latest* payments are taken, going back from e: ``retention`` is the
smallest of their amounts divided by the largest (e included), the best over all cycles. ``conserved`` counts sequences of
*payments* (parallel ones apart) in which each hop passes on between ``1 - fee - tolerance`` and ``1 + tolerance`` of the payment before.

**Bounds.** The search goes back from u level by level, so short cycles are found first. It takes at most ``budget`` steps
(payments looked at) for a payment, fewer in longer windows (see :func:`steps`), and looks at no more than ``cap``
incoming payments of an account at a time (hub policy). ``cycle_searched`` says up to how many hops the
counts are complete; if that is less than ``hops``, or the count of conserved ones is not complete, the payment is marked truncated.
Counts are never too high.

**Why it is fast.** Every edge knows the payment into its source that came before it, so the search needs no index. And time
is cut in two: going back from u through the later part of the window and forward from v through the
earlier part meets in few accounts, where each alone would grow exponentially with the number of payments in the window.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import numba
import numpy as np

from fintel.graph.kernels_amounts import MICROSECONDS, kept
from fintel.graph.layout import GraphColumn, Part, Settings, enlarged

Array = Any

_jit = numba.njit(nogil=True, cache=True)

#: Per account: the payment (+1) for which it was reached, its first payment in the window, earliest arrival (µs).
NODE = np.dtype([("seen", np.int32), ("first_out", np.int32), ("arrival", np.int64)])
#: A path under search: its earliest payment so far, that payment's payer, the path that it extends, amounts on it.
PATH = np.dtype(
    [("edge", np.int32), ("node", np.int32), ("parent", np.int32), ("pad", np.int32), ("least", np.int64), ("most", np.int64)]
)  # fmt: skip

#: Where the search from the front meets the search from the back: this far into the time since v first paid.
_MEETING = 0.5
#: The search from the front gives up after so many steps; then only the one from the back goes on.
_FORWARD = 192

_DAY = timedelta(days=1)
#: A long window's budget is no less than this share of a day's.
_LEAST_SHARE = 0.1
_UNSEEN = np.array((0, -1, 0), NODE)[()]

(TWO, THREE, FOUR, FIVE_SIX, SEVEN_UP, SHORTEST, SEARCHED, CONSERVED) = range(8)
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
    """``nodes``: NODE (accounts,). ``paths``: PATH (budget + 2,) and ``front``: int32, both scratch."""

    nodes: Array
    paths: Array
    front: Array


@_jit
def _reach(edges: Array, e: int, low: int, until: int, nodes: Array, front: Array) -> bool:
    """Mark every account that v's money can reach by ``until``, with its earliest arrival. False: gave up."""
    u = edges[e].source
    v = edges[e].target
    seen = np.int32(e + 1)
    read = 0
    size = 0
    steps = 0
    g = low
    while 0 <= g < e and edges[g].time <= until:
        steps += 1
        if steps > front.size:
            return False
        y = edges[g].target
        if nodes[y].seen != seen:
            nodes[y].seen = seen
            nodes[y].arrival = edges[g].time
            front[size] = g
            size += 1
        g = edges[g].after_out
    while read < size:
        f = front[read]
        read += 1
        y = edges[f].target
        arrived = edges[f].time
        if y == u or nodes[y].arrival < arrived:
            continue
        b = edges[f].target_out
        g = edges[b].after_out if b >= 0 else nodes[y].first_out
        while 0 <= g < e and edges[g].time <= until:
            steps += 1
            if steps > front.size:
                return False
            z = edges[g].target
            when = edges[g].time
            if when > arrived and z != v and (nodes[z].seen != seen or nodes[z].arrival > when):
                nodes[z].seen = seen
                nodes[z].arrival = when
                front[size] = g
                size += 1
            g = edges[g].after_out
    return True


@_jit
def _on_path(paths: Array, at: int, node: int) -> bool:
    while at >= 0:
        if paths[at].node == node:
            return True
        at = paths[at].parent
    return False


@_jit
def _close(edges: Array, e: int, low: int, settings: Any, state: Any, integers: Array, reals: Array, row: int) -> bool:
    """Count the cycles that ``e`` closes; ``low``: v's first payment in the window. True if something was left out."""
    nodes = state.nodes
    paths = state.paths
    u = edges[e].source
    v = edges[e].target
    t = edges[e].time
    seen = np.int32(e + 1)
    until = edges[low].time + np.int64((t - edges[low].time) * _MEETING)
    reached = -1  # not tried yet; 0: gave up; 1: marked
    paths[0].edge = e
    paths[0].node = u
    paths[0].parent = -1
    paths[0].least = edges[e].amount
    paths[0].most = edges[e].amount
    size = 1
    begin = 0
    hops = 1
    steps = 0
    searched = settings.hops
    shortest = 0
    best = -1.0
    latest = np.int64(-1)
    while begin < size and hops < settings.hops and steps <= settings.budget:
        stop = size
        for at in range(begin, stop):
            f = paths[at].edge
            bound = edges[f].time
            g = edges[f].source_in
            while g >= low and edges[g].time >= bound:
                steps += 1
                g = edges[g].before_in
            newest = g
            looked = 0
            while g >= low:
                steps += 1
                looked += 1
                if looked > settings.cap or steps > settings.budget:
                    searched = min(searched, hops)
                    break
                y = edges[g].source
                after = edges[g].after_pair
                if after < 0 or after > newest:  # else the same payer paid again before the bound: counted there
                    amount = edges[g].amount
                    if y == v:
                        h = hops + 1
                        integers[min(h, 5) - 2 if h < 7 else SEVEN_UP, row] += 1
                        if shortest == 0:
                            shortest = h
                        latest = max(latest, edges[g].time)
                        least = min(paths[at].least, amount)
                        most = max(paths[at].most, amount)
                        if least >= 0 and most > 0:
                            best = max(best, least / most)
                    elif hops + 1 < settings.hops and edges[g].source_in >= low:
                        open_ = True
                        if edges[g].time <= until:
                            if reached < 0:
                                reached = 1 if _reach(edges, e, low, until, nodes, state.front) else 0
                            if reached == 1:
                                open_ = nodes[y].seen == seen and nodes[y].arrival < edges[g].time
                        if open_ and not _on_path(paths, at, y):
                            paths[size].edge = g
                            paths[size].node = y
                            paths[size].parent = at
                            paths[size].least = min(paths[at].least, amount)
                            paths[size].most = max(paths[at].most, amount)
                            size += 1
                g = edges[g].before_in
            if steps > settings.budget:
                searched = min(searched, hops)
                break
        begin = stop
        hops += 1
    integers[SEARCHED, row] = searched
    integers[SHORTEST, row] = shortest
    if shortest > 0:
        reals[FASTEST, row] = (t - latest) / MICROSECONDS
        if best >= 0:
            reals[RETENTION, row] = best
    return searched < settings.hops


@_jit
def _conserve(edges: Array, e: int, low: int, settings: Any, paths: Array, integers: Array, row: int) -> bool:
    """Count the sequences of payments, closed by ``e``, that pass the amount on. True if something was left out."""
    v = edges[e].target
    paths[0].edge = e
    paths[0].node = edges[e].source
    paths[0].parent = -1
    size = 1
    begin = 0
    hops = 1
    steps = 0
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
                if looked > settings.cap or steps > settings.budget:
                    cut = True
                    break
                if edges[g].time < bound and kept(edges[g].amount, amount, settings.low, settings.high):
                    y = edges[g].source
                    if y == v:
                        found += 1
                    elif hops + 1 < settings.hops and edges[g].source_in >= low and not _on_path(paths, at, y):
                        paths[size].edge = g
                        paths[size].node = y
                        paths[size].parent = at
                        size += 1
                g = edges[g].before_in
            if steps > settings.budget:
                break
        if steps > settings.budget:
            break
        begin = stop
        hops += 1
    integers[CONSERVED, row] = found
    return cut


@_jit
def advance(
    edges: Array, begin: int, end: int, first: int, settings: Any, state: Any, integers: Array, reals: Array, truncated: Array
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
            cut = _close(edges, e, low, settings, state, integers, reals, row)
            if cut or integers[SHORTEST, row] > 0:
                cut = _conserve(edges, e, low, settings, state.paths, integers, row) or cut
            if cut:
                truncated[row] = 1
        if nodes[u].first_out < 0:
            nodes[u].first_out = e
    return end


def steps(window: timedelta, budget: int) -> int:
    """Steps a payment may cost in this window: ``budget`` up to a day, then less, so that long windows stay affordable."""
    return max(1, min(budget, int(budget * max(_LEAST_SHARE, _DAY / window))))


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
            enlarged(np.empty(0, NODE), nodes, _UNSEEN), np.zeros(budget + 2, PATH), np.zeros(_FORWARD, np.int32)
        ),
        grown=lambda state, nodes, edges: state._replace(nodes=enlarged(state.nodes, nodes, _UNSEEN)),
        more=lambda state: state,
        advance=advance,
    )


def _columns(window: timedelta, label: str) -> tuple[GraphColumn, ...]:
    def column(name: str, unit: str, doc: str, kind: str = "count") -> GraphColumn:
        return GraphColumn(f"{name}_{label}", "cycles", unit, doc, window, kind)

    way = "ways in which this payment brings money back to its payee in time order"
    return (
        column("cycles_2", "cycles", f"Round trips: {way}, over 2 accounts (1 if the payee paid the payer before)."),
        column("cycles_3", "cycles", f"Temporal triangles: {way}, over 3 accounts."),
        column("cycles_4", "cycles", f"Four-account cycles: {way}."),
        column("cycles_5_6", "cycles", f"Cycles over 5 or 6 accounts: {way}."),
        column("cycles_7_up", "cycles", f"Cycles over 7 accounts or more, up to the largest number searched: {way}."),
        column("cycle_shortest", "payments", "Payments in the shortest cycle that this payment closes; 0 if none."),
        column("cycle_searched", "payments", "Up to how many payments the counts of cycles are complete (budget, hub policy)."),
        column("cycles_conserved", "cycles", "Cycles of payments, closed by this one, in which each passes on the amount of the one before, less a fee at most."),
        column("cycle_retention", "share", "Smallest amount on the cycle divided by the largest: the best cycle that this payment closes.", "real"),
        column("cycle_duration", "seconds", "Time from the first payment of the fastest cycle to this payment, which closes it.", "real"),
    )  # fmt: skip
