"""Entries: each booked payment seen from each account it touches.

The same table twice over: as a polars query (what detection uses) and as a DuckDB view (what people
and tests ask in SQL). A test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from fintel.domain.schema import ACCOUNTS, AGE_BANDS, ENTRIES, PARTIES, TRANSACTIONS
from fintel.features.identifiers import (
    CLAUSES_SQL,
    SHARED,
    Intelligence,
    named_sql,
    of_party,
    of_party_sql,
    shared_identifiers,
)
from fintel.features.places import (
    AXES,
    cities_sql,
    coordinate_sql,
    coordinates,
    distance_km,
    distance_sql,
    same_city_sql,
)
from fintel.frames import empty

_SIDES = {"out": ("debtor", "creditor"), "in": ("creditor", "debtor")}
_CARRIED = (
    "amount", "currency", "amount_base", "channel", "instrument", "purpose_code", "remittance_information",
    "merchant_name", "merchant_category_code", "merchant_country", "place_id", "place_city", "place_country",
    "device_id", "ip_address", "ip_country", "relationship",
)  # fmt: skip
#: Identifiers of the holder that entries carry.
_KEPT = ("address", "phone", "email")
#: First year of each of ``AGE_BANDS`` but the lowest.
_BAND_STARTS = (18, 25, 35, 45, 55, 65)

Tables = Mapping[str, pl.LazyFrame]


def booked(transactions: pl.LazyFrame, as_of: datetime | None = None) -> pl.LazyFrame:
    """Payments that stand as of a moment: booked, not later, and not undone by a later reversal."""
    known = transactions if as_of is None else transactions.filter(pl.col("booked_at") <= as_of)
    undone = known.filter(pl.col("reversal_of").is_not_null()).select(transaction_id="reversal_of").unique()
    stands = (pl.col("status") == "booked") & pl.col("reversal_of").is_null()
    return known.filter(stands).join(undone, on="transaction_id", how="anti", maintain_order="left")


def entries(tables: Tables, *, as_of: datetime | None = None, row: str | None = None) -> pl.LazyFrame:
    """The ``entries`` table (``domain.schema.ENTRIES``) of canonical tables.

    Parameters
    ----------
    tables: lazy frames by name; ``transactions`` needed, ``accounts`` and ``parties`` optional.
    as_of: nothing booked later is seen.
    row: a column of ``transactions`` (its row number) to carry along, for callers that add one.
    """
    payments = booked(tables["transactions"], as_of)
    intelligence = Intelligence(tables, as_of)
    sides = [_side(payments, _holders(tables, as_of), intelligence, direction, row) for direction in ("in", "out")]
    return pl.concat(sides)


def _holders(tables: Tables, as_of: datetime | None) -> pl.LazyFrame:
    """Accounts with what is known of their holders. As small as the accounts, so all joins but this are made here."""
    accounts = tables.get("accounts", empty(ACCOUNTS).lazy())
    parties = tables.get("parties", empty(PARTIES).lazy())
    of_home = coordinates(pl.col("latitude"), pl.col("longitude"), pl.col("city"), pl.col("country_of_party"))
    return (
        accounts.join(parties, on="party_id", how="left", suffix="_of_party")
        .join(shared_identifiers(tables, as_of), on="party_id", how="left")
        .select(
            "account_id",
            "party_id",
            "product",
            "opened_on",
            "birth_date",
            "occupation",
            "annual_income",
            "city",
            "industry",
            "agent",
            *[f"shared_{kind}" for kind in SHARED],
            country=pl.coalesce("country", "country_of_party"),
            kind=pl.coalesce("kind", "kind_of_party"),
            name=pl.coalesce("name", "name_of_party"),
            **{kind: of_party(kind, kind) for kind in _KEPT},
            home_latitude=of_home[0],
            home_longitude=of_home[1],
        )
    )


def _age(born: pl.Expr, day: pl.Expr) -> pl.Expr:
    before = (day.dt.month().cast(pl.Int32) * 100 + day.dt.day()) < (
        born.dt.month().cast(pl.Int32) * 100 + born.dt.day()
    )
    return (day.dt.year() - born.dt.year() - before.cast(pl.Int32)).cast(pl.Int64)


def age_band(age: pl.Expr) -> pl.Expr:
    """One of ``AGE_BANDS`` of an age in whole years; null below 0 or where unknown."""
    below = [
        pl.when((age >= 0) & (age < end)).then(pl.lit(word))
        for end, word in zip(_BAND_STARTS, AGE_BANDS[:-1], strict=True)
    ]
    return pl.coalesce(*below, pl.when(age >= _BAND_STARTS[-1]).then(pl.lit(AGE_BANDS[-1])))


def _band_sql(age: str) -> str:
    below = " ".join(
        f"when {age} < {end} then '{word}'" for end, word in zip(_BAND_STARTS, AGE_BANDS[:-1], strict=True)
    )
    return f"case when {age} < 0 then null {below} when {age} >= {_BAND_STARTS[-1]} then '{AGE_BANDS[-1]}' end"


def _side(
    payments: pl.LazyFrame, holders: pl.LazyFrame, intelligence: Intelligence, direction: str, row: str | None
) -> pl.LazyFrame:
    own, other = _SIDES[direction]
    local = pl.col("booked_at") + pl.duration(minutes=pl.col("local_offset_minutes"))
    day = pl.coalesce(local, pl.col("booked_at")).dt.date()
    other_holders = holders.select(
        "account_id",
        other_country="country",
        other_kind="kind",
        other_birth_date="birth_date",
        other_agent="agent",
        other_industry="industry",
        other_opened_on="opened_on",
        other_party_id="party_id",
    )
    place = coordinates(*[pl.col(f"place_{part}") for part in ("latitude", "longitude", "city", "country")])
    age = _age(pl.col("birth_date"), day)
    return (
        payments.filter(pl.col(f"{own}_account_id").is_not_null())
        .join(holders, left_on=f"{own}_account_id", right_on="account_id", how="left", maintain_order="left")
        .join(other_holders, left_on=f"{other}_account_id", right_on="account_id", how="left", maintain_order="left")
        .select(
            *([pl.col(row)] if row else []),
            pl.format("{}/{}", "transaction_id", pl.lit(direction)).alias("entry_id"),
            pl.col("transaction_id"),
            pl.col(f"{own}_account_id").alias("account_id"),
            pl.lit(direction).alias("direction"),
            pl.col("booked_at"),
            local.dt.hour().cast(pl.Int64).alias("local_hour"),
            local.dt.date().alias("local_date"),
            *[pl.col(name) for name in _CARRIED],
            place[0].alias("place_latitude"),
            place[1].alias("place_longitude"),
            pl.coalesce(pl.col(f"{other}_account_id"), pl.format("name:{}", f"{other}_name")).alias("counterparty_id"),
            pl.col(f"{other}_name").alias("counterparty_name"),
            pl.coalesce(f"{other}_agent", "other_agent").alias("counterparty_agent"),
            pl.coalesce(f"{other}_country", "other_country").alias("counterparty_country"),
            pl.col("other_kind").alias("counterparty_kind"),
            _age(pl.col("other_birth_date"), day).alias("counterparty_age"),
            pl.col("other_industry").alias("counterparty_industry"),
            (day - pl.col("other_opened_on")).dt.total_days().alias("counterparty_age_days"),
            (pl.col("party_id") == pl.col("other_party_id")).alias("counterparty_is_own"),
            intelligence.names(pl.col(f"{other}_account_id")).alias("counterparty_intel"),
            pl.coalesce(f"{own}_name", "name").alias("account_name"),
            pl.coalesce(f"{own}_agent", "agent").alias("account_agent"),
            pl.coalesce(f"{own}_country", "country").alias("account_country"),
            pl.col("kind").alias("account_kind"),
            pl.col("product").alias("account_product"),
            (day - pl.col("opened_on")).dt.total_days().alias("account_age_days"),
            intelligence.names(pl.col(f"{own}_account_id")).alias("account_intel"),
            pl.col("party_id"),
            age.alias("party_age"),
            age_band(age).alias("party_age_band"),
            pl.col("city").alias("party_city"),
            pl.col("occupation").alias("party_occupation"),
            pl.col("industry").alias("party_industry"),
            pl.col("annual_income").alias("party_income"),
            *[pl.col(kind).alias(f"party_{kind}") for kind in _KEPT],
            *[pl.col(f"shared_{kind}") for kind in SHARED],
            distance_km(pl.col("home_latitude"), pl.col("home_longitude"), *place).alias("home_distance_km"),
        )
        .select(*([row] if row else []), *ENTRIES.names)
    )


def _side_sql(direction: str) -> str:
    own, other = _SIDES[direction]
    carried = ", ".join(f"t.{name}" for name in _CARRIED)

    def age(born: str) -> str:
        return f"datediff('year', {born}, t.day) - (strftime(t.day, '%m%d') < strftime({born}, '%m%d'))::int"

    place, home = (
        [coordinate_sql(axis, f"{row}.{prefix}latitude", f"{row}.{prefix}longitude", city) for axis in AXES]
        for row, prefix, city in (("t", "place_", "pc"), ("ap", "", "hc"))
    )
    return f"""
    select t.transaction_id || '/{direction}' as entry_id, t.transaction_id,
      t.{own}_account_id as account_id, '{direction}' as direction, t.booked_at,
      extract(hour from t.wall)::bigint as local_hour, t.wall::date as local_date, {carried},
      {place[0]} as place_latitude, {place[1]} as place_longitude,
      coalesce(t.{other}_account_id, 'name:' || t.{other}_name) as counterparty_id,
      t.{other}_name as counterparty_name,
      coalesce(t.{other}_agent, b.agent) as counterparty_agent,
      coalesce(t.{other}_country, b.country, bp.country) as counterparty_country,
      coalesce(b.kind, bp.kind) as counterparty_kind, {age("bp.birth_date")} as counterparty_age,
      bp.industry as counterparty_industry, datediff('day', b.opened_on, t.day) as counterparty_age_days,
      a.party_id = b.party_id as counterparty_is_own,
      {named_sql(f"t.{other}_account_id", "b.party_id")} as counterparty_intel,
      coalesce(t.{own}_name, a.name, ap.name) as account_name,
      coalesce(t.{own}_agent, a.agent) as account_agent,
      coalesce(t.{own}_country, a.country, ap.country) as account_country,
      coalesce(a.kind, ap.kind) as account_kind, a.product as account_product,
      datediff('day', a.opened_on, t.day) as account_age_days,
      {named_sql(f"t.{own}_account_id", "a.party_id")} as account_intel, a.party_id,
      {age("ap.birth_date")} as party_age, {_band_sql(age("ap.birth_date"))} as party_age_band,
      ap.city as party_city, ap.occupation as party_occupation,
      ap.industry as party_industry, ap.annual_income as party_income,
      {", ".join(f"ap.{kind}_key as party_{kind}" for kind in _KEPT)},
      {", ".join(f"sh.shared_{kind}" for kind in SHARED)},
      {distance_sql(*home, *place)} as home_distance_km
    from standing t
      left join accounts a on a.account_id = t.{own}_account_id left join keyed ap on ap.party_id = a.party_id
      left join accounts b on b.account_id = t.{other}_account_id left join keyed bp on bp.party_id = b.party_id
      left join shared sh on sh.party_id = a.party_id
      left join cities pc on {same_city_sql("pc", "t.place_city", "t.place_country")}
      left join cities hc on {same_city_sql("hc", "ap.city", "ap.country")}
    where t.{own}_account_id is not null"""


#: The same table as a DuckDB view over ``transactions``, ``accounts``, ``parties``, ``identifiers`` and
#: ``intel``, all of which must be there: as of now, so without a bound in time.
ENTRIES_SQL = f"""
with cities (city, country, latitude, longitude) as (values {cities_sql()}),
{CLAUSES_SQL},
keyed as (select *, {", ".join(f"{of_party_sql(kind, kind)} as {kind}_key" for kind in _KEPT)} from parties),
clocked as (
  select *, (booked_at at time zone 'UTC') + to_minutes(local_offset_minutes) as wall from transactions),
standing as (
  select *, coalesce(wall, booked_at at time zone 'UTC')::date as day from clocked
  where status = 'booked' and reversal_of is null and transaction_id not in
    (select reversal_of from transactions where reversal_of is not null))
select {", ".join(ENTRIES.names)} from ({_side_sql("in")} union all {_side_sql("out")})
"""

assert set(_CARRIED) <= set(TRANSACTIONS.names)
