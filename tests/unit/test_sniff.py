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


#: Twenty-nine dates that tell day from month, and as many numbers with signs that tell.
DAYS = [f"{d:02d}/{1 + d % 3:02d}/2024" for d in range(1, 29)] + ["30/04/2024"]
SUMS = [f"{d}.{d * 7 % 100:02d}" for d in range(1, 30)]
HEADER = "Date,Amount,Currency,From account,To account"


def write(path: Path, days: list[str], sums: list[str], header: str = HEADER) -> Path:
    lines = (f'"{d}","{s}",USD,a,b' for d, s in zip(days, sums, strict=True))
    path.write_text("\n".join((header, *lines, "")), encoding="utf-8")
    return path


def chosen(proposal: Proposal) -> tuple[dict[str, str], list[str]]:
    """(what the columns are taken for, how they are read)."""
    keys = ("booked_at:", "amount:", "decimal:", "thousands:")
    lines = [line.strip() for line in proposal.yaml.splitlines()]
    return targets(proposal), [line for line in lines if line.startswith(keys)]


def refused(path: Path, proposal: Proposal) -> list[tuple[int, str, str | None]]:
    """(line, code, value) of what goes to quarantine as a payment."""
    batches = [b for b in read(path, proposed(proposal)) if b.table == "transactions"]
    assert all(b.rows_read == b.frame.height + b.quarantine.height for b in batches)
    return [row for b in batches for row in b.quarantine.select("source_row", "code", "value").iter_rows()]


