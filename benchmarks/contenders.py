"""The contenders of ``windows.py``; each runs in a process of its own.

Each starts from the same Parquet file of entries, computes the same measures at the same anchors,
and keeps the values at the sampled entries, so that they can be compared.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from measures import Asked, Work, is_number, work
from population import sample_flag, say
from processes import Clock, tell

from fintel.domain.schema import MONEY_UNITS
from fintel.engine.arrays import as_seen_by_masks, load, order_by_time, scale_of
from fintel.engine.conditions import Atom, Conditions, Flag, Formula, Junction
from fintel.engine.local import sweep
from fintel.engine.partition import Slice, partition
from fintel.pipeline import canonical_tables, last_moment
from fintel.rules.runner import detect_tables
from fintel.store.lake import Lake

DAY = 86_400_000_000
#: Entries that polars is given at a time: all 15 million at once took more than 23 GB.
BUCKET_ROWS = 2_000_000
SCHEMA = {"measure": pl.Int32, "row": pl.Int64, "side": pl.Int8, "value": pl.Float64}


Values = list[pl.DataFrame]
Contender = Callable[[Work, argparse.Namespace, Clock], tuple[Values, dict[str, Any]]]


def floor(job: Work, given: argparse.Namespace, clock: Clock) -> tuple[Values, dict[str, Any]]:
    """Read the columns that the measures need, and order them once. Whatever comes later, this is the least."""
    with clock.lap("read and sort"):
        columns = [c for c in job.columns if "__mentions__" not in c]
        ordered = pl.scan_parquet(given.entries).select(columns).sort("account_id", "booked_at", "transaction_id")
        rows = ordered.collect(engine="streaming").height
    return [], {"entries": rows, "columns": len(columns)}


def _flags_as_columns(formula: Formula) -> Formula:
    """Mentions stand in the entries file as columns here, as they do for the others."""
    if isinstance(formula, Junction):
        return Junction(formula.operator, tuple(_flags_as_columns(p) for p in formula.parts))
    if isinstance(formula, Flag):
        return Atom(formula.alias, pl.col(formula.alias), frozenset((formula.alias,)))
    return Atom(formula.text, formula.expression, formula.columns | {f.alias for f in formula.flags})


def kernels(job: Work, given: argparse.Namespace, clock: Clock) -> tuple[Values, dict[str, Any]]:
    """Masks, order and sweeps of the engine."""
    rows = pl.scan_parquet(given.entries)
    masks = Conditions(_flags_as_columns(f) for f in job.plan.masks.formulas)
    flags = {per: masks.add(pl.col(sample_flag(per))) for per in job.pers}
    with Lake.open(Path(given.lake)) as lake:
        payments = canonical_tables(lake)["transactions"].with_row_index("row")
        with clock.lap("load"):
            order = order_by_time(payments, "row")
            data = load(rows, order, masks=masks, values=job.plan.values, codes=job.plan.codes)
    values: Values = []
    with clock.lap("sweep"):
        for per in job.pers:
            asked = [a for a in job.asked if a.per == per]
            flag = flags[per]

            def compute(piece: Slice, asked: list[Asked] = asked, flag: int = flag) -> Values:
                return [_sampled(piece, a, flag) for a in asked]

            relevant = sorted({m for a in asked for m in (a.anchor_mask, a.window.mask)})
            for found in sweep(partition(data, per, relevant), compute, threads=given.threads):
                values += [f for f in found if f.height]
    return values, {"entries": len(data), "masks": len(job.plan.masks)}


def _sampled(piece: Slice, asked: Asked, flag: int) -> pl.DataFrame:
    value = piece.measure(asked.window, asked.anchor_mask)
    anchors = piece.anchors(asked.anchor_mask)
    chosen = piece.mask(flag)[anchors] != 0
    entries = piece.rows[anchors[chosen]]
    return pl.DataFrame(
        {
            "measure": np.full(entries.size, asked.number),
            "row": piece.entries.row[entries],
            "side": piece.entries.side[entries],
            "value": value[chosen],
        }
    ).cast(SCHEMA)  # type: ignore[arg-type]


def detect(job: Work, given: argparse.Namespace, clock: Clock) -> tuple[Values, dict[str, Any]]:
    """The whole of detection, from the lake to episodes with clauses and evidence."""
    with Lake.open(Path(given.lake)) as lake:
        tables = canonical_tables(lake)
        with clock.lap("detect"):
            found = detect_tables(tables, job.library, as_of=last_moment(lake), threads=given.threads)
    clock.seconds |= {f"of which {stage}": round(seconds, 2) for stage, seconds in found.seconds.items()}
    return [], {"episodes": found.episodes.height, "evidence": found.evidence.height}


# -- polars


def polars(job: Work, given: argparse.Namespace, clock: Clock) -> tuple[Values, dict[str, Any]]:
    """``rolling``: conditions once as columns, rows that no measure of a window needs left out, no filter inside."""
    name_of = {text: f"m{i}" for i, text in enumerate(job.conditions)}
    flags = [sample_flag(per) for per in job.pers]
    distinct = sorted({a.window.column for a in job.asked if a.window.kind == "distinct"})
    keys = sorted({c for per in job.pers for c in per} | set(distinct))
    numbers = sorted({a.window.column for a in job.asked if is_number(a.window.column)})
    kept = [
        pl.col("row").cast(pl.UInt32),
        (pl.col("direction") == "out").cast(pl.Int8).alias("side"),
        "booked_at",
        "transaction_id",
        *[_coded(c).alias(f"c_{c}") for c in keys],
        *[pl.col(c).to_physical().cast(pl.Int64).alias(f"v_{c}") for c in numbers],
        *flags,
    ]
    seen = as_seen_by_masks(pl.scan_parquet(given.entries).with_columns(kept[4 : -len(flags)]))  # type: ignore[arg-type]
    carried = [*kept[:4], *[f"c_{c}" for c in keys], *[f"v_{c}" for c in numbers], *flags]
    conditions = [pl.sql_expr(text).fill_null(value=False).alias(name) for text, name in name_of.items()]
    with clock.lap("read and conditions"):
        base = seen.select(*carried, *conditions).collect(engine="streaming")
    values: Values = []
    for per in job.pers:
        by = [f"c_{c}" for c in per]
        needed = {name_of[t] for a in job.asked if a.per == per for t in (a.anchor, a.where)}
        # Buckets of whole partitions keep its memory within the machine's; the work is the same.
        buckets = -(-base.height // BUCKET_ROWS)
        for bucket in range(buckets):
            with clock.lap("sort"):
                mine = pl.col(by[0]) % buckets == bucket
                some = base.filter(mine, pl.any_horizontal(needed), *[pl.col(c).is_not_null() for c in by])
                some = some.sort(*by, "booked_at", "side", "transaction_id").drop("transaction_id")
            for number, ((span, offset), asked) in enumerate(job.windows(per).items(), start=1):
                say(f"polars: {', '.join(per)}, bucket {bucket + 1}/{buckets}, window {number}: {len(asked)} measures")
                # A count of different values costs every row of every window: on as few rows as can be.
                apart: dict[str, list[Asked]] = {}
                for a in asked:
                    apart.setdefault(a.where if a.window.kind == "distinct" else "", []).append(a)
                with clock.lap("windows"):
                    for together in apart.values():
                        values += _rolling(some, by, sample_flag(per), span, offset, together, name_of)
    return values, {"buckets": buckets}


def _coded(column: str) -> pl.Expr:
    if column == "local_date":
        return pl.col(column).to_physical()
    # One dictionary for ids that are compared with each other; integers are what polars counts fastest.
    family = "account" if column in ("account_id", "counterparty_id") else column
    return pl.col(column).cast(pl.Categorical(pl.Categories(f"bench-{family}", physical=pl.UInt32))).to_physical()


def _rolling(
    frame: pl.DataFrame, by: list[str], flag: str, span: int, offset: int, asked: list[Asked], name_of: dict[str, str]
) -> Values:
    inputs: dict[str, pl.Expr] = {}
    outputs: dict[str, pl.Expr] = {}
    for a in asked:
        mask = name_of[a.where]
        kind, column = a.window.kind, a.window.column
        if kind == "count":
            name = f"n {mask}"
            inputs[name] = pl.col(mask).cast(pl.UInt32)
        else:
            name = f"{column} {mask}" if kind != "distinct" else f"d {column} {mask}"
            source = f"c_{column}" if kind == "distinct" else f"v_{column}"
            value = pl.col("booked_at").to_physical() if column == "booked_at" else pl.col(source)
            if kind == "distinct":
                # Null counts as one more value: taken off again where the window has one.
                inputs[f"null {name}"] = (~pl.col(mask)).cast(pl.UInt8)
            elif kind in ("first", "last") and column != "booked_at":
                name, value = f"at {mask}", pl.int_range(pl.len(), dtype=pl.Int64)
            inputs[name] = pl.when(mask).then(value)
        outputs[f"r{a.number}"] = _aggregate(kind, name)
    needed = pl.any_horizontal({name_of[t] for a in asked for t in (a.anchor, a.where)})
    rows = frame.lazy().filter(needed).with_columns(e.alias(n) for n, e in inputs.items()).collect()
    rolled = rows.rolling("booked_at", period=f"{span}us", offset=f"-{span + offset}us", group_by=by).agg(
        e.alias(n) for n, e in outputs.items()
    )
    at = pl.col("booked_at").to_physical()
    joined = rows.select("row", "side", "booked_at", flag, *{name_of[a.anchor] for a in asked}).hstack(
        rolled.select(*outputs)
    )
    found = []
    for a in asked:
        value = pl.col(f"r{a.number}").cast(pl.Float64)
        if a.window.column == "booked_at":
            value = (at - pl.col(f"r{a.number}")) / DAY
        elif a.window.kind in ("first", "last"):
            source = rows[f"v_{a.window.column}"]
            value = pl.lit(source).gather(pl.col(f"r{a.number}")) / scale_of(a.window.column)
        elif is_number(a.window.column) and a.window.kind != "distinct":
            value = value / scale_of(a.window.column)
        chosen = joined.filter(flag, name_of[a.anchor])
        found.append(chosen.select(pl.lit(a.number).alias("measure"), "row", "side", value.alias("value")).cast(SCHEMA))  # type: ignore[arg-type]
    return found


def _aggregate(kind: str, name: str) -> pl.Expr:
    """Plain aggregates of plain columns only: anything else inside ``agg`` copies every window's rows."""
    of = pl.col(name)
    if kind == "distinct":
        return of.n_unique().cast(pl.Int64) - pl.col(f"null {name}").max().fill_null(0)
    # Rows are in order of time, so the first is the least time, or the least row number.
    return {
        "count": of.sum, "sum": of.sum, "min": of.min, "max": of.max, "mean": of.mean, "std": of.std,
        "first": of.min, "last": of.max,
    }[kind]()  # fmt: skip


