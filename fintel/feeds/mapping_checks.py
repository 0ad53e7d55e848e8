"""What pydantic cannot know of a mapping: canonical tables, types, formats, time zones, labels."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Dict

import polars as pl

from fintel.domain.schema import CANONICAL, PROVENANCE, Column, Table, Type
from fintel.errors import Diagnostic, Location, did_you_mean
from fintel.feeds.mapping import BASE_CURRENCY, ColumnSpec, FileSpec, Fill, Mapping, Names

TABLES: dict[str, Table] = {t.name: t for t in CANONICAL}
_PROVENANCE = frozenset(c.name for c in PROVENANCE)

#: Required columns that are filled without being mapped.
DEFAULTS: dict[tuple[str, str], str] = {
    ("transactions", "transaction_id"): "derived from the row",
    ("transactions", "status"): "booked",
    ("accounts", "holding"): "own",
}
ACCOUNT_IDS = frozenset({"account_id", "debtor_account_id", "creditor_account_id", "subject_id"})
TRANSACTION_IDS = frozenset({"transaction_id", "reversal_of", "subject_id"})

_DIRECTIVES = frozenset("YymdebBHIMSpjfzTFDRaAZnt%")
_EPOCHS = ("epoch_s", "epoch_ms", "epoch_us")
_TIME_KEYS = frozenset({"format", "step", "time_zone", "delay"})
_NUMBER_KEYS = frozenset({"decimal", "thousands", "decimals"})
_AMOUNT_KEYS = frozenset({"negative", "debit", "credit", "flag"})
#: Keys that end in '*' for one column: each is a condition of its own, tried on every row.
_MAX_BEGINNINGS = 200

Place = Callable[[tuple[str | int, ...]], Location]


def check(mapping: Mapping, place: Place) -> list[Diagnostic]:
    """Every finding about a mapping that has the right form. ``place`` gives a path's location."""
    found: list[Diagnostic] = []
    for name, file in mapping.files.items():
        here: tuple[str | int, ...] = ("files", name)
        found += _zone(file.time_zone, (*here, "time_zone"), place)
        if not file.fill:
            found.append(Diagnostic("M011", "'fill' is empty: no table would be filled", place((*here, "fill"))))
        for i, fill in enumerate(file.fill):
            found += _fill(fill, file, (*here, "fill", i), place)
        found += _labels_apart(file, here, place)
        names = [f.table for f in file.fill if f.table != "labels"]
        if len(names) != len(set(names)):
            found.append(Diagnostic("M027", "one file fills a table once (labels may stand twice)", place(here)))
    return found


def filled_by_reader(table: str, column: str) -> bool:
    """Columns that no mapping may name: provenance, and what is computed from rates."""
    return column in _PROVENANCE or (table == "transactions" and column == "amount_base")


def specs(fill: Fill) -> dict[str, ColumnSpec]:
    """The column specifications of a fill; ``canonical`` spelt out."""
    if fill.columns is not None:
        return fill.columns
    table = TABLES[fill.table]
    return {c.name: _canonical(fill.table, c) for c in table.columns if not filled_by_reader(fill.table, c.name)}


def _canonical(table: str, column: Column) -> ColumnSpec:
    wanted = column.required and (table, column.name) not in DEFAULTS
    formats: dict[Type, tuple[str, ...]] = {
        Type.TIMESTAMP: tuple(f"%Y-%m-%d{t}%H:%M:%S%.f{z}" for z in ("%#z", "") for t in "T "),
        Type.DATE: ("%Y-%m-%d",),
    }
    spec = {"column": column.name, "optional": not wanted, "format": formats.get(column.type, ())}
    if column.name in TRANSACTION_IDS:
        spec["prefix"] = "none"
    return ColumnSpec.model_validate(spec)


def is_account_id(table: str, column: str, fill_specs: Dict[str, ColumnSpec]) -> bool:
    """Whether this canonical column holds an account id."""
    if column == "subject_id":
        kind = fill_specs.get("subject_type")
        return table == "labels" and kind is not None and kind.constant == "account"
    return column in ACCOUNT_IDS


