"""The network of payments: which payments are edges, in which order, between which nodes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
from hypothesis import given, settings

from fintel.domain.schema import ACCOUNTS, TRANSACTIONS
from fintel.features.entries import Tables
from fintel.frames import fit
from fintel.graph.layout import MICROSECOND
from fintel.graph.network import Network, network
from tests.graph.payments import networks

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def tables(
    *rows: tuple[str, int, str | None, str | None, str | None], accounts: dict[str, str] | None = None
) -> Tables:
    """Payments as (id, hour, amount, debtor, creditor); a side that begins with ``name:`` has no account."""
    columns: dict[str, list[object]] = {
        "transaction_id": [r[0] for r in rows],
        "booked_at": [DAY + timedelta(hours=r[1]) for r in rows],
        "amount_base": [None if r[2] is None else Decimal(r[2]) for r in rows],
        "status": ["booked"] * len(rows),
    }
    for i, side in ((3, "debtor"), (4, "creditor")):
        named = [str(r[i]) for r in rows]
        columns[f"{side}_account_id"] = [
            None if r[i] is None or n.startswith("name:") else n for r, n in zip(rows, named, strict=True)
        ]
        columns[f"{side}_name"] = [n[5:] if n.startswith("name:") else None for n in named]
    told = {
        "transactions": fit(
            pl.DataFrame(columns, schema_overrides={"amount_base": pl.Decimal(18, 5)}), TRANSACTIONS
        ).lazy()
    }
    if accounts is not None:
        told["accounts"] = fit(
            pl.DataFrame({"account_id": list(accounts), "party_id": list(accounts.values())}), ACCOUNTS
        ).lazy()
    return told


def edges(net: Network) -> list[tuple[int, str, str, object]]:
    return [(r["row"], r["source"], r["target"], r["amount_base"]) for r in net.frame.iter_rows(named=True)]


def test_edges_stand_by_time_then_id_and_know_their_row() -> None:
    net = network(tables(("c", 5, "2", "x", "y"), ("b", 1, "1.00001", "y", "name:Joe"), ("a", 5, None, "x", "x")))
    assert edges(net) == [(1, "y", "name:Joe", Decimal("1.00001")), (2, "x", "x", None), (0, "x", "y", Decimal(2))]
    assert net.amount.tolist() == [100_001, -1, 200_000]
    assert net.time.tolist() == [
        (DAY + timedelta(hours=h) - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND for h in (1, 5, 5)
    ]
    assert [a.dtype for a in (net.source, net.target, net.time, net.amount, net.row)] == ["i4", "i4", "i8", "i8", "u4"]
    assert net.numbers(pl.Series(["name:Joe", "nobody", "y"])).tolist() == [1, -1, 0]


def test_only_what_stands_and_has_two_sides() -> None:
    given_tables = tables(
        ("a", 1, "1", "x", "y"),
        ("b", 2, "1", "x", "y"),
        ("c", 3, "1", None, "y"),
        ("d", 4, "1", "x", "y"),
        ("r", 5, "1", "y", "x"),
    )
    changed = {"transactions": given_tables["transactions"].with_columns(
        status=pl.when(pl.col("transaction_id") == "b").then(pl.lit("pending")).otherwise("status"),
        reversal_of=pl.when(pl.col("transaction_id") == "r").then(pl.lit("d")).otherwise("reversal_of"),
    )}  # fmt: skip
    assert [row for row, *_ in edges(network(changed))] == [0]
    assert [row for row, *_ in edges(network(changed, as_of=DAY + timedelta(hours=4)))] == [0, 3]


def test_parties_join_their_accounts() -> None:
    told = tables(
        ("a", 1, "1", "x1", "y"),
        ("b", 2, "1", "x2", "x1"),
        ("c", 3, "1", "name:Z", "x2"),
        accounts={"x1": "X", "x2": "X"},
    )
    assert [e[1:3] for e in edges(network(told, by="party"))] == [("X", "y"), ("X", "X"), ("name:Z", "X")]


def test_later_payments_keep_the_numbers_of_nodes() -> None:
    told = tables(("a", 1, "1", "x", "y"), ("b", 2, "1", "z", "x"), ("c", 3, "1", "a", "b"))
    early, late = network(told, as_of=DAY + timedelta(hours=2)), network(told)
    assert late.nodes.to_list() == ["x", "y", "z", "a", "b"]
    assert late.nodes[: len(early.nodes)].to_list() == early.nodes.to_list()


def test_no_payments() -> None:
    net = network(tables())
    assert len(net) == len(net.nodes) == 0
    assert net.csr().out_start.tolist() == [0]


@given(networks())
@settings(max_examples=40, deadline=None)
def test_adjacency_lists_each_edge_once_in_order(net: Network) -> None:
    for ends, start, edge in (
        (net.source, net.csr().out_start, net.csr().out_edge),
        (net.target, net.csr().in_start, net.csr().in_edge),
    ):
        for v in range(len(net.nodes)):
            assert edge[start[v] : start[v + 1]].tolist() == np.flatnonzero(ends == v).tolist()
