"""SQL over a lake, for people: every visible table as a view in an in-memory DuckDB, reading only.

What keeps a query from anything else (each tried in the tests):

* Files: only the lake's visible Parquet files may be opened (``allowed_paths``); no other file,
  network, extension, or setting, and the settings are locked.
* Statements: one SELECT (or EXPLAIN of one). It runs as a subquery, where DuckDB refuses every
  statement that writes, COPY inside WITH among them.
* Functions: the plan may use known table functions only; ``json_execute_serialized_sql`` would
  smuggle a COPY past the rule above.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import duckdb
import polars as pl

from fintel.domain.schema import CANONICAL, FEEDS, QUARANTINE, RUN_TABLES, RUNS, Table
from fintel.errors import StoreError
from fintel.frames import TIMESTAMP
from fintel.store.catalogue import DUCKDB_TYPES, SAFE_CONFIG, columns_sql
from fintel.store.files import SPILL
from fintel.store.lake import Lake

_FUNCTIONS = (
    "READ_PARQUET", "SEQ_SCAN", "RANGE", "GENERATE_SERIES", "REPEAT", "REPEAT_ROW", "UNNEST",
    "JSON_EACH", "JSON_TREE", "PRAGMA_TABLE_INFO", "PRAGMA_SHOW", "PRAGMA_VERSION", "SUMMARY",
)  # fmt: skip
_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?", re.IGNORECASE)
#: Rows that are Python objects at one time, on their way into a frame. (DuckDB 2.0 could hand over
#: Arrow data, but then prints pages of warnings about leaks when Python ends.)
FETCH_ROWS = 100_000
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_ZONED = "TIMESTAMP WITH TIME ZONE"
#: DuckDB's types in polars' words; a result of any other type is handed out as text.
_TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "BOOLEAN": pl.Boolean,
    "TINYINT": pl.Int8, "SMALLINT": pl.Int16, "INTEGER": pl.Int32, "BIGINT": pl.Int64,
    "UTINYINT": pl.UInt8, "USMALLINT": pl.UInt16, "UINTEGER": pl.UInt32, "UBIGINT": pl.UInt64,
    "HUGEINT": pl.Decimal(38, 0), "FLOAT": pl.Float32, "DOUBLE": pl.Float64,
    "DATE": pl.Date, "TIME": pl.Time, "TIMESTAMP": pl.Datetime("us"), _ZONED: TIMESTAMP,
    "BLOB": pl.Binary,
}  # fmt: skip


class Session:
    """A locked-down DuckDB over a lake. It sees the state of the moment it was opened."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, lake: Lake | None) -> None:
        self._connection = connection
        self._lake = lake

    def query(self, sql: str, parameters: Sequence[Any] = (), *, limit: int | None = None) -> pl.DataFrame:
        """The rows of one SELECT, at most ``limit`` of them.

        SHOW, DESCRIBE, SUMMARIZE, VALUES, FROM and EXPLAIN work too; ``?`` takes ``parameters``.
        Columns of the same name get a number; types that polars has no word for come as text.
        Raises StoreError with DuckDB's own message for a wrong query, and for one that does more
        than read.
        """
        try:
            return self._query(sql, list(parameters), limit)
        except duckdb.Error as error:
            _explain(error)

    def tables(self) -> tuple[str, ...]:
        """Names that a query can read from."""
        return tuple(self.query("SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1")["view_name"])

    def close(self) -> None:
        """Let go of the lake."""
        self._connection.close()
        if self._lake is not None:
            self._lake.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _query(self, sql: str, parameters: list[Any], limit: int | None) -> pl.DataFrame:
        statement, kind = self._single(sql)
        explain = _EXPLAIN.match(statement) if kind is duckdb.StatementType.EXPLAIN else None
        if explain:
            statement, kind = self._single(statement[explain.end() :])
        if kind is not duckdb.StatementType.SELECT:
            raise StoreError(
                f"only queries are run here, not {str(kind).rsplit('.', 1)[-1]}",
                hint="one SELECT; the lake changes by feeds and runs only",
            )
        # As a subquery: there DuckDB refuses statements that write. The newline ends a comment.
        wrapped = f"SELECT * FROM ({statement}\n) AS result"
        self._check_functions(wrapped, parameters)
        if explain:
            how = "EXPLAIN ANALYZE" if explain[1] else "EXPLAIN"
            plan = self._connection.execute(f"{how} {wrapped}", parameters).fetchall()
            return pl.DataFrame(plan, schema=["kind", "plan"], orient="row")
        relation = self._connection.sql(wrapped, params=parameters)
        names, types = relation.columns, [str(t) for t in relation.types]
        marks = [f"c{n}" for n in range(len(names))]
        columns = ", ".join(_plain(mark, type) for mark, type in zip(marks, types, strict=True))
        at_most = "" if limit is None else f" LIMIT {int(limit)}"
        final = f"SELECT {columns} FROM ({statement}\n) AS result({', '.join(marks)}){at_most}"
        rows = self._connection.execute(final, parameters)
        schema = {mark: _polars_type(type) for mark, type in zip(marks, types, strict=True)}
        frames = [pl.DataFrame(schema=schema)]
        while part := rows.fetchmany(FETCH_ROWS):
            frames.append(pl.DataFrame(part, schema=schema, orient="row"))
        return pl.concat(frames).rename(dict(zip(marks, _apart(names), strict=True)))

    def _single(self, sql: str) -> tuple[str, duckdb.StatementType]:
        statements = self._connection.extract_statements(sql)
        if len(statements) != 1:
            raise StoreError(f"one query at a time, not {len(statements)}")
        text = sql.encode()
        ends = [at for at, _ in duckdb.tokenize(sql) if text[at : at + 1] == b";"]
        return text[: ends[0]].decode() if ends else sql, statements[0].type

    def _check_functions(self, sql: str, parameters: list[Any]) -> None:
        plan = self._connection.execute(f"EXPLAIN (FORMAT json) {sql}", parameters).fetchall()[0][1]
        for name in _functions(json.loads(plan)):
            if name not in _FUNCTIONS and not name.startswith("DUCKDB_"):
                raise StoreError(f"table function {name.lower()} is not allowed here")