def is_transaction_id(table: str, column: str, fill_specs: Dict[str, ColumnSpec]) -> bool:
    """Whether this canonical column holds a transaction id."""
    if column == "subject_id":
        kind = fill_specs.get("subject_type")
        return table == "labels" and kind is not None and kind.constant == "transaction"
    return column in TRANSACTION_IDS


def _fill(fill: Fill, file: FileSpec, here: tuple[str | int, ...], place: Place) -> Iterator[Diagnostic]:
    table = TABLES.get(fill.table)
    if table is None:
        yield Diagnostic(
            "M020", f"unknown table '{fill.table}'", place((*here, "table")), did_you_mean(fill.table, TABLES)
        )
        return
    if fill.columns is None:
        return
    known = [c.name for c in table.columns if not filled_by_reader(table.name, c.name)]
    mapped = specs(fill)
    for name, spec in mapped.items():
        where = (*here, "columns", name)
        if filled_by_reader(table.name, name):
            yield Diagnostic("M021", f"'{name}' is filled by the reader", place(where), "leave it out")
        elif name not in known:
            yield Diagnostic(
                "M021", f"table {table.name} has no column '{name}'", place(where), did_you_mean(name, known)
            )
        else:
            yield from _column(table, table[name], spec, mapped, where, place)
    of_transaction = is_transaction_id(table.name, "subject_id", mapped)
    for column in table.columns:
        filled = (
            column.name in mapped or filled_by_reader(table.name, column.name) or (table.name, column.name) in DEFAULTS
        )
        if column.required and not filled and not (column.name == "subject_id" and of_transaction):
            yield Diagnostic("M022", f"table {table.name} needs '{column.name}'", place((*here, "columns")))
    if of_transaction and "subject_id" not in mapped and not any(f.table == "transactions" for f in file.fill):
        yield Diagnostic("M022", "'subject_id' is needed: this file fills no transactions", place((*here, "columns")))
    if table.name == "transactions" and not {
        "debtor_account_id",
        "creditor_account_id",
        "debtor_name",
        "creditor_name",
    } & set(mapped):
        yield Diagnostic("M022", "a payment needs a debtor or a creditor (account or name)", place((*here, "columns")))
    if fill.id_columns is not None and table.name != "transactions":
        yield Diagnostic("M023", "'id_columns' is for transactions", place((*here, "id_columns")))


def _column(
    table: Table,
    column: Column,
    spec: ColumnSpec,
    mapped: dict[str, ColumnSpec],
    where: tuple[str | int, ...],
    place: Place,
) -> Iterator[Diagnostic]:
    allowed: set[str] = set()
    if column.type in (Type.TIMESTAMP, Type.DATE):
        allowed |= _TIME_KEYS
    if column.type in (Type.MONEY, Type.RATE, Type.INT, Type.FLOAT):
        allowed |= _NUMBER_KEYS
    if table.name == "transactions" and column.name == "amount":
        allowed |= _AMOUNT_KEYS
    if is_account_id(table.name, column.name, mapped):
        allowed.add("agent")
    if is_transaction_id(table.name, column.name, mapped):
        allowed.add("prefix")
    special = _TIME_KEYS | _NUMBER_KEYS | _AMOUNT_KEYS | {"agent", "prefix"}
    for key in sorted(special & spec.model_fields_set - allowed):
        if getattr(spec, key) != ColumnSpec.model_fields[key].default:
            yield Diagnostic("M023", f"'{key}' does not go with '{column.name}' ({column.type})", place((*where, key)))
    if column.type in (Type.TIMESTAMP, Type.DATE):
        yield from _times(spec, where, place)
    if spec.before and column.type is not Type.STRING:
        yield Diagnostic(
            "M023", f"'before' does not go with '{column.name}' ({column.type})", place((*where, "before"))
        )
    if spec.time_zone is not None:
        yield from _zone(spec.time_zone, (*where, "time_zone"), place)
    if column.values:
        words = [w for w in (spec.constant, *(spec.values or {}).values()) if w is not None]
        for word in words:
            if word not in column.values:
                hint = did_you_mean(word, column.values) or f"one of {', '.join(column.values)}"
                yield Diagnostic("M024", f"'{column.name}' cannot be '{word}'", place(where), hint)
    if spec.constant == BASE_CURRENCY and column.name != "currency":
        yield Diagnostic("M024", f"'{BASE_CURRENCY}' is for currency", place(where))
    beginnings = sum(key.endswith("*") for key in spec.values or ())
    if beginnings > _MAX_BEGINNINGS:
        yield Diagnostic(
            "M029", f"{beginnings:,} beginnings under 'values'; {_MAX_BEGINNINGS} are allowed",
            place((*where, "values")), "each is tried on every row: state whole words, which are looked up at once",
        )  # fmt: skip
    if column.required and spec.unreadable == "null":
        yield Diagnostic("M023", f"'{column.name}' is required: 'unreadable: null' cannot be", place(where))


