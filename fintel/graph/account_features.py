"""Features of accounts from the network of payments, as of moments: each sees payments strictly before its own.

*Pooled* ones are the graph columns of the account's entries (``entry_columns``), which are as of the entry; they are
computed once for all moments and added up over windows. *Static* ones are computed anew at each moment, from the
payments of the ``STATIC_DAYS`` days before it: counterparties, rings of shared identifiers, and the risk that flows
from accounts known to be suspicious strictly before the moment. An account's own label never counts for itself: its
weight as a seed is taken out of its risk, and so is what comes straight back from a counterparty; what comes back over
longer ways (at most ``PASSING`` cubed of it) stays.

A payment that was undone counts until it was undone. Graph columns of other entries keep what they said of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.features.catalog import BY_NAME
from fintel.features.catalog_network import STATIC_DAYS
from fintel.features.recipes import Pooled, Static
from fintel.frames import TIMESTAMP
from fintel.graph.entry_columns import TYING, payment_columns, ring_of_account
from fintel.graph.kernels_profiles import both_ways
from fintel.graph.network import Network, network
from fintel.graph.pairs import Pairs
from fintel.graph.pooling import pooled
from fintel.graph.profiles import counterparty_profiles, payer_overlaps
from fintel.graph.rings import ring_payers, rings
from fintel.graph.risk import risk, seeds

Tables = Mapping[str, pl.LazyFrame]
Array = Any
Floats = npt.NDArray[np.float32]

_TICK = timedelta(microseconds=1)
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Standing:
    """Payments before a moment, those that were undone included, and when.

    ``tables``: with these payments only; ``net``: theirs; ``undone`` int64 (m,), µs UTC, the greatest number for never.
    """

    tables: Tables
    net: Network
    undone: Array

    @cached_property
    def any_undone(self) -> bool:
        """Whether any was."""
        return bool((self.undone < _NEVER).any())

    def between(self, begin: int, end: int) -> Network:
        """The network of the payments of [begin, end) that stand strictly before ``end``; nodes as they are."""
        net = self.net
        lo, hi = np.searchsorted(net.time, [begin, end], side="left")
        rows: Any = slice(int(lo), int(hi))
        if self.any_undone:
            rows = np.zeros(len(net), bool)
            rows[lo:hi] = self.undone[lo:hi] >= end
        source, target, time, amount, row = (
            np.ascontiguousarray(array[rows]) for array in (net.source, net.target, net.time, net.amount, net.row)
        )
        return Network(source, target, time, amount, row, net.nodes)


def network_features(
    tables: Tables, rows: pl.DataFrame, names: Sequence[str], *, known_by: datetime | None = None,
    apart: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Features by name for rows of ``account_id, as_of``, in their order: float32, NaN = unknown.

    Parameters
    ----------
    tables: canonical lazy frames by name; ``transactions`` needed, ``accounts``, ``parties``, ``identifiers``,
        ``labels``, ``intel`` used where they are.
    names: of the catalogue; all with a recipe ``Pooled`` or ``Static``. Only what they need is computed.
    known_by: labels known later are no seeds, at whatever moment; None: each moment for itself.
    apart: ``account_id, fold``: accounts of one fold are no seeds of risk for each other; None: all are.

    Raises
    ------
    KeyError: a name that the catalogue does not have, or that is no feature of the network.
    """
    recipes = {name: BY_NAME[name].recipe for name in names}
    of_pool = {n: r for n, r in recipes.items() if isinstance(r, Pooled)}
    of_static = {n: r for n, r in recipes.items() if isinstance(r, Static)}
    if len(of_pool) + len(of_static) < len(recipes):
        raise KeyError(next(n for n in names if n not in of_pool and n not in of_static))
    if not rows.height or not names:
        return pl.DataFrame({name: pl.Series([], dtype=pl.Float32) for name in names})
    moments = rows["as_of"].unique().sort()
    stands = standing(tables, moments[-1])
    node = stands.net.numbers(rows["account_id"])
    at = rows["as_of"].to_physical().to_numpy()
    values: dict[str, Floats] = {name: np.full(rows.height, np.nan, np.float32) for name in names}
    if of_pool:
        wanted = sorted({r.column for r in of_pool.values()})
        told = payment_columns(stands.net, wanted)
        values |= pooled(stands.net, told, stands.undone, of_pool, node, at)
    for moment in moments if of_static else ():
        _at_moment(stands, moment, of_static, rows, node, values, known_by, apart)
    return pl.DataFrame({name: values[name] for name in names})


