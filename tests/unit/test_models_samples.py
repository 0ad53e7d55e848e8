"""The learned scorer on labelled data that nobody here made."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from fintel.config import Settings
from fintel.domain.schema import LABELS, TRANSACTIONS
from fintel.frames import MONEY, TIMESTAMP, fit
from fintel.models.training import train


def test_amlsim_fan_in_set_is_ranked_better_than_by_the_floor(shared: Path) -> None:
    folder = shared / "data/amlsim/ibm_20K_fanin200"
    start = pl.lit(datetime(2020, 1, 1, tzinfo=UTC)).cast(TIMESTAMP)
    value = pl.col("value").cast(MONEY)
    provenance = {
        "source": pl.lit("sample"), "feed_id": pl.lit("sample"), "source_file": pl.lit("sample"), "source_row": pl.lit(1),
    }  # fmt: skip
    payments = pl.read_csv(folder / "transactions.csv").with_row_index("n")
    transactions = payments.select(
        transaction_id=pl.format("n:{}", "n"),
        booked_at=start + pl.duration(days="time"),
        amount=value,
        amount_base=value,
        currency=pl.lit("USD"),
        debtor_account_id=pl.col("sourceNodeId").cast(pl.String),
        creditor_account_id=pl.col("targetNodeId").cast(pl.String),
        status=pl.lit("booked"),
        **provenance,
    )
    labels = (
        pl.read_csv(folder / "nodes.csv")
        .filter(pl.col("isFraud") == 1)
        .select(
            subject_type=pl.lit("account"),
            subject_id=pl.col("nodeid").cast(pl.String),
            suspicious=pl.lit(value=True),
            label_source=pl.lit("simulator"),
            known_at=start,
            **provenance,
        )
    )
    tables = {"transactions": fit(transactions, TRANSACTIONS).lazy(), "labels": fit(labels, LABELS).lazy()}
    evaluation = train(tables, settings=Settings(threads=2)).evaluation
    assert evaluation.plan == "grouped"
    assert "nothing is known of the future" in evaluation.notes[0]
    assert evaluation.positives > 900
    found = evaluation.rankings["model"]
    # 29 simple features with gradient boosting reach 0.768 on the same folds-of-accounts protocol, 0.790 with IBM's
    # graph features. Much more would be a leak: labels here are "known" on the first day.
    assert 0.768 < found.average_precision.value < 0.9
    assert found.budgets[-1].precision.value > 0.99