# -- DuckDB


def sql(job: Work, given: argparse.Namespace, clock: Clock) -> tuple[Values, dict[str, Any]]:
    """DuckDB windows: ``RANGE`` over integer time, ``FILTER``, ``count(DISTINCT …)``."""
    name_of = {text: f"m{i}" for i, text in enumerate(job.conditions)}
    keys = sorted(
        {c for per in job.pers for c in per} | {a.window.column for a in job.asked if a.window.kind == "distinct"}
    )
    numbers = sorted({a.window.column for a in job.asked if is_number(a.window.column)})
    connection = duckdb.connect()
    connection.execute(f"set memory_limit = '{given.memory}GB'; set temp_directory = '{Path(given.out).parent}'")
    connection.execute("set preserve_insertion_order = false")
    if given.threads:
        connection.execute(f"set threads = {given.threads}")
    columns = [
        "row::uinteger as row",
        "(direction = 'out')::tinyint as side",
        "epoch_us(booked_at) as t",
        # Ids as 64-bit hashes: narrower, and faster to partition by and to count, than text.
        *[f"case when {c} is not null then hash({c}) end as c_{c}" for c in keys],
        *[f"{_integer(c)} as v_{c}" for c in numbers],
        *[sample_flag(per) for per in job.pers],
        *[f"coalesce({text}, false) as {name}" for text, name in name_of.items()],
    ]
    with clock.lap("read and conditions"):
        connection.execute(f"create table e as select {', '.join(columns)} from read_parquet('{given.entries}')")
    values: Values = []
    for per in job.pers:
        for number, ((span, offset), asked) in enumerate(job.windows(per).items(), start=1):
            say(f"DuckDB: {', '.join(per)}, window {number}: {len(asked)} measures over {span / DAY:g} days")
            with clock.lap("windows"):
                values += _windowed(connection, per, span, offset, asked, name_of)
    return values, {}


