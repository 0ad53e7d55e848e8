"""The lake: canonical rows and results of runs in Parquet, made visible by a catalogue.

    with Lake.create_or_open(path) as lake:
        commit = lake.append(TRANSACTIONS, feed, batches)
    with Lake.open(path) as lake:
        lake.scan("transactions").filter(...)

Every change is: write files under names that nothing refers to, sync them, then name them in one
transaction of the catalogue. A process killed anywhere leaves the old state or the new; what it
leaves lying about goes when the lake is next opened for writing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl

from fintel.domain.feed import Commit, FeedInfo
from fintel.domain.schema import CANONICAL, FEEDS, QUARANTINE, RUN_TABLES, RUNS, Table
from fintel.errors import StoreError, did_you_mean
from fintel.frames import empty, fit, polars_schema
from fintel.store.blocks import Batch, BlockWriter, Intake, require
from fintel.store.catalogue import FILE_NAME, MAKING, Catalogue, FeedRow, RunRow, State
from fintel.store.files import IDENTIFIER, RUN_ID, DataFile, discard, land, require_unchanged, sweep, sync
from fintel.store.locks import READERS, WRITER, Lock

PRIVATE = 0o700  # folders of a lake are their owner's alone: it holds personal data
#: Rows of a run's table: a frame, or Parquet files that are joined in their order.
Rows = pl.DataFrame | pl.LazyFrame | Sequence[Path]

_CANONICAL = {t.name: t for t in CANONICAL}
_STORED = {t.name: t for t in (*CANONICAL, QUARANTINE, FEEDS, *RUN_TABLES, RUNS)}
_RUN_TABLES = {t.name: t for t in RUN_TABLES}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Run:
    """A committed run. ``finished_at`` is the wall clock's; nothing is computed from it."""

    run_id: str
    as_of: datetime
    finished_at: datetime
    manifest: Mapping[str, Any]


