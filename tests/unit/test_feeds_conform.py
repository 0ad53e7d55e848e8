"""Rows to canonical rows: each fault in quarantine with its code and line, all others accepted."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fintel import frames
from fintel.domain.schema import QUARANTINE, RATES, TABLES, TRANSACTIONS
from fintel.errors import FeedError
from fintel.feeds.base import Batch
from fintel.feeds.codes import REASONS, code_text
from fintel.feeds.mapping import Mapping
from fintel.feeds.mapping_loader import load, parse
from fintel.feeds.rates import convert
from fintel.feeds.reading import read


def mapping(columns: str, file: str = "", extra: str = "") -> Mapping:
    """A mapping of one file with these column lines."""
    body = "\n".join(f"          {line}" for line in columns.strip().splitlines())
    head = "\n".join(f"    {line}" for line in file.strip().splitlines())
    text = f"mapping: m\nsource: bank\nfiles:\n  f:\n{head}\n    fill:\n      - table: transactions\n        columns:\n{body}\n{extra}"
    made, found = parse(text, "m.yaml")
    assert made is not None and not found, found
    return made


PLAIN = """
booked_at: {column: when, format: ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]}
amount: amount
currency: currency
debtor_account_id: from
creditor_account_id: to
creditor_country: {column: country, optional: true}
"""


def take(path: Path, chosen: Mapping, **keys: object) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(accepted, quarantine) of the transactions; the control totals are checked on the way."""
    batches = [b for b in read(path, chosen, **keys) if b.table == "transactions"]  # type: ignore[arg-type]
    check(batches)
    return pl.concat([b.frame for b in batches]), pl.concat([b.quarantine for b in batches])


def check(batches: list[Batch]) -> None:
    assert batches
    for batch in batches:
        assert batch.rows_read == batch.frame.height + batch.quarantine.height + batch.rows_skipped
        assert batch.frame.schema == frames.polars_schema(TABLES[batch.table])
        assert batch.quarantine.schema == frames.polars_schema(QUARANTINE)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


FAULTS = [
    ("2024-01-01,,USD,a,b,US", "F001", "amount"),
    ("2024-01-01,1.234.5,USD,a,b,US", "F002", "amount"),
    ("2024-01-01,0.00,USD,a,b,US", "F003", "amount"),
    ("2024-01-01,-5,USD,a,b,US", "F004", "amount"),
    ("01/02/2024,5,USD,a,b,US", "F005", "booked_at"),
    ("45292,5,USD,a,b,US", "F005", "booked_at"),
    ("2024-02-30,5,USD,a,b,US", "F005", "booked_at"),
    ("1024-01-01,5,USD,a,b,US", "F006", "booked_at"),
    ("2024-01-01,5,Quatloo,a,b,US", "F007", "currency"),
    ("2024-01-01,5,USD,a,b,Atlantis", "F008", "creditor_country"),
    ("2024-01-01,5,USD,4.45567E+11,b,US", "F010", "debtor_account_id"),
    ("2024-01-01,99999999999999.00,USD,a,b,US", "F011", "amount"),
    ("2024-01-01,100000000000.00001,USD,a,b,US", "F011", "amount_base"),
    ("2024-01-01,1.123456,USD,a,b,US", "F012", "amount"),
    ("2024-01-01,5,USD,a,b", "F013", None),
    ("2024-01-01,5,USD,,,US", "F020", None),
    ("2024-01-01,1e3,USD,a,b,US", "F002", "amount"),
    ("2024-01-01,NaN,USD,a,b,US", "F002", "amount"),
    ("2024-01-01,Infinity,USD,a,b,US", "F002", "amount"),
]