def _times(spec: ColumnSpec, where: tuple[str | int, ...], place: Place) -> Iterator[Diagnostic]:
    if spec.constant is None and not spec.format and spec.step is None:
        yield Diagnostic(
            "M025", "a date needs a 'format' (or 'step')", place(where),
            "e.g. format: \"%d/%m/%Y\" for 31/12/2025; day and month are never guessed",
        )  # fmt: skip
    for text in spec.format:
        if text in _EPOCHS:
            continue
        unknown = [d for d in re.findall(r"%[.#]?(.)", text) if d not in _DIRECTIVES]
        if unknown or "%" not in text:
            what = f"unknown sign '%{unknown[0]}'" if unknown else f"'{text}' is no date format"
            yield Diagnostic(
                "M025", what, place((*where, "format")), "like strftime: %Y %m %d %H %M %S %f %z, or epoch_s"
            )
    other = {swapped(f) for f in spec.format}
    if any(swapped(f) != f and f in other for f in spec.format):
        yield Diagnostic(
            "M026", "day-first and month-first formats of one shape cannot stand together",
            place((*where, "format")), "03/04/2025 would be read as either: state which one the source writes",
        )  # fmt: skip


def swapped(text: str) -> str:
    """A date format with day and month exchanged."""
    text = text.replace("%e", "%d")
    return text.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")


def _zone(name: str, where: tuple[str | int, ...], place: Place) -> Iterator[Diagnostic]:
    if re.fullmatch(r"[+-]([01]\d|2[0-3]):[0-5]\d", name) or name == "UTC":
        return
    known = zoneinfo.available_timezones()
    if name not in known or not _has_clock(name):
        hint = did_you_mean(name, known) or "an IANA name such as Europe/Berlin, or an offset such as +02:00"
        yield Diagnostic("M028", f"unknown time zone '{name}'", place(where), hint)


def _has_clock(name: str) -> bool:
    """Whether times can be told by this zone: 'Factory' and 'localtime' are names without a clock of their own."""
    try:
        pl.select(pl.lit(0).cast(pl.Datetime("us")).dt.replace_time_zone(name))
    except pl.exceptions.PolarsError:
        return False
    return True


def _labels_apart(file: FileSpec, here: tuple[str | int, ...], place: Place) -> Iterator[Diagnostic]:
    """A label must never reach what rules and models see."""
    secret: set[Names] = set()
    for fill in file.fill:
        if fill.table == "labels":
            for name in ("suspicious", "typology", "scheme_id", "confidence"):
                spec = specs(fill).get(name)
                secret |= set(spec.sources()) if spec else set()
    for i, fill in enumerate(file.fill):
        if fill.table == "labels" or fill.table not in TABLES:
            continue
        for name, spec in specs(fill).items():
            if secret & set(spec.sources()):
                where = place((*here, "fill", i, "columns", name))
                yield Diagnostic(
                    "M030",
                    f"'{name}' would show a label to rules and models",
                    where,
                    "labels go to the labels table only",
                )
