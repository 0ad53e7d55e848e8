"""The catalogue: which files, feeds and runs of a lake are visible. A DuckDB file.

It holds no rows of feeds and no keys or indexes, only inserts and deletes inside transactions:
DuckDB writes those to its log and syncs the log on commit, so a killed process leaves either the
old or the new state.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import duckdb
import polars as pl

from fintel.domain.schema import CANONICAL, FEEDS, QUARANTINE, RUN_TABLES, Table, Type
from fintel.errors import StoreError
from fintel.frames import fit
from fintel.store.files import PATH, DataFile, sync

FILE_NAME = "catalogue.duckdb"
#: A reader holds the catalogue for a moment while it opens; a writer waits that long for it.
PATIENCE_SECONDS = 1.0
FORMAT = "fintel lake"
VERSION = "1"
#: Fingerprints of tables that lacked nothing but optional columns: such lakes are read, those columns empty.
#: Made before payments and parties had coordinates, and payments ``ip_country`` and ``relationship``;
#: before alerts and reasons could be suppressed; before alerts had a probability.
EARLIER = ("a3b9dc4e53741636", "276d4b68d9dd6f55", "7798cdf23433b7f2")
#: A catalogue under construction; becomes ``FILE_NAME`` in one step.
MAKING = re.compile(re.escape(FILE_NAME) + r"\.new-[0-9]+(?:\.wal)?")

DUCKDB_TYPES: dict[Type, str] = {
    Type.STRING: "VARCHAR",
    Type.INT: "BIGINT",
    Type.FLOAT: "DOUBLE",
    Type.BOOL: "BOOLEAN",
    Type.MONEY: "DECIMAL(18,5)",
    Type.RATE: "DECIMAL(18,10)",
    Type.TIMESTAMP: "TIMESTAMPTZ",
    Type.DATE: "DATE",
}

#: No extension is fetched or loaded on demand, and no Python variable is visible as a table.
SAFE_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "allow_persistent_secrets": "false",
}
#: The catalogue may have come from a stranger: it opens no file but itself, whatever stands in it.
_CLOSED = {**SAFE_CONFIG, "enable_external_access": "false", "lock_configuration": "true", "threads": 1}


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run's row: ``manifest`` is JSON, ``position`` the order of commits, ``generation`` counts
    how often the run's files were replaced."""

    run_id: str
    as_of: datetime
    finished_at: datetime
    manifest: str
    position: int
    generation: int


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A row of the ``feeds`` table, columns as there."""

    feed_id: str
    target: str
    source: str
    mapping: str
    source_file: str
    sha256: str
    bytes: int
    rows_read: int
    rows_accepted: int
    rows_duplicate: int
    rows_rejected: int
    rows_skipped: int
    read_at: datetime


@dataclass(frozen=True, slots=True)
class State:
    """Everything that is visible, as of one moment."""

    files: tuple[DataFile, ...]
    feeds: tuple[FeedRow, ...]
    runs: tuple[RunRow, ...]

    def feeds_frame(self) -> pl.DataFrame:
        """The ``feeds`` table, in order of commits."""
        rows = [astuple(r) for r in self.feeds]
        return fit(pl.DataFrame(rows, schema=list(FEEDS.names), orient="row"), FEEDS)


def columns_sql(table: Table) -> str:
    """Column names and DuckDB types of a table, as CREATE TABLE wants them."""
    return ", ".join(f'"{c.name}" {DUCKDB_TYPES[c.type]}' for c in table.columns)


def schema_fingerprint() -> str:
    """Changes when a stored table's columns or types change; such a lake must be rebuilt."""
    text = "\n".join(f"{t.name}: {columns_sql(t)}" for t in (*CANONICAL, QUARANTINE, FEEDS, *RUN_TABLES))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Catalogue:
    """An open catalogue. Use ``create``, ``writing`` or ``reading``, not the constructor."""

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self._path = path
        self._connection = connection

    @staticmethod
    def create(folder: Path) -> None:
        """Make an empty catalogue in ``folder``, whole or not at all. A second one is refused by name."""
        making = folder / f"{FILE_NAME}.new-{os.getpid()}"
        making.unlink(missing_ok=True)
        with _connected(making, writing=True) as connection:
            for name, columns in _tables().items():
                connection.execute(f"CREATE TABLE {name} ({', '.join(map(' '.join, columns))})")
            connection.execute(
                "INSERT INTO meta VALUES ('format', ?), ('version', ?), ('schema', ?)",
                [FORMAT, VERSION, schema_fingerprint()],
            )
        sync(making)
        making.rename(folder / FILE_NAME)
        sync(folder)

    @classmethod
    @contextmanager
    def reading(cls, folder: Path) -> Iterator[Catalogue]:
        """Open to look; many processes may at once, none while another writes."""
        with _connected(folder / FILE_NAME, writing=False) as connection:
            yield cls._checked(folder / FILE_NAME, connection)

    @classmethod
    def writing(cls, folder: Path) -> Catalogue:
        """Open to write; no other process may look or write until ``close``."""
        connection = _connect(folder / FILE_NAME, writing=True)
        try:
            catalogue = cls._checked(folder / FILE_NAME, connection)
            if _meta(connection).get("schema") in EARLIER:
                # From now on files have columns that the program which made the lake does not know.
                with catalogue.transaction():
                    connection.execute("DELETE FROM main.meta WHERE key = 'schema'")
                    connection.execute("INSERT INTO main.meta VALUES ('schema', ?)", [schema_fingerprint()])
            return catalogue
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Write the log into the file and let go of it."""
        self._connection.close()

    def state(self) -> State:
        """All rows. Raises StoreError where a path is none of ours (a tampered catalogue)."""
        try:
            files = self._rows("SELECT * FROM main.files ORDER BY path")
            feeds = self._rows("SELECT * FROM main.feeds ORDER BY read_at, feed_id, target")
            runs = self._rows("SELECT * FROM main.runs ORDER BY position")
        except duckdb.Error as error:
            _explain(error, self._path)
        found = tuple(DataFile(*row) for row in files)
        for file in found:
            if file.path is None or not PATH.fullmatch(file.path):
                raise StoreError(f"the catalogue names a file that is not the lake's: {file.path!r}")
        return State(found, tuple(FeedRow(*row) for row in feeds), tuple(RunRow(*row) for row in runs))

    @contextmanager
    def transaction(self) -> Iterator[Catalogue]:
        """All changes inside become visible together when the block ends, or none of them."""
        try:
            self._connection.begin()
            try:
                yield self
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()
            sync(self._path.parent)
        except duckdb.Error as error:
            _explain(error, self._path)

    def add_files(self, files: Iterable[DataFile]) -> None:
        """Make files visible."""
        self._insert("files", [astuple(f) for f in files])

    def add_feed(self, row: FeedRow) -> None:
        """Record a feed's reconciliation."""
        self._insert("feeds", [astuple(row)])

    def add_run(self, row: RunRow) -> None:
        """Record a run, in place of an earlier row of the same id."""
        self._connection.execute("DELETE FROM runs WHERE run_id = ?", [row.run_id])
        self._insert("runs", [astuple(row)])

    def drop_files(self, files: Iterable[DataFile]) -> None:
        """Make files invisible."""
        paths = [f.path for f in files]
        self._connection.execute("DELETE FROM files WHERE path IN (SELECT unnest(?::VARCHAR[]))", [paths])

    def _insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            plain = [[_without_zone(v) for v in row] for row in rows]
            self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", plain)

    def _rows(self, sql: str) -> list[list[Any]]:
        return [[_in_utc(v) for v in row] for row in self._connection.execute(sql).fetchall()]

    @classmethod
    def _checked(cls, path: Path, connection: duckdb.DuckDBPyConnection) -> Catalogue:
        try:
            meta = _meta(connection)
        except duckdb.Error as error:
            _explain(error, path)
        if meta.get("format") != FORMAT:
            raise StoreError("a DuckDB database, but not the catalogue of a lake", location=path)
        if meta.get("version") != VERSION:
            raise StoreError(
                f"lake of version {meta.get('version')}; this program reads version {VERSION}",
                location=path,
                hint="read the feeds again into a new lake, or use the program that wrote it",
            )
        if meta.get("schema") not in (schema_fingerprint(), *EARLIER):
            raise StoreError(
                "the lake's tables have other columns than this program's",
                location=path,
                hint="read the feeds again into a new lake, or use the program that wrote it",
            )
        if _stored(connection) != _tables():
            raise StoreError("the catalogue does not have the lake's tables: it was tampered with", location=path)
        return cls(path, connection)


