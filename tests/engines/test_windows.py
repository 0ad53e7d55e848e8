"""Kernels against two independent engines: naive SQL in DuckDB, and polars ``rolling``."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fintel.domain.schema import TRANSACTIONS
from fintel.engine import kernels
from fintel.engine.arrays import Entries, load, order_by_time
from fintel.engine.local import sweep
from fintel.engine.partition import Measure, Slice, partition
from fintel.features.entries import entries
from fintel.frames import fit

HOUR = 3_600_000_000
START = datetime(2024, 1, 1, tzinfo=UTC)


def payments(seed: int, rows: int, *, accounts: int = 6, hours: int = 60, coarse: bool = True) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    step = HOUR if coarse else 1_000_000
    times = rng.integers(0, hours * HOUR // step, rows) * step
    names = [f"a{i}" for i in range(accounts)]
    debtor = rng.choice(accounts, rows)
    creditor = rng.choice(accounts, rows)
    cents = rng.integers(1, 5_000_000, rows)
    return fit(
        pl.DataFrame(
            {
                "transaction_id": [f"t:{i:05d}" for i in rng.permutation(rows)],
                "booked_at": [START + timedelta(microseconds=int(t)) for t in times],
                "amount": [Decimal(int(c)) / 100 for c in cents],
                "amount_base": [None if c % 13 == 0 else Decimal(int(c)) / 100 for c in cents],
                "currency": ["USD"] * rows,
                "debtor_account_id": [names[d] if d or c == 0 else None for d, c in zip(debtor, creditor, strict=True)],
                "creditor_account_id": [names[c] for c in creditor],
                "channel": [["atm", "branch", None][int(c) % 3] for c in cents],
                "status": ["booked"] * rows,
            }
        ),
        TRANSACTIONS,
    )


MASKS = {
    "all": "true",
    "in": "direction = 'in'",
    "atm": "channel = 'atm'",
    "big": "amount_base >= 20000",
    "known": "amount_base is not null",
}
NAMES = list(MASKS)
KINDS = ("count", "sum", "min", "max", "mean", "std", "distinct", "first", "last")
VALUE = {"min", "max", "mean", "std", "sum", "first", "last"}


def read(frame: pl.DataFrame) -> Entries:
    rows = frame.lazy().with_row_index("row")
    return load(
        entries({"transactions": rows}, row="row"),
        order_by_time(rows, "row"),
        masks=[pl.sql_expr(m) if m != "true" else pl.lit(value=True) for m in MASKS.values()],
        values=["amount_base"],
        codes=["account_id", "counterparty_id", "channel"],
    )


def ours(
    data: Entries, measures: list[Measure], anchor: str, per: list[str], threads: int = 1
) -> dict[str, list[float]]:
    def compute(piece: Slice) -> tuple[np.ndarray, list[np.ndarray]]:
        mask = NAMES.index(anchor)
        return piece.rows[piece.anchors(mask)], [piece.measure(m, mask) for m in measures]

    out: dict[str, list[float]] = {}
    for rows, columns in sweep(partition(data, per), compute, threads=threads):
        for position, entry in enumerate(rows):
            key = f"{data.row[entry]}/{data.side[entry]}"
            assert key not in out
            out[key] = [float(c[position]) for c in columns]
    return out


def naive(frame: pl.DataFrame, measures: list[Measure], anchor: str, per: list[str]) -> dict[str, list[float]]:
    """Every window as SQL says it, quadratic and plain."""
    base = entries({"transactions": frame.lazy().with_row_index("row")}, row="row").collect()
    db = duckdb.connect()
    table = base.select(
        "row", "direction", "booked_at", "transaction_id", "account_id", "counterparty_id", "channel", "amount_base"
    )
    db.register("e0", table.to_arrow())
    db.execute("create table e as select *, (direction='out')::int side, epoch_us(booked_at) t from e0")
    exprs = []
    for i, m in enumerate(measures):
        where = f"({MASKS[NAMES[m.mask]]}) and w.t > a.t - {m.span + m.offset} and w.t <= a.t - {m.offset}"
        order = "w.t, w.side, w.transaction_id"
        sql = {
            "count": f"count(*) filter ({where})",
            "sum": f"coalesce(sum(amount_base) filter ({where}), 0)",
            "min": f"min(amount_base) filter ({where})",
            "max": f"max(amount_base) filter ({where})",
            "mean": f"(sum(amount_base) filter ({where}))::double / count(*) filter ({where})",
            "std": f"stddev_samp(amount_base::double) filter ({where})",
            "distinct": f"count(distinct {m.column}) filter ({where})",
            "first": f"arg_min(amount_base, ({order})) filter ({where})",
            "last": f"arg_max(amount_base, ({order})) filter ({where})",
        }[m.kind]
        for column in ("amount_base", "channel", "direction", *([m.column] if m.column != "*" else [])):
            sql = sql.replace(f" {column}", f" w.{column}").replace(f"({column}", f"(w.{column}")
        exprs.append(f"({sql})::double as m{i}")
    anchor_sql = MASKS[anchor]
    same = " and ".join(f"w.{p} = a.{p}" for p in per)
    rows = db.execute(
        f"with a as (select * from e where {anchor_sql}) "
        f"select a.row, a.side, {', '.join(exprs)} from a join e w on {same} and (w.t, w.side, w.transaction_id) <= (a.t, a.side, a.transaction_id) "
        "group by a.row, a.side, a.t, a.transaction_id"
    ).fetchall()
    return {f"{r[0]}/{r[1]}": [math.nan if v is None else v for v in r[2:]] for r in rows}


def same(left: dict[str, list[float]], right: dict[str, list[float]], kinds: list[str]) -> None:
    assert left.keys() == right.keys()
    for key, values in left.items():
        for kind, a, b in zip(kinds, values, right[key], strict=True):
            if math.isnan(a) or math.isnan(b):
                assert math.isnan(a) and math.isnan(b), (key, kind, a, b)
            elif kind in ("std", "mean"):
                assert a == pytest.approx(b, rel=1e-9, abs=1e-6), (key, kind)
            else:
                assert a == b, (key, kind, a, b)


@st.composite
def any_measures(draw: st.DrawFn) -> list[Measure]:
    chosen = []
    for kind in KINDS:
        mask = "known" if kind in VALUE else draw(st.sampled_from(NAMES))
        column = (
            "*"
            if kind == "count"
            else "amount_base"
            if kind in VALUE
            else draw(st.sampled_from(["counterparty_id", "channel"]))
        )
        span = draw(st.integers(1, 40)) * HOUR
        offset = draw(st.sampled_from([0, 0, 1, 5, 24])) * HOUR
        chosen.append(Measure(kind, column, NAMES.index(mask), span, offset))
    return chosen


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 70),
    measures=any_measures(),
    anchor=st.sampled_from(NAMES),
    per=st.sampled_from(
        [["account_id"], ["account_id", "counterparty_id"], ["channel"], ["counterparty_id", "channel"]]
    ),
)
def test_kernels_equal_naive_sql(seed: int, rows: int, measures: list[Measure], anchor: str, per: list[str]) -> None:
    frame = payments(seed, rows)
    same(ours(read(frame), measures, anchor, per), naive(frame, measures, anchor, per), [m.kind for m in measures])


@pytest.mark.parametrize("seed", range(4))
def test_kernels_equal_polars_rolling(seed: int) -> None:
    """At the last entry of each instant (where polars' tie-inclusive window is ours), per account."""
    frame = payments(seed, 4000, hours=2000)
    data = read(frame)
    span = 36 * HOUR
    measures = [
        Measure(k, "*" if k == "count" else "amount_base", NAMES.index("known"), span)
        for k in KINDS
        if k not in ("distinct", "first", "last")
    ]
    measures.append(Measure("distinct", "counterparty_id", NAMES.index("known"), span))
    mine = ours(data, measures, "known", ["account_id"])
    base = (
        entries({"transactions": frame.lazy().with_row_index("row")}, row="row")
        .filter(pl.col("amount_base").is_not_null())
        .with_columns(side=(pl.col("direction") == "out").cast(pl.Int8), value=pl.col("amount_base").cast(pl.Float64))
        .sort("account_id", "booked_at", "side", "transaction_id")
        .collect()
    )
    value = pl.col("value")
    rolled = base.rolling("booked_at", period="36h", group_by="account_id").agg(
        pl.len().cast(pl.Float64), value.sum().round(2).alias("s"), value.min().alias("lo"), value.max().alias("hi"),
        value.mean().alias("m"), value.std().alias("sd"), pl.col("counterparty_id").drop_nulls().n_unique().cast(pl.Float64).alias("d"),
    )  # fmt: skip
    last = base.with_columns(rolled.select(pl.exclude("account_id", "booked_at"))).unique(
        ["account_id", "booked_at"], keep="last", maintain_order=True
    )
    assert last.height > 1000
    theirs = {
        f"{r['row']}/{r['side']}": [
            r["len"],
            r["s"],
            r["lo"],
            r["hi"],
            r["m"],
            math.nan if r["sd"] is None else r["sd"],
            r["d"],
        ]
        for r in last.iter_rows(named=True)
    }
    same({k: v for k, v in mine.items() if k in theirs}, theirs, [m.kind for m in measures])


ALL = [
    Measure("count", "*", 0, 12 * HOUR),
    Measure("sum", "amount_base", 4, 30 * HOUR),
    Measure("distinct", "counterparty_id", 1, 9 * HOUR, 3 * HOUR),
    Measure("std", "amount_base", 4, 30 * HOUR),
]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(2, 120), cut=st.integers(0, 60))
def test_no_look_ahead(seed: int, rows: int, cut: int) -> None:
    """Later payments never change an earlier entry's measures."""
    frame = payments(seed, rows)
    moment = START + timedelta(hours=cut)
    early = frame.filter(pl.col("booked_at") <= moment)
    whole = ours(read(frame.sort("booked_at", "transaction_id")), ALL, "all", ["account_id"])
    part = ours(read(early.sort("booked_at", "transaction_id")), ALL, "all", ["account_id"])
    for key, values in part.items():
        assert np.array_equal(values, whole[key], equal_nan=True)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 120))
