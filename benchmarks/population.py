"""A synthetic feed, its lake, and its entries as one Parquet file: made once per folder, then reused."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from fintel.config import Settings
from fintel.features.entries import entries
from fintel.feeds import mapping_loader
from fintel.feeds.synthetic import generate
from fintel.graph.entry_columns import with_graph
from fintel.pipeline import canonical_tables, ingest, load_library
from fintel.rules.compiler import compile_library
from fintel.rules.expression import mention_column
from fintel.rules.model import Library
from fintel.rules.prepared import text_flags
from fintel.store.lake import Lake

#: Payments of one own account a day, measured on a population of 5,000 accounts over a year.
PER_ACCOUNT_DAY = 0.373
PERS = (("account_id",), ("account_id", "counterparty_id"), ("device_id", "counterparty_id"))


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def feed(folder: Path, payments: int, days: int, seed: int) -> Path:
    """The feed's folder; written if it is not there whole."""
    target = folder / f"feed-{payments}-{days}-{seed}"
    if not (target / "manifest.json").is_file():
        accounts = max(round(payments / (PER_ACCOUNT_DAY * days)), 200)
        say(f"making about {payments:,} payments of {accounts:,} accounts over {days} days")
        generate(target, accounts=accounts, days=days, seed=seed)
    return target


def lake(folder: Path, payments: int, days: int, seed: int) -> Path:
    """The lake's folder, with the feed read in; made if it is not there whole."""
    source = feed(folder, payments, days, seed)
    target = folder / f"lake-{payments}-{days}-{seed}"
    done = target.with_suffix(".whole")
    if not done.is_file():
        say("reading it into a lake")
        with Lake.create_or_open(target) as store:
            ingest(store, source, mapping_loader.load("fintel"), Settings(lake=target))
        done.touch()
    return target


def sample_flag(per: tuple[str, ...]) -> str:
    """Name of the column that marks the entries whose measures are compared, for one partitioning."""
    return f"sampled_{PERS.index(per)}"


def with_mentions(rows: pl.LazyFrame, tables: Mapping[str, pl.LazyFrame], library: Library) -> pl.LazyFrame:
    """Entries, with a boolean column for each text column and list that a rule asks about; null where no text is."""
    plan = compile_library(library, base_currency="USD")
    for column, flags in text_flags(tables, plan, library).items():
        known = flags.values.rename({n: mention_column(column, n) for n in flags.values.columns if n != column})
        rows = rows.join(known.lazy(), on=column, how="left", maintain_order="left").with_columns(
            pl.when(pl.col(column).is_not_null()).then(pl.col(name).fill_null(value=False)).alias(name)
            for name in known.columns
            if name != column
        )
    return rows


def entries_file(store: Path, sampled: int) -> Path:
    """Entries of a lake as Parquet: columns of ``entries`` with ``row``, keyword mentions, and sample flags.

    One partition in ``sampled`` is a sample.
    A sampled entry is the only one of its partition at its instant: there, windows that end with
    the instant (SQL, polars) and windows that end with the entry (ours) are the same.
    """
    target = store.with_name(store.name.replace("lake", "entries") + ".parquet")
    if target.is_file():
        return target
    say("writing its entries as Parquet")
    with Lake.open(store) as opened:
        tables = canonical_tables(opened)
        tables["transactions"] = tables["transactions"].with_row_index("row")
        library, _ = load_library(Settings(lake=store))
        plain = {**tables, "transactions": tables["transactions"].drop("row")}
        seen = with_graph(entries(tables, row="row"), plain, compile_library(library, base_currency="USD").columns)
        rows = with_mentions(seen.drop("entry_id"), tables, library)
        for per in PERS:
            chosen = (pl.col(per[0]).hash(seed=7) % sampled == 0) & pl.all_horizontal(
                pl.col(c).is_not_null() for c in per
            )
            instants = rows.filter(chosen).group_by(*per, "booked_at").agg(pl.len(), pl.col("row").first())
            alone = instants.filter(pl.col("len") == 1).select("row", *per).collect(engine="streaming")
            flag = alone.lazy().with_columns(pl.lit(value=True).alias(sample_flag(per)))
            rows = rows.join(flag, on=["row", *per], how="left", maintain_order="left")
        rows = rows.with_columns(pl.col(sample_flag(per)).fill_null(value=False) for per in PERS)
        rows.sink_parquet(target.with_suffix(".part"))
    target.with_suffix(".part").rename(target)
    return target
