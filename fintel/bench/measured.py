"""A rule's windows computed once, kept for every anchor entry: what tuning looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.engine.arrays import Entries
from fintel.engine.local import sweep
from fintel.engine.partition import Slice, partition
from fintel.errors import RuleError
from fintel.rules.across import Across
from fintel.rules.compiler import CompiledRule, convert_parameter
from fintel.rules.lexer import ExpressionError, Kind, tokenise
from fintel.rules.model import Library, Rule
from fintel.rules.prepared import blindness, prepare
from fintel.rules.runner import Progress as Progress

Floats = npt.NDArray[np.float64]

#: Days in a month, here and wherever alerts a month are counted: months go back from the last payment.
MONTH_DAYS = 30
_MONTH = MONTH_DAYS * 86_400_000_000
#: What of an account its groups are: the market segment and the jurisdiction.
SEGMENT, JURISDICTION = "account_kind", "account_country"
#: Fields of a rule that speak about it; all others decide what is measured, ``when`` apart.
_NOT_MEASURED = frozenset(
    {"when", "reason", "title", "description", "parameters", "falsepositives", "spans", "changelog"}
)


def silent(stage: str, done: int, of: int) -> None:
    """Progress that nobody watches."""
    del stage, done, of


@dataclass(frozen=True)
class Measured:
    """Every anchor entry of a rule on own accounts, with its measures.

    ``account``: int32 (n), a row of ``accounts`` (``account_id, segment, jurisdiction``, sorted by id);
    ``time``: int64 (n) µs; ``month``: int32 (n), 0 is the last; ``measures``: float64 (n) each, NaN where
    there is no value. ``parameters``: values as ``when`` sees them, money in the base currency.
    ``months``: 30-day months that the payments span. ``cannot_tell``: why there is no answer, or None.
    """

    rule: Rule
    parameters: Mapping[str, float]
    account: npt.NDArray[np.int32]
    accounts: pl.DataFrame
    time: npt.NDArray[np.int64]
    month: npt.NDArray[np.int32]
    measures: Mapping[str, Floats]
    months: int
    first_at: datetime | None
    last_at: datetime | None
    base_currency: str
    rates: Mapping[str, float]
    cannot_tell: str | None = None

    def __len__(self) -> int:
        return int(self.account.size)

    @property
    def frame(self) -> pl.DataFrame:
        """Measures as columns, null where there is no value."""
        return pl.DataFrame(dict(self.measures)).fill_nan(None)


def measuring_parameters(rule: Rule) -> dict[str, str]:
    """Parameters that decide what is measured, and where each stands; only the others can be swept freely."""
    found: dict[str, str] = {}
    for field in fields(rule):
        if field.name in _NOT_MEASURED:
            continue
        for part, text in _texts(field.name, getattr(rule, field.name)):
            try:
                tokens = tokenise(text)
            except ExpressionError:
                continue
            for token in tokens:
                if token.kind is Kind.PARAMETER and token.text in rule.parameters:
                    found.setdefault(token.text, part)
    return found


def _texts(part: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(part, value)] if ":" in value else []
    if isinstance(value, Mapping):
        return [t for name, inner in value.items() for t in _texts(f"{part}.{name}", inner)]
    if isinstance(value, (tuple, list)):
        return [t for inner in value for t in _texts(part, inner)]
    if is_dataclass(value) and not isinstance(value, type):
        return [t for f in fields(value) for t in _texts(f"{part}.{f.name}", getattr(value, f.name))]
    return []


def measure(
    tables: Mapping[str, pl.DataFrame | pl.LazyFrame],
    library: Library,
    rules: Sequence[Rule],
    *,
    base_currency: str = "USD",
    as_of: datetime | None = None,
    own: pl.Series | None = None,
    threads: int = 0,
    progress: Progress = silent,
) -> list[Measured]:
    """Run the windows of a rule, or of variants of it, over canonical tables; entries are read once for all.

    Parameters
    ----------
    rules: one rule, or the same rule with other values of parameters that decide what is measured.
    own: ids of the accounts to look at (the institution's own); all if None.

    Raises
    ------
    RuleError: a money parameter that no rate converts, or a condition that the columns do not fit.
    """
    progress("reading entries", 0, 0)
    prepared = prepare(
        tables, replace(library, rules=tuple(rules)), base_currency=base_currency, as_of=as_of,
        codes=(SEGMENT, JURISDICTION),
    )  # fmt: skip
    plan, data, rates = prepared.plan, prepared.data, prepared.rates
    if plan.unconverted:
        unit = next(iter(plan.unconverted.values()))
        raise RuleError(f"no rate turns {unit} into {base_currency}", hint="fintel feed rates FILE")
    if prepared.failures:
        raise RuleError(next(iter(prepared.failures.values())))
    ours = _ours(data, own)
    across = Across(data, threads)
    return [_measure_one(across, compiled, ours, base_currency, rates, progress) for compiled in plan.rules]


def _ours(data: Entries, own: pl.Series | None) -> npt.NDArray[np.bool_]:
    """For each account code: is it ours? One place more at the end, for no account."""
    names = data.dictionary["account_id"].cast(pl.String)
    if own is None:
        return np.append(np.ones(len(names), np.bool_), np.False_)
    return np.append(names.is_in(own.implode()).fill_null(value=False).to_numpy(), np.False_)


def _measure_one(
    across: Across,
    compiled: CompiledRule,
    ours: npt.NDArray[np.bool_],
    base: str,
    rates: Mapping[str, float],
    progress: Progress,
) -> Measured:
    data, names = across.data, compiled.measured
    codes = data.codes["account_id"]

    def windows(piece: Slice) -> dict[str, npt.NDArray[Any]]:
        anchors = piece.anchors(compiled.anchor)
        entry = piece.rows[anchors]
        mine = ours[codes[entry]]
        found: dict[str, npt.NDArray[Any]] = {" entry": entry[mine], " time": piece.time[anchors[mine]]}
        observed = compiled.observe(piece, across.given(piece, compiled))
        for name in names:
            found[name] = observed[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()[mine]
        return found

    parts = []
    blind = blindness(compiled, data)
    cannot_tell = blind.reason if blind else None
    if cannot_tell is None and data.selected[compiled.anchor_mask]:
        progress("windows", 0, 0)
        across.prepare(compiled)
        pieces = partition(data, compiled.rule.per, compiled.masks)
        for number, part in enumerate(sweep(pieces, windows, threads=across.threads), start=1):
            parts.append(part)
            progress("windows", number, 0)
    kept = {name: [p.pop(name) for p in parts] for name in (" entry", " time", *names)}
    entry = _whole(kept.pop(" entry"), np.uint32)
    time = _whole(kept.pop(" time"), np.int64)
    accounts, account = _accounts(data, entry)
    last = int(data.time.max(initial=0))
    first = int(data.time.min(initial=last))
    return Measured(
        rule=compiled.rule,
        parameters=compiled.parameters,
        account=account,
        accounts=accounts,
        time=time,
        month=((last - time) // _MONTH).astype(np.int32),
        measures={name: _whole(kept.pop(name), np.float64) for name in names},
        months=(last - first) // _MONTH + 1,
        first_at=_moment(first) if len(data) else None,
        last_at=_moment(last) if len(data) else None,
        base_currency=base,
        rates=rates,
        cannot_tell=cannot_tell,
    )


def _whole(parts: list[npt.NDArray[Any]], kind: Any) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _moment(microseconds: int) -> datetime:
    return pl.Series([microseconds]).cast(pl.Datetime("us", "UTC"))[0]  # type: ignore[no-any-return]


def _accounts(data: Entries, entry: npt.NDArray[Any]) -> tuple[pl.DataFrame, npt.NDArray[np.int32]]:
    """Accounts of some entries, by id, and for each entry the row of its account.

    Segment and jurisdiction are those of the account's last anchor entry.
    """
    codes = data.codes["account_id"][entry]
    used, inverse = np.unique(codes, return_inverse=True)
    last = np.zeros(used.size, np.int64)
    np.maximum.at(last, inverse, np.arange(entry.size))
    columns = {"account_id": data.dictionary["account_id"].gather(used).cast(pl.String)}
    for name, column in (("segment", SEGMENT), ("jurisdiction", JURISDICTION)):
        code = data.codes[column][entry[last]] if entry.size else np.zeros(0, np.int32)
        known = pl.Series(np.where(code < 0, 0, code)).cast(pl.UInt32)
        text = data.dictionary[column].cast(pl.String)
        values = text.gather(known) if len(text) else pl.Series([None] * used.size, dtype=pl.String)
        columns[name] = pl.select(pl.when(pl.Series(code >= 0)).then(values)).to_series()
    table = pl.DataFrame(columns)
    by_id = table["account_id"].arg_sort().to_numpy()
    place = np.empty(used.size, np.int32)
    place[by_id] = np.arange(used.size, dtype=np.int32)
    return table[by_id], place[inverse]


def convert(measured: Measured, library: Library, name: str, values: Floats) -> Floats:
    """Values of a parameter as ``when`` sees them: money in the base currency.

    Raises
    ------
    RuleError: no rate converts them.
    """
    parameter = measured.rule.parameters[name]
    found = [
        convert_parameter(replace(parameter, default=float(v)), measured.base_currency, measured.rates, library)
        for v in values
    ]
    if any(v is None for v in found):
        raise RuleError(f"no rate turns {parameter.unit} into {measured.base_currency}", hint="fintel feed rates FILE")
    return np.array(found, np.float64)
