"""Graph columns of entries (``domain.schema.ENTRY_GRAPH``): those that are asked for, as of each entry.

A payment's columns are computed once and seen from both of its sides: of an entry that goes out the account is the
payer and the other side the payee, of one that comes in it is the other way round. A payment without another side
(cash), or of an account to itself, is no edge: there every column is empty, and a rule says that it cannot tell.
Columns that compare amounts are empty where the amount in the base currency is not known. Numbers are rounded to six
digits, as the engine keeps them.

Rings are identifiers as known at the moment of the run, like ``shared_*`` of entries; all else is of the past of the
entry alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from fintel.domain.schema import ENTRY_GRAPH, Type
from fintel.features.entries import Tables, booked, entries
from fintel.features.identifiers import TELLING, known_identifiers
from fintel.graph.layout import Settings
from fintel.graph.network import Network, network
from fintel.graph.rings import Rings, holders, rings
from fintel.graph.state import edge_features

_DAY = timedelta(days=1)
_WEEK, _MONTH = 7 * _DAY, 30 * _DAY
#: A relation is new again after so long; as ``kernels_flows.HORIZON`` has it for counterparties.
_NEW_AFTER = 90 * _DAY
#: Windows of each family: only those that a column needs.
SETTINGS: Mapping[str, Settings] = {
    "statistics": Settings(windows=(_WEEK, _MONTH)),
    "meetings": Settings(meeting_windows=(_DAY,)),
    "cycles": Settings(cycle_windows=(_WEEK,)),
    "flows": Settings(windows=(_WEEK, _MONTH), meeting_windows=(_WEEK,)),
}
_HOUR = 3600.0
#: Identifiers that tie holders into rings. Not addresses: households and tenements share one (``shared_address``).
TYING = tuple(kind for kind in TELLING if kind != "address")


@dataclass(frozen=True)
class _Of:
    """Where a column comes from: family, the kernels' column, what divides it, what stands for nothing, and whether
    it is empty where the payment's amount is not known."""

    family: str
    column: str
    divided: float = 1.0
    otherwise: float | None = None
    of_amounts: bool = False


_PAYMENT: Mapping[str, _Of] = {
    "cycle_hops": _Of("cycles", "cycle_shortest_7d"),
    "cycle_conserved": _Of("cycles", "cycles_conserved_7d", of_amounts=True),
    "cycle_kept_hops": _Of("cycles", "cycle_kept_7d", of_amounts=True),
    "cycle_retention": _Of("cycles", "cycle_retention_7d", otherwise=0.0, of_amounts=True),
    "cycle_hours": _Of("cycles", "cycle_duration_7d", _HOUR),
    "triangles": _Of("cycles", "cycles_3_7d"),
    "chain_hops": _Of("flows", "chain_payments", of_amounts=True),
    "chain_retention": _Of("flows", "chain_retention", of_amounts=True),
    "chain_hours": _Of("flows", "chain_duration", _HOUR, of_amounts=True),
    "chain_dwell_hours": _Of("flows", "chain_dwell", _HOUR, of_amounts=True),
    "peel_hops": _Of("flows", "peel_payments", of_amounts=True),
    "peel_retention": _Of("flows", "peel_retention", of_amounts=True),
    "funded_share": _Of("flows", "funded_share", of_amounts=True),
    "funded_hours": _Of("flows", "funded_dwell", _HOUR, of_amounts=True),
    "scatter_gather_mids": _Of("meetings", "gathered_mids_1d"),
    "scatter_gather_conserved": _Of("meetings", "gathered_conserved_1d", of_amounts=True),
    "stack_width": _Of("meetings", "stack_width_1d"),
    "gather_scatter_width": _Of("flows", "gather_scatter_width_7d"),
    "gather_scatter_passed": _Of("flows", "gather_scatter_passed_7d", otherwise=0.0),
    "reciprocal_payments": _Of("flows", "returned_payments_30d"),
    "reciprocal_balance": _Of("flows", "returned_balance_30d", otherwise=0.0),
    "new_relation": _Of("flows", "relation_gap"),
    "cycle_truncated": _Of("cycles", "truncated"),
    "flow_truncated": _Of("flows", "truncated"),
    "meeting_truncated": _Of("meetings", "truncated"),
}
#: By family: where its searches were cut short. (Statistics have no bound.)
TRUNCATED: Mapping[str, str] = {of.family: name for name, of in _PAYMENT.items() if of.column == "truncated"}
_ANY_TRUNCATED = "graph_truncated"
#: Columns of one end: of the payer, of the payee. The account is the one, the other side the other.
_ENDS: Mapping[str, tuple[_Of, _Of]] = {
    **{
        f"fan_{way}_{days}d": (
            _Of("statistics", f"source_fan_{way}_{days}d"),
            _Of("statistics", f"target_fan_{way}_{days}d"),
        )
        for way in ("in", "out")
        for days in (7, 30)
    },
    "new_counterparties_1d": (_Of("flows", "source_new_payees_1d"), _Of("flows", "target_new_payers_1d")),
    "passed_share_7d": (_Of("flows", "source_passed_share_7d"), _Of("flows", "target_passed_share_7d")),
}
_SEEN_FROM = ("own", "counterparty")
_RINGS = ("ring_holders", "counterparty_ring_holders", "counterparty_ring", "same_ring")
#: Columns that rules may name, without the key.
GRAPH_COLUMNS: tuple[str, ...] = tuple(c.name for c in ENTRY_GRAPH.columns if not c.required)


