"""Polars views of ``domain.schema``: types, empty frames, conforming casts."""

from __future__ import annotations

import polars as pl

from fintel.domain.schema import MONEY_SCALE, Table, Type

MONEY = pl.Decimal(18, MONEY_SCALE)
#: Of sums of money: a hundred of the largest payments that feeds take are more than ``MONEY`` holds.
MONEY_SUM = pl.Decimal(38, MONEY_SCALE)
TIMESTAMP = pl.Datetime("us", "UTC")

POLARS: dict[Type, pl.DataType | type[pl.DataType]] = {
    Type.STRING: pl.String,
    Type.INT: pl.Int64,
    Type.FLOAT: pl.Float64,
    Type.BOOL: pl.Boolean,
    Type.MONEY: MONEY,
    Type.RATE: pl.Decimal(18, 10),
    Type.TIMESTAMP: TIMESTAMP,
    Type.DATE: pl.Date,
}


def polars_schema(table: Table) -> pl.Schema:
    """Column names and polars types of a table, in order."""
    return pl.Schema({c.name: POLARS[c.type] for c in table.columns})


def empty(table: Table) -> pl.DataFrame:
    """A frame with the table's columns and no rows."""
    return pl.DataFrame(schema=polars_schema(table))


def fit(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Order, type and complete ``frame`` as ``table``: missing columns become null.

    Raises polars' own error on a value that the type cannot hold, and ``ValueError`` on a column
    that the table does not have.
    """
    extra = set(frame.columns) - set(table.names)
    if extra:
        raise ValueError(f"table {table.name} has no column {sorted(extra)}")
    return frame.select(
        (pl.col(c.name) if c.name in frame.columns else pl.lit(None, dtype=POLARS[c.type]))
        .cast(POLARS[c.type])
        .alias(c.name)
        for c in table.columns
    )
