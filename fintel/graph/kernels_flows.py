"""Gather–scatter, reciprocal payments, and new counterparties. ``parts`` adds chains and pass-through.

**Gather–scatter** (AMLworld, arXiv 2306.16424: many pay one, who then pays many). At a payment e = (u → v, t) the
centre is u. For a moment T, let a(T) be the number of accounts that paid u in (t - window, T), and b(T) that of
accounts that u paid in [T, t], e included. ``gather_scatter_width`` is the largest min(a, b) over all T;
``gather_scatter_passed`` is, at the latest T that gives it, what u paid in [T, t] divided by what u received in (t -
window, T).

**Reciprocal** (round-tripping; two-account cycle without regard to amounts): ``returned_payments`` is the number of
payments v → u in (t - window, t); ``returned_balance`` compares, over the longest window, the sums of u → v (e
included) and v → u: the smaller divided by the larger.

**New counterparties** (activity unlike the customer's own: FFIEC manual, appendix F). A payment u → v is *new* if u
has not paid v in the ``HORIZON`` before it (strictly: later than t - horizon). ``source_new_payees``: new payments
out of u in (t - 1 d, t]; ``target_new_payers``: into v. ``*_burst``: that number divided by 1 + the mean of such days
in (t - 30 d, t - 1 d]. ``relation_gap``: time since the payment before of the same pair.

**Hub policy.** Gather–scatter looks at the ``cap`` latest payments into u and out of u, returned payments at the
``cap`` latest of either direction; where that is not enough, the counts are low and the payment is truncated.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, NamedTuple

import numba
import numpy as np

from fintel.graph import kernels_chains, kernels_passing
from fintel.graph.kernels_amounts import MICROSECONDS
from fintel.graph.layout import MICROSECOND, GraphColumn, Part, Settings, enlarged, microseconds

Array = Any

_jit = numba.njit(nogil=True, cache=True)

#: A counterparty is new if not met for so long; bursts compare a day with the month that it ends.
HORIZON, MONTH, DAY = timedelta(days=90), timedelta(days=30), timedelta(days=1)

#: Of an account in the window: accounts that paid it, and how much it received.
GATHERED = np.dtype([("payers", np.int32), ("pad", np.int32), ("received", np.int64)])
#: Of an account: new payees and payers in a day and in a month.
NEW = np.dtype([(name, np.int32) for name in ("payees", "payees_month", "payers", "payers_month")])


class GatherSettings(NamedTuple):
    """window in µs; cap."""

    window: int
    cap: int


class GatherState(NamedTuple):
    """nodes: GATHERED; counters: int64 (1,): oldest payment in the window."""

    nodes: Array
    counters: Array


@_jit
def _gather_scatter(edges: Array, e: int, settings: Any, nodes: Array, tail: int) -> Any:
    """Width, the share passed on at it, and whether too many payments were in the way."""
    u = edges[e].source
    payers = nodes[u].payers
    inside = nodes[u].received
    passed = np.int64(0)
    payees = 0
    best = 0
    share = np.nan
    cut = False
    f = edges[e].source_in
    g = e
    looked_in = 0
    looked_out = 0
    while g >= tail and payees < payers:
        when = edges[g].time
        while g >= tail and edges[g].time == when:
            looked_out += 1
            if looked_out > settings.cap:
                return best, share, True
            again = edges[g].after_pair
            if g == e or again < 0 or again > e:
                payees += 1
            passed += max(edges[g].amount, 0)
            g = edges[g].before_out
        while f >= tail and edges[f].time >= when:
            looked_in += 1
            if looked_in > settings.cap:
                return best, share, True
            if edges[f].before_pair < tail:
                payers -= 1
            inside -= max(edges[f].amount, 0)
            f = edges[f].before_in
        if min(payers, payees) > best:
            best = min(payers, payees)
            share = passed / inside if inside > 0 else np.nan
    return best, share, cut


@_jit
def _gather(
    edges: Array, begin: int, end: int, first: int, settings: Any, state: Any,
    integers: Array, reals: Array, truncated: Array,
) -> int:  # fmt: skip
    nodes, counters = state
    for e in range(begin, end):
        start = edges[e].time - settings.window
        tail = counters[0]
        while tail < e and edges[tail].time <= start:
            if edges[tail].pair >= 0:
                v = edges[tail].target
                again = edges[tail].after_pair
                if again < 0 or again >= e:
                    nodes[v].payers -= 1
                nodes[v].received -= max(edges[tail].amount, 0)
            tail += 1
        counters[0] = tail
        row = e - first
        if edges[e].pair < 0:
            reals[0, row] = np.nan
            continue
        best, share, cut = _gather_scatter(edges, e, settings, nodes, tail)
        integers[0, row] = best
        reals[0, row] = share
        if cut:
            truncated[row] = 1
        v = edges[e].target
        if edges[e].before_pair < tail:
            nodes[v].payers += 1
        nodes[v].received += max(edges[e].amount, 0)
    return end


class TieSettings(NamedTuple):
    """Windows (int64, µs), horizon, month and day in µs; cap."""

    windows: Array
    horizon: int
    month: int
    day: int
    cap: int


class TieState(NamedTuple):
    """nodes: NEW; counters: int64 (2,): oldest payment in the month, in the day."""

    nodes: Array
    counters: Array


@_jit
def _is_new(edges: Array, e: int, horizon: int) -> Any:
    before = edges[e].before_pair
    return before < 0 or edges[before].time <= edges[e].time - horizon


@_jit
def _returned(edges: Array, e: int, settings: Any, integers: Array, row: int) -> Any:
    """Count payments back in each window; balance over the longest, and whether there were too many."""
    windows = settings.windows
    size = windows.size
    t = edges[e].time
    back = np.int64(0)
    found = False
    looked = 0
    f = edges[e].reverse
    while f >= 0 and edges[f].time > t - windows[size - 1]:
        looked += 1
        if looked > settings.cap:
            return np.nan, True
        if edges[f].time < t:
            found = True
            back += max(edges[f].amount, 0)
            for w in range(size - 1, -1, -1):
                if edges[f].time <= t - windows[w]:
                    break
                integers[w, row] += 1
        f = edges[f].before_pair
    if not found:
        return np.nan, False
    forth = np.int64(0)
    looked = 0
    f = e
    while f >= 0 and edges[f].time > t - windows[size - 1]:
        looked += 1
        if looked > settings.cap:
            return np.nan, True
        forth += max(edges[f].amount, 0)
        f = edges[f].before_pair
    most = max(forth, back)
    return (min(forth, back) / most if most > 0 else np.nan), False


@_jit
def _tie(
    edges: Array, begin: int, end: int, first: int, settings: Any, state: Any,
    integers: Array, reals: Array, truncated: Array,
) -> int:  # fmt: skip
    nodes, counters = state
    size = settings.windows.size
    days = settings.month / settings.day - 1
    for e in range(begin, end):
        t = edges[e].time
        f = counters[0]
        while f < e and edges[f].time <= t - settings.month:
            if edges[f].pair >= 0 and _is_new(edges, f, settings.horizon):
                nodes[edges[f].source].payees_month -= 1
                nodes[edges[f].target].payers_month -= 1
            f += 1
        counters[0] = f
        f = counters[1]
        while f < e and edges[f].time <= t - settings.day:
            if edges[f].pair >= 0 and _is_new(edges, f, settings.horizon):
                nodes[edges[f].source].payees -= 1
                nodes[edges[f].target].payers -= 1
            f += 1
        counters[1] = f
        row = e - first
        if edges[e].pair < 0:
            for c in range(reals.shape[0]):
                reals[c, row] = np.nan
            continue
        u, v = edges[e].source, edges[e].target
        if _is_new(edges, e, settings.horizon):
            nodes[u].payees += 1
            nodes[u].payees_month += 1
            nodes[v].payers += 1
            nodes[v].payers_month += 1
        integers[size, row] = nodes[u].payees
        integers[size + 1, row] = nodes[v].payers
        balance, cut = _returned(edges, e, settings, integers, row)
        if cut:
            truncated[row] = 1
        before = edges[e].before_pair
        reals[0, row] = balance
        reals[1, row] = (t - edges[before].time) / MICROSECONDS if before >= 0 else np.nan
        reals[2, row] = nodes[u].payees / (1 + (nodes[u].payees_month - nodes[u].payees) / days)
        reals[3, row] = nodes[v].payers / (1 + (nodes[v].payers_month - nodes[v].payers) / days)
    return end


def parts(settings: Settings) -> tuple[Part, ...]:
    """Chains; pass-through; gather–scatter in the windows of meetings; ties."""
    return (
        *kernels_chains.parts(settings),
        *kernels_passing.parts(settings),
        *(_gather_part(window, settings) for window in settings.meeting_windows),
        _tie_part(settings),
    )


def _gather_part(window: timedelta, settings: Settings) -> Part:
    label = settings.label(window)
    width = (
        "Accounts gathered from and then scattered to: those that paid this payer before some moment or those that it "
        "has paid since, whichever are fewer, at the moment where that is most."
    )
    passed = "What the payer has paid since that moment, divided by what it received before it."
    return Part(
        name=f"gather_scatter_{label}",
        columns=(
            GraphColumn(f"gather_scatter_width_{label}", "flows", "accounts", width, window),
            GraphColumn(f"gather_scatter_passed_{label}", "flows", "share", passed, window, "real"),
        ),
        settings=GatherSettings(window // MICROSECOND, settings.cap),
        empty=lambda nodes, edges: GatherState(np.zeros(nodes, GATHERED), np.zeros(1, np.int64)),
        grown=lambda state, nodes, edges: state._replace(nodes=enlarged(state.nodes, nodes)),
        more=lambda state: state,
        advance=_gather,
    )


def _tie_part(settings: Settings) -> Part:
    real: Literal["real"] = "real"
    longest = settings.windows[-1]
    columns = (
        *(
            GraphColumn(
                f"returned_payments_{settings.label(window)}", "flows", "payments",
                "Payments from this payee to this payer, earlier in the window.", window,
            )
            for window in settings.windows
        ),
        GraphColumn(
            "source_new_payees_1d", "flows", "payments",
            "Payments of the payer, in a day, to payees that it had not paid for 90 days.", DAY,
        ),
        GraphColumn(
            "target_new_payers_1d", "flows", "payments",
            "Payments to the payee, in a day, from payers that had not paid it for 90 days.", DAY,
        ),
        GraphColumn(
            f"returned_balance_{settings.label(longest)}", "flows", "share",
            "Sums paid between the two in either direction, the smaller divided by the larger; null if none came back.",
            longest, real,
        ),
        GraphColumn(
            "relation_gap", "flows", "seconds",
            "Time since this payer last paid this payee; null if it never did.", None, real,
        ),
        GraphColumn(
            "source_new_burst", "flows", "times",
            "source_new_payees_1d divided by 1 + its mean on the days of the month before.", MONTH, real,
        ),
        GraphColumn(
            "target_new_burst", "flows", "times",
            "target_new_payers_1d divided by 1 + its mean on the days of the month before.", MONTH, real,
        ),
    )  # fmt: skip
    return Part(
        name="ties",
        columns=columns,
        settings=TieSettings(
            microseconds(settings.windows),
            HORIZON // MICROSECOND,
            MONTH // MICROSECOND,
            DAY // MICROSECOND,
            settings.cap,
        ),
        empty=lambda nodes, edges: TieState(np.zeros(nodes, NEW), np.zeros(2, np.int64)),
        grown=lambda state, nodes, edges: state._replace(nodes=enlarged(state.nodes, nodes)),
        more=lambda state: state,
        advance=_tie,
    )