def test_order_and_names_do_not_matter(seed: int, rows: int) -> None:
    frame = payments(seed, rows)
    by_id = dict(enumerate(frame["transaction_id"]))
    plain = {
        f"{by_id[int(k.split('/')[0])]}{k[-2:]}": v for k, v in ours(read(frame), ALL, "all", ["account_id"]).items()
    }
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    by_id = dict(enumerate(shuffled["transaction_id"]))
    again = {
        f"{by_id[int(k.split('/')[0])]}{k[-2:]}": v
        for k, v in ours(read(shuffled), ALL, "all", ["account_id"], threads=2).items()
    }
    renamed = frame.with_columns(
        (pl.lit("zz-") + pl.col(c).str.reverse()).alias(c) for c in ("debtor_account_id", "creditor_account_id")
    )
    by_id = dict(enumerate(renamed["transaction_id"]))
    other = {
        f"{by_id[int(k.split('/')[0])]}{k[-2:]}": v for k, v in ours(read(renamed), ALL, "all", ["account_id"]).items()
    }
    for key, values in plain.items():
        assert np.array_equal(values, again[key], equal_nan=True)
        assert np.array_equal(values, other[key], equal_nan=True)


def test_money_is_exact_where_floats_are_not() -> None:
    frame = payments(1, 3000, accounts=1).with_columns(amount_base=pl.lit(Decimal("0.10")).cast(pl.Decimal(18, 5)))
    measures = [Measure("sum", "amount_base", 4, 1000 * 24 * HOUR), Measure("count", "*", 4, 1000 * 24 * HOUR)]
    sums = ours(read(frame), measures, "all", ["account_id"]).values()
    assert max(count for _, count in sums) > 5000
    for amount, count in sums:
        assert amount == int(count) / 10  # adding 0.1 in floats drifts by then


