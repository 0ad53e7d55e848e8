"""Streams of frames on their way into the lake: checked, cut into blocks, de-duplicated, written."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from fintel.domain.feed import Commit, FeedInfo
from fintel.domain.schema import QUARANTINE, TRANSACTIONS, Table
from fintel.errors import StoreError
from fintel.frames import polars_schema
from fintel.store.files import BLOCK_ROWS, Cutter, DataFile, land
from fintel.store.keys import KnownKeys

#: Conformed rows, quarantine rows, rows read, rows skipped.
Batch = tuple[pl.DataFrame, pl.DataFrame, int, int]


def require(rows: pl.DataFrame | pl.LazyFrame, table: Table) -> None:
    """StoreError unless ``rows`` has the table's columns and types, in order."""
    found, wanted = rows.collect_schema(), polars_schema(table)
    if found != wanted:
        names = sorted(n for n in {*found, *wanted} if found.get(n) != wanted.get(n))
        what = f"columns {', '.join(names)}" if names else "order of columns"
        raise StoreError(f"rows for {table.name} do not have its shape: {what}")


class BlockWriter:
    """Writes a stream of rows of one table as files ``<stem>-<part>.parquet``, each in natural order.

    Payments are ordered by time, then id; other tables by their key. With ``keys``, rows whose
    key is known are left out and counted in ``duplicates``. ``paths`` names every file that may
    exist, also a half written one; ``landed`` the whole ones.
    """

    def __init__(
        self,
        root: Path,
        table: Table,
        stem: str,
        *,
        feed_id: str | None = None,
        keys: KnownKeys | None = None,
    ) -> None:
        self.landed: list[DataFile] = []
        self.paths: list[str] = []
        self.duplicates = 0
        self._root = root
        self._table = table
        self._stem = stem
        self._feed_id = feed_id
        self._keys = keys
        self._cutter = Cutter(BLOCK_ROWS)
        self._order = ("booked_at", "transaction_id") if table is TRANSACTIONS else table.key

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return sum(f.rows for f in self.landed)

    def push(self, frame: pl.DataFrame) -> None:
        """Take rows; write the blocks that are full."""
        for block in self._cutter.push(frame):
            self._write(block)

    def finish(self) -> None:
        """Write what is left."""
        for block in self._cutter.rest():
            self._write(block)

    def _write(self, block: pl.DataFrame) -> None:
        fresh = self._keys.fresh(block) if self._keys else block
        self.duplicates += block.height - fresh.height
        if fresh.is_empty():
            return
        path = f"data/{self._table.name}/{self._stem}-{len(self.paths) + 1:05d}.parquet"
        self.paths.append(path)
        rows = fresh.sort(self._order, maintain_order=True)
        self.landed.append(land(self._root, path, rows, self._table.name, feed_id=self._feed_id))
        if self._keys:
            self._keys.remember(rows, self._root / path)


class Intake:
    """One feed on its way into one table: accepted rows, quarantine rows, and the reckoning of both."""

    def __init__(self, root: Path, table: Table, feed: FeedInfo, visible: tuple[Path, ...]) -> None:
        self._table = table
        self._feed = feed
        keys = KnownKeys(table.key, visible)
        self._accepted = BlockWriter(root, table, feed.feed_id, feed_id=feed.feed_id, keys=keys)
        self._refused = BlockWriter(root, QUARANTINE, f"{feed.feed_id}-{table.name}", feed_id=feed.feed_id)
        self._read = self._rejected = self._skipped = 0

    @property
    def paths(self) -> list[str]:
        """Files that may exist by now."""
        return [*self._accepted.paths, *self._refused.paths]

    @property
    def landed(self) -> list[DataFile]:
        """Files that are whole."""
        return [*self._accepted.landed, *self._refused.landed]

    def take(self, batch: Batch) -> None:
        """Check and take a batch; write what makes a full block."""
        rows, refused, read, skipped = batch
        require(rows, self._table)
        require(refused, QUARANTINE)
        # One row may be refused for several reasons; it is still one row of the file.
        rejected = refused.select(pl.struct("source_file", "source_row").n_unique()).item()
        if read != rows.height + rejected + skipped:
            raise StoreError(
                f"feed {self._feed.feed_id} does not add up: {read} rows read, but {rows.height} conformed, "
                f"{rejected} rejected and {skipped} skipped"
            )
        for frame in (rows, refused):
            if not frame.filter(pl.col("feed_id").ne_missing(self._feed.feed_id)).is_empty():
                raise StoreError(f"rows of another feed among those of {self._feed.feed_id}")
        self._read += read
        self._rejected += rejected
        self._skipped += skipped
        self._accepted.push(rows)
        self._refused.push(refused)

    def finish(self) -> Commit:
        """Write what is left and add up."""
        self._accepted.finish()
        self._refused.finish()
        return Commit(
            self._feed.feed_id,
            self._table.name,
            read=self._read,
            accepted=self._accepted.rows,
            duplicates=self._accepted.duplicates,
            rejected=self._rejected,
            skipped=self._skipped,
        )
