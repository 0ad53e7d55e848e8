"""Features see the past only, and say what naive SQL says."""

from __future__ import annotations

import math
import re
from collections import deque
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fintel.domain.schema import ACCOUNTS, IDENTIFIERS, INTEL, PARTIES, TRANSACTIONS, Sensitivity
from fintel.features.catalog import BY_NAME, FAMILIES, FEATURES, reference
from fintel.features.entries import ENTRIES_SQL
from fintel.features.recipes import MASKS, Direct, Measure, Quotient
from fintel.features.windows import account_features
from fintel.frames import fit
from fintel.store.catalogue import columns_sql

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 450
MOMENTS = [START + timedelta(days=d) for d in (20, 95, 250, 400, 450)]


def population(seed: int, rows: int = 400, accounts: int = 9) -> dict[str, pl.DataFrame]:
    """Payments with every kind of gap: no amount, no hour, no country, cash, reversals, ties in time."""
    rng = np.random.default_rng(seed)
    ids = [f"a{i}" for i in range(accounts)]
    hours = rng.integers(0, DAYS * 24, rows)
    cents = rng.choice([500, 10_000, 25_000, 12_345, 99_999], rows) + rng.choice([0, 0, 7], rows)

    def pick(values: list[str | None]) -> list[str | None]:
        return [values[i] for i in rng.integers(0, len(values), rows)]

    undone = [
        f"t:{i:05d}" if rng.random() < 0.06 and i < j else None for j, i in enumerate(rng.integers(0, rows, rows))
    ]
    transactions = pl.DataFrame(
        {
            "transaction_id": [f"t:{i:05d}" for i in range(rows)],
            "booked_at": [START + timedelta(hours=int(h)) for h in hours],
            "local_offset_minutes": [None if i % 7 == 0 else 120 for i in range(rows)],
            "amount": [Decimal(int(c)) / 100 for c in cents],
            "amount_base": [None if i % 11 == 0 else Decimal(int(c)) / 100 for i, c in enumerate(cents)],
            "currency": ["USD"] * rows,
            "debtor_account_id": pick([*ids, None]),
            "creditor_account_id": pick([*ids, None]),
            "debtor_country": pick(["US", "PH", None]),
            "creditor_country": pick(["US", "PH", "RO", None]),
            "debtor_agent": pick(["B1", "B2", None]),
            "creditor_agent": pick(["B1", "B2", "B3"]),
            "instrument": pick(["cash", "credit_transfer", None]),
            "place_id": [None if h < 2400 else "p1" if h % 3 else "p2" for h in hours],
            "device_id": [None] * rows,
            "status": ["reversal" if u else "booked" for u in undone],
            "reversal_of": undone,
        },
        schema_overrides={"device_id": pl.String, "reversal_of": pl.String},
    )
    holders = pl.DataFrame(
        {
            "account_id": ids,
            "party_id": [f"p{i}" for i in range(accounts)],
            "kind": ["person" if i % 3 else "organisation" for i in range(accounts)],
            "opened_on": [date(2023, 1 + i, 1) if i < 8 else date(2025, 1, 1) for i in range(accounts)],
        }
    )
    parties = pl.DataFrame(
        {
            "party_id": holders["party_id"],
            "birth_date": [date(1960 + 3 * i, 6, 15) for i in range(accounts)],
            "annual_income": [None if i % 4 == 0 else Decimal(1000 * i) for i in range(accounts)],
        }
    )
    return {
        "transactions": fit(transactions, TRANSACTIONS),
        "accounts": fit(holders, ACCOUNTS),
        "parties": fit(parties, PARTIES),
    }


def lazy(tables: dict[str, pl.DataFrame]) -> dict[str, pl.LazyFrame]:
    return {name: frame.lazy() for name, frame in tables.items()}


def assert_same(left: pl.DataFrame, right: pl.DataFrame) -> None:
    assert left.columns == right.columns
    assert left.height == right.height > 0
    for name in left.columns:
        a, b = left[name], right[name]
        same = a == b if a.dtype != pl.Float64 else (a == b) | (a.is_nan() & b.is_nan())
        assert same.all(), name


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), day=st.sampled_from([40, 200, 399]))
def test_later_rows_change_nothing(seed: int, day: int) -> None:
    tables = population(seed)
    moment = START + timedelta(days=day)
    past = {**tables, "transactions": tables["transactions"].filter(pl.col("booked_at") < moment)}
    assume(tables["transactions"].filter(pl.col("reversal_of").is_not_null() & (pl.col("booked_at") >= moment)).height)
    assert_same(account_features(lazy(past), moment), account_features(lazy(tables), moment))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_all_moments_at_once_is_one_by_one_in_any_order_of_rows(seed: int) -> None:
    tables = population(seed)
    alone = pl.concat([account_features(lazy(tables), m) for m in MOMENTS]).sort("account_id", "as_of")
    mixed = {**tables, "transactions": tables["transactions"].sample(fraction=1, shuffle=True, seed=seed)}
    assert_same(account_features(lazy(mixed), MOMENTS[::-1], threads=2), alone)


