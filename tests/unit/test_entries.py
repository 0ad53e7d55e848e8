"""Entries: polars and SQL agree, nothing later is seen, nothing unasked is read, nothing hostile gets through."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fintel.domain.schema import (
    ACCOUNTS,
    ENTRIES,
    IDENTIFIER_TYPES,
    IDENTIFIERS,
    INTEL,
    PARTIES,
    TRANSACTIONS,
)
from fintel.features.entries import ENTRIES_SQL, entries
from fintel.features.identifiers import MAX_SHARING
from fintel.features.places import cities
from fintel.feeds import values
from fintel.feeds.synthetic import geography
from fintel.frames import fit, polars_schema

TABLES = (TRANSACTIONS, ACCOUNTS, PARTIES, IDENTIFIERS, INTEL)
START = datetime(2025, 3, 1, tzinfo=UTC)
Rows = list[dict[str, Any]]


def frames(**rows: Rows) -> dict[str, pl.DataFrame]:
    """Canonical tables; those of ``rows`` only."""
    provenance = {"source": "t", "feed_id": "t", "source_file": "t", "source_row": 1}
    found = {}
    for table in TABLES:
        if table.name in rows:
            given_rows = [provenance | row for row in rows[table.name]]
            found[table.name] = fit(pl.DataFrame(given_rows, schema=polars_schema(table), orient="row"), table)
    return found


def payment(number: int, **columns: Any) -> dict[str, Any]:
    return {
        "transaction_id": f"t:{number}", "booked_at": START + timedelta(hours=number), "amount": Decimal(5),
        "currency": "USD", "status": "booked",
    } | columns  # fmt: skip


def seen(tables: Mapping[str, pl.DataFrame], as_of: datetime | None = None) -> pl.DataFrame:
    lazy = {name: frame.lazy() for name, frame in tables.items()}
    return entries(lazy, as_of=as_of).sort("entry_id").collect(engine="streaming")


def seen_in_sql(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    whole = frames(**{table.name: [] for table in TABLES}) | tables
    with duckdb.connect() as database:
        database.execute("set timezone = 'UTC'")
        for name, frame in whole.items():
            database.register(name, frame)
        return database.sql(f"select * from ({ENTRIES_SQL}) order by entry_id").pl()


def one(column: str, **rows: Rows) -> list[Any]:
    """A column of the entries of some rows; the other language must say the same of all columns."""
    tables = frames(**rows)
    ours = seen(tables)
    assert_same(ours, seen_in_sql(tables))
    return ours[column].to_list()


# -- polars and SQL

#: Letters of many scripts, accents before and apart, spaces of every kind, signs, and an emoji.
TEXTS = st.text("aBéİßΣςЇй กุ中한́ 0159+-@._/'\"|\t\u00a0\u200b\u0085🙂", max_size=8)
IDS = ("a", "b", "A ", "d|1")
PARTY_IDS = ("p", "q", "r")
COUNTRIES = st.sampled_from(["PH", "CO", "DE", "TR", "ph"])
DEGREES = st.sampled_from([0.0, -0.0, 90.0, -90.0, 180.0, 999.0, math.nan, math.inf, 14.6, -121.0])


def few(*spellings: str) -> st.SearchStrategy[str]:
    """Mostly spellings that meet each other, now and then anything."""
    return st.integers(0, 9).flatmap(lambda n: st.sampled_from(spellings) if n else TEXTS)


CITIES = few("Manila", "MANILA ", "Medellin", "medellín", "Köln", "İstanbul", "Nowhere")
PHONES = few("+63 912 345", "0063912345", "63912345", "1234", "n/a")
EMAILS = few("X@y.z", " x@Y.z", "@x@y.z", "b@y.z")
ADDRESSES = few("1 Main St", "1, main st", "2 Main St")
DOCUMENTS = few("D-1", "d1", "D 2")
VALUES = st.one_of(PHONES, EMAILS, DOCUMENTS, few("1 Main St Manila", "1 main st, manila", "a", "D|1", "b"))


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


PAYMENTS = st.fixed_dictionaries(
    {
        "booked_at": st.integers(0, 96).map(lambda h: START + timedelta(hours=h)),
        "debtor_account_id": maybe(st.sampled_from(IDS)), "creditor_account_id": maybe(st.sampled_from((*IDS, "x"))), "debtor_name": maybe(TEXTS),
        "local_offset_minutes": maybe(st.sampled_from([-720, 0, 480])), "place_city": maybe(CITIES),
        "place_country": maybe(COUNTRIES), "place_latitude": maybe(DEGREES), "place_longitude": maybe(DEGREES),
        "ip_country": maybe(COUNTRIES), "relationship": maybe(TEXTS),
    }
)  # fmt: skip
HOLDERS = st.fixed_dictionaries(
    {
        "party_id": st.sampled_from((*PARTY_IDS, "gone", None)), "name": maybe(TEXTS), "kind": maybe(st.sampled_from(["person", "organisation"])),
        "opened_on": maybe(st.dates(date(2024, 1, 1), date(2026, 1, 1))), "country": maybe(COUNTRIES),
    }
)  # fmt: skip
PEOPLE = st.fixed_dictionaries(
    {
        "name": maybe(TEXTS), "birth_date": maybe(st.dates(date(1950, 1, 1), date(2026, 1, 1))), "city": maybe(CITIES),
        "country": maybe(COUNTRIES), "address": maybe(ADDRESSES), "phone": maybe(PHONES), "email": maybe(EMAILS),
        "tax_id": maybe(DOCUMENTS), "latitude": maybe(DEGREES), "longitude": maybe(DEGREES), "industry": maybe(TEXTS),
    }
)  # fmt: skip
MARKS = st.tuples(
    st.sampled_from((*PARTY_IDS, "gone")), st.sampled_from(IDENTIFIER_TYPES), VALUES, maybe(st.integers(-50, 50))
)
TOLD = st.tuples(
    st.sampled_from((*IDENTIFIER_TYPES, "account", "keyword")),
    VALUES,
    maybe(st.dates(date(2025, 2, 1), date(2025, 4, 1))),
)


@st.composite
def populations(draw: st.DrawFn) -> dict[str, pl.DataFrame]:
    payments = draw(st.lists(PAYMENTS, min_size=1, max_size=6))
    marks = draw(st.lists(MARKS, max_size=6, unique_by=lambda m: m[:3]))
    told = draw(st.lists(TOLD, max_size=4, unique_by=lambda m: m[:2]))
    return frames(
        transactions=[payment(i) | row for i, row in enumerate(payments)],
        accounts=[{"account_id": k} | v for k, v in draw(st.fixed_dictionaries(dict.fromkeys(IDS, HOLDERS))).items()],
        parties=[{"party_id": k} | v for k, v in draw(st.fixed_dictionaries(dict.fromkeys(PARTY_IDS, PEOPLE))).items()],
        identifiers=[
            {"party_id": p, "type": t, "value": v, "first_seen": d and START + timedelta(days=d)}
            for p, t, v, d in marks
        ],
        intel=[{"type": t, "value": v, "issuer": "x", "received_on": d} for t, v, d in told],
    )


def assert_same(left: pl.DataFrame, right: pl.DataFrame) -> None:
    assert left.columns == right.columns == list(ENTRIES.names)
    for name in left.columns:
        a, b = left[name], right[name].cast(left[name].dtype)
        if a.dtype.is_float():  # sines of two libraries
            assert a.is_null().equals(b.is_null()), name
            assert not ((a - b).abs() > 1e-6).any(), name
        else:
            assert a.equals(b), (name, a.to_list(), b.to_list())


@settings(max_examples=60, deadline=None)
@given(tables=populations())
def test_polars_and_sql_agree_on_hostile_rows(tables: dict[str, pl.DataFrame]) -> None:
    ours = seen(tables)
    assert ours.schema == polars_schema(ENTRIES)
    assert_same(ours, seen_in_sql(tables))


# -- as of a moment


@settings(max_examples=60, deadline=None)
@given(tables=populations(), hours=st.integers(-10, 110))
def test_nothing_later_is_seen(tables: dict[str, pl.DataFrame], hours: int) -> None:
    moment = START + timedelta(hours=hours)
    past = tables | {
        "transactions": tables["transactions"].filter(pl.col("booked_at") <= moment),
        "identifiers": tables["identifiers"].filter(pl.col("first_seen").is_null() | (pl.col("first_seen") <= moment)),
        "intel": tables["intel"].filter(pl.col("received_on").is_null() | (pl.col("received_on") <= moment.date())),
    }
    assert_same(seen(tables, moment), seen(past))


def test_what_comes_to_be_known_counts_from_then_on() -> None:
    later = START + timedelta(days=9)
    tables = frames(
        transactions=[payment(0, debtor_account_id="a")],
        accounts=[{"account_id": "a", "party_id": "p"}],
        parties=[{"party_id": "p", "phone": "+1 555 0100"}],
        identifiers=[{"party_id": "q", "type": "phone", "value": "15550100", "first_seen": later}],
        intel=[{"type": "phone", "value": "0015550100", "issuer": "x", "received_on": later.date()}],
    )
    before, after = seen(tables, later - timedelta(days=1)), seen(tables, later)
    assert before.select("shared_phone", "account_intel").row(0) == (1, None)
    assert after.select("shared_phone", "account_intel").row(0) == (2, True)


# -- nothing unasked is read


def test_tables_that_no_wanted_column_needs_are_not_read() -> None:
    whole = frames(
        transactions=[payment(0, debtor_account_id="a", place_city="Manila", place_country="PH")],
        accounts=[{"account_id": "a", "party_id": "p"}],
        parties=[{"party_id": "p", "phone": "+1 555 0100"}],
        identifiers=[],
        intel=[],
    )
    lazy = {name: frame.lazy() for name, frame in whole.items()}
    read: list[str] = []

    def watched(name: str) -> pl.LazyFrame:
        def note(column: pl.Series) -> pl.Series:
            read.append(name)
            return column

        return lazy[name].with_columns(pl.col("value").map_batches(note, return_dtype=pl.String))

    tables = lazy | {name: watched(name) for name in ("identifiers", "intel")}
    few = entries(tables).select("account_id", "direction", "amount_base", "account_kind", "party_phone").collect()
    assert few.height == 1 and few["party_phone"].to_list() == ["15550100"] and not read
    assert entries(tables).select("shared_phone").collect().item() == 1 and set(read) == {"identifiers"}
    assert entries(tables).select("account_intel").collect().item() is None and set(read) == {"identifiers", "intel"}


# -- what the columns say

PAIR = [payment(0, debtor_account_id="a", creditor_account_id="b")]
NAMED = [{"account_id": "a", "party_id": "p"}, {"account_id": "b", "party_id": "q"}]


def test_shared_values_count_parties_the_holder_included() -> None:
    parties = [
        {"party_id": "p", "address": "12 Main St.", "city": "Cebu", "phone": "+63 (912) 345-678"},
        {"party_id": "q", "address": "12, MAIN ST", "city": "Cébu", "phone": "0063912345678", "email": "A@x.ph"},
        {"party_id": "r", "address": "12 Main St", "city": "Davao", "email": " a@X.ph"},
    ]
    marks = [
        {"party_id": "r", "type": "address", "value": "12 main st, cebu"},
        {"party_id": "p", "type": "phone", "value": "63912345678"},
        {"party_id": "p", "type": "device", "value": "D-1"},
    ]
    rows: dict[str, Rows] = {"transactions": PAIR, "accounts": NAMED, "parties": parties, "identifiers": marks}
    assert one("shared_address", **rows) == [3, 3]
    assert one("shared_phone", **rows) == [2, 2]
    assert one("shared_email", **rows) == [2, None]
    assert one("shared_device", **rows) == [None, 1]
    assert one("party_address", **rows) == ["12mainstcebu"] * 2
    without = {name: found for name, found in rows.items() if name != "identifiers"}
    assert one("shared_address", **without) == [2, 2] and one("shared_device", **without) == [None, None]


@pytest.mark.parametrize(("parties", "expected"), [(MAX_SHARING, MAX_SHARING), (MAX_SHARING + 1, None)])
def test_a_value_that_very_many_share_says_nothing(parties: int, expected: int | None) -> None:
    crowd = [{"party_id": f"p{i}", "email": "office@x.example"} for i in range(parties)]
    rows = {"transactions": PAIR, "accounts": [{"account_id": "a", "party_id": "p0"}], "parties": crowd}
    assert one("shared_email", **rows) == [None, expected]


TELLING: list[tuple[str, str, bool]] = [
    ("account", "A", True), ("wallet", " a ", True), ("account", "p", False), ("phone", "0063 912 345 678", True),
    ("phone", "912345678", False), ("email", "ME@x.ph", True), ("address", "1 main st cebu", True), ("address", "1 main st", False),
    ("device", "d1", True), ("handle", "@Some.One", True), ("document", "TIN 9", True), ("ip", "10.0.0.1", False),
    ("keyword", "a", False), ("email", "d1", False),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "named"), TELLING)
def test_partners_name_an_account_or_an_identifier_of_its_holder(kind: str, value: str, named: bool) -> None:
    parties = [{"party_id": "p", "address": "1 Main St", "city": "Cebu", "phone": "+63912345678", "email": "me@x.ph", "tax_id": "tin-9"}]  # fmt: skip
    marks = [
        {"party_id": "p", "type": t, "value": v}
        for t, v in (("device", "D-1"), ("handle", "some.one"), ("ip", "10.0.0.1"))
    ]
    told = [{"type": kind, "value": value, "issuer": "x"}]
    rows: dict[str, Rows] = {"transactions": PAIR, "accounts": NAMED, "parties": parties, "identifiers": marks}
    assert one("account_intel", intel=told, **rows) == [False, named]
    assert one("counterparty_intel", intel=told, **rows) == [named, False]
    assert one("account_intel", intel=[], **rows) == one("account_intel", **rows) == [None, None]


def test_own_accounts_and_names_of_either_side() -> None:
    accounts = [
        {"account_id": "a", "party_id": "p", "name": "Account A"},
        {"account_id": "b", "party_id": "p", "opened_on": date(2025, 2, 1)},
        {"account_id": "c"},
    ]
    parties = [{"party_id": "p", "name": "Pat", "industry": "cafe", "birth_date": date(1990, 3, 2)}]
    paid = [
        payment(0, debtor_account_id="a", creditor_account_id="b", creditor_name="As paid"),
        payment(1, debtor_account_id="b", creditor_account_id="c"),
        payment(2, debtor_account_id="a"),
    ]
    found = seen(frames(transactions=paid, accounts=accounts, parties=parties))
    columns = ("account_id", "account_name", "counterparty_is_own", "counterparty_industry", "counterparty_age_days")
    assert found.select(columns).rows() == [
        ("b", "As paid", True, "cafe", None), ("a", "Account A", True, "cafe", 28), ("c", None, None, "cafe", 28),
        ("b", "Pat", None, None, None), ("a", "Account A", None, None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("age", "band"),
    [(-1, None), (0, "under 18"), (17, "under 18"), (18, "18-24"), (24, "18-24"), (25, "25-34"), (64, "55-64"), (65, "65+"), (120, "65+")],
)  # fmt: skip
def test_age_bands(age: int, band: str | None) -> None:
    born = [{"party_id": "p", "birth_date": START.date().replace(year=START.year - age)}]
    rows: dict[str, Rows] = {"transactions": [payment(0, debtor_account_id="a")], "accounts": NAMED, "parties": born}
    assert one("party_age", **rows) == [age]
    assert one("party_age_band", **rows) == [band]


# -- places


def test_the_gazetteer_is_sound_and_has_every_synthetic_city() -> None:
    known = cities()
    assert known.height >= 250 and not known.select("city", "country").is_duplicated().any()
    assert known["latitude"].is_between(-90, 90).all() and known["longitude"].is_between(-180, 180).all()
    assert set(known["country"]) <= set(values.countries().values())
    wanted = [(city.split("/")[0], country.code) for country in geography.COUNTRIES for city in country.cities]
    paid = [payment(i, debtor_account_id="a", place_city=city.upper(), place_country=code) for i, (city, code) in enumerate(wanted)]  # fmt: skip
    assert seen(frames(transactions=paid)).select(pl.col("place_latitude", "place_longitude").null_count()).row(0) == (
        0,
        0,
    )


#: Great-circle distances between city centres, to the nearest 5 km.
DISTANCES = [
    ("London", "GB", "Paris", "FR", 345), ("New York", "US", "Los Angeles", "US", 3935), ("Manila", "PH", "Cebu", "PH", 570),
    ("Sydney", "AU", "Manila", "PH", 6260), ("Bogotá", "CO", "Medellin", "CO", 240), ("Toronto", "CA", "Vancouver", "CA", 3360),
    ("koln", "DE", "MÜNCHEN", "DE", 455), ("Suva", "FJ", "Honolulu", "US", 5095), ("Tokyo", "JP", "São Paulo", "BR", 18535),
]  # fmt: skip


@pytest.mark.parametrize(("city", "country", "home", "home_country", "km"), DISTANCES)
def test_distance_from_home(city: str, country: str, home: str, home_country: str, km: float) -> None:
    rows: dict[str, Rows] = {
        "transactions": [payment(0, debtor_account_id="a", place_city=city, place_country=country)],
        "accounts": NAMED,
        "parties": [{"party_id": "p", "city": home, "country": home_country}],
    }
    assert one("home_distance_km", **rows)[0] == pytest.approx(km, abs=10)


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        (1.0, 2.0, (1.0, 2.0)), (-90.0, 180.0, (-90.0, 180.0)), (0.0, 2.0, (0.0, 2.0)),
        (999.0, 2.0, (14.6, 120.98)), (1.0, -180.5, (14.6, 120.98)), (math.nan, 2.0, (14.6, 120.98)),
        (1.0, math.inf, (14.6, 120.98)), (0.0, 0.0, (14.6, 120.98)), (1.0, None, (14.6, 120.98)),
    ],
)  # fmt: skip
def test_impossible_coordinates_give_way_to_the_citys(latitude: float, longitude: float | None, expected: tuple[float, float]) -> None:  # fmt: skip
    here = {"place_latitude": latitude, "place_longitude": longitude, "debtor_account_id": "a"}
    found = seen(frames(transactions=[
        payment(0, place_city="manila", place_country="PH", **here), payment(1, place_city="manila", place_country="US", **here),
    ])).select("place_latitude", "place_longitude").rows()  # fmt: skip
    given_pair = expected == (latitude, longitude)
    assert found == [expected, expected if given_pair else (None, None)]