def test_a_bad_date_and_a_bad_amount_hide_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", ["45/99/2024", *DAYS[1:]], [*SUMS[:11], "\u202e12\u001b[31m,x", *SUMS[12:]])
    proposal = sniff(path)
    assert '"%d/%m/%Y"' in proposal.yaml
    date, amount = (d for d in proposal.doubts if "goes to quarantine" in d)
    assert date.startswith('1 of 29 values in "Date" are no dates') and 'line 2, "45/99/2024"' in date
    assert (
        amount.startswith('1 of 29 values in "Amount" are no numbers') and 'line 13, "\\u202e12\\u001b[31m,x"' in amount
    )
    assert not any("no column of" in d for d in proposal.doubts)
    assert not set("\u202e\u001b") & set(proposal.yaml)
    assert accepted(path, proposal).height == 27
    assert [(line, code) for line, code, _ in refused(path, proposal)] == [(2, "F005"), (13, "F002")]


@pytest.mark.parametrize(
    ("header", "good", "bad", "found"),
    [("Date", 5, 1, True), ("Date", 4, 1, False), ("Date", 20, 5, True), ("Date", 20, 6, False),
     ("when", 9, 1, True), ("when", 8, 1, False), ("when", 27, 3, True), ("when", 27, 4, False)],
)  # fmt: skip
def test_how_many_misfits_a_column_bears(tmp_path: Path, header: str, good: int, bad: int, found: bool) -> None:
    """One in ten, one in five where the header says what it is; and five values that fit."""
    days = [f"2024-01-{d:02d}" for d in range(1, good + 1)] + ["?"] * bad
    path = write(tmp_path / "f.csv", days, SUMS[:1] * len(days), HEADER.replace("Date", header))
    assert ("booked_at" in targets(sniff(path))) is found


MISFITS = st.sampled_from(["?", "n/a", "31/31/2024", "2024?", "-", "1.2.3", "12,5,0", "=1+1", "\u202e", "99/99/99 x"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    days=st.sampled_from([DAYS, DAYS[:12] * 2, [f"2024-02-{d:02d}" for d in range(1, 29)], [str(1_704_067_200 + 86_400 * d) for d in range(30)]]),
    sums=st.sampled_from([SUMS, [s.replace(".", ",") for s in SUMS], ["1.234", "5.678"] * 15, ["1,234.50"] * 30, ["-7"] * 30]),
    bad=st.lists(st.tuples(st.integers(0, 40), MISFITS, st.booleans()), max_size=5),
    header=st.sampled_from([HEADER, HEADER.replace("Date", "My own date")]),
)  # fmt: skip
def test_misfits_change_nothing(
    tmp_path: Path, days: list[str], sums: list[str], bad: list[tuple[int, str, bool]], header: str
) -> None:
    """Up to one in ten change neither what the columns are taken for nor how they are read; each is refused."""
    n = min(len(days), len(sums))
    clean = write(tmp_path / "clean.csv", days[:n], sums[:n], header)
    dated, paid = days[:n], sums[:n]
    for at, value, is_date in bad[: n // 9]:
        dated.insert(at, value if is_date else days[0])
        paid.insert(at, sums[0] if is_date else value)
    dirty = write(tmp_path / "dirty.csv", dated, paid, header)
    before, after = sniff(clean), sniff(dirty)
    assert chosen(before) == chosen(after)
    if "choose one" not in before.yaml:
        assert accepted(dirty, after).height == n
        assert len(refused(dirty, after)) == len(refused(clean, before)) + len(bad[: n // 9])


MONTHS = [f"{m:02d}/{d:02d}/2024" for m in range(1, 7) for d in range(1, 6)]


@pytest.mark.parametrize(
    ("more", "form", "said"),
    [
        ([], None, "every value fits"),
        (["?"], None, "the values that are dates fit"),
        (["13/04/2024"], "%d/%m/%Y", "1 of 31 values in \"Date\" tell"),
        (["13/04/2024", "?"], "%d/%m/%Y", "1 of 32 values in \"Date\" tell"),
        (["13/04/2024", "04/13/2024"], None, "fit %m/%d/%Y only"),
        (["13/04/2024", "13/05/2024", "04/13/2024"], None, "1 of 33 values fit %m/%d/%Y only"),
        ([f"{d}/04/2024" for d in range(13, 22)] + ["04/13/2024"], "%d/%m/%Y", "fit the other order"),
        ([f"{d}/04/2024" for d in range(13, 21)] + ["04/13/2024"], None, "fit %m/%d/%Y only"),
        ([f"04/{d}/2024" for d in range(13, 29)] + ["13/04/2024"], "%m/%d/%Y", "fit the other order"),
    ],
)  # fmt: skip
def test_a_misfit_never_tips_the_order_in_silence(tmp_path: Path, more: list[str], form: str | None, said: str) -> None:
    days = [*MONTHS, *more]
    proposal = sniff(write(tmp_path / "f.csv", days, SUMS[:1] * len(days)))
    assert any(said in d for d in proposal.doubts), proposal.doubts
    assert ("choose one" in proposal.yaml) is (form is None)
    assert sum("are no dates" in d for d in proposal.doubts) == (
        "?" in more or (form is not None and "04/13/2024" in more) or form == "%m/%d/%Y"
    )
    if form is not None:
        assert f'"{form}"' in proposal.yaml


def test_two_digit_years_with_dashes_are_not_tipped_either(tmp_path: Path) -> None:
    """The month-first form of these is none that is proposed, but values that only it reads count."""
    days = ["01-02-24"] * 27 + ["01-13-24"] * 3
    assert "choose one" in sniff(write(tmp_path / "f.csv", days, SUMS[:1] * 30)).yaml


@pytest.mark.parametrize(
    ("sums", "decimal", "thousands", "doubt"),
    [
        (["12.50"] * 28 + ["12,50"], ".", None, False),
        (["12,50"] * 28 + ["12.50"], ",", None, False),
        (["12,50"] * 28 + ["1,234.50"], ",", None, False),
        (["12.50"] * 15 + ["12,50"] * 15, ".", None, True),
        (["1.234"] * 28 + ["12.50"], ".", None, True),
        (["1,234"] * 28 + ["12.50"], ".", None, True),
        (["1,234"] * 28 + ["1,234.50"], ".", ",", True),
        (["1.234", "12.345"] * 5, ".", None, True),
        (["1,234,567"] * 3, ".", ",", False),
        (["1 234 567", "8"], ".", " ", False),
        (["0.234", "1.234"], ".", None, False),
    ],
)
def test_which_sign_is_the_decimal_one(
    tmp_path: Path, sums: list[str], decimal: str, thousands: str | None, doubt: bool
) -> None:
    proposal = sniff(write(tmp_path / "f.csv", ["2024-01-01"] * len(sums), sums))
    spec = proposed(proposal).files["payments"]
    assert (spec.decimal, spec.thousands) == (decimal, thousands)
    assert any("decimal sign of" in d for d in proposal.doubts) is doubt


def test_places_with_misfits_are_left_out(tmp_path: Path) -> None:
    """A place is not worth the row it stands in."""
    path = tmp_path / "f.csv"
    path.write_text(f"{HEADER},merch_lat\n" + "2024-01-01,5,USD,a,b,40.1\n" * 20 + "2024-01-01,5,USD,a,b,north\n")
    assert "place_latitude" not in targets(sniff(path))
    assert accepted(path, sniff(path)).height == 21


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
