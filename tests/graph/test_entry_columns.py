"""Graph columns of entries: the kernels' numbers, seen from the right side, and of the past alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fintel.domain.schema import ACCOUNTS, ENTRY_GRAPH, IDENTIFIERS, MONEY_UNITS, TRANSACTIONS
from fintel.features.entries import entries
from fintel.frames import MONEY, empty, fit, polars_schema
from fintel.graph import entry_columns
from fintel.graph.entry_columns import GRAPH_COLUMNS, entry_graph, with_graph
from fintel.graph.network import network
from fintel.graph.state import edge_features

START = datetime(2025, 3, 1, tzinfo=UTC)
Tables = Mapping[str, pl.LazyFrame]


def tables(rows: list[tuple[float, str | None, str | None, float | None]], **more: pl.DataFrame) -> Tables:
    """Payments (hours from the start, payer, payee, amount); a side may be nobody, an amount unknown."""
    size = len(rows)
    units = [None if amount is None else round(amount * MONEY_UNITS) for *_, amount in rows]
    amounts = (pl.Series(units, dtype=pl.Int64).cast(pl.Decimal(38, 5)) / MONEY_UNITS).cast(MONEY)
    frame = pl.DataFrame(
        {
            "transaction_id": [f"t:{n:03d}" for n in range(size)],
            "booked_at": [START + timedelta(hours=hours) for hours, *_ in rows],
            "amount": amounts.fill_null(1),
            "amount_base": amounts,
            "currency": ["USD"] * size,
            "debtor_account_id": [payer for _, payer, _, _ in rows],
            "creditor_account_id": [payee for _, _, payee, _ in rows],
            "status": ["booked"] * size,
            **{name: ["x"] * size for name in ("source", "feed_id", "source_file")},
            "source_row": list(range(size)),
        },
        schema_overrides={"debtor_account_id": pl.String, "creditor_account_id": pl.String},
    )
    whole = pl.concat([empty(TRANSACTIONS), frame], how="diagonal_relaxed")
    return {"transactions": fit(whole, TRANSACTIONS).lazy(), **{name: table.lazy() for name, table in more.items()}}


def told(feed: Tables) -> dict[str, dict[str, object]]:
    """The row of each entry, by its id."""
    return {row["entry_id"]: row for row in entry_graph(feed).collect().iter_rows(named=True)}


SOME = ("a", "b", "c", "d", "e", None)
PAYMENTS = st.lists(
    st.tuples(
        st.integers(0, 24 * 20).map(lambda quarter: quarter / 2),
        st.sampled_from(SOME),
        st.sampled_from(SOME),
        st.sampled_from([100.0, 95.0, 90.0, 60.0, 250.0, None]),
    ).filter(lambda row: row[1] is not None or row[2] is not None),
    min_size=1,
    max_size=40,
)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rows=PAYMENTS, kept=st.integers(0, 40))
def test_an_entry_sees_the_past_alone(
    rows: list[tuple[float, str | None, str | None, float | None]], kept: int
) -> None:
    """Later payments, whoever makes them, change no column of what was before."""
    rows = sorted(rows, key=lambda row: row[0])
    before = told(tables(rows[:kept] or rows[:1]))
    after = told(tables(rows))
    assert before and all(after[entry] == row for entry, row in before.items())


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rows=PAYMENTS)
def test_both_sides_tell_the_payment_and_each_its_own_end(
    rows: list[tuple[float, str | None, str | None, float | None]],
) -> None:
    feed = tables(rows)
    found = told(feed)
    known = network(feed)
    features = {
        name: column
        for family, chosen in entry_columns.SETTINGS.items()
        for name, column in edge_features(known, chosen, families=(family,)).to_dict().items()
    }
    edges = {int(row): e for e, row in enumerate(known.row)}
    for number, (_, payer, payee, amount) in enumerate(rows):
        sides = [(payer, f"t:{number:03d}/out"), (payee, f"t:{number:03d}/in")]
        for account, entry in sides:
            if account is None:
                continue
            row = found[entry]
            if payer is None or payee is None or payer == payee:
                assert all(row[name] is None for name in GRAPH_COLUMNS)
                continue
            e, out = edges[number], entry.endswith("/out")
            mine, theirs = ("source", "target") if out else ("target", "source")
            assert row["own_fan_in_7d"] == features[f"{mine}_fan_in_7d"][e]
            assert row["counterparty_fan_out_30d"] == features[f"{theirs}_fan_out_30d"][e]
            assert row["own_new_counterparties_1d"] == features[
                "source_new_payees_1d" if out else "target_new_payers_1d"
            ][e]  # fmt: skip
            assert row["cycle_hops"] == features["cycle_shortest_7d"][e]
            assert row["chain_hops"] == (None if amount is None else features["chain_payments"][e])
            share = features[f"{theirs}_passed_share_7d"][e]
            got = row["counterparty_passed_share_7d"]
            assert got is None if np.isnan(share) else got == pytest.approx(share, abs=1e-6)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rows=PAYMENTS, wanted=st.sets(st.sampled_from(GRAPH_COLUMNS), min_size=1, max_size=4))
def test_a_column_is_the_same_whatever_else_is_asked(
    rows: list[tuple[float, str | None, str | None, float | None]], wanted: set[str]
) -> None:
    feed = tables(rows)
    numbered = {**feed, "transactions": feed["transactions"].with_row_index("row")}
    few = with_graph(entries(numbered, row="row"), feed, wanted).collect()
    assert set(few.columns) == {*entries(numbered, row="row").collect_schema().names(), *wanted}
    whole = entry_graph(feed).collect()
    assert few.select("entry_id", *sorted(wanted)).equals(whole.select("entry_id", *sorted(wanted)))


def test_the_table_is_as_the_schema_has_it() -> None:
    assert entry_graph(tables([(0, "a", "b", 1.0)])).collect().schema == polars_schema(ENTRY_GRAPH)
    assert entry_graph({"transactions": empty(TRANSACTIONS).lazy()}).collect().schema == polars_schema(ENTRY_GRAPH)


def test_a_relation_is_new_again_after_ninety_days() -> None:
    day = 24.0
    rows = [
        (0, "a", "b", 1.0),
        (90 * day - 1, "a", "b", 1.0),
        (180 * day - 1, "a", "b", 1.0),
        (181 * day, "b", "a", 1.0),
    ]
    found = told(tables(rows))
    assert [found[f"t:00{n}/out"]["new_relation"] for n in range(4)] == [True, False, True, True]


def test_a_ring_ties_over_others_and_says_nothing_of_whom_nothing_is_known() -> None:
    accounts = pl.DataFrame({"account_id": ["a", "b", "c", "d"], "party_id": ["1", "2", "3", "4"]})
    phones = {"party_id": ["1", "2", "2", "3", "4"], "type": ["phone", "phone", "email", "email", "phone"]}
    values = {"value": ["555100", "555100", "x@y.test", "x@y.test", "555900"], "first_seen": [None] * 5}
    identifiers = pl.DataFrame({**phones, **values}, schema_overrides={"first_seen": pl.Datetime("us", "UTC")})
    accounts, identifiers = fit(accounts, ACCOUNTS), fit(identifiers, IDENTIFIERS)
    rows = [(0.0, "a", "c", 1.0), (1.0, "c", "d", 1.0), (2.0, "d", "nobody", 1.0)]
    found = told(tables(rows, accounts=accounts, identifiers=identifiers))
    first, second, third = (found[f"t:00{n}/out"] for n in range(3))
    assert (first["ring_holders"], first["counterparty_ring_holders"], first["same_ring"]) == (3, 3, True)
    assert (second["ring_holders"], second["counterparty_ring_holders"], second["same_ring"]) == (3, 1, False)
    assert (third["ring_holders"], third["counterparty_ring_holders"], third["same_ring"]) == (1, None, None)
    assert first["counterparty_ring"] == found["t:001/in"]["counterparty_ring"] is not None
    assert second["counterparty_ring"] is None