def connect(
    lake: Path | Lake,
    *,
    views: Mapping[str, str] | None = None,
    frames: Mapping[str, pl.DataFrame] | None = None,
    memory_limit: str = "2GB",
    threads: int | None = None,
) -> Session:
    """Open a lake for SQL.

    Parameters
    ----------
    lake: folder of a lake, or one that is open (it must stay open as long as the session).
    views: further views, name to SELECT, made in order over those of the lake.
    frames: further tables by name, held in memory.
    memory_limit: DuckDB's memory; what does not fit goes to a folder inside the lake.
    threads: of DuckDB, all cores if None.

    Raises
    ------
    StoreError: no lake there, a writer holds it, or a view's SQL is wrong.
    """
    own = Lake.open(lake) if isinstance(lake, Path) else None
    source = own or lake
    assert isinstance(source, Lake)
    try:
        connection = _opened(source, dict(views or {}), frames or {}, memory_limit, threads)
    except BaseException:
        if own:
            own.close()
        raise
    return Session(connection, own)


def _opened(
    lake: Lake,
    views: Mapping[str, str],
    frames: Mapping[str, pl.DataFrame],
    memory_limit: str,
    threads: int | None,
) -> duckdb.DuckDBPyConnection:
    config = {**SAFE_CONFIG, "memory_limit": memory_limit, "temp_directory": str(lake.path / SPILL)}
    if threads is not None:
        config["threads"] = threads
    try:
        connection = duckdb.connect(":memory:", config=config)
    except duckdb.Error as error:
        _explain(error)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        allowed: list[str] = []
        for table in (*CANONICAL, QUARANTINE, *RUN_TABLES):
            allowed += _view_files(connection, table, lake.files(table.name))
        for table in (FEEDS, RUNS):
            _view_rows(connection, table, lake.scan(table.name).collect())
        for name, frame in frames.items():
            connection.register("given", frame)
            connection.execute(f"CREATE TABLE {_name(name)} AS SELECT * FROM given")
            connection.unregister("given")
        for name, sql in views.items():
            connection.execute(f"CREATE VIEW {_name(name)} AS {sql}")
        connection.execute(f"SET allowed_paths = [{', '.join(map(_text, allowed))}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except duckdb.Error as error:
        connection.close()
        _explain(error)
    return connection


def _view_files(connection: duckdb.DuckDBPyConnection, table: Table, files: tuple[Path, ...]) -> Iterator[str]:
    """Make a view of Parquet files; give the spellings under which DuckDB must be let at them."""
    if files:
        patterns = [_literal_pattern(path) for path in files]
        found = (pl.scan_parquet(path, glob=False, hive_partitioning=False).collect_schema() for path in files)
        lacking = any(len(columns) < len(table.columns) for columns in found)  # as an earlier program wrote them
        read = f"[{', '.join(map(_text, patterns))}], hive_partitioning=false, union_by_name={str(lacking).lower()}"
        body = f"{_nothing(table)} UNION ALL BY NAME " * lacking + f"SELECT * FROM read_parquet({read})"
    else:
        body = _nothing(table)
        patterns = []
    connection.execute(f"CREATE VIEW {_name(table.name)} AS {body}")
    return iter({*map(str, files), *patterns})


def _nothing(table: Table) -> str:
    columns = (f"NULL::{DUCKDB_TYPES[c.type]} AS {_name(c.name)}" for c in table.columns)
    return f"SELECT {', '.join(columns)} WHERE false"


def _view_rows(connection: duckdb.DuckDBPyConnection, table: Table, rows: pl.DataFrame) -> None:
    """Make a small table of the catalogue's rows, column by column: no pyarrow, no loop over cells."""
    kept = _name(f"{table.name}_rows")
    connection.execute(f"CREATE TABLE {kept} ({columns_sql(table)})")
    lists = [rows[name].to_list() for name in table.names]
    if rows.height:
        marks = ", ".join("unnest(?)" for _ in lists)
        connection.execute(f"INSERT INTO {kept} SELECT {marks}", lists)
    connection.execute(f"CREATE VIEW {_name(table.name)} AS SELECT * FROM {kept}")


def _literal_pattern(path: Path) -> str:
    """The path as a pattern of DuckDB's that matches just that path."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _polars_type(type: str) -> pl.DataType | type[pl.DataType]:
    decimal = _DECIMAL.fullmatch(type)
    return pl.Decimal(int(decimal[1]), int(decimal[2])) if decimal else _TYPES.get(type, pl.String)


def _plain(column: str, type: str) -> str:
    """The column as something that Python takes without further packages."""
    if type == _ZONED:
        return f"CAST({column} AS TIMESTAMP)"
    return column if type in _TYPES or _DECIMAL.fullmatch(type) else f"CAST({column} AS VARCHAR)"


def _apart(names: Sequence[str]) -> list[str]:
    """The names, those that repeat with a number behind."""
    result: list[str] = []
    for name in names:
        spellings = (name, *(f"{name}_{k}" for k in range(1, len(names) + 1)))
        result.append(next(n for n in spellings if n not in result))
    return result


def _functions(nodes: list[dict[str, Any]]) -> Iterator[str]:
    for node in nodes:
        function = node.get("extra_info", {}).get("Function")
        if isinstance(function, str):
            yield function.upper()
        yield from _functions(node.get("children", []))


def _explain(error: duckdb.Error) -> NoReturn:
    raise StoreError(f"the query cannot be run: {error}") from error
