"""Raw text to canonical rows, and quarantine for what does not conform."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field

import polars as pl

from fintel import frames
from fintel.domain.feed import FeedInfo
from fintel.domain.schema import QUARANTINE, Column, Table, Type
from fintel.feeds import codes, values
from fintel.feeds.base import MAX_SHOWN, Batch, RawChunk, column_name
from fintel.feeds.identity import Occurrences, account_id, derive
from fintel.feeds.mapping import BASE_CURRENCY, ColumnSpec, Condition, FileSpec, Fill, Names
from fintel.feeds.mapping_checks import DEFAULTS, TABLES, is_account_id, is_transaction_id, specs
from fintel.feeds.rates import convert_within
from fintel.feeds.values import Value, failing, no_code

_SIDES = ("account_id", "name", "agent", "country")
_COUNTRIES = frozenset(
    {"country", "debtor_country", "creditor_country", "merchant_country", "place_country", "ip_country"}
)
#: Degrees beyond which there is no place.
_DEGREES = {"latitude": 90, "place_latitude": 90, "longitude": 180, "place_longitude": 180}
_CURRENCIES = frozenset({"currency", "base"})
_NAMES = frozenset({"name", "given_name", "family_name", "debtor_name", "creditor_name", "merchant_name"})
_NO_REFERENCE = ("NOTPROVIDED", "NONREF", "NOT PROVIDED")
_REVERSED, _TRANSACTION = "_reversed", "_transaction_id"


@dataclass(frozen=True, slots=True)
class Plan:
    """A file's mapping with every source column found: what ``conform`` works by."""

    name: str
    spec: FileSpec
    feed: FeedInfo
    positions: Dict[Names, int | None]
    base_currency: str
    rates: pl.DataFrame | None
    seen: Occurrences = field(default_factory=Occurrences)

    def column(self, names: Names | None) -> pl.Expr:
        """A source column, or nothing where the file does not have it."""
        position = self.positions.get(names) if names is not None else None
        return pl.lit(None, dtype=pl.String) if position is None else pl.col(column_name(position))

    def lacks(self, spec: ColumnSpec) -> bool:
        """Whether the file has none of the columns that an optional specification reads."""
        sources = spec.sources()
        return bool(sources) and all(self.positions.get(names) is None for names in sources)

    def used(self) -> list[int]:
        """Positions that are read."""
        return sorted({p for p in self.positions.values() if p is not None})


def conform(chunk: RawChunk, plan: Plan) -> list[Batch]:
    """One batch for each table that the file fills.

    Every row of the chunk is in exactly one place of every batch: accepted, in quarantine with the
    first column that failed, or skipped because the mapping says so.
    """
    names = [n for n in chunk.frame.columns if n != "source_row"]
    raw = chunk.frame.with_columns(values.clean(pl.col(n), plan.spec.null_values) for n in names)
    payments = next((f for f in plan.spec.fill if f.table == "transactions"), None)
    if payments is not None:
        raw = _with_transaction_id(raw, payments, plan)
    return [_batch(raw, chunk, fill, plan) for fill in plan.spec.fill]


def _with_transaction_id(raw: pl.DataFrame, fill: Fill, plan: Plan) -> pl.DataFrame:
    """The id of each row's payment: its reference, else derived from what the mapping reads."""
    spec = specs(fill).get("transaction_id")
    prefix = f"{plan.feed.source}:"
    if spec is None:
        reference = pl.lit(None, dtype=pl.String)
    else:
        reference, _ = _mapped(_text(spec, plan), spec)
        reference = reference if spec.prefix == "none" else pl.concat_str([pl.lit(prefix), reference])
    raw = raw.with_columns(reference.alias(_TRANSACTION))
    if not raw[_TRANSACTION].null_count():
        return raw
    if fill.id_columns is not None:
        wanted = list(fill.id_columns)
    else:
        wanted = [n for s in specs(fill).values() for n in s.sources()]
    columns = list(dict.fromkeys(column_name(p) for n in wanted if (p := plan.positions.get(n)) is not None))
    derived = derive(raw, columns, plan.name, plan.seen)
    return raw.with_columns(pl.coalesce(_TRANSACTION, pl.lit(prefix) + derived).alias(_TRANSACTION))


