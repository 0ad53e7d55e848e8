"""Sniffing: what is found, what is said to be unsure, and that every proposal is a valid mapping."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fintel.errors import FeedError
from fintel.feeds.mapping_loader import MappingError
from fintel.feeds.reading import read
from fintel.feeds.sniff import Proposal, proposed, recognise, sniff


def targets(proposal: Proposal) -> dict[str, str]:
    return {g.target: g.name for g in proposal.guesses if g.target is not None}


def accepted(path: Path, proposal: Proposal) -> pl.DataFrame:
    return pl.concat([b.frame for b in read(path, proposed(proposal)) if b.table == "transactions"])


GERMAN = """Kontoauszug;;;;;;
Auftragskonto;Buchungstag;Valuta;Beguenstigter/Zahlungspflichtiger;Kontonummer/IBAN;Verwendungszweck;Betrag;Waehrung
DE89370400440532013000;31.12.2024;31.12.2024;Müller GmbH;DE75512108001245126199;Miete;-1.234,56;EUR
DE89370400440532013000;01.02.2025;01.02.2025;Anna Ö.;DE75512108001245126199;;12,00;EUR
"""


def test_a_german_statement_in_windows_encoding(tmp_path: Path) -> None:
    path = tmp_path / "umsaetze.csv"
    path.write_bytes(GERMAN.encode("cp1252"))
    proposal = sniff(path)
    found = targets(proposal)
    assert found["booked_at"] == "Buchungstag"
    assert found["amount"] == "Betrag"
    assert found["own_account_id"] == "Auftragskonto"
    assert found["counterparty_account_id"] == "Kontonummer/IBAN"
    rows = accepted(path, proposal)
    assert rows.select("amount", "currency", "debtor_account_id", "creditor_account_id", "debtor_name").rows() == [
        (pl.Series(["1234.56"]).cast(pl.Decimal(18, 5))[0], "EUR", "DE89370400440532013000", "DE75512108001245126199", None),
        (12, "EUR", "DE75512108001245126199", "DE89370400440532013000", "Anna Ö."),
    ]  # fmt: skip
    assert any("Windows-1252" in d for d in proposal.doubts)
    assert any("time zone" in d for d in proposal.doubts)


def test_places_of_shops_are_taken_and_homes_are_not(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(
        "date,amount,sender,receiver,lat,long,merch_lat,merch_long,relationship to beneficiary,ip country\n"
        "2025-01-31,5.00,a1,b1,40.71,-74.01,40.12,-73.99,friend,US\n"
        "2025-02-01,7.00,a2,b1,34.05,-118.24,34.99,-118.01,mother,PH\n"
    )
    found = targets(sniff(path))
    wanted = {
        "place_latitude": "merch_lat", "place_longitude": "merch_long",
        "relationship": "relationship to beneficiary", "ip_country": "ip country",
    }  # fmt: skip
    assert {name: found.get(name) for name in wanted} == wanted
    rows = accepted(path, sniff(path))
    assert rows.select("place_latitude", "place_longitude", "ip_country").row(0) == (40.12, -73.99, "US")


@pytest.mark.parametrize(
    ("days", "sure"),
    [
        (["01/02/2024", "03/04/2024"], None),
        (["01/02/2024", "13/04/2024"], "%d/%m/%Y"),
        (["01/02/2024", "03/14/2024"], "%m/%d/%Y"),
    ],
)
def test_day_and_month_are_never_guessed(tmp_path: Path, days: list[str], sure: str | None) -> None:
    path = tmp_path / "f.csv"
    path.write_text("Date,Amount,Currency,From account,To account\n" + "".join(f"{d},5.10,USD,a,b\n" for d in days))
    proposal = sniff(path)
    rows = accepted(path, proposal)
    if sure is None:
        assert any("day or month first" in d for d in proposal.doubts)
        assert "choose one" in proposal.yaml
        assert rows.height == 0
    else:
        assert f'"{sure}"' in proposal.yaml
        assert rows.height == 2


def test_two_equal_headers_are_named_by_position(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("when,Account,Account,amount\n2024-01-01,a,b,5\n2024-01-02,c,d,6\n")
    proposal = sniff(path)
    assert accepted(path, proposal).select("debtor_account_id", "creditor_account_id").rows() == [
        ("a", "b"),
        ("c", "d"),
    ]
    assert any("Account" in d for d in proposal.doubts)


def test_debit_and_credit_columns_and_utf16(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    text = "Transaction date\tIBAN\tPayee\tDebit\tCredit\n2024-01-01\tGB82 WEST 1234 5698 7654 32\tShop\t5.00\t\n2024-01-02\tGB82 WEST 1234 5698 7654 32\tBoss\t\t1,000.00\n"
    path.write_bytes(text.encode("utf-16"))
    rows = accepted(path, sniff(path))
    assert rows.select("amount", "debtor_account_id", "creditor_account_id").rows() == [
        (5, "GB82WEST12345698765432", None),
        (1000, None, "GB82WEST12345698765432"),
    ]


def test_nothing_to_go_by_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("colour,size\nred,big\n")
    proposal = sniff(path)
    text = " ".join(proposal.doubts)
    assert "no column of dates" in text
    assert "no column of amounts" in text
    proposed(proposal)
    path.write_bytes(b"")
    with pytest.raises(FeedError, match="empty"):
        sniff(path)
    with pytest.raises(FeedError, match="folder"):
        sniff(tmp_path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.lists(st.text(max_size=12), min_size=2, max_size=5),
    rows=st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=5), max_size=4),
)
def test_every_proposal_is_a_valid_mapping(tmp_path: Path, header: list[str], rows: list[list[str]]) -> None:
    """Hostile names and values cannot break out of the YAML."""
    import csv

    path = tmp_path / "f.csv"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        writer.writerows(rows)
    try:
        proposal = sniff(path)
    except MappingError as error:
        pytest.fail(str(error.diagnostics))
    except FeedError:
        return
    assert proposed(proposal).text == proposal.yaml


def test_a_file_of_no_shipped_mapping(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("a,b\n1,2\n")
    assert recognise(path) is None
    assert recognise(tmp_path) is None
    assert recognise(tmp_path / "absent") is None
