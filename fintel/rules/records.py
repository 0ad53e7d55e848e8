"""What a case says of accounts, parties, their identifiers, and of what partners told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache

import polars as pl

from fintel.domain.schema import ACCOUNTS, PROVENANCE, Column, Sensitivity, Table, Type
from fintel.errors import did_you_mean
from fintel.frames import empty, polars_schema
from fintel.rules.fields import Fields, as_number
from fintel.rules.source import Findings, Mapping, Node, Scalar, Sequence

_PROVENANCE = {c.name for c in PROVENANCE}
_DEGREES = {"latitude": 90, "longitude": 180}
Value = str | int | float | bool | Decimal | date | datetime | None
Row = dict[str, Value]


def frame_of(rows: list[Row], table: Table) -> pl.DataFrame:
    """Rows as a canonical table; their provenance is the case."""
    if not rows:
        return _empty(table)
    for number, row in enumerate(rows, start=1):
        row |= {"source": "case", "feed_id": "case", "source_file": "case", "source_row": number}
    return pl.DataFrame(rows, schema=polars_schema(table), orient="row")


@cache
def _empty(table: Table) -> pl.DataFrame:
    """Most cases leave most tables empty."""
    return empty(table)


def keyed_rows(fields: Fields, name: str, table: Table) -> list[Row]:
    """``{id: {column: value}}``: one row an id."""
    (key,) = table.key
    rows: list[Row] = []
    for who, node in fields.mapping(name) or ():
        if not isinstance(node, Mapping):
            _wrong(fields.findings, f"'{who.value}' takes {{column: value}}", node)
            continue
        row: Row = {key: who.value}
        if table is ACCOUNTS:
            row["holding"] = "own"
        rows.append(row | _row(node, table, (key,), fields.findings))
    return rows


def listed_rows(fields: Fields, name: str, table: Table) -> list[Row] | None:
    """``[{column: value}]``: one row an item; None where the case has no such list."""
    node = fields.node.get(name)
    if node is None:
        return None
    if not isinstance(node, Sequence):
        fields.wrong(name, "a list of {type: …, value: …}", node)
        return None
    rows: list[Row] = []
    for item in node.items:
        if not isinstance(item, Mapping):
            fields.wrong(name, "items of {type: …, value: …}", item)
            continue
        row = ({"issuer": "case"} if "issuer" in table else {}) | _row(item, table, (), fields.findings)
        missing = [
            c.name for c in table.columns if c.required and c.name not in _PROVENANCE and row.get(c.name) is None
        ]
        if missing:
            _wrong(fields.findings, f"an item of '{name}' needs {', '.join(missing)}", item)
        else:
            rows.append(row)
    return rows


def typed(node: Scalar, column: Column, findings: Findings) -> Value:
    """A single value as the column holds it; what does not fit is noted, and None."""
    if node.empty:
        return None
    if column.values and node.value not in column.values:
        hint = did_you_mean(node.value, column.values) or f"one of: {', '.join(column.values)}"
        _wrong(findings, f"'{column.name}' is never '{node.value}'", node, hint)
    try:
        match column.type:
            case Type.DATE:
                return date.fromisoformat(node.value)
            case Type.TIMESTAMP:
                moment = datetime.fromisoformat(node.value)
                if not 1900 <= moment.year <= 2100:
                    raise ValueError(node.value)
                return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
            case Type.MONEY:
                return Decimal(node.value).quantize(Decimal("0.00001"))
            case Type.FLOAT:
                return _float(node, column)
            case _:
                return node.value
    except (ValueError, InvalidOperation):
        _wrong(findings, f"'{node.value}' is no {column.type} for '{column.name}'", node)
        return None


def _float(node: Scalar, column: Column) -> float:
    value = as_number(node)
    most = _DEGREES.get(column.name.removeprefix("place_"), float("inf"))
    if value is None or abs(value) > most:
        raise ValueError(node.value)
    return value


def _row(node: Mapping, table: Table, without: Iterable[str], findings: Findings) -> Row:
    allowed = {
        c.name: c
        for c in table.columns
        if c.name not in _PROVENANCE and c.name not in without and c.sensitivity is not Sensitivity.PROTECTED
    }
    row: Row = {}
    for column, value in node:
        if column.value not in allowed:
            message = f"table {table.name} has no column '{column.value}' for a case"
            _wrong(findings, message, column, did_you_mean(column.value, allowed))
        elif isinstance(value, Scalar):
            row[column.value] = typed(value, allowed[column.value], findings)
        else:
            _wrong(findings, f"'{column.value}' takes a single value", value)
    return row


def _wrong(findings: Findings, message: str, node: Node, hint: str | None = None) -> None:
    findings.add("R063", message, node.span, hint)