def _batch(raw: pl.DataFrame, chunk: RawChunk, fill: Fill, plan: Plan) -> Batch:
    table = TABLES[fill.table]
    rows = raw
    if fill.skip_where:
        rows = raw.filter(~pl.any_horizontal(_holds(c, plan) for c in fill.skip_where))
    made = _columns(table, fill, plan)
    # Lazy, so that what several columns share is worked out once.
    evaluated = (
        rows.lazy()
        .select(
            "source_row",
            *(v.value.alias(f"v:{n}") for n, v in made.items()),
            *(v.code.alias(f"e:{n}") for n, v in made.items()),
            *(v.shown.cast(pl.String).alias(f"s:{n}") for n, v in made.items()),
        )
        .with_columns(
            _first=pl.coalesce(
                pl.when(pl.col(f"e:{n}").is_not_null()).then(pl.lit(i, dtype=pl.Int32)) for i, n in enumerate(made)
            )
        )
        .collect()
    )
    good = evaluated.filter(pl.col("_first").is_null())
    frame, too_large = _accepted(good, table, made, plan)
    return Batch(
        table=table.name,
        feed=plan.feed,
        frame=frame,
        quarantine=_quarantine(evaluated, too_large, chunk, table, list(made), plan),
        rows_read=chunk.rows_read,
        rows_skipped=raw.height - rows.height,
    )