def test_renamed_accounts_have_the_same_features() -> None:
    tables = population(5)
    new = {f"a{i}": f"z{9 - i}" for i in range(9)}
    renamed = {
        "transactions": tables["transactions"].with_columns(
            pl.col("debtor_account_id").replace(new), pl.col("creditor_account_id").replace(new)
        ),
        "accounts": tables["accounts"].with_columns(pl.col("account_id").replace(new)),
        "parties": tables["parties"],
    }
    before = account_features(lazy(tables), MOMENTS).with_columns(pl.col("account_id").replace(new))
    assert_same(account_features(lazy(renamed), MOMENTS), before.sort("account_id", "as_of"))


# -- naive SQL


def measure_sql(measure: Measure) -> str:
    column = {"day": "cast(booked_at as date)"}.get(measure.column, measure.column)
    inside = (
        f"account_id = k.account_id and ({MASKS[measure.mask]}) and booked_at < k.as_of - interval {measure.offset} days"
        f" and booked_at >= k.as_of - interval {measure.offset + measure.days} days"
    )
    if measure.kind == "top_share":
        counted = f"select count(*) c from e where {inside} and {column} is not null group by {column}"
        return f"(select max(c) / sum(c) from ({counted}))"
    value = {
        "count": "count(*)",
        "sum": f"coalesce(sum({column}), 0)::double",
        "mean": f"(sum({column}) / count({column}))::double",
        "max": f"max({column})::double",
        "std": f"stddev_samp({column}::double)",
        "distinct": f"count(distinct {column})",
        "last": f"epoch(k.as_of - interval {measure.offset} days - max(booked_at)) / 86400",
    }[measure.kind]
    return f"(select {value} from e where {inside})"


def feature_sql(recipe: Direct | Quotient) -> str:
    """One query a feature: correlated subqueries over ``k`` (account, moment) and ``e`` (entries)."""
    if isinstance(recipe, Quotient):
        cap = recipe.cap or 1e300
        inner = f"select account_id, {measure_sql(recipe.top)}::double t, {measure_sql(recipe.bottom)}::double b from k"
        return f"select case when t is null or b is null or b = 0 then null else least(t / b, {cap}) end from ({inner})"
    value = measure_sql(recipe.measure)
    if recipe.known is None or recipe.among is None:
        return f"select {value}::double from k"
    m = recipe.measure
    known, among = (measure_sql(Measure("count", "*", mask, m.days, m.offset)) for mask in (recipe.known, recipe.among))
    return f"select case when {known} = 0 and {among} > 0 then null else {value}::double end from k"


def in_sql(recipe: object) -> bool:
    measures = [recipe.top, recipe.bottom] if isinstance(recipe, Quotient) else [getattr(recipe, "measure", None)]
    return isinstance(recipe, Direct | Quotient) and all(
        m.mask in MASKS and m.column not in ("taken", "waited", "place_id", "place_city", "device_id") for m in measures
    )