def with_graph(
    seen: pl.LazyFrame, tables: Tables, wanted: Collection[str], *, as_of: datetime | None = None
) -> pl.LazyFrame:
    """Entries with the graph columns that are wanted; the entries as they are if none is.

    Parameters
    ----------
    seen: ``features.entries.entries(…, row="row")`` of the tables, ``row`` being the payment's row number.
    tables: canonical lazy frames by name, whose network it is.
    wanted: names of columns; others than those of ``ENTRY_GRAPH`` are passed over.
    """
    columns = [name for name in GRAPH_COLUMNS if name in wanted]
    told = [name for name in columns if name not in _RINGS]
    if told:
        payments = _payments(tables, told, as_of)
        out = pl.col("direction") == "out"
        sided = [
            pl.when(out).then(f"{name} out").otherwise(f"{name} in").alias(name)
            for name in told
            if not of_payment(name)
        ]
        seen = seen.join(payments.lazy(), on="row", how="left", maintain_order="left").with_columns(sided)
        seen = seen.drop([f"{name} {way}" for name in told if not of_payment(name) for way in ("out", "in")])
    if len(told) < len(columns):
        seen = _with_rings(seen, tables, as_of, [name for name in columns if name in _RINGS])
    return seen


def entry_graph(tables: Tables, *, as_of: datetime | None = None) -> pl.LazyFrame:
    """The whole table ``entry_graph`` of canonical tables."""
    numbered = {**tables, "transactions": tables["transactions"].with_row_index("row")}
    seen = entries(numbered, as_of=as_of, row="row")
    return with_graph(seen, tables, GRAPH_COLUMNS, as_of=as_of).select(ENTRY_GRAPH.names)


def of_payment(name: str) -> bool:
    """Whether a column describes the payment, and not one of its ends."""
    return name in _PAYMENT or name == _ANY_TRUNCATED


def _payments(tables: Tables, wanted: Collection[str], as_of: datetime | None) -> pl.DataFrame:
    known = network(tables, as_of=as_of)
    rows = pl.DataFrame({"row": known.row})
    other = pl.Series(known.source != known.target)
    return pl.concat([rows, payment_columns(known, wanted)], how="horizontal").filter(other)


def payment_columns(known: Network, wanted: Collection[str]) -> pl.DataFrame:
    """Graph columns (none of rings) of every payment of a network, in its order; those of an end twice: ``<name> out``
    as the payer's entry has it, ``<name> in`` as the payee's. Meaningless for transfers of an account to itself."""
    sources = {name: _PAYMENT[name] for name in wanted if name in _PAYMENT}
    if _ANY_TRUNCATED in wanted:
        sources |= {name: _PAYMENT[name] for name in TRUNCATED.values()}
    for name in wanted:
        seen_from, _, rest = name.partition("_")
        if seen_from in _SEEN_FROM and not of_payment(name):
            payer, payee = _ENDS[rest]
            sources[f"{name} out"] = payer if seen_from == "own" else payee
            sources[f"{name} in"] = payee if seen_from == "own" else payer
    made = [
        _family(known, family, {n: s for n, s in sources.items() if s.family == family})
        for family in dict.fromkeys(s.family for s in sources.values())
    ]
    told = pl.concat(made, how="horizontal") if made else pl.DataFrame()
    if _ANY_TRUNCATED in wanted:
        told = told.with_columns(pl.any_horizontal(TRUNCATED.values()).alias(_ANY_TRUNCATED))
    return told.drop(set(TRUNCATED.values()) - set(wanted), strict=False)


