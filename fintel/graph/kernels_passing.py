"""Pass-through: how much of what came in has gone out again, first in first out.

**Rule** (funnel and mule accounts: FinCEN advisory FIN-2014-A005; red flag "rapid movement of funds", FFIEC manual,
appendix F). Each payment out of an account spends what the account received strictly earlier and no more than
``dwell`` ago, the oldest first, down to nothing; what it spends beyond that came from elsewhere. Self-transfers and
payments of unknown amount neither bring nor spend.

**Columns.** ``passed_share``: of what the account received in (t - window, t], the share that it has spent by now,
this payment included (null if it received nothing); of the payer and of the payee, the payee's with this payment as
received. ``funded_share``: of this payment, the share that was received within ``dwell``. ``funded_dwell``: how long
that money lay, the mean weighted by amount.

Sums are integers, so nothing drifts. Each receipt is looked at once: no hub policy is needed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, NamedTuple

import numba
import numpy as np

from fintel.graph.kernels_amounts import MICROSECONDS
from fintel.graph.layout import MICROSECOND, GraphColumn, Part, Settings, enlarged, microseconds

Array = Any

_jit = numba.njit(nogil=True, cache=True)

#: The first columns; of window w follow the payer's share at 2 + 2 w, the payee's at 3 + 2 w.
_FUNDED, _DWELL = 0, 1


class PassingSettings(NamedTuple):
    """Windows (int64, µs) and dwell in µs."""

    windows: Array
    dwell: int


class PassingState(NamedTuple):
    """left: int64 (payments,), what is not yet spent of each; unspent: int32 (accounts,), oldest payment received that
    may have something left (-1: none); sums: int64 (accounts, 2 * windows), received in window w at 2 w and spent of
    that at 2 w + 1; tails: int64 (windows,), oldest payment in each window."""

    left: Array
    unspent: Array
    sums: Array
    tails: Array


@_jit
def advance(
    edges: Array, begin: int, end: int, first: int, settings: Any, state: Any,
    integers: Array, reals: Array, truncated: Array,
) -> int:  # fmt: skip
    """Process edges ``begin`` … ``end - 1`` in order. Never needs more room."""
    windows, dwell = settings
    left, unspent, sums, tails = state
    size = windows.size
    for e in range(begin, end):
        t = edges[e].time
        for w in range(size):
            f = tails[w]
            while f < e and edges[f].time <= t - windows[w]:
                if edges[f].pair >= 0 and edges[f].amount > 0:
                    v = edges[f].target
                    sums[v, 2 * w] -= edges[f].amount
                    sums[v, 2 * w + 1] -= edges[f].amount - left[f]
                f += 1
            tails[w] = f
        row = e - first
        u, v, x = edges[e].source, edges[e].target, edges[e].amount
        left[e] = 0
        if edges[e].pair < 0:
            for c in range(reals.shape[0]):
                reals[c, row] = np.nan
            continue
        need = max(x, 0)
        lain = 0.0
        f = unspent[u]
        while f >= 0 and edges[f].time < t:
            when = edges[f].time
            if when >= t - dwell:
                take = min(left[f], need)
                if take > 0:
                    left[f] -= take
                    need -= take
                    lain += np.float64(take) * (t - when)
                    for w in range(size):
                        if f >= tails[w]:
                            sums[u, 2 * w + 1] += take
                if left[f] > 0:
                    break
            f = edges[f].after_in
            if f >= e:
                f = -1
        unspent[u] = f
        if x > 0:
            left[e] = x
            if unspent[v] < 0:
                unspent[v] = e
            for w in range(size):
                sums[v, 2 * w] += x
            funded = x - need
            reals[_FUNDED, row] = funded / x
            reals[_DWELL, row] = lain / funded / MICROSECONDS if funded > 0 else np.nan
        else:
            reals[_FUNDED, row] = np.nan
            reals[_DWELL, row] = np.nan
        for w in range(size):
            received = sums[u, 2 * w]
            reals[2 + 2 * w, row] = sums[u, 2 * w + 1] / received if received > 0 else np.nan
            received = sums[v, 2 * w]
            reals[3 + 2 * w, row] = sums[v, 2 * w + 1] / received if received > 0 else np.nan
    return end


def parts(settings: Settings) -> tuple[Part, ...]:
    """One part for all of ``settings.windows``."""
    windows = microseconds(settings.windows)
    size = len(windows)
    part = Part(
        name="passing",
        columns=_columns(settings),
        settings=PassingSettings(windows, settings.dwell // MICROSECOND),
        empty=lambda nodes, edges: PassingState(
            np.zeros(edges, np.int64),
            np.full(nodes, -1, np.int32),
            np.zeros((nodes, 2 * size), np.int64),
            np.zeros(size, np.int64),
        ),
        grown=lambda state, nodes, edges: PassingState(
            enlarged(state.left, edges), enlarged(state.unspent, nodes, -1), enlarged(state.sums, nodes), state.tails
        ),
        more=lambda state: state,
        advance=advance,
    )
    return (part,)


def _columns(settings: Settings) -> tuple[GraphColumn, ...]:
    real: Literal["real"] = "real"

    def shares(window: timedelta) -> tuple[GraphColumn, ...]:
        label = settings.label(window)
        doc = "Share of what the {} received in the window that it has paid on by now, first in first out."
        return tuple(
            GraphColumn(f"{end}_passed_share_{label}", "flows", "share", doc.format(who), window, real)
            for end, who in (("source", "payer"), ("target", "payee"))
        )

    return (
        GraphColumn(
            "funded_share", "flows", "share",
            "Share of this payment that its payer received shortly before, first in first out.", None, real,
        ),
        GraphColumn(
            "funded_dwell", "flows", "seconds", "How long that money lay before it was paid on; mean by amount.",
            None, real,
        ),
        *(column for window in settings.windows for column in shares(window)),
    )  # fmt: skip
