"""The engine and the SQL restatement of a rule side by side, at every entry that the anchor selects."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import duckdb
import numpy as np
import polars as pl

from fintel.engine.local import sweep
from fintel.engine.partition import Slice, partition
from fintel.features.entries import entries
from fintel.graph.entry_columns import GRAPH_COLUMNS, with_graph
from fintel.rules import keywords
from fintel.rules.across import Across
from fintel.rules.expression import mention_column
from fintel.rules.list_types import KeywordList, PatternList
from fintel.rules.model import Library, Rule
from fintel.rules.patterns import match_patterns
from fintel.rules.prepared import blindness, prepare
from fintel.rules.restated_rule import Restatement
from fintel.rules.restated_windows import windows_ctes

Tables = Mapping[str, pl.DataFrame]
#: Relative, and absolute below 1.
TOLERANCE = 1e-9
_TEXT = ("account_id", "entry_id")


def engine_anchors(tables: Tables, rule: Rule, library: Library, base: str) -> tuple[pl.DataFrame, bool]:
    """``entry_id``, each measure and ``hit`` at the anchors; and whether the rule can tell anything."""
    prepared = prepare(tables, replace(library, rules=(rule,)), base_currency=base)
    assert not prepared.failures
    data, (compiled,) = prepared.data, prepared.plan.rules
    across = Across(data, 1)
    across.prepare(compiled)
    ids = tables["transactions"]["transaction_id"]

    def evaluate(piece: Slice) -> pl.DataFrame:
        entry = piece.rows[piece.anchors(compiled.anchor)]
        side = pl.Series(np.where(data.side[entry] == 1, "/out", "/in"), dtype=pl.String)
        values = compiled.observe(piece, across.given(piece, compiled))
        hit = values.select(compiled.when.fill_null(value=False).alias("hit"), entry=0)["hit"]
        return values.with_columns(hit, entry_id=ids[data.row[entry]] + side)

    schema = dict.fromkeys(compiled.measured, pl.Float64) | {"hit": pl.Boolean, "entry_id": pl.String}
    pieces = partition(data, rule.per, sorted(set(compiled.masks)))
    found = [pl.DataFrame(schema=schema), *sweep(pieces, evaluate, threads=1)]
    return pl.concat([f.cast(schema) for f in found]), blindness(compiled, data) is None  # type: ignore[arg-type]


class Oracle:
    """DuckDB with ``entries`` and ``entry_graph`` of some tables, and the columns that a rule needs: of mentions, and of
    the graph, which come from the function that the engine takes them from."""

    def __init__(
        self, tables: Tables, library: Library, mentions: Sequence[tuple[str, str]], columns: Collection[str] = ()
    ) -> None:
        lazy = {name: table.lazy() for name, table in tables.items()}
        numbered = {**lazy, "transactions": lazy["transactions"].with_row_index("row")}
        graph = [name for name in GRAPH_COLUMNS if name in columns]
        whole = with_graph(entries(numbered, row="row"), lazy, graph).collect()
        seen = whole.drop("row", *graph)
        for column, name in mentions:
            texts = seen[column].drop_nulls().unique()
            listed = library.lists[name]
            match listed:
                case KeywordList():
                    found = keywords.match(texts, [listed])[name]
                case PatternList():
                    found = match_patterns(texts, [listed])[name]
            hit = texts.filter(found)
            seen = seen.with_columns(pl.col(column).is_in(hit.implode()).alias(mention_column(column, name)))
        self.entries = seen
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.register("entries", seen.to_arrow())
        self.connection.register("entry_graph", whole.select("entry_id", *graph).to_arrow())

    def query(self, sql: str) -> pl.DataFrame:
        """The rows of a query; whatever is neither an id nor true or false is a number."""
        found = self.connection.sql(sql)
        types = dict(zip(found.columns, map(str, found.types), strict=True))
        schema = {c: pl.String if t == "VARCHAR" else pl.Boolean if t == "BOOLEAN" else None for c, t in types.items()}
        schema = {c: t or (pl.Datetime("us") if types[c] == "TIMESTAMP" else pl.Float64) for c, t in schema.items()}
        return pl.DataFrame(found.fetchall(), schema=schema, orient="row")

    def anchors(self, restated: Restatement) -> pl.DataFrame:
        """Measures and hits from the definition."""
        return self.query(restated.anchors)

    def window_anchors(self, restated: Restatement) -> pl.DataFrame:
        """The same from SQL window functions."""
        more = f", coalesce({restated.when}, false) as hit"
        return self.query(restated.query(windows_ctes(restated), more=more))


def differences(rule: Rule, ours: pl.DataFrame, theirs: pl.DataFrame) -> list[str]:
    """What is not equal: anchors of one side only, values, hits."""
    said = []
    joined = ours.join(theirs, on="entry_id", how="full", suffix="_sql", coalesce=True)
    if not joined.height == ours.height == theirs.height:
        said.append(f"{ours.height} anchors, {theirs.height} in SQL, {joined.height} together")
    for name in rule.observables:
        a, b = pl.col(name), pl.col(f"{name}_sql")
        near = (a - b).abs() <= TOLERANCE * pl.max_horizontal(a.abs(), 1.0)
        wrong = joined.filter(~(near.fill_null(value=False) | (a.is_null() & b.is_null())))
        if wrong.height:
            rows = wrong.select("entry_id", name, f"{name}_sql").head(3).rows()
            said.append(f"{name} ({rule.measures.get(name)}) differs at {wrong.height}: {rows}")
    wrong = joined.filter(pl.col("hit").ne_missing(pl.col("hit_sql")))
    if wrong.height:
        said.append(f"hit differs at {wrong.height}: {wrong.head(3).to_dicts()}")
    return said
