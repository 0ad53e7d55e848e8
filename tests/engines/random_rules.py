"""Rules and payments made at random: every kind of measure, step and option that the language has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import strategies as st

from fintel.domain.schema import ACCOUNTS, PARTIES, RATES, TRANSACTIONS
from fintel.errors import Location
from fintel.frames import empty, fit
from fintel.rules.model import Measure, Parameter, Rule, Step

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONDITIONS = {
    "money_in": "direction = 'in'",
    "cash": "instrument = 'cash' and not (channel = 'branch')",
    "large": "amount_base >= :line and amount % 50 <> 0",
    "large_cash": "cash and large",
    "night": "local_hour between 22 and 23 or local_hour < 6",
    "same_country": "counterparty_country = account_country",
}
WHERES = (
    "true", "direction = 'out'", "amount_base > 0", "money_in", "cash", "large or cash", "not night", "large_cash",
    "same_country and money_in", "place_city is not null", "case when cash then large else money_in end",
    "counterparty_kind = 'person' or party_age / 10 > 3",
)  # fmt: skip
PERS = (("account_id",),) * 4 + (("account_id", "counterparty_id"), ("party_id",), ("device_id", "direction"))
SAME = ((), (), (), ("counterparty_id",), ("place_city",), ("direction", "channel"), ("local_date",))
CROSSED = (
    ("merchant_country", "counterparty_country"),
    ("counterparty_id", "account_id"),
    ("counterparty_country", "place_country"),
)
NUMBERS = ("amount_base", "amount", "account_age_days", "local_hour", "party_age")
THINGS = ("counterparty_id", "place_city", "channel", "local_date", "counterparty_country", "party_age")
BETWEEN = ("gap", "leg_km")
GROUPS = ((), ("account_kind",), ("account_country", "party_age_band"), ("account_kind", "account_country"))


def spans(most: int = 60) -> st.SearchStrategy[timedelta]:
    """On the grid of the payments' times, so that ends of windows are hit, or a little beside it."""
    grid = st.integers(1, most).map(lambda n: n * HOUR)
    return st.one_of(grid, grid, grid.map(lambda s: s + timedelta(microseconds=1)))


@st.composite
def any_same(draw: st.DrawFn) -> tuple[tuple[str, str], ...]:
    if draw(st.integers(0, 5)) == 0:
        return (draw(st.sampled_from(CROSSED)),)
    return tuple((column, column) for column in draw(st.sampled_from(SAME)))


@st.composite
def any_measure(draw: st.DrawFn, name: str, per: tuple[str, ...], wheres: tuple[str, ...]) -> Measure:
    kind = draw(
        st.sampled_from(
            (
                "count",
                "sum",
                "min",
                "max",
                "mean",
                "std",
                "distinct",
                "first",
                "last",
                "growth",
                "rising",
                "top",
                "hops",
            )
        )
    )
    of = ""
    if kind == "count":
        column = "*"
    elif kind in ("distinct", "top", "hops"):
        column = draw(st.sampled_from(THINGS))
        of = draw(st.sampled_from(("", "amount_base"))) if kind == "top" else ""
    elif kind in ("first", "last"):
        column = draw(st.sampled_from((*NUMBERS, "booked_at")))
    else:
        column = draw(st.sampled_from((*NUMBERS, *BETWEEN)))
    at = "counterparty" if per == ("account_id",) and draw(st.integers(0, 3)) == 0 else ""
    where = draw(st.sampled_from(wheres[: len(WHERES)] if at else (*wheres, None)))
    return Measure(
        name, kind, column, draw(spans()), draw(st.sampled_from((timedelta(0), timedelta(0), HOUR, 24 * HOUR))),
        where if where is not None or not at else "true", same=() if at else draw(any_same()), at=at, of=of,
    )  # fmt: skip


@st.composite
def any_steps(draw: st.DrawFn) -> dict[str, Step]:
    names = ("began", "went_on", "ended")[: draw(st.sampled_from((0, 0, 2, 3)))]
    steps: dict[str, Step] = {}
    for name in names:
        where = draw(st.sampled_from(WHERES))
        if not steps:
            steps[name] = Step(name, where)
        else:
            after = draw(st.sampled_from(list(steps)))
            count = draw(st.sampled_from(("1", "1", "2", ":some")))
            steps[name] = Step(name, where, after, draw(spans(90)), count, draw(any_same()))
    return steps