def test_each_fault_alone_and_the_others_live(tmp_path: Path) -> None:
    good = "2024-01-01 10:00:00,5.5,USD,000111,b,United Kingdom"
    lines = [line for row, _, _ in FAULTS for line in (row, good)]
    path = write(tmp_path / "f.csv", "when,amount,currency,from,to,country", *lines)
    accepted, quarantine = take(path, mapping(PLAIN))
    assert accepted["source_row"].to_list() == [3 + 2 * i for i in range(len(FAULTS))]
    found = quarantine.select("source_row", "code", "column").rows()
    assert found == [(2 + 2 * i, code, column) for i, (_, code, column) in enumerate(FAULTS)]
    assert quarantine["message"].null_count() == 0
    assert accepted["debtor_account_id"].unique().to_list() == ["000111"]
    assert accepted["creditor_country"].unique().to_list() == ["GB"]


def test_places_on_earth_or_quarantine(tmp_path: Path) -> None:
    columns = (
        PLAIN
        + "place_latitude: lat\nplace_longitude: {column: lon, unreadable: 'null'}\nip_country: ip\nrelationship: tie\n"
    )
    rows = [("90", "-180", "Philippines"), ("-90.00001", "0", "PH"), ("999", "0", "PH"), ("NaN", "0", "PH"),
            ("14.6", "200", "PH"), ("", "", ""), ("14.6", "121", "Atlantis")]  # fmt: skip
    lines = [f"2024-01-01,5,USD,a,b,{lat},{lon},{ip},mother" for lat, lon, ip in rows]
    path = write(tmp_path / "f.csv", "when,amount,currency,from,to,lat,lon,ip,tie", *lines)
    accepted, quarantine = take(path, mapping(columns))
    assert accepted.select("place_latitude", "place_longitude", "ip_country", "relationship").rows() == [
        (90.0, -180.0, "PH", "mother"), (14.6, None, "PH", "mother"), (None, None, None, "mother"),
    ]  # fmt: skip
    assert quarantine.select("source_row", "code", "column", "value").rows() == [
        (3, "F025", "place_latitude", "-90.00001"), (4, "F025", "place_latitude", "999"),
        (5, "F002", "place_latitude", "NaN"), (8, "F008", "ip_country", "Atlantis"),
    ]  # fmt: skip


def test_every_code_has_words() -> None:
    assert sorted(REASONS) == list(range(1, len(REASONS) + 1))
    assert code_text(1) == "F001"


