"""Witnesses: the very payments behind a graph column of one payment.

A rule reads a number (``cycle_hops``: 4); a person wants to see the four payments. ``witnesses`` looks for them as of
the payment, with the windows, bands and bounds with which the number was counted, so that number and payments agree:

- ``cycle``, ``cycle-kept``, ``cycle-fastest``: one of the cycles with fewest payments (of these, the one that keeps
  most of its amount), the one that keeps most, the fastest. ``cycle-conserved``, ``triangle``: one of those counted.
- ``chain``, ``peel-chain``: all payments of the chain.
- ``scatter-gather``, ``scatter-gather-conserved``, ``stack``: two payments of each account in between;
  of a stack one payer for each of its width, with as many accounts in between each.
- ``gather-scatter``: all that was gathered before the turn, and scattered since. ``reciprocal``: both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from fintel.graph import kernels_chains, kernels_cycles, witness_kernels
from fintel.graph.entry_columns import SETTINGS
from fintel.graph.instances_found import Array, columns_of, linked
from fintel.graph.kernels_tracks import FAST, FEWEST, KEPT, PASSED, ROUND
from fintel.graph.layout import MICROSECOND
from fintel.graph.network import Network

#: Payments of one witness that are kept, the latest ones.
LIMIT = 1_000
#: Payments looked at for the accounts between one account and a payee.
BUDGET = 200_000
_MONTH = timedelta(days=30) // MICROSECOND
_FLOWS, _MEETINGS = SETTINGS["flows"], SETTINGS["meetings"]
_DWELL, _CAP = _FLOWS.dwell // MICROSECOND, _FLOWS.cap
_LOW, _HIGH = 1 - _FLOWS.fee - _FLOWS.tolerance, 1 + _FLOWS.tolerance
_SCHEMA = pl.Schema({"asked": pl.Int64(), "edge": pl.Int64(), "hop": pl.Int64()})


@dataclass(frozen=True)
class Sought:
    """Payments (edges) for which a motif is asked, each once, and what was counted there (-1: not known)."""

    network: Network
    edges: Array
    asked: Array
    counted: Array
    limit: int


@dataclass(frozen=True)
class Shown:
    """``legs``: ``asked`` (number), ``edge``, ``hop``. ``number`` (float64): what was found at each. ``there`` (int64):
    payments of each before the limit."""

    legs: pl.DataFrame
    number: Array
    there: Array


@dataclass(frozen=True)
class Motif:
    """``column``: whose number it shows. ``unit``: of that number. ``family``: of the kernels that counted it."""

    column: str
    unit: str
    family: str
    search: Callable[[Sought], Shown]


def _shown(start: Array, edge: Array, number: Array, there: Array | None = None) -> Shown:
    """Payments one after another; hops are their order."""
    sizes = np.diff(start)
    legs = {
        "asked": np.repeat(np.arange(sizes.size), sizes),
        "edge": edge.astype(np.int64),
        "hop": np.arange(edge.size) - np.repeat(start[:-1], sizes) + 1,
    }
    return Shown(pl.DataFrame(legs, schema=_SCHEMA), number, sizes if there is None else there)


def _cycle(which: int) -> Callable[[Sought], Shown]:
    def search(sought: Sought) -> Shown:
        part = kernels_cycles.parts(SETTINGS["cycles"])[0]
        state = part.empty(max(len(sought.network.nodes), 1), max(len(sought.edges), 1))
        return _shown(*witness_kernels.cycles(sought.edges, sought.asked, which, part.settings, state))

    return search


def _chain(sought: Sought) -> Shown:
    return _followed_back(sought, "chain_payments", _LOW, _HIGH, peel=False)


def _peel_chain(sought: Sought) -> Shown:
    return _followed_back(sought, "peel_payments", *kernels_chains.PEELED, peel=True)


def _followed_back(sought: Sought, column: str, low: float, high: float, *, peel: bool) -> Shown:
    part = kernels_chains.parts(_FLOWS)[0]
    length = columns_of(part, sought.edges, len(sought.network.nodes))[0][column]
    start, edge, number = witness_kernels.chains(
        sought.edges, sought.asked, length, _DWELL, _CAP, low, high, peel, sought.limit
    )
    return _shown(start, edge, number, number.astype(np.int64))


def _gather_scatter(sought: Sought) -> Shown:
    within = _FLOWS.meeting_windows[0] // MICROSECOND
    found = witness_kernels.turns(sought.edges, sought.asked, within, _CAP, sought.limit // 2)
    return _two_sides(sought, _shown(*found))


def _reciprocal(sought: Sought) -> Shown:
    return _two_sides(sought, _shown(*witness_kernels.returns(sought.edges, sought.asked, _MONTH, _CAP)))


def _two_sides(sought: Sought, shown: Shown) -> Shown:
    """Hop 2: what the payer of the payment asked for pays; hop 1: what it was paid."""
    payer = sought.network.source[sought.asked]
    legs = shown.legs
    out = sought.network.source[legs["edge"].to_numpy()] == payer[legs["asked"].to_numpy()]
    return Shown(legs.with_columns(hop=pl.Series(np.where(out, 2, 1), dtype=pl.Int64)), shown.number, shown.there)


def _meeting(sought: Sought, *, conserved: bool) -> Shown:
    """The account with most mids between it and the payee, and two payments of each mid."""
    mids = _mids(sought)
    mids = mids.filter("keeps") if conserved else mids
    best = (
        mids.group_by("asked", "payer")
        .agg(mids=pl.min_horizontal(pl.len(), pl.first("counted")))
        .sort("asked", "mids", "payer", descending=[False, True, False])
        .unique("asked", keep="first", maintain_order=True)
        .filter(pl.col("mids") >= 2)
    )
    return _legs(sought, _most(mids.join(best, on=["asked", "payer"])), best.select("asked", number="mids"))


def _stack(sought: Sought) -> Shown:
    """As many payers as the stack is wide, those with most mids, and as many mids of each."""
    mids = _mids(sought)
    rank = pl.int_range(1, pl.len() + 1).over("asked")
    payers = mids.group_by("asked", "payer").agg(reached=pl.len(), counted=pl.first("counted"))
    payers = payers.sort("asked", "reached", "payer", descending=[False, True, False]).with_columns(rank=rank)
    wide = pl.min_horizontal("reached", "rank", "counted").max().over("asked")
    payers = payers.with_columns(mids=wide).filter(pl.col("mids") >= 2, pl.col("rank") <= pl.col("mids"))
    number = payers.select("asked", number="mids").unique("asked", maintain_order=True)
    return _legs(sought, _most(mids.join(payers.select("asked", "payer", "mids"), on=["asked", "payer"])), number)


def _mids(sought: Sought) -> pl.DataFrame:
    """``asked, payer, mid, first, second, keeps, counted``: each mid once, with the payments that say most: those that
    pass the amount on, then the latest."""
    of, payer, mid, first, second, keeps, _ = witness_kernels.meetings(
        sought.edges, sought.asked, len(sought.network.nodes), _MEETINGS.meeting_windows[0] // MICROSECOND, _CAP,
        BUDGET, _LOW, _HIGH,
    )  # fmt: skip
    most = np.where(sought.counted < 0, np.iinfo(np.int32).max, sought.counted).astype(np.int64)
    ways = pl.DataFrame({"asked": of, "payer": payer, "mid": mid, "first": first, "second": second})
    ways = ways.with_columns(keeps=pl.Series(keeps > 0), counted=pl.Series(most[of]))
    order = ["asked", "payer", "mid", "keeps", "second", "first"]
    return ways.sort(order, descending=[False, False, False, True, True, True]).unique(
        ["asked", "payer", "mid"], keep="first", maintain_order=True
    )


def _most(mids: pl.DataFrame) -> pl.DataFrame:
    """Of each payer so many mids as ``mids`` says, whose second payments are the latest."""
    rank = pl.int_range(1, pl.len() + 1).over("asked", "payer")
    ordered = mids.sort("asked", "payer", "second", "mid", descending=[False, False, True, False])
    return ordered.filter(rank <= pl.col("mids"))


def _legs(sought: Sought, mids: pl.DataFrame, number: pl.DataFrame) -> Shown:
    sides = [mids.select("asked", edge=leg, hop=pl.lit(n)) for n, leg in enumerate(("first", "second"), start=1)]
    legs = pl.concat(sides).cast(_SCHEMA).unique(["asked", "edge"], keep="first", maintain_order=True)
    legs = legs.sort("asked", "hop", "edge")
    found = np.zeros(sought.asked.size)
    found[number["asked"].to_numpy()] = number["number"].to_numpy()
    there = np.bincount(legs["asked"].to_numpy(), minlength=sought.asked.size)
    return Shown(legs, found, there)


#: By the name under which a witness stands in the evidence.
MOTIFS: Mapping[str, Motif] = {
    "cycle": Motif("cycle_hops", "payments", "cycles", _cycle(FEWEST)),
    "cycle-kept": Motif("cycle_kept_hops", "payments", "cycles", _cycle(KEPT)),
    "cycle-fastest": Motif("cycle_hours", "h", "cycles", _cycle(FAST)),
    "cycle-conserved": Motif("cycle_conserved", "cycles", "cycles", _cycle(PASSED)),
    "triangle": Motif("triangles", "cycles", "cycles", _cycle(ROUND)),
    "chain": Motif("chain_hops", "payments", "flows", _chain),
    "peel-chain": Motif("peel_hops", "payments", "flows", _peel_chain),
    "scatter-gather": Motif("scatter_gather_mids", "accounts", "meetings", lambda s: _meeting(s, conserved=False)),
    "scatter-gather-conserved": Motif(
        "scatter_gather_conserved", "accounts", "meetings", lambda s: _meeting(s, conserved=True)
    ),
    "stack": Motif("stack_width", "accounts", "meetings", _stack),
    "gather-scatter": Motif("gather_scatter_width", "accounts", "flows", _gather_scatter),
    "reciprocal": Motif("reciprocal_payments", "payments", "flows", _reciprocal),
}
#: The witness of each column that has one.
WITNESS_OF: Mapping[str, str] = {
    **{motif.column: name for name, motif in MOTIFS.items()},
    **dict.fromkeys(("chain_retention", "chain_hours", "chain_dwell_hours"), "chain"),
    "peel_retention": "peel-chain",
    "gather_scatter_passed": "gather-scatter",
    "reciprocal_balance": "reciprocal",
    "cycle_retention": "cycle-kept",
}
#: Motifs whose search would find more than was counted where the hub policy left some out.
CAPPED = frozenset(name for name, motif in MOTIFS.items() if motif.family == "meetings")


def witnesses(known: Network, asked: pl.DataFrame, *, limit: int = LIMIT) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The payments behind graph columns.

    Parameters
    ----------
    known: as it was when the columns were made.
    asked: ``motif`` (``MOTIFS``), ``row`` (the payment's row number), ``counted`` (what the column said; null where it
        is not known). Each pair of motif and row once; rows that are no payments between two have no witness.
    limit: payments of one witness at most; the latest are kept.

    Returns
    -------
    ``motif, row, number, payments``: what was found at each payment, if anything, and over how many payments; and
    ``motif, row, hop, leg``: these payments by their row numbers, ``hop`` from 1 in order of time along a cycle or
    chain, else 1 for the first layer and 2 for the second.
    """
    found = pl.DataFrame(
        schema={"motif": pl.String, "row": pl.UInt32, "number": pl.Float64, "payments": pl.Int64}
    )  # fmt: skip
    legs = pl.DataFrame(schema={"motif": pl.String, "row": pl.UInt32, "hop": pl.Int64, "leg": pl.UInt32})
    places = pl.DataFrame({"row": known.row}).with_row_index("at")
    placed = asked.cast({"row": pl.UInt32}).join(places, on="row", how="inner").sort("motif", "at")
    placed = placed.filter(pl.Series(known.source != known.target)[placed["at"]])
    if placed.is_empty():
        return found, legs
    edges = linked(known)
    for (name,), mine in placed.group_by("motif", maintain_order=True):
        counted = mine["counted"].cast(pl.Int64).fill_null(-1).to_numpy()
        sought = Sought(known, edges, mine["at"].cast(pl.Int64).to_numpy(), counted, limit)
        shown = MOTIFS[str(name)].search(sought)
        told = mine.select("motif", "row").with_columns(number=pl.Series(shown.number), payments=pl.Series(shown.there))
        found.extend(told.filter(pl.col("number") > 0).cast(found.schema))
        mine_too = shown.legs.group_by("asked", maintain_order=True).tail(limit)
        rows = mine["row"].gather(mine_too["asked"])
        leg = known.row[mine_too["edge"].to_numpy()]
        legs.extend(mine_too.select(motif=pl.lit(name), row=rows, hop="hop", leg=pl.Series(leg)).cast(legs.schema))
    return found, legs