@st.composite
def any_rule(draw: st.DrawFn) -> Rule:
    """A rule with up to five measures, sometimes steps, sometimes peers."""
    per = draw(st.sampled_from(PERS))
    steps = draw(any_steps())
    wheres = (*WHERES, *steps)
    measures = {
        name: draw(any_measure(name, per, wheres))
        for name in ("one", "two", "three", "four")[: draw(st.integers(1, 4))]
    }
    own = [m.name for m in measures.values() if not m.at]
    if own and draw(st.integers(0, 2)) == 0:
        quantile = draw(st.sampled_from((0.5, 0.9, 0.95)))
        by = draw(st.sampled_from(GROUPS))
        span = timedelta(days=draw(st.sampled_from((30, 65, 90))))
        measures["usual"] = Measure("usual", "peers", draw(st.sampled_from(own)), span, quantile=quantile, by=by)
    return Rule(
        id="test/random", title="Random", version=1, status="test", level="low", typology="ML-GENERAL",
        indicators=("X",), techniques=(), description="", subject="account", role="subject", per=per,
        parameters={
            "line": Parameter("line", 300.0, "USD", "engineering"), "some": Parameter("some", 2.0, "count", "engineering")
        },
        anchor=draw(st.sampled_from(wheres)), measures=measures,
        when=" and ".join(f"coalesce({name}, 1) >= {draw(st.sampled_from((0, 1, 2)))}" for name in measures),
        reason="", falsepositives=(), location=Location("random.yaml", 1, 1), pack="test",
        conditions=CONDITIONS, steps=steps,
    )  # fmt: skip


def any_payments(seed: int) -> Mapping[str, pl.DataFrame]:
    """Canonical tables: many accounts with few payments each over months, some with many in a few days."""
    rng = np.random.default_rng(seed)
    n, accounts = int(rng.integers(1, 400)), int(rng.choice([4, 12, 90]))
    hours = int(rng.choice([48, 300, 24 * 120]))
    micros = rng.integers(0, hours, n) * 3_600_000_000 + rng.choice([0, 0, 0, 1, -1], n)

    def some(values: list[str | None], share: float = 0.0) -> pl.Series:
        drawn = rng.integers(0, len(values), n)
        return pl.Series([None if rng.random() < share else values[i] for i in drawn], dtype=pl.String)

    def money(scale: int) -> pl.Series:
        cents = np.where(rng.random(n) < 0.5, rng.choice([100, 300, 30_000, 50_00], n), rng.integers(1, scale, n))
        return (pl.Series(cents).cast(pl.Decimal(18, 0)).cast(pl.Decimal(38, 5)) / 100).cast(pl.Decimal(18, 5))

    ids: list[str | None] = [f"a{i}" for i in range(accounts)]
    amount = money(100_000)
    missing = pl.Series(rng.random(n) < 0.07)
    at = pl.Series("booked_at", micros).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    countries: list[str | None] = ["PH", "US", "CA", None]
    payments = pl.DataFrame(
        {
            "transaction_id": [f"t:{i:05d}" for i in rng.permutation(n)],
            "booked_at": at + timedelta(seconds=START.timestamp()),
            "local_offset_minutes": pl.Series(rng.choice([0, 480, -300], n)).cast(pl.Int64),
            "amount": amount,
            "amount_base": amount.zip_with(~missing, pl.Series([None] * n, dtype=amount.dtype)),
            "currency": ["USD"] * n,
            "debtor_account_id": some(ids, 0.1),
            "creditor_account_id": some(ids, 0.1),
            "debtor_name": some(["Ann", "Bo", None]),
            "creditor_name": some(["Cy", "Di", None]),
            "debtor_country": some(countries),
            "creditor_country": some(countries),
            "channel": some(["atm", "branch", "online", None]),
            "instrument": some(["cash", "credit_transfer", None]),
            "merchant_country": some(countries),
            "place_city": some(["Cebu", "Lima", "Oslo", None]),
            "place_country": some(countries),
            "device_id": some(["d1", "d2", None]),
            "place_latitude": pl.Series(rng.choice([10.3157, -12.0464, 59.9139, 59.9], n)),
            "place_longitude": pl.Series(rng.choice([123.8854, -77.0428, 10.7522], n)),
            "status": ["booked"] * n,
        }
    )
    nowhere = pl.Series(rng.random(n) < 0.2)
    payments = payments.with_columns(
        pl.when(nowhere).then(None).otherwise(pl.col("place_latitude")).alias("place_latitude")
    )
    described = [i for i in ids if rng.random() < 0.85]
    holders = [f"p{int(rng.integers(0, max(1, accounts - 2)))}" for _ in described]
    owned = pl.DataFrame(
        {
            "account_id": described,
            "party_id": holders,
            "kind": [["person", "organisation", None][int(k)] for k in rng.integers(0, 3, len(described))],
            "country": [["PH", "US", None][int(k)] for k in rng.integers(0, 3, len(described))],
            "opened_on": [date(2023, 12, 1) + timedelta(days=int(k)) for k in rng.integers(0, 60, len(described))],
            "holding": ["own"] * len(described),
        },
        schema_overrides={"account_id": pl.String, "kind": pl.String, "country": pl.String, "party_id": pl.String},
    )
    parties = sorted(set(holders))
    people = pl.DataFrame(
        {
            "party_id": parties,
            "birth_date": [date(1950 + int(k), 5, 5) for k in rng.integers(0, 60, len(parties))],
        },
        schema={"party_id": pl.String, "birth_date": pl.Date},
    )
    return {
        "transactions": fit(payments, TRANSACTIONS), "accounts": fit(owned, ACCOUNTS), "parties": fit(people, PARTIES),
        "rates": empty(RATES),
    }  # fmt: skip