def standing(tables: Tables, moment: datetime) -> Standing:
    """What stands or stood strictly before a moment."""
    known = tables["transactions"].filter(pl.col("booked_at") < moment)
    undone = (
        known.filter(pl.col("reversal_of").is_not_null())
        .group_by(transaction_id="reversal_of")
        .agg(undone=pl.col("booked_at").min().to_physical())
    )
    read = (
        "transaction_id", "booked_at", "amount_base", "status", "reversal_of", "device_id",
        *(f"{side}_{what}" for side in ("debtor", "creditor") for what in ("account_id", "name")),
    )  # fmt: skip
    paid = (
        known.filter((pl.col("status") == "booked") & pl.col("reversal_of").is_null())
        .select(read)
        .join(undone, on="transaction_id", how="left", maintain_order="left")
        .collect(engine="streaming")
    )
    until = paid["undone"].fill_null(_NEVER).to_numpy()
    seen = {**tables, "transactions": paid.drop("undone").lazy()}
    net = network(seen)
    return Standing(seen, net, np.ascontiguousarray(until[net.row]))


def _at_moment(
    stands: Standing, moment: datetime, recipes: Mapping[str, Static], rows: pl.DataFrame,
    node: Array, values: Mapping[str, Floats], known_by: datetime | None, apart: pl.DataFrame | None,
) -> None:  # fmt: skip
    here = np.flatnonzero((rows["as_of"] == moment).to_numpy())
    account, number = rows["account_id"].gather(here), node[here]
    end = int(pl.Series([moment], dtype=TIMESTAMP).to_physical()[0])
    recent = stands.between(end - timedelta(days=STATIC_DAYS) // _TICK, end)
    parts = {r.part for r in recipes.values()}
    found: dict[str, Floats] = {}
    if "ring" in parts:
        found |= {f"ring {k}": v for k, v in _rings(stands, recent, moment, account).items()}
    if "profile" in parts:
        found |= {f"profile {k}": _of(v, number) for k, v in _profiles(recent, moment).items()}
    if "risk" in parts:
        by = moment - _TICK if known_by is None else min(moment - _TICK, known_by)
        known = seeds(stands.tables, by)
        found |= {f"risk {k}": v for k, v in _risks(recent, moment, known, account, number, apart).items()}
    for name, recipe in recipes.items():
        values[name][here] = found[f"{recipe.part} {recipe.column}"]


def _of(by_node: Floats, number: Array) -> Floats:
    return np.where(number >= 0, by_node[np.maximum(number, 0)], np.float32("nan"))


def _risks(
    recent: Network, moment: datetime, known: pl.DataFrame, account: pl.Series, number: Array,
    apart: pl.DataFrame | None,
) -> dict[str, Floats]:  # fmt: skip
    """Of the accounts; those of one fold of ``apart`` by the seeds of the other folds."""
    if apart is None:
        return {name: _of(values, number) for name, values in _risk(recent, moment, known).items()}
    fold = account.to_frame("account_id").join(apart, on="account_id", how="left", maintain_order="left")["fold"]
    found = {name: np.full(len(account), np.nan, np.float32) for name in _RISK_COLUMNS}
    for one in fold.unique().drop_nulls():
        mine = (fold == one).fill_null(value=False).to_numpy()
        together = apart.filter(pl.col("fold") == one)
        for name, values in _risk(recent, moment, known.join(together, on="account_id", how="anti")).items():
            found[name][mine] = _of(values, number)[mine]
    return found


def _profiles(recent: Network, moment: datetime) -> dict[str, Floats]:
    known = counterparty_profiles(recent, as_of=moment - _TICK)
    found = {
        name: _plain(known[name])
        for name in known.columns
        if known.schema[name].is_float() and name != "history_days"
    }  # fmt: skip
    alike, _ = payer_overlaps(recent, as_of=moment - _TICK)
    both = pl.concat([alike.select("account_id", "jaccard"), alike.select(account_id="other_id", jaccard="jaccard")])
    best = both.group_by("account_id").agg(pl.len(), pl.col("jaccard").max())
    numbers = recent.numbers(best["account_id"])
    payers = known["payers"].to_numpy()
    counted, overlap = (np.where(payers > 0, np.float32(0), np.float32("nan")) for _ in range(2))
    counted[numbers], overlap[numbers] = best["len"].to_numpy(), best["jaccard"].to_numpy()
    return found | {"alike_collectors": counted, "payer_overlap": overlap}


def _rings(stands: Standing, recent: Network, moment: datetime, account: pl.Series) -> dict[str, Floats]:
    past = {**stands.tables, "transactions": stands.tables["transactions"].filter(pl.col("booked_at") < moment)}
    found = rings(past, as_of=moment - _TICK, kinds=TYING)
    sizes = ring_of_account(past, moment - _TICK, found).select("account_id", ring_holders="holders")
    tied = found.features.select("account_id", "tied_holders")
    paid = ring_payers(recent, found).select("account_id", "ring_payers", "paid_within_ring")
    whole = account.to_frame("account_id")
    for part in (sizes, tied, paid):
        whole = whole.join(part, on="account_id", how="left", maintain_order="left")
    known = pl.col("ring_holders").is_not_null()
    whole = whole.with_columns(
        pl.when(known).then(pl.col("tied_holders", "ring_payers").fill_null(0)), pl.col("paid_within_ring")
    )
    return {name: _plain(whole[name]) for name in whole.columns if name != "account_id"}


def _risk(recent: Network, moment: datetime, known: pl.DataFrame) -> dict[str, Floats]:
    """By node. Without anybody known to be suspicious all is unknown, not 0: else it would tell the date."""
    nodes = len(recent.nodes)
    if known.is_empty():
        nothing = np.full(nodes, np.nan, np.float32)
        return dict.fromkeys(_RISK_COLUMNS, nothing)
    flows = risk(recent, known, as_of=moment - _TICK)
    folded = flows.pairs
    back = both_ways(folded.source, folded.target, folded.out_start, folded.in_start, folded.in_pair)
    own = flows.forward.put_in
    suspicious = own > 0
    amount = folded.total(np.maximum(recent.amount, 0))
    payers = np.bincount(folded.target, suspicious[folded.source], nodes)
    payees = np.bincount(folded.source, suspicious[folded.target], nodes)
    received = np.bincount(folded.target, amount, nodes)
    paid = np.bincount(folded.source, amount, nodes)
    found = {
        "risk_received": _without_own(flows.forward.risk, flows.forward.passes, own, back, folded),
        "risk_paid": _without_own(flows.backward.risk, flows.backward.passes, own, back, folded),
        "suspicious_payers": payers,
        "suspicious_payees": payees,
        "suspicious_in_share": _part(np.bincount(folded.target, amount * suspicious[folded.source], nodes), received),
        "suspicious_out_share": _part(np.bincount(folded.source, amount * suspicious[folded.target], nodes), paid),
        "suspicious_hops": _hops(folded, suspicious, back, nodes),
    }
    return {name: found[name].astype(np.float32) for name in _RISK_COLUMNS}


_RISK_COLUMNS = (
    "risk_received", "risk_paid", "suspicious_payers", "suspicious_payees", "suspicious_in_share",
    "suspicious_out_share", "suspicious_hops",
)  # fmt: skip


def _without_own(
    risk_of: Array, passes: Array, own: Array,
    back: Array, folded: Pairs,
) -> Array:  # fmt: skip
    returned = np.where(back >= 0, passes * passes[back], 0.0) if passes.size else passes
    echo = own * np.bincount(folded.source, returned, own.size)
    # Zeros of two sums that cancel stay zeros.
    return np.maximum((risk_of - own - echo).round(12), 0.0)


def _hops(folded: Pairs, suspicious: Array, back: Array, nodes: int) -> Array:
    """Steps to a suspicious account other than itself, either way along payments: 1, 2, or 3 for more."""
    once = (back < 0) | (folded.source < folded.target)
    a, b = folded.source[once], folded.target[once]
    beside = np.bincount(a, suspicious[b], nodes) + np.bincount(b, suspicious[a], nodes)
    own = suspicious.astype(np.float64)
    near = np.zeros(nodes, bool)
    near[a[beside[b] - own[a] > 0]] = True
    near[b[beside[a] - own[b] > 0]] = True
    return np.where(beside > 0, 1.0, np.where(near, 2.0, 3.0))


def _part(top: Array, bottom: Array) -> Array:
    return np.divide(top, bottom, out=np.full(top.size, np.nan), where=bottom > 0)


def _plain(values: pl.Series) -> Floats:
    return values.cast(pl.Float32).fill_null(float("nan")).to_numpy()
