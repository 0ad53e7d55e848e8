"""However rows come in, in whatever feeds, order, batches and repeats: the table is the same."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from fintel.domain.feed import FeedInfo
from fintel.domain.schema import PROVENANCE, QUARANTINE, TRANSACTIONS
from fintel.frames import empty, fit
from fintel.store import blocks
from fintel.store.lake import Lake

WHERE = [c.name for c in PROVENANCE]


def payments(feed_id: str, ids: list[int]) -> pl.DataFrame:
    frame = pl.DataFrame({"n": ids}, schema={"n": pl.Int64}).with_row_index("source_row", offset=2)
    return fit(
        frame.select(
            "source_row",
            transaction_id=pl.format("bank:{}", "n"),
            booked_at=pl.lit(datetime(2024, 1, 1, tzinfo=UTC)) + pl.duration(minutes=pl.col("n") % 3),
            amount=pl.col("n") + 1,
            currency=pl.lit("USD"),
            status=pl.lit("booked"),
            source=pl.lit("bank"),
            feed_id=pl.lit(feed_id),
            source_file=pl.lit("f"),
        ),
        TRANSACTIONS,
    )


feeds = st.lists(st.lists(st.integers(0, 30), max_size=25), max_size=6)


@settings(max_examples=40, deadline=None)
@given(
    feeds=feeds,
    repeats=st.lists(st.integers(0, 5), max_size=4),
    block=st.integers(1, 12),
    batch=st.integers(1, 12),
    reopen=st.booleans(),
)
def test_any_partition_gives_the_same_table(feeds, repeats, block, batch, reopen):
    order = [*range(len(feeds)), *(r for r in repeats if r < len(feeds))]
    seen: set[int] = set()
    done: set[int] = set()
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(blocks, "BLOCK_ROWS", block):
        path = Path(folder) / "lake"
        lake = Lake.create_or_open(path)
        for k in order:
            rows = payments(f"f{k}", feeds[k])
            batches = [(part, empty(QUARANTINE), part.height, 0) for part in rows.iter_slices(batch)]
            info = FeedInfo(f"f{k}", "bank", "m", "f", "0" * 64, 1)
            commit = lake.append(TRANSACTIONS, info, batches if feeds[k] else [])
            assert commit.repeated == (k in done)
            if not commit.repeated:
                assert commit.read == len(feeds[k])
                assert commit.accepted == len(set(feeds[k]) - seen)
                assert commit.duplicates == commit.read - commit.accepted
            seen |= set(feeds[k])
            done.add(k)
            if reopen:
                lake.close()
                lake = Lake.create_or_open(path)
        with lake:
            assert lake.count("transactions") == len(seen)
            rows = lake.scan("transactions").drop(WHERE).collect().sort("transaction_id")
            wanted = payments("x", sorted(seen)).drop(WHERE).sort("transaction_id")
            assert rows.equals(wanted)
            for frame in lake.frames("transactions"):
                assert frame.equals(frame.sort("booked_at", "transaction_id"))
            feeds_frame = lake.scan("feeds").collect()
            assert feeds_frame["rows_accepted"].sum() == len(seen)