@pytest.mark.parametrize("packed", [False, True])
def test_lines_are_those_of_the_unpacked_file(tmp_path: Path, packed: bool) -> None:
    text = 'when,amount,currency,from,to\n2024-01-01,1,USD,"a\n\nb",c\n2024-01-01,x,USD,a,b\n'
    path = tmp_path / ("f.csv.gz" if packed else "f.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    accepted, quarantine = take(path, mapping(PLAIN))
    assert accepted["source_row"].to_list() == [2]
    assert quarantine.select("source_row", "code", "value").rows() == [(5, "F002", "x")]


def test_decimal_comma_and_thousands(tmp_path: Path) -> None:
    amounts = ["1.234,56", "1234,5", "12", "1.2345,6", "1,234.56", "1.234", "-7,5", "1\u00a0234,5"]
    path = write(tmp_path / "f.csv", "when;amount;currency;from;to", *(f"2024-01-01;{a};EUR;a;b" for a in amounts))
    accepted, quarantine = take(path, mapping(PLAIN, 'delimiter: ";"\ndecimal: ","\nthousands: "."'))
    assert [str(a) for a in accepted["amount"]] == ["1234.56000", "1234.50000", "12.00000", "1234.00000"]
    assert quarantine.select("source_row", "code").rows() == [(5, "F002"), (6, "F002"), (8, "F004"), (9, "F002")]


def test_signs_turn_the_sides(tmp_path: Path) -> None:
    sides = "booked_at: {column: d, format: '%Y-%m-%d'}\ncurrency: {constant: EUR}\ncreditor_account_id: own\ndebtor_account_id: other\ndebtor_name: name\n"
    signed = write(tmp_path / "signed.csv", "d,own,other,name,x", "2024-01-01,me,you,You,5", "2024-01-01,me,you,You,-6")
    split = write(tmp_path / "split.csv", "d,own,other,name,dr,cr", "2024-01-01,me,you,You,,5", "2024-01-01,me,you,You,6,0", "2024-01-01,me,you,You,1,1", "2024-01-01,me,you,You,,")  # fmt: skip
    flagged = write(tmp_path / "flag.csv", "d,own,other,name,x,sh", "2024-01-01,me,you,You,5,H", "2024-01-01,me,you,You,6,s", "2024-01-01,me,you,You,7,?")  # fmt: skip
    for path, amount, codes in (
        (signed, "{column: x, negative: reverse_sides}", []),
        (split, "{debit: dr, credit: cr}", ["F021", "F021"]),
        (flagged, "{column: x, flag: {column: sh, as_is: [H], reverse: [S]}}", ["F022"]),
    ):
        accepted, quarantine = take(path, mapping(f"{sides}amount: {amount}"))
        shown = accepted.select("amount", "debtor_account_id", "debtor_name", "creditor_account_id", "creditor_name")
        assert shown.rows() == [(5, "you", "You", "me", None), (6, "me", None, "you", "You")], path.name
        assert quarantine["code"].to_list() == codes


def test_clocks(tmp_path: Path) -> None:
    columns = PLAIN.replace('["%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]', '["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]')
    rows = [
        "2024-07-01 12:00:00",
        "2024-01-01 12:00:00",
        "2024-03-31 02:30:00",
        "2024-10-27 02:30:00",
        "2024-01-01T12:00:00-05:30",
    ]
    path = write(tmp_path / "f.csv", "when,amount,currency,from,to", *(f"{r},1,EUR,a,b" for r in rows))
    berlin, quarantine = take(path, mapping(columns, "time_zone: Europe/Berlin\nclock: customer"))
    assert [t.isoformat() for t in berlin["booked_at"]] == [
        "2024-07-01T10:00:00+00:00", "2024-01-01T11:00:00+00:00", "2024-10-27T00:30:00+00:00", "2024-01-01T17:30:00+00:00",
    ]  # fmt: skip
    assert berlin["local_offset_minutes"].to_list() == [120, 60, 120, -330]
    assert quarantine.select("source_row", "code").rows() == [(4, "F023")]
    fixed, _ = take(path, mapping(columns, 'time_zone: "-03:30"'))
    assert fixed["booked_at"][0] == datetime(2024, 7, 1, 15, 30, tzinfo=UTC)
    assert fixed["local_offset_minutes"].null_count() == fixed.height


def test_values_joins_and_unmapped(tmp_path: Path) -> None:
    columns = PLAIN + (
        "remittance_information: {join: [t1, t2]}\n"
        'instrument: {column: kind, values: {"SEPA*": credit_transfer, ATM: cash, x: null}, unmapped: "null"}\n'
        "channel: {column: chan, values: {A: atm}}\n"
    )
    path = write(
        tmp_path / "f.csv", "when,amount,currency,from,to,t1,t2,kind,chan",
        "2024-01-01,1,uk pounds,a,b,one,two,sepa inst,a", "2024-01-01,1,Yuan,a,b,,two,atm,A",
        "2024-01-01,1,US Dollar,a,b,,,strange,", "2024-01-01,1,EUR,a,b,,,X,Z",
    )  # fmt: skip
    accepted, quarantine = take(path, mapping(columns))
    assert accepted.select("currency", "remittance_information", "instrument", "channel").rows() == [
        ("GBP", "one two", "credit_transfer", "atm"), ("CNY", "two", "cash", "atm"), ("USD", None, None, None),
    ]  # fmt: skip
    assert quarantine.select("source_row", "code", "column", "value").rows() == [(5, "F009", "channel", "Z")]


def test_account_ids(tmp_path: Path) -> None:
    columns = PLAIN.replace("creditor_account_id: to", "creditor_account_id: {column: to, agent: bank}")
    path = write(
        tmp_path / "f.csv", "when,amount,currency,from,to,bank",
        "2024-01-01,1,EUR,de89 3704 0044 0532 0130 00,DE89370400440532013000,010",
        "2024-01-01,1,EUR,DE89370400440532013001,DE89370400440532013001,010",
        "2024-01-01,1,EUR,000111,000111,010", "2024-01-01,1,EUR,000111,000111,10", "2024-01-01,1,EUR,000111,000111,",
    )  # fmt: skip
    accepted, _ = take(path, mapping(columns))
    assert accepted.select("debtor_account_id", "creditor_account_id").rows() == [
        ("DE89370400440532013000", "DE89370400440532013000"),
        ("DE89370400440532013001", "010|DE89370400440532013001"),  # check digits wrong: no IBAN
        ("000111", "010|000111"), ("000111", "10|000111"), ("000111", "000111"),
    ]  # fmt: skip


def test_ids_do_not_depend_on_the_cut_and_twins_stay_two(tmp_path: Path) -> None:
    rows = [f"2024-01-01,{i % 4 + 1},EUR,a,b" for i in range(40)]
    path = write(tmp_path / "f.csv", "when,amount,currency,from,to", *rows)
    chosen = mapping(PLAIN)
    whole, _ = take(path, chosen)
    assert whole["transaction_id"].n_unique() == 40
    assert whole["transaction_id"].str.contains(r"^bank:~[0-9a-f]{32}$").all()
    for size in (1, 7, 1000):
        again, _ = take(path, chosen, chunk_rows=size)
        assert again.drop("feed_id").equals(whole.drop("feed_id"))
    later = write(tmp_path / "g.csv", "to,from,when,amount,currency", "z,z,2024-01-01,9,EUR", *(f"b,a,2024-01-01,{i % 4 + 1},EUR" for i in range(44)))  # fmt: skip
    larger, _ = take(later, chosen)
    assert larger["transaction_id"].to_list()[1:41] == whole["transaction_id"].to_list()
    assert larger["transaction_id"].n_unique() == 45


def test_derived_ids_are_the_same_everywhere(tmp_path: Path) -> None:
    """Written down once: a change of these would make every old feed new."""
    path = write(
        tmp_path / "f.csv", "when,amount,currency,from,to", *["2024-01-01,1,EUR,a,b"] * 2, "2024-01-01,1,EUR,,b"
    )
    accepted, _ = take(path, mapping(PLAIN))
    assert accepted["transaction_id"].to_list() == GOLDEN_IDS


GOLDEN_IDS = [
    "bank:~2d21a958890fb89fe55851a36371d9dd",
    "bank:~83f483ff998d0a8ea70bcc2ce1ee036c",
    "bank:~991491b91d73da85a8e2ff1df085ec10",
]


def test_references_and_labels(tmp_path: Path) -> None:
    extra = """\
      - table: labels
        skip_where: [{column: bad, not_in: [1]}]
        columns:
          subject_type: {constant: transaction}
          suspicious: bad
          label_source: {constant: x}
          known_at: {column: when, format: "%Y-%m-%d", delay: 30d}
"""
    path = write(
        tmp_path / "f.csv", "ref,when,amount,currency,from,to,bad", "007,2024-01-01,1,EUR,a,b,1",
        ",2024-01-01,1,EUR,a,b,1", "1.2E+11,2024-01-01,1,EUR,a,b,0",
    )  # fmt: skip
    batches = list(read(path, mapping("transaction_id: ref\n" + PLAIN, extra=extra)))
    check(batches)
    payments, labels = batches
    assert payments.frame["transaction_id"][0] == "bank:007"
    assert payments.quarantine["code"].to_list() == ["F010"]
    assert labels.frame["subject_id"].to_list() == payments.frame["transaction_id"].to_list()
    assert labels.frame["known_at"].dt.date().to_list() == [date(2024, 1, 31)] * 2
    assert labels.rows_skipped == 1
    assert not {"suspicious", "typology", "bad"} & set(payments.frame.columns)


def test_missing_and_ambiguous_columns_stop_with_a_hint(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", "when,amuont,currency,from,to", "2024-01-01,1,EUR,a,b")
    with pytest.raises(FeedError, match="'amount', wanted for transactions.amount") as caught:
        take(path, mapping(PLAIN))
    assert caught.value.hint == "did you mean 'amuont'?"
    path = write(tmp_path / "f.csv", "when,amount,currency,from,to,to", "2024-01-01,1,EUR,a,b,c")
    with pytest.raises(FeedError, match="'to' twice") as caught:
        take(path, mapping(PLAIN))
    assert caught.value.hint is not None and "4 and 5" in caught.value.hint


def test_the_same_table_from_three_formats(tmp_path: Path) -> None:
    """CSV, Parquet and JSON Lines of one table conform to the same rows and ids."""
    frame = pl.DataFrame(
        {
            "when": [datetime(2024, 1, 1, 10), datetime(2024, 1, 2)], "amount": [12.5, 100.0],
            "currency": ["EUR", "USD"], "from": [111, 222], "to": ["007", None],
        }
    )  # fmt: skip
    columns = PLAIN.replace('["%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]', '["%Y-%m-%dT%H:%M:%S.%f"]')
    frame.write_parquet(tmp_path / "f.parquet")
    text = frame.with_columns(pl.col("when").dt.to_string("%Y-%m-%dT%H:%M:%S%.6f"), amount=pl.Series(["12.5", "100"]))
    text.write_csv(tmp_path / "f.csv")
    lines = [json.dumps(r) for r in text.with_columns(pl.col("from").cast(int)).to_dicts()]
    (tmp_path / "f.jsonl").write_text("\n".join(lines).replace('"12.5"', "12.5").replace('"100"', "100"))
    results = [take(tmp_path / f"f.{kind}", mapping(columns))[0] for kind in ("csv", "parquet", "jsonl")]
    kept = [c for c in TRANSACTIONS.names if c not in ("feed_id", "source_file", "source_row")]
    assert results[0].height == 2
    assert all(r.select(kept).equals(results[0].select(kept)) for r in results[1:])


def test_hostile_json_lines(tmp_path: Path) -> None:
    good = '{"when": "2024-01-01", "amount": 12345678901.12345, "currency": "EUR", "from": 1, "to": {"iban": "b"}}'
    lines = [good, "not json", "[1]", "[" * 100_000, "", '{"when": "\\u0000"}', '{"amount": 1', "1" * 300_000, good]
    path = tmp_path / "f.jsonl"
    path.write_text("\n".join(lines))
    columns = PLAIN.replace("creditor_account_id: to", "creditor_account_id: to.iban")
    accepted, quarantine = take(path, mapping(columns))
    assert accepted["source_row"].to_list() == [1, 9]
    assert str(accepted["amount"][0]) == "12345678901.12345"
    assert quarantine.select("source_row", "code").rows() == [
        (2, "F019"), (3, "F019"), (4, "F019"), (6, "F015"), (7, "F019"), (8, "F016"),
    ]  # fmt: skip


def test_a_damaged_parquet_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    path.write_bytes(b"PAR1" + b"\0" * 100 + b"PAR1")
    with pytest.raises(FeedError, match="not a readable Parquet"):
        take(path, mapping(PLAIN))


def test_an_empty_feed_is_one_empty_batch(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", "when,amount,currency,from,to")
    batches = list(read(path, mapping(PLAIN)))
    assert [(b.rows_read, b.frame.height) for b in batches] == [(0, 0)]


def rates(*rows: tuple[date, str, str, str]) -> pl.DataFrame:
    days, currencies, bases, values = zip(*rows, strict=True)
    frame = pl.DataFrame({"date": days, "currency": currencies, "base": bases, "rate": pl.Series(values).cast(pl.Decimal(18, 10))})  # fmt: skip
    return frames.fit(frame, RATES)


def payments(*rows: tuple[datetime, str, str]) -> pl.DataFrame:
    when, amounts, currencies = zip(*rows, strict=True)
    return pl.DataFrame(
        {
            "booked_at": pl.Series(when, dtype=frames.TIMESTAMP),
            "amount": pl.Series(amounts).cast(frames.MONEY),
            "currency": currencies,
        }
    )


def test_conversion_takes_the_latest_rate_not_after_the_day() -> None:
    table = rates((date(2024, 1, 2), "EUR", "USD", "1.1"), (date(2024, 1, 4), "EUR", "USD", "1.2"), (date(2024, 1, 1), "EUR", "GBP", "9"))  # fmt: skip

    def day(number: int) -> datetime:
        return datetime(2024, 1, number, 23, 59, 59, tzinfo=UTC)

    frame = payments(
        (day(5), "10", "EUR"), (day(1), "10", "EUR"), (day(3), "10", "EUR"), (day(1), "7", "USD"), (day(9), "1", "JPY")
    )
    made = convert(frame, table, "USD")
    assert made["amount_base"].to_list() == [Decimal("12.00000"), None, Decimal("11.00000"), Decimal("7.00000"), None]
    assert made.drop("amount_base").equals(frame)
    assert convert(frame, None, "EUR")["amount_base"].to_list() == [10, 10, 10, None, None]


@settings(max_examples=200, deadline=None)
@given(
    amount=st.decimals(min_value="0.00001", max_value="9999999999999.99999", places=5),
    rate=st.decimals(min_value="0.0000000001", max_value="99999.9999999999", places=10),
)
def test_conversion_is_exact_and_half_even(amount: Decimal, rate: Decimal) -> None:
    import decimal

    at = datetime(2024, 1, 1, tzinfo=UTC)
    made = convert(payments((at, str(amount), "EUR")), rates((date(2024, 1, 1), "EUR", "USD", f"{rate:f}")), "USD")
    with decimal.localcontext() as context:
        context.prec = 60
        exact = (amount * rate).quantize(Decimal("0.00001"), rounding=decimal.ROUND_HALF_EVEN)
    assert made["amount_base"][0] == (exact if exact <= 10**11 else None)


def test_an_amount_too_large_once_converted_is_not_lost(tmp_path: Path) -> None:
    path = write(
        tmp_path / "f.csv", "when,amount,currency,from,to", "2024-01-01,100000000000,USD,a,b",
        "2024-01-01,50000000000,EUR,a,b", "2024-01-01,50000000000.01,EUR,a,b", "2024-01-01,1,JPY,a,b",
    )  # fmt: skip
    known = rates((date(2024, 1, 1), "EUR", "USD", "2"))
    accepted, quarantine = take(path, mapping(PLAIN), rates=known)
    assert accepted.select("source_row", "amount_base").rows() == [(2, 10**11), (3, 10**11), (5, None)]
    assert quarantine.select("source_row", "code", "column", "value").rows() == [
        (4, "F011", "amount_base", "50000000000.01")
    ]
    # Nine hundred of the largest still fit a sum in 64 bits.
    assert 900 * 10**11 * 10**5 < 2**63


def test_rates_of_the_feed_itself_are_used(tmp_path: Path) -> None:
    write(tmp_path / "rates.csv", "date,currency,base,rate", "2024-01-01,EUR,USD,1.5")
    write(
        tmp_path / "transactions.csv", "transaction_id,booked_at,amount,currency,status,debtor_account_id",
        "bank:1,2024-01-01T10:00:00.000000+0000,2,EUR,booked,a", "bank:2,2024-01-01T10:00:00Z,2,JPY,booked,a",
    )  # fmt: skip
    tables = {b.table: b for b in read(tmp_path, load("fintel"), base_currency="USD")}
    assert tables["transactions"].frame.select("transaction_id", "amount_base").rows() == [
        ("bank:1", 3),
        ("bank:2", None),
    ]