SQL_FEATURES = [f for f in FEATURES if in_sql(f.recipe)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_features_equal_naive_sql(seed: int) -> None:
    assert len(SQL_FEATURES) > 70
    tables = population(seed)
    moment = MOMENTS[3]
    ours = account_features(lazy(tables), moment)
    database = duckdb.connect()
    for name, frame in tables.items():
        database.register(f"_{name}", frame.to_arrow())
        database.execute(f"create table {name} as select * from _{name}")
    for table in (IDENTIFIERS, INTEL):
        database.execute(f"create table {table.name} ({columns_sql(table)})")
    # What stands as of the moment: nothing later, reversals included.
    database.execute("delete from transactions where booked_at >= ?", [moment])
    database.execute(f"create table e as {ENTRIES_SQL}")
    database.register("_k", ours.select("account_id", "as_of").to_arrow())
    database.execute("create table k as select * from _k")
    for feature in SQL_FEATURES:
        query = f"{feature_sql(feature.recipe)} order by account_id"
        expected = [math.nan if v is None else v for (v,) in database.execute(query).fetchall()]
        np.testing.assert_allclose(ours[feature.name].to_numpy(), expected, rtol=1e-9, atol=1e-9, err_msg=feature.name)


# -- what SQL cannot say plainly


def entries_of(
    tables: dict[str, pl.DataFrame], moment: datetime
) -> dict[str, list[tuple[datetime, str, str | None, int | None]]]:
    """Each account's entries before a moment, in order: time, side, counterparty, amount in cents."""
    rows = tables["transactions"].filter(pl.col("booked_at") < moment)
    gone = set(rows["reversal_of"].drop_nulls())
    found: dict[str, list[tuple[datetime, int, str, str, str | None, int | None]]] = {}
    for row in rows.filter((pl.col("status") == "booked") & pl.col("reversal_of").is_null()).iter_rows(named=True):
        if row["transaction_id"] in gone:
            continue
        cents = None if row["amount_base"] is None else int(row["amount_base"] * 100)
        for rank, (side, own, other) in enumerate((("in", "creditor", "debtor"), ("out", "debtor", "creditor"))):
            account = row[f"{own}_account_id"]
            if account is not None:
                entry = (row["booked_at"], rank, row["transaction_id"], side, row[f"{other}_account_id"], cents)
                found.setdefault(account, []).append(entry)
    return {a: [(e[0], *e[3:]) for e in sorted(v, key=lambda e: e[:3])] for a, v in found.items()}


@pytest.mark.parametrize("seed", [4, 5])
def test_passed_on_and_new_counterparties_equal_a_plain_walk(seed: int) -> None:
    tables = population(seed, rows=1500)
    moment = MOMENTS[3]
    ours = {r["account_id"]: r for r in account_features(lazy(tables), moment).iter_rows(named=True)}
    begins = tables["transactions"]["booked_at"].min()
    compared = 0
    for account, entries in entries_of(tables, moment).items():
        purse: deque[list] = deque()
        met: dict[str, datetime] = {}
        taken = received = known = new = 0
        for at, side, other, cents in entries:
            recent = at >= moment - timedelta(days=90)
            if cents is not None and side == "in":
                purse.append([at, cents])
                received += cents if recent else 0
            elif cents is not None:
                while purse and cents:
                    if purse[0][0] < at - timedelta(hours=48) or purse[0][1] == 0:
                        purse.popleft()
                        continue
                    part = min(cents, purse[0][1])
                    purse[0][1] -= part
                    cents -= part
                    taken += part if recent else 0
            if other is not None:
                if side == "in" and recent and at >= begins + timedelta(days=30):
                    known += 1
                    new += other not in met or met[other] < at - timedelta(days=90)
                met[other] = at
        compared += bool(received and taken)
        expected = min(1.0, taken / received) if received else math.nan
        np.testing.assert_allclose(ours[account]["passed_on_share_90d"], expected, rtol=1e-9)
        np.testing.assert_allclose(ours[account]["new_sender_share_90d"], new / known if known else math.nan, rtol=1e-9)
    assert compared > 3


def test_unknown_is_not_zero() -> None:
    tables = population(6)
    features = account_features(lazy(tables), MOMENTS)
    assert features["devices_90d"].is_nan().all()  # never recorded
    early, late = (features.filter(pl.col("as_of") == m)["places_90d"] for m in (MOMENTS[1], MOMENTS[2]))
    assert early.is_nan().all()  # recorded from day 100 on
    assert (late > 0).any()
    dark = {**tables, "transactions": tables["transactions"].with_columns(local_offset_minutes=pl.lit(None, pl.Int64))}
    assert account_features(lazy(dark), MOMENTS)["night_share_90d"].is_nan().all()
    not_opened = features.filter((pl.col("account_id") == "a8") & (pl.col("as_of") < datetime(2025, 1, 1, tzinfo=UTC)))
    assert not_opened.height
    assert not_opened["account_age_days"].is_nan().all()


def test_no_payments_and_no_account_give_no_rows() -> None:
    tables = population(1)
    nothing = {**tables, "transactions": tables["transactions"].clear()}
    assert account_features(lazy(nothing), MOMENTS).height == 0
    assert account_features(lazy(tables), START).height == 0
    assert account_features(lazy(tables), []).height == 0
    only = account_features(lazy(tables), MOMENTS, accounts=pl.Series(["a3", "unheard of"]))
    assert only["account_id"].unique().to_list() == ["a3"]


# -- the catalogue


def test_catalogue_is_whole_and_its_page_current(root: Path) -> None:
    assert len(BY_NAME) == len(FEATURES) > 90
    assert {f.family for f in FEATURES} == set(FAMILIES)
    assert all(re.fullmatch(r"[a-z0-9_]+", f.name) and "{value}" in f.words for f in FEATURES)
    assert (root / "docs/reference/features.md").read_text(encoding="utf-8") == reference()


def test_no_feature_reads_a_protected_trait_or_an_age_into_models() -> None:
    protected = {c.name for c in PARTIES.columns if c.sensitivity is Sensitivity.PROTECTED}
    assert protected
    for feature in FEATURES:
        assert not protected & set(feature.needs)
        assert not (feature.model and "age" in feature.needs and "party_age" in feature.needs)
    assert not BY_NAME["party_age"].model