class Lake:
    """A lake that is open. Not for several threads at once.

    A reader sees the state of the moment it opened, for as long as it is open, and keeps nobody
    from writing. A writer keeps everybody else out of the catalogue.
    """

    def __init__(
        self,
        path: Path,
        state: State,
        lock: Lock,
        catalogue: Catalogue | None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.path = path
        self._state = state
        self._lock = lock
        self._catalogue = catalogue
        self._clock = clock
        self._sound: set[DataFile] = set()

    @classmethod
    def create_or_open(cls, path: Path, *, clock: Callable[[], datetime] = _now) -> Lake:
        """Open a lake for writing; make it where there is none.

        Raises StoreError where the folder holds something else, another process or an open ``Lake``
        holds it, or its catalogue is damaged, foreign or of another version.
        """
        path = path.resolve()
        try:
            path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
            lock = Lock.exclusive(path / WRITER)
        except OSError as error:
            raise StoreError(f"cannot write to the lake: {error.strerror}", location=path) from error
        if lock is None:
            # DuckDB's message says which process it is, if it is another one.
            with Catalogue.reading(path):
                pass
            raise StoreError("the lake is being written already", location=path, hint="close it first")
        try:
            if not (path / FILE_NAME).exists():
                _make(path)
            catalogue = Catalogue.writing(path)
            try:
                state = catalogue.state()
                _check(path, state)
                lake = cls(path, state, lock, catalogue, clock)
                lake._sweep()
            except BaseException:
                catalogue.close()
                raise
        except BaseException:
            lock.release()
            raise
        return lake

    @classmethod
    def open(cls, path: Path) -> Lake:
        """Open a lake for reading. Raises StoreError as ``create_or_open``, and where there is none."""
        path = path.resolve()
        if not (path / FILE_NAME).is_file():
            raise StoreError(f"no lake at {path}", hint="fintel feed add FILE makes one")
        lock = Lock.shared(path / READERS)
        try:
            with Catalogue.reading(path) as catalogue:
                state = catalogue.state()
            _check(path, state)
        except BaseException:
            lock.release()
            raise
        return cls(path, state, lock, None)

    def close(self) -> None:
        """Let go of the lake."""
        if self._catalogue is not None:
            self._catalogue.close()
            self._catalogue = None
        self._lock.release()

    def __enter__(self) -> Lake:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Reading

    def files(self, table: str) -> tuple[Path, ...]:
        """Parquet files of a table that are visible, in order of their names."""
        return tuple(self.path / f.path for f in self._files(table))

    def count(self, table: str) -> int:
        """Visible rows of a table."""
        if table == FEEDS.name:
            return len(self._state.feeds)
        if table == RUNS.name:
            return len(self._state.runs)
        return sum(f.rows for f in self._files(table))

    def scan(self, table: str) -> pl.LazyFrame:
        """Visible rows of a canonical, bookkeeping or run table (over all runs), typed as the schema says."""
        if table == FEEDS.name:
            return self._state.feeds_frame().lazy()
        if table == RUNS.name:
            columns = [(r.run_id, r.as_of, r.finished_at, r.manifest) for r in self._state.runs]
            return fit(pl.DataFrame(columns, schema=list(RUNS.names), orient="row"), RUNS).lazy()
        return self._scan(self._files(table), _STORED[table])

    def frames(self, table: str) -> Iterator[pl.DataFrame]:
        """Visible rows of a table, one file at a time: bounded memory."""
        for path in self.files(table):
            yield fit(pl.read_parquet(path, glob=False, hive_partitioning=False), _STORED[table])

    def feed(self, feed_id: str, target: str) -> FeedRow | None:
        """What a feed added to a table, if it was read."""
        found = (r for r in self._state.feeds if (r.feed_id, r.target) == (feed_id, target))
        return next(found, None)

    def runs(self) -> tuple[Run, ...]:
        """All runs, the latest committed last."""
        return tuple(Run(r.run_id, r.as_of, r.finished_at, json.loads(r.manifest)) for r in self._state.runs)

    def latest_run(self) -> Run | None:
        """The run committed (or confirmed by an equal one) last."""
        runs = self.runs()
        return runs[-1] if runs else None

    def run_table(self, run_id: str, name: str) -> pl.LazyFrame:
        """A table of one run; no rows where the run wrote none.

        Raises StoreError for an unknown run, and where a file is not the one that the run wrote (its
        SHA-256 is checked when it is first asked for).
        """
        table = _known(name, _RUN_TABLES)
        known = [r.run_id for r in self._state.runs]
        if run_id not in known:
            raise StoreError(f"no run '{run_id}'", hint=did_you_mean(run_id, known))
        files = [f for f in self._files(name) if f.run_id == run_id]
        for file in files:
            if file not in self._sound:
                require_unchanged(self.path, file)
                self._sound.add(file)
        return self._scan(files, table)

    # Writing

    def append(self, table: Table, feed: FeedInfo, batches: Iterable[Batch]) -> Commit:
        """Add a feed's rows to a canonical table, all of them or none.

        A feed that filled this table before adds nothing and its batches are not touched. Of rows
        with the same key the first wins, across feeds and inside one; the others count as
        duplicates, whatever their other columns say. Reading and waiting for memory happen one
        block of rows at a time.

        Raises StoreError where a batch does not have the table's columns, belongs to another feed,
        or its counts do not add up to the rows read.
        """
        catalogue = self._writable()
        _known(table.name, _CANONICAL)
        if not IDENTIFIER.fullmatch(feed.feed_id):
            raise StoreError(f"not a feed id: {feed.feed_id!r}", hint="letters, digits and '_' only")
        if self.feed(feed.feed_id, table.name):
            return Commit(feed.feed_id, table.name, repeated=True)
        intake = Intake(self.path, table, feed, self.files(table.name))
        try:
            for batch in batches:
                intake.take(batch)
            commit = intake.finish()
        except BaseException:
            discard(self.path, intake.paths)
            raise
        row = FeedRow(
            feed.feed_id, table.name, feed.source, feed.mapping, feed.source_file, feed.sha256, feed.bytes,
            commit.read, commit.accepted, commit.duplicates, commit.rejected, commit.skipped, self._clock(),
        )  # fmt: skip
        with catalogue.transaction():
            catalogue.add_files(intake.landed)
            catalogue.add_feed(row)
        self._state = catalogue.state()
        return commit

    def replace(self, table: str, frames: Iterable[pl.DataFrame]) -> None:
        """Put rows in the place of all rows of a canonical table, in one step.

        For columns that are filled later (``amount_base`` once rates are there): the same rows by
        key and number, so that every feed's counts still hold; another number is a StoreError.
        ``frames`` may read the lake while it is being replaced.
        """
        catalogue = self._writable()
        schema = _known(table, _CANONICAL)
        old = self._files(table)
        turn = 1 + max((_turn(f.path) for f in old), default=0)
        writer = BlockWriter(self.path, schema, f"replaced-{turn:06d}")
        try:
            for frame in frames:
                require(frame, schema)
                writer.push(frame)
            writer.finish()
            if writer.rows != self.count(table):
                raise StoreError(f"replacing {table} must keep its {self.count(table)} rows")
        except BaseException:
            discard(self.path, writer.paths)
            raise
        with catalogue.transaction():
            catalogue.drop_files(old)
            catalogue.add_files(writer.landed)
        self._state = catalogue.state()
        self._sweep()

    def commit_run(self, run_id: str, as_of: datetime, manifest: Mapping[str, Any], tables: Mapping[str, Rows]) -> Run:
        """Write a run's tables and make the run visible, in one step.

        The same run again with equal bytes and manifest changes nothing but which run is the
        latest; with others it takes the place of the first. ``tables``: frames, or lists of
        Parquet files that are joined in their order.
        """
        catalogue = self._writable()
        if not RUN_ID.fullmatch(run_id):
            raise StoreError(f"not a run id: {run_id!r}", hint="letters, digits, '_' and '-' only")
        if as_of.tzinfo is None:
            raise StoreError("as_of needs a time zone")
        text = json.dumps(manifest, sort_keys=True, ensure_ascii=False, allow_nan=False)
        earlier = next((r for r in self._state.runs if r.run_id == run_id), None)
        generation = earlier.generation + 1 if earlier else 0
        folder = f"runs/{run_id}.{generation}" if generation else f"runs/{run_id}"
        old = [f for f in self._state.files if f.run_id == run_id]
        landed: list[DataFile] = []
        paths = [f"{folder}/{name}.parquet" for name in sorted(tables)]
        try:
            for name, path in zip(sorted(tables), paths, strict=True):
                schema = _known(name, _RUN_TABLES)
                rows = _lazy(tables[name])
                require(rows, schema)
                landed.append(land(self.path, path, rows, name, run_id=run_id))
                _require_run(self.path / path, run_id)
        except BaseException:
            discard(self.path, paths)
            raise
        position = 1 + max((r.position for r in self._state.runs), default=0)
        same = {(f.table, f.sha256) for f in old} == {(f.table, f.sha256) for f in landed}
        if earlier and same and (earlier.manifest, earlier.as_of) == (text, as_of):
            discard(self.path, paths)
            row = replace(earlier, position=position)
            with catalogue.transaction():
                catalogue.add_run(row)
        else:
            row = RunRow(run_id, as_of, self._clock(), text, position, generation)
            with catalogue.transaction():
                catalogue.drop_files(old)
                catalogue.add_files(landed)
                catalogue.add_run(row)
        self._state = catalogue.state()
        if earlier:
            self._sweep()
        return Run(run_id, row.as_of, row.finished_at, json.loads(text))

    # Own affairs

    def _writable(self) -> Catalogue:
        if self._catalogue is None:
            raise StoreError("the lake is open for reading only", location=self.path)
        return self._catalogue

    def _files(self, table: str) -> list[DataFile]:
        _known(table, _STORED)
        return [f for f in self._state.files if f.table == table]

    def _scan(self, files: Sequence[DataFile], table: Table) -> pl.LazyFrame:
        if not files:
            return empty(table).lazy()
        paths, shape = [self.path / f.path for f in files], polars_schema(table)  # old files may lack columns
        return pl.scan_parquet(paths, schema=shape, missing_columns="insert", glob=False, hive_partitioning=False)

    def _sweep(self) -> None:
        """Remove files that no row names, unless a reader may still look at them."""
        readers = Lock.exclusive(self.path / READERS)
        if readers is not None:
            with readers:
                sweep(self.path, {f.path for f in self._state.files})


def _make(path: Path) -> None:
    """Make an empty lake in an empty folder (or one where this was tried and killed)."""
    for entry in path.iterdir():
        if MAKING.fullmatch(entry.name):
            entry.unlink()
        elif entry.name in ("data", "runs") and entry.is_dir() and not any(entry.iterdir()):
            continue
        elif entry.name not in (WRITER, READERS):
            raise StoreError(
                f"the folder is not a lake and not empty: it has '{entry.name}'",
                location=path,
                hint="name a new folder; a lake without its catalogue must be read again from its feeds",
            )
    (path / "data").mkdir(mode=PRIVATE, exist_ok=True)
    (path / "runs").mkdir(mode=PRIVATE, exist_ok=True)
    Catalogue.create(path)
    sync(path.parent)


def _check(path: Path, state: State) -> None:
    """Every visible file is there, at its size."""
    for file in state.files:
        try:
            size = (path / file.path).stat().st_size
        except FileNotFoundError:
            size = None
        if size != file.bytes:
            what = "is missing" if size is None else f"has {size} bytes instead of {file.bytes}"
            raise StoreError(
                f"the lake is damaged: {file.path} {what}",
                location=path,
                hint="bring the file back, or read the feeds again into a new lake",
            )


def _known(name: str, tables: Mapping[str, Table]) -> Table:
    if name not in tables:
        raise StoreError(f"no table '{name}' here", hint=did_you_mean(name, tables))
    return tables[name]


def _turn(path: str) -> int:
    """How often the table had been replaced when ``path`` was written; 0 for a feed's file."""
    stem = path.rsplit("/", 1)[1]
    return int(stem.split("-")[1]) if stem.startswith("replaced-") else 0


def _lazy(rows: Rows) -> pl.LazyFrame:
    if isinstance(rows, pl.DataFrame | pl.LazyFrame):
        return rows.lazy()
    return pl.scan_parquet(list(rows), glob=False, hive_partitioning=False)


def _require_run(path: Path, run_id: str) -> None:
    strangers = pl.scan_parquet(path, glob=False, hive_partitioning=False).filter(pl.col("run_id").ne_missing(run_id))
    if not strangers.limit(1).collect().is_empty():
        raise StoreError(f"rows of another run among those of {run_id}")