def _family(known: Network, family: str, sources: Mapping[str, _Of]) -> pl.DataFrame:
    features = edge_features(known, SETTINGS[family], families=(family,))
    features = features.select({s.column for s in sources.values()})
    has_amount = pl.Series("has amount", known.amount >= 0)
    return features.with_columns(has_amount).select(_expression(name, source) for name, source in sources.items())


def _expression(name: str, source: _Of) -> pl.Expr:
    plain = pl.col(source.column)
    if name == "new_relation":
        gap = plain.fill_nan(None)
        return (gap.is_null() | (gap >= _NEW_AFTER.total_seconds())).alias(name)
    if _type(name) is Type.BOOL:
        return (plain > 0).alias(name)
    if _type(name) is Type.INT:
        found = plain.cast(pl.Int64)
    else:
        found = (plain.cast(pl.Float64).fill_nan(None) / source.divided).round(6)
        found = found if source.otherwise is None else found.fill_null(source.otherwise)
    return (pl.when("has amount").then(found) if source.of_amounts else found).alias(name)


def _type(name: str) -> Type:
    return ENTRY_GRAPH[name.partition(" ")[0]].type


def _with_rings(seen: pl.LazyFrame, tables: Tables, as_of: datetime | None, wanted: Collection[str]) -> pl.LazyFrame:
    mine = ring_of_account(tables, as_of, rings(tables, as_of=as_of, kinds=TYING))
    theirs = mine.rename({"account_id": "counterparty_id", "ring": " ring", "holders": " holders"})
    seen = seen.join(mine.lazy(), on="account_id", how="left", maintain_order="left")
    seen = seen.join(theirs.lazy(), on="counterparty_id", how="left", maintain_order="left")
    known = pl.col("holders").is_not_null() & pl.col(" holders").is_not_null()
    made = {
        "ring_holders": pl.col("holders"),
        "counterparty_ring_holders": pl.col(" holders"),
        "counterparty_ring": pl.col(" ring"),
        "same_ring": pl.when(known).then((pl.col("ring") == pl.col(" ring")).fill_null(value=False)),
    }
    return seen.with_columns(**{name: made[name] for name in wanted}).drop("ring", "holders", " ring", " holders")


def ring_of_account(tables: Tables, as_of: datetime | None, found: Rings) -> pl.DataFrame:
    """``account_id, ring, holders`` of accounts of whose holders an identifier is known, and not too common.

    ``found``: the rings of ``TYING`` as of then.
    """
    of_account = holders(tables, as_of)
    told = known_identifiers(tables, as_of, TYING).select(holder_id="party_id").unique()
    with_device = booked(tables["transactions"], as_of).filter(pl.col("device_id").is_not_null())
    devices = with_device.select(account_id="debtor_account_id").drop_nulls().unique()
    known = pl.col("holder_id").is_in(told.collect()["holder_id"].implode()) | pl.col("account_id").is_in(
        devices.collect()["account_id"].implode()
    )
    crowded = found.skipped.filter(pl.col("reason") == "ring too large")["account_id"].unique()
    sizes = found.members.join(found.rings.select("ring_id", "holders"), on="ring_id")
    return (
        of_account.filter(known)
        .join(sizes.select("account_id", ring="ring_id", holders="holders"), on="account_id", how="left")
        .select(
            "account_id",
            "ring",
            pl.when(~pl.col("account_id").is_in(crowded.implode())).then(
                pl.col("holders").fill_null(1).cast(pl.Int64)
            ).alias("holders"),
        )
    )  # fmt: skip
