"""Chains: money that is passed on from account to account. One step of dynamic programming per payment.

**Pass-through chain** (layering; FATF, *Professional Money Laundering*, 2018; the `flow` features of ExSTraQt, arXiv
2604.02899; chains of AMLSim). A payment e = (u → v, t, x) follows f = (s → u, t', x') if ``t - dwell <= t' < t``, s
is not v, and x is from ``1 - fee - tolerance`` to ``1 + tolerance`` times x'. ``chain_payments`` of e is 1 + the most
of any payment that it follows (the latest, among equals), 1 if it follows none. An account may come twice in a chain
(a payment straight back ends it; longer circles are in the cycles).

**Peel chain** (a large sum is passed on and a little stays behind at each hop; FATF virtual-asset red flags, 2020;
Meiklejohn et al., *A Fistful of Bitcoins*, IMC 2013): e follows f if f is the largest payment (the latest, among
equals) that u received, not from v, in ``[t - dwell, t)`` and x is from ``PEELED`` times x'.

**Hub policy.** The ``cap`` latest payments into u are looked at; if there are more in the dwell time, truncated.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numba
import numpy as np

from fintel.graph.kernels_amounts import MICROSECONDS, kept
from fintel.graph.layout import MICROSECOND, GraphColumn, Part, Settings, enlarged

Array = Any

#: Share of the sum that a hop of a peel chain passes on: at least, at most.
PEELED = (0.50, 0.99)

#: Per payment: payments in the longest chain that ends in it, the first of them; the same for peel chains.
LINK = np.dtype([("payments", np.int32), ("begun", np.int32), ("peels", np.int32), ("peeled", np.int32)])

(PAYMENTS, PEELS) = range(2)
(RETENTION, DURATION, DWELL, PEEL_RETENTION, PEEL_DURATION) = range(5)


class ChainSettings(NamedTuple):
    """dwell in µs; cap; bands of the share passed on, of chains and of peel chains."""

    dwell: int
    cap: int
    low: float
    high: float
    least: float
    most: float


class ChainState(NamedTuple):
    """links: LINK (payments,)."""

    links: Array


@numba.njit(nogil=True, cache=True)
def advance(
    edges: Array, begin: int, end: int, first: int, settings: Any, state: Any,
    integers: Array, reals: Array, truncated: Array,
) -> int:  # fmt: skip
    """Process edges ``begin`` … ``end - 1`` in order. Never needs more room."""
    links = state.links
    for e in range(begin, end):
        row = e - first
        for c in range(reals.shape[0]):
            reals[c, row] = np.nan
        if edges[e].pair < 0:
            continue
        v = edges[e].target
        t = edges[e].time
        x = edges[e].amount
        start = t - settings.dwell
        longest = np.int32(0)
        followed = -1
        largest = -1
        looked = 0
        f = edges[e].source_in
        while f >= 0 and edges[f].time >= start:
            looked += 1
            if looked > settings.cap:
                truncated[row] = 1
                break
            if edges[f].time < t and edges[f].source != v:
                amount = edges[f].amount
                if largest < 0 or amount > edges[largest].amount:
                    largest = f
                if kept(amount, x, settings.low, settings.high) and links[f].payments > longest:
                    longest = links[f].payments
                    followed = f
            f = edges[f].before_in
        links[e].payments = longest + 1
        links[e].begun = e
        links[e].peels = 1
        links[e].peeled = e
        if followed >= 0:
            begun = links[followed].begun
            links[e].begun = begun
            reals[RETENTION, row] = x / edges[begun].amount
            reals[DURATION, row] = (t - edges[begun].time) / MICROSECONDS
            reals[DWELL, row] = (t - edges[followed].time) / MICROSECONDS
        if largest >= 0 and kept(edges[largest].amount, x, settings.least, settings.most):
            begun = links[largest].peeled
            links[e].peels = links[largest].peels + 1
            links[e].peeled = begun
            reals[PEEL_RETENTION, row] = x / edges[begun].amount
            reals[PEEL_DURATION, row] = (t - edges[begun].time) / MICROSECONDS
        integers[PAYMENTS, row] = links[e].payments
        integers[PEELS, row] = links[e].peels
    return end


def parts(settings: Settings) -> tuple[Part, ...]:
    """One part."""
    chosen = ChainSettings(
        dwell=settings.dwell // MICROSECOND,
        cap=settings.cap,
        low=1 - settings.fee - settings.tolerance,
        high=1 + settings.tolerance,
        least=PEELED[0],
        most=PEELED[1],
    )
    part = Part(
        name="chains",
        columns=_COLUMNS,
        settings=chosen,
        empty=lambda nodes, edges: ChainState(np.zeros(edges, LINK)),
        grown=lambda state, nodes, edges: ChainState(enlarged(state.links, edges)),
        more=lambda state: state,
        advance=advance,
    )
    return (part,)


def _column(name: str, unit: str, doc: str, kind: Literal["count", "real"] = "real") -> GraphColumn:
    return GraphColumn(name, "flows", unit, doc, None, kind)


_COLUMNS = (
    _column(
        "chain_payments", "payments",
        "Payments in the longest pass-through chain that ends in this one; 1: it follows none.", "count",
    ),
    _column(
        "peel_payments", "payments",
        "Payments in the peel chain that ends in this one: each passes on 50-99 % of the largest sum that its payer "
        "had just received; 1: it follows none.", "count",
    ),
    _column("chain_retention", "share", "This amount divided by the first of the longest pass-through chain."),
    _column("chain_duration", "seconds", "Time from the first payment of the longest pass-through chain to this one."),
    _column("chain_dwell", "seconds", "How long the money lay before this payment passed it on, in the chain."),
    _column("peel_retention", "share", "This amount divided by the first of the peel chain."),
    _column("peel_duration", "seconds", "Time from the first payment of the peel chain to this one."),
)  # fmt: skip