def _integer(column: str) -> str:
    scale = scale_of(column)
    return f"({column} * {MONEY_UNITS})::bigint" if scale == MONEY_UNITS else f"{column}::bigint"


def _windowed(
    connection: duckdb.DuckDBPyConnection,
    per: tuple[str, ...],
    span: int,
    offset: int,
    asked: list[Asked],
    name_of: dict[str, str],
) -> Values:
    picked = []
    for a in asked:
        mask, kind, column = name_of[a.where], a.window.kind, a.window.column
        value = "t" if column == "booked_at" else f"v_{column}"
        call = {
            "count": "count(*)",
            "distinct": f"count(distinct c_{column})",
            "first": f"arg_min({value}, t)",
            "last": f"arg_max({value}, t)",
            "mean": f"avg({value})",
            "std": f"stddev_samp({value})",
        }.get(kind, f"{kind}({value})")
        if column == "booked_at":
            call = "min(t)" if kind == "first" else "max(t)"
        picked.append(f"{call} filter ({mask}) over w as r{a.number}")
    needed = sorted({name_of[t] for a in asked for t in (a.anchor, a.where)})
    anchors = sorted({name_of[a.anchor] for a in asked})
    keys = ", ".join(f"c_{c}" for c in per)
    flag = sample_flag(per)
    query = f"""
    select * from (
      select row, side, t, {flag}, {", ".join(anchors)}, {", ".join(picked)} from e
      where ({" or ".join(needed)}) and {" and ".join(f"c_{c} is not null" for c in per)}
      window w as (partition by {keys} order by t range between {span + offset - 1} preceding and {offset} preceding))
    where {flag}"""
    rows = pl.DataFrame(connection.sql(query))
    found = []
    for a in asked:
        value = pl.col(f"r{a.number}").cast(pl.Float64)
        if a.window.column == "booked_at":
            value = (pl.col("t") - pl.col(f"r{a.number}")) / DAY
        elif is_number(a.window.column) and a.window.kind != "distinct":
            value = value / scale_of(a.window.column)
            value = value.fill_null(0.0) if a.window.kind == "sum" else value
        chosen = rows.filter(name_of[a.anchor])
        found.append(chosen.select(pl.lit(a.number).alias("measure"), "row", "side", value.alias("value")).cast(SCHEMA))  # type: ignore[arg-type]
    return found


CONTENDERS: dict[str, Contender] = {
    "floor": floor,
    "kernels": kernels,
    "detect": detect,
    "polars": polars,
    "duckdb": sql,
}


def main() -> None:
    """One contender; writes its seconds, facts and sampled values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("--entries", required=True)
    parser.add_argument("--lake", required=True)
    parser.add_argument("--rules", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--memory", type=int, default=8)
    parser.add_argument("--values", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    clock = Clock()
    job = work(given.rules)
    found, facts = CONTENDERS[given.name](job, given, clock)
    facts |= {"rules": len(job.library.rules), "measures": len(job.asked)}
    if found:
        values = pl.concat(found).with_columns(pl.col("value").fill_nan(None))
        values.sort("measure", "row", "side").write_parquet(given.values)
    tell(given.out, clock.seconds, facts)
    os._exit(0)  # nothing is left to do; taking DuckDB's module down prints pages about its own objects


if __name__ == "__main__":
    main()