def test_a_hub_with_half_the_volume_is_one_partition() -> None:
    frame = payments(3, 2000, accounts=2, hours=2000, coarse=False)
    measures = [Measure("count", "*", 0, 48 * HOUR), Measure("distinct", "counterparty_id", 0, 48 * HOUR)]
    one = ours(read(frame), measures, "all", ["account_id"])
    two = ours(read(frame), measures, "all", ["account_id"], threads=2)
    assert one == two and len(one) > 2000


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(-(10**15), 10**15) | st.integers(10**14, 10**14 + 9), min_size=2, max_size=30),
    spans=st.lists(st.integers(1, 12), min_size=30, max_size=30),
)
def test_spread_of_a_window_is_exact_and_forgets_the_windows_before(values: list[int], spans: list[int]) -> None:
    numbers = np.array(values, np.int64)
    mask = np.ones(numbers.size, np.uint8)
    hi = np.arange(1, numbers.size + 1, dtype=np.int32)
    lo = np.maximum.accumulate(np.maximum(hi - np.array(spans[: numbers.size]), 0)).astype(np.int32)
    out, found = kernels.deviation(numbers, mask, lo, hi)
    for k in range(numbers.size):
        alone, _ = kernels.deviation(numbers, mask, lo[k : k + 1], hi[k : k + 1])
        assert alone[0] == out[k]
        window = values[lo[k] : hi[k]]
        assert found[k] == (len(window) > 1)
        if len(window) > 1:
            n, total, squares = len(window), sum(window), sum(v * v for v in window)
            exact = Fraction(n * squares - total * total, n * (n - 1))
            assert out[k] == pytest.approx(math.sqrt(exact), rel=1e-15)


def test_sums_that_could_leave_64_bits_are_refused() -> None:
    frame = payments(5, 40).with_columns(amount_base=pl.lit(Decimal("9999999999999.99999")).cast(pl.Decimal(18, 5)))
    with pytest.raises(OverflowError, match="too large"):
        ours(read(frame), [Measure("sum", "amount_base", 4, HOUR)], "all", ["account_id"])
