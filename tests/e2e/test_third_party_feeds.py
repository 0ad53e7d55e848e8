"""Shipped mappings on files that nobody here wrote: what comes in, what does not, and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from fintel import frames
from fintel.domain.schema import TABLES
from fintel.feeds.base import Batch
from fintel.feeds.mapping_loader import load
from fintel.feeds.reading import read
from fintel.feeds.sniff import recognise

#: mapping, folder, table -> (read, accepted, quarantined, skipped)
EXPECTED = [
    ("saml_d", "saml_d", {"transactions": (1000, 1000, 0, 0), "labels": (1000, 5, 0, 995)}),
    (
        "amlworld", "ibm_amlworld",
        {
            "transactions": (1572, 1572, 0, 0), "labels": (1572, 0, 0, 1572), "accounts": (1000, 1000, 0, 0),
            "parties": (1000, 1000, 0, 0),
        },
    ),
    (
        "amlsim", "amlsim/generated_1K",
        {
            "transactions": (121457, 121457, 0, 0), "accounts": (1446, 1446, 0, 0), "parties": (1446, 1446, 0, 0),
            "labels": (121457 + 73 + 2 * 65, 65 + 73 + 2 * 65, 0, 121392),
        },
    ),
    (
        "amlsim", "amlsim/generated_10K_lookalikes",
        {
            "transactions": (174386, 174344, 42, 0), "accounts": (12043, 12043, 0, 0),
            "parties": (12043, 12043, 0, 0),
            "labels": (174386 + 1329 + 2 * 1116, 596 + 1329 + 2 * 596, 0, 173790 + 2 * 520),
        },
    ),
    (
        "amlsim_nodes", "amlsim/ibm_20K_fanin200",
        {"transactions": (118250, 118250, 0, 0), "accounts": (20000, 20000, 0, 0), "labels": (20000, 954, 0, 19046)},
    ),
    ("fincen_files", "fincen_files", {"transactions": (4507, 4501, 6, 0)}),
    (
        "ldbc_finbench", "ldbc_finbench",
        {"transactions": (79930, 79930, 0, 0), "accounts": (6200, 6200, 0, 0), "parties": (2924, 2924, 0, 0)},
    ),
]  # fmt: skip


def totals(batches: list[Batch]) -> dict[str, tuple[int, int, int, int]]:
    found: dict[str, tuple[int, int, int, int]] = {}
    for b in batches:
        assert b.rows_read == b.frame.height + b.quarantine.height + b.rows_skipped
        assert b.frame.schema == frames.polars_schema(TABLES[b.table])
        old = found.get(b.table, (0, 0, 0, 0))
        new = (b.rows_read, b.frame.height, b.quarantine.height, b.rows_skipped)
        found[b.table] = tuple(a + c for a, c in zip(old, new, strict=True))  # type: ignore[assignment]
    return found


@pytest.mark.parametrize(("mapping", "folder", "expected"), EXPECTED, ids=[e[1] for e in EXPECTED])
def test_counts_reconcile(shared: Path, mapping: str, folder: str, expected: dict[str, tuple[int, ...]]) -> None:
    path = shared / "data" / folder
    assert recognise(path) == mapping
    batches = list(read(path, load(mapping)))
    assert totals(batches) == expected
    for table, key in (("transactions", "transaction_id"), ("accounts", "account_id")):
        ids = pl.concat([b.frame[key] for b in batches if b.table == table] or [pl.Series(key, [], pl.String)])
        assert ids.is_duplicated().sum() == 0


def frame(shared: Path, folder: str, mapping: str, table: str = "transactions", **keys: object) -> pl.DataFrame:
    batches = read(shared / "data" / folder, load(mapping), **keys)  # type: ignore[arg-type]
    return pl.concat([b.frame for b in batches if b.table == table])


def test_saml_d_speaks_iso_codes_and_keeps_labels_apart(shared: Path) -> None:
    made = frame(shared, "saml_d", "saml_d")
    assert dict(made["currency"].value_counts().iter_rows()) == {
        "GBP": 948, "EUR": 17, "JPY": 5, "USD": 4, "INR": 4, "CHF": 4, "AED": 4, "MXN": 4, "TRY": 4, "MAD": 3,
        "NGN": 2, "ALL": 1,
    }  # fmt: skip
    assert made["debtor_country"].value_counts(sort=True).row(0) == ("GB", 957)
    first = made.row(0, named=True)
    assert (str(first["booked_at"]), str(first["amount"]), first["debtor_account_id"], first["creditor_country"]) == (
        "2022-12-09 11:38:54+00:00", "8822.67000", "1782263940", "GB",
    )  # fmt: skip
    labels = frame(shared, "saml_d", "saml_d", "labels")
    suspicious = made.join(labels, left_on="transaction_id", right_on="subject_id")
    assert Counter(suspicious["typology"]) == {"Smurfing": 2, "Scatter-Gather": 1, "Layered_Fan_In": 1, "Fan_Out": 1}
    assert ((suspicious["known_at"] - suspicious["booked_at"]).dt.total_days() == 30).all()


def test_amlworld_keys_accounts_by_bank(shared: Path) -> None:
    made = frame(shared, "ibm_amlworld", "amlworld")
    original = made.filter(pl.col("source_file") == "Hipersmall_Trans.csv").row(0, named=True)
    assert (original["debtor_account_id"], original["creditor_account_id"], original["instrument"]) == (
        "11|8000ECA90", "11|8000ECA90", "reinvestment",
    )  # fmt: skip
    renamed = made.filter(pl.col("source_file") == "HI-Small_first1000.csv").row(1, named=True)
    assert (renamed["debtor_account_id"], renamed["creditor_account_id"]) == ("3208|8000F4580", "1|8000F5340")
    assert original["source_row"] == 2
    accounts = frame(shared, "ibm_amlworld", "amlworld", "accounts")
    assert Counter(accounts["kind"]) == {"organisation": 999, "person": 1}


def test_amlsim_look_alikes_are_not_suspicious(shared: Path) -> None:
    labels = frame(shared, "amlsim/generated_10K_lookalikes", "amlsim", "labels")
    counted = labels.group_by("label_source", "subject_type", "suspicious").len()
    assert {r[:3]: r[3] for r in counted.iter_rows()} == {
        ("amlsim", "transaction", True): 596,
        ("amlsim_members", "account", True): 794,
        ("amlsim_lookalikes", "account", False): 535,
        ("amlsim_payments", "account", True): 1192,
    }


def test_fincen_files_rows_without_dates_wait_in_quarantine(shared: Path) -> None:
    batches = list(read(shared / "data" / "fincen_files", load("fincen_files")))
    quarantine = pl.concat([b.quarantine for b in batches])
    assert quarantine.select("code", "column").unique().rows() == [("F001", "booked_at")]
    made = pl.concat([b.frame for b in batches])
    assert round(float(made["amount"].sum()) / 1e9, 2) == 35.62
    assert made["debtor_country"].null_count() == 0


@pytest.mark.parametrize("rows", [999, 50_000])
def test_the_cut_changes_nothing(shared: Path, rows: int) -> None:
    for folder, mapping in (("amlsim/ibm_20K_fanin200", "amlsim_nodes"), ("ldbc_finbench", "ldbc_finbench")):
        whole = frame(shared, folder, mapping)
        assert frame(shared, folder, mapping, chunk_rows=rows).equals(whole)


def test_paysim_as_documented(tmp_path: Path) -> None:
    """No sample at hand: the documented header with rows of each type."""
    path = tmp_path / "PS_log.csv"
    path.write_text(
        "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,isFraud,isFlaggedFraud\n"
        "1,PAYMENT,9839.64,C1231006815,170136.0,160296.36,M1979787155,0.0,0.0,0,0\n"
        "1,TRANSFER,181.0,C1305486145,181.0,0.0,C553264065,0.0,0.0,1,0\n"
        "2,CASH_OUT,181.0,C840083671,181.0,0.0,C38997010,21182.0,0.0,1,0\n"
        "25,CASH_IN,100.0,C1,0.0,100.0,C2,0.0,0.0,0,0\n"
        "26,BRIBE,1.0,C1,0.0,100.0,C2,0.0,0.0,0,0\n"
    )
    assert recognise(path) == "paysim"
    payments, labels = read(path, load("paysim"), base_currency="EUR")
    assert payments.frame.select("debtor_account_id", "creditor_account_id", "instrument", "currency").rows() == [
        ("C1231006815", "M1979787155", "credit_transfer", "EUR"),
        ("C1305486145", "C553264065", "credit_transfer", "EUR"),
        ("C840083671", "C38997010", "cash", "EUR"),
        ("C2", "C1", "cash", "EUR"),
    ]
    assert str(payments.frame["booked_at"][3]) == "2017-01-02 01:00:00+00:00"
    assert payments.quarantine.select("source_row", "code").rows() == [(6, "F022")]
    assert labels.frame["subject_id"].to_list() == payments.frame["transaction_id"].to_list()[1:3]
