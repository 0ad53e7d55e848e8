"""Small networks and tables of payments for the tests of static questions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import strategies as st

from fintel.domain.schema import TRANSACTIONS
from fintel.frames import fit
from fintel.graph.network import Network
from fintel.graph.network import network as of_tables

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=60)


def transactions(payments: list[tuple[str | None, str | None, float, int | None]], first: int = 0) -> pl.DataFrame:
    """Payments (payer, payee, hours after START, cents)."""
    return fit(
        pl.DataFrame(
            {
                "transaction_id": [f"t:{i + first:05d}" for i in range(len(payments))],
                "booked_at": [START + timedelta(hours=h) for _, _, h, _ in payments],
                "amount": [Decimal(c or 100) / 100 for *_, c in payments],
                "amount_base": [None if c is None else Decimal(c) / 100 for *_, c in payments],
                "currency": ["USD"] * len(payments),
                "debtor_account_id": [u for u, *_ in payments],
                "creditor_account_id": [v for _, v, *_ in payments],
                "status": ["booked"] * len(payments),
                "source": ["t"] * len(payments),
                "feed_id": ["f"] * len(payments),
                "source_file": ["f"] * len(payments),
                "source_row": range(len(payments)),
            },
            schema_overrides={
                "debtor_account_id": pl.String,
                "creditor_account_id": pl.String,
                "amount_base": pl.Decimal(18, 5),
                "amount": pl.Decimal(18, 5),
                "booked_at": pl.Datetime("us", "UTC"),
                "transaction_id": pl.String,
            },
        ),
        TRANSACTIONS,
    )


def network(table: pl.DataFrame, as_of: datetime | None = None) -> Network:
    """The network of payments between accounts."""
    return of_tables({"transactions": table.lazy()}, as_of=as_of)


def payments(accounts: int = 8, most: int = 40, unknown: bool = True) -> st.SearchStrategy[list[Any]]:
    """Lists of payments: parallel ones, self-transfers, ties in time, and (``unknown``) missing amounts."""
    account = st.integers(0, accounts - 1).map(lambda i: f"a{i}")
    cents = st.integers(1, 100_000)
    return st.lists(
        st.tuples(account, account, st.integers(0, 24 * 50), (st.none() | cents) if unknown else cents),
        min_size=1,
        max_size=most,
    )