def _accepted(
    good: pl.DataFrame, table: Table, made: Dict[str, Value], plan: Plan
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The canonical rows; and line and text of those whose amount is too large once converted, which
    are not among them: with an empty ``amount_base`` their worth would be lost in silence."""
    too_large = good.clear()
    frame = good.select("source_row", *(pl.col(f"v:{n}").alias(n) for n in made))
    if _REVERSED in made:
        pairs = [(f"debtor_{s}", f"creditor_{s}") for s in _SIDES]
        text = pl.lit(None, dtype=pl.String)
        frame = frame.with_columns(text.alias(n) for pair in pairs for n in pair if n not in made)
        swapped = [
            pl.when(_REVERSED).then(other).otherwise(own).alias(own)
            for a, b in pairs
            for own, other in ((a, b), (b, a))
        ]
        frame = frame.with_columns(swapped).drop(_REVERSED)
    if table.name == "transactions":
        frame, above = convert_within(frame, plan.rates, plan.base_currency)
        if above.any():
            frame, too_large = frame.filter(~above), good.filter(above)
    feed = plan.feed
    frame = frame.with_columns(
        source=pl.lit(feed.source), feed_id=pl.lit(feed.feed_id), source_file=pl.lit(feed.source_file)
    )
    return frames.fit(frame.drop("_no_side", strict=False), table), too_large


def _quarantine(
    evaluated: pl.DataFrame, too_large: pl.DataFrame, chunk: RawChunk, table: Table, names: list[str], plan: Plan
) -> pl.DataFrame:
    found: list[tuple[int, int, str | None, str | None]] = []
    bad = evaluated.filter(pl.col("_first").is_not_null())
    for i, part in ((k[0], p) for k, p in bad.partition_by("_first", as_dict=True).items()):
        name = names[int(str(i))]
        shown = None if name.startswith("_") else name
        taken = part.select("source_row", f"e:{name}", pl.col(f"s:{name}").str.slice(0, MAX_SHOWN))
        found += [(row, code, shown, text) for row, code, text in taken.iter_rows()]
    if too_large.height:
        taken = too_large.select("source_row", pl.col("s:amount").str.slice(0, MAX_SHOWN))
        found += [(row, codes.TOO_LARGE, "amount_base", text) for row, text in taken.iter_rows()]
    found += [(b.source_row, b.code, None, b.value) for b in chunk.bad]
    found.sort(key=lambda f: f[0])
    feed = plan.feed
    return pl.DataFrame(
        [
            (
                feed.feed_id, feed.source, table.name, feed.source_file, row, codes.code_text(code), column,
                text, codes.message(code, column), codes.REASONS[code].hint,
            )
            for row, code, column, text in found
        ],
        schema=frames.polars_schema(QUARANTINE),
        orient="row",
    )  # fmt: skip


def _columns(table: Table, fill: Fill, plan: Plan) -> dict[str, Value]:
    """Every canonical column in the making, in the order of the table; helpers begin with '_'."""
    mapped = specs(fill)
    made: dict[str, Value] = {}
    clock: pl.Expr | None = None
    for column in table.columns:
        name = column.name
        default = _default(table, name, mapped)
        if name not in mapped or (default is not None and plan.lacks(mapped[name])):
            if default is not None:
                made[name] = Value(default, no_code(), default)
            continue
        spec = mapped[name]
        if table.name == "transactions" and name == "transaction_id":
            value = values.identifier(_text(spec, plan))
            value = Value(pl.col(_TRANSACTION), value.code, value.shown)
        elif table.name == "transactions" and name == "amount":
            value, reverse = _amount(spec, plan)
            if reverse is not None:
                made[_REVERSED] = Value(reverse, no_code(), pl.lit(None, dtype=pl.String))
        elif column.type in (Type.TIMESTAMP, Type.DATE):
            value, offset = _time(column, spec, plan)
            clock = offset if name == "booked_at" else clock
        else:
            value = _value(table, column, spec, mapped, plan)
        if spec.unreadable == "null":
            value = Value(pl.when(value.code.is_null()).then(value.value), no_code(), value.shown)
        if column.required:
            empty = failing((value.value.is_null(), codes.MISSING))
            value = Value(value.value, pl.coalesce(value.code, empty), value.shown)
        made[name] = value
    if plan.spec.clock == "customer" and clock is not None and "local_offset_minutes" not in mapped:
        made["local_offset_minutes"] = Value(clock, no_code(), pl.lit(None, dtype=pl.String))
    if table.name == "transactions":
        named = [f"{side}_{what}" for side in ("debtor", "creditor") for what in ("account_id", "name")]
        sides = [made[n].shown.is_null() for n in named if n in made]
        nothing = pl.lit(None, dtype=pl.String)
        made["_no_side"] = Value(nothing, failing((pl.all_horizontal(sides), codes.NO_SIDE)), nothing)
    return made


def _default(table: Table, name: str, mapped: Dict[str, ColumnSpec]) -> pl.Expr | None:
    if name == "transaction_id" and table.name == "transactions":
        return pl.col(_TRANSACTION)
    if name == "subject_id" and is_transaction_id(table.name, name, mapped):
        return pl.col(_TRANSACTION)
    word = DEFAULTS.get((table.name, name))
    return pl.lit(word) if word is not None else None


def _text(spec: ColumnSpec, plan: Plan) -> pl.Expr:
    """The text that a specification speaks of."""
    if spec.constant is not None:
        text = pl.lit(plan.base_currency if spec.constant == BASE_CURRENCY else spec.constant)
    elif spec.join is not None:
        # For times a missing part is a missing whole; for text the other parts stand.
        whole = bool(spec.format)
        text = pl.concat_str([plan.column(n) for n in spec.join], separator=spec.separator, ignore_nulls=not whole)
        text = values.clean(text, ())
    else:
        text = plan.column(spec.column)
    text = values.clean(text, spec.null_values) if spec.null_values else text
    return pl.concat_str([pl.lit(spec.before), text]) if spec.before else text


def _mapped(text: pl.Expr, spec: ColumnSpec) -> tuple[pl.Expr, pl.Expr]:
    """(text after the value map, code). Keys that end in ``*`` are beginnings; case is ignored."""
    if spec.values is None:
        return text, no_code()
    word = text.str.to_lowercase()
    exact = {k.lower(): v for k, v in spec.values.items() if not k.endswith("*")}
    known = word.is_in(list(exact))
    beginnings = [
        (word.str.starts_with(key[:-1].lower()), target) for key, target in spec.values.items() if key.endswith("*")
    ]
    value = pl.lit(None, dtype=pl.String)
    for begins, target in reversed(beginnings):
        value = pl.when(begins).then(pl.lit(target, dtype=pl.String)).otherwise(value)
    mapped_to = word.replace_strict(exact, default=None, return_dtype=pl.String)
    value = pl.when(known).then(mapped_to).otherwise(value)
    known = pl.any_horizontal(known, *(begins for begins, _ in beginnings))
    if spec.unmapped == "keep":
        return pl.when(known).then(value).otherwise(text), no_code()
    code = failing((text.is_not_null() & ~known, codes.VALUE)) if spec.unmapped == "quarantine" else no_code()
    return value, code


def _value(table: Table, column: Column, spec: ColumnSpec, mapped: Dict[str, ColumnSpec], plan: Plan) -> Value:
    """A column that is neither a time nor the payment's amount."""
    raw = _text(spec, plan)
    text, unmapped = _mapped(raw, spec)
    value = _typed(table, column, spec, mapped, plan, text)
    if spec.unmapped == "null" and (column.values or column.name in _CURRENCIES | _COUNTRIES):
        value = Value(pl.when(value.code.is_null()).then(value.value), no_code(), value.shown)
    return Value(value.value, pl.coalesce(unmapped, value.code), raw)


def _typed(
    table: Table, column: Column, spec: ColumnSpec, mapped: Dict[str, ColumnSpec], plan: Plan, text: pl.Expr
) -> Value:
    name = column.name
    decimal, thousands = values.separators(plan.spec, spec.decimal, spec.thousands)
    if column.type in (Type.MONEY, Type.RATE):
        scale = 5 if column.type is Type.MONEY else 10
        rounded = "round" if column.type is Type.RATE else spec.decimals
        value, wrong = values.money(text, decimal, thousands, rounded, scale)
        wrong.append((value < 0, codes.NEGATIVE))
        if column.type is Type.RATE:
            wrong.append((value == 0, codes.ZERO))
        return Value(value, failing(*wrong), text)
    if column.type is Type.INT:
        return values.integer(text)
    if column.type is Type.FLOAT:
        return values.floating(text, decimal, thousands, _DEGREES.get(name))
    if column.type is Type.BOOL:
        return values.truth(text)
    if column.values:
        return values.one_of(text, column.values)
    if name in _COUNTRIES:
        return values.looked_up(text, values.countries(), codes.COUNTRY)
    if name in _CURRENCIES:
        return values.looked_up(text, values.currencies(), codes.CURRENCY)
    if is_account_id(table.name, name, mapped):
        checked = values.identifier(text)
        agent = plan.column(spec.agent) if spec.agent is not None else None
        return Value(account_id(text, agent), checked.code, text)
    if is_transaction_id(table.name, name, mapped):
        prefix = pl.lit("" if spec.prefix == "none" else f"{plan.feed.source}:")
        return Value(pl.concat_str([prefix, text]), values.identifier(text).code, text)
    if name.endswith("_id"):
        return values.identifier(text)
    if name in _NAMES:
        return Value(text.str.normalize("NFC").str.replace_all(r"\s+", " "), no_code(), text)
    if name == "end_to_end_id":
        return Value(pl.when(~text.str.to_uppercase().is_in(list(_NO_REFERENCE))).then(text), no_code(), text)
    if name == "uetr":
        return Value(text.str.to_lowercase(), no_code(), text)
    return Value(text, no_code(), text)


def _amount(spec: ColumnSpec, plan: Plan) -> tuple[Value, pl.Expr | None]:
    """The payment's amount, and whether its sides are to be exchanged (None: never)."""
    decimal, thousands = values.separators(plan.spec, spec.decimal, spec.thousands)

    def read(text: pl.Expr) -> tuple[pl.Expr, list[tuple[pl.Expr, int]]]:
        return values.money(text, decimal, thousands, spec.decimals, frames.MONEY.scale)

    reverse: pl.Expr | None = None
    if spec.debit is not None:
        debit, wrong_debit = read(plan.column(spec.debit))
        credit, wrong_credit = read(plan.column(spec.credit))
        has_debit, has_credit = debit.fill_null(0) != 0, credit.fill_null(0) != 0
        both = [plan.column(spec.debit), plan.column(spec.credit)]
        shown = pl.concat_str(both, separator=" / ", ignore_nulls=True)
        wrong = [*wrong_debit, *wrong_credit, (has_debit & has_credit, codes.DEBIT_CREDIT)]
        wrong.append((debit.is_null() & credit.is_null(), codes.DEBIT_CREDIT))
        value, reverse = pl.when(has_debit).then(debit).otherwise(credit.fill_null(0)), has_debit
    else:
        shown = _text(spec, plan)
        value, wrong = read(shown)
    if spec.flag is not None:
        mark = plan.column(spec.flag.column).str.to_lowercase()
        backward = mark.is_in([w.lower() for w in spec.flag.reverse]).fill_null(False)
        known = backward | mark.is_in([w.lower() for w in spec.flag.as_is]).fill_null(False)
        wrong.append((~known, codes.FLAG))
        reverse = backward if reverse is None else reverse ^ backward
    below = (value < 0).fill_null(False)
    if spec.negative == "reverse_sides":
        reverse = below if reverse is None else reverse ^ below
    if spec.negative == "quarantine":
        wrong.append((below, codes.NEGATIVE))
    else:
        value = value.abs()
    wrong.append((value == 0, codes.ZERO))
    return Value(value.cast(frames.MONEY), failing(*wrong), shown), reverse


def _time(column: Column, spec: ColumnSpec, plan: Plan) -> tuple[Value, pl.Expr]:
    """A date or instant, and the offset of the clock in minutes."""
    text = _text(spec, plan)
    zone = spec.time_zone or plan.spec.time_zone
    formats = spec.format or ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S")
    if spec.step is not None:
        at = values.steps(text, spec.step.unit, spec.step.start, zone)
    else:
        at = values.moment(text, formats, zone)
    value = at.wall.dt.date() if column.type is Type.DATE else at.utc
    first = 1850 if column.name == "birth_date" else 1900
    wrong = [w for w in at.wrong if column.type is not Type.DATE or w[1] != codes.NO_SUCH_TIME]
    wrong.append((~values.in_range(at.wall, first), codes.DATE_RANGE))
    if spec.delay is not None:
        value = value + values.delay(spec.delay)
    return Value(value, failing(*wrong), text), at.offset


def _holds(condition: Condition, plan: Plan) -> pl.Expr:
    text = plan.column(condition.column)
    if condition.empty is not None:
        return text.is_null() if condition.empty else text.is_not_null()
    word = text.str.to_lowercase()
    if condition.is_in is not None:
        return word.is_in([w.lower() for w in condition.is_in]).fill_null(False)
    return ~word.is_in([w.lower() for w in condition.not_in or ()]).fill_null(False)