def _tables() -> dict[str, tuple[tuple[str, str], ...]]:
    """Names and DuckDB types of the columns of the catalogue's own tables.

    Instants are kept as UTC without a zone: taking zoned ones from DuckDB needs pytz.
    """
    types = DUCKDB_TYPES | {Type.TIMESTAMP: "TIMESTAMP"}
    text, count, time = types[Type.STRING], types[Type.INT], types[Type.TIMESTAMP]
    return {
        "meta": (("key", text), ("value", text)),
        "files": (
            ("path", text), ("table_name", text), ("rows", count), ("bytes", count), ("sha256", text),
            ("feed_id", text), ("run_id", text),
        ),
        "feeds": tuple((c.name, types[c.type]) for c in FEEDS.columns),
        "runs": (
            ("run_id", text), ("as_of", time), ("finished_at", time), ("manifest", text),
            ("position", count), ("generation", count),
        ),
    }  # fmt: skip


def _stored(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[tuple[str, str], ...]]:
    """As ``_tables``, of what is there. Views do not count: a view can hold any query.

    The functions are named in full: a macro of the same name in the file would be found first.
    """
    rows = connection.execute(
        "SELECT table_name, column_name, data_type FROM system.main.duckdb_columns() "
        "WHERE schema_name = 'main' AND NOT internal AND table_name IN "
        "(SELECT table_name FROM system.main.duckdb_tables() WHERE schema_name = 'main' AND NOT internal) "
        "ORDER BY column_index"
    ).fetchall()
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for table, column, type in rows:
        found[table] = (*found.get(table, ()), (column, type))
    return {name: found[name] for name in _tables() if name in found}


def _meta(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """What the catalogue says of itself; nothing where it has no table for that."""
    if _stored(connection).get("meta") != _tables()["meta"]:
        return {}
    return dict(connection.execute("SELECT key, value FROM main.meta").fetchall())


def _without_zone(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def _in_utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _connect(path: Path, *, writing: bool) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return duckdb.connect(path, read_only=not writing, config=_CLOSED)
        except duckdb.Error as error:
            if "Conflicting lock" not in str(error) or time.monotonic() > deadline:
                _explain(error, path)
        time.sleep(0.02)


@contextmanager
def _connected(path: Path, *, writing: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = _connect(path, writing=writing)
    try:
        yield connection
    finally:
        connection.close()


def _explain(error: duckdb.Error, path: Path) -> NoReturn:
    """Say in the lake's words what DuckDB found."""
    text = str(error)
    if "Conflicting lock" in text:
        holder = re.search(r"\(PID (\d+)\)", text)
        who = f"process {holder[1]}" if holder else "another process"
        raise StoreError(f"the lake is held by {who}", location=path, hint="wait until it ends, or end it") from error
    if "different configuration" in text:
        raise StoreError("the lake is open already in this process", location=path, hint="close it first") from error
    if "not a valid DuckDB database" in text:
        raise StoreError(
            "not a catalogue: another kind of file, or a damaged one",
            location=path,
            hint="move it away and read the feeds again into a new lake",
        ) from error
    if "version number" in text:
        raise StoreError(
            f"the catalogue was written by another version of DuckDB: {text.splitlines()[0]}", location=path
        ) from error
    raise StoreError(f"the catalogue cannot be used: {text.splitlines()[0]}", location=path) from error
