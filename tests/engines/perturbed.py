"""Payments near the thresholds of a rule: its own cases, many times over, each copy disturbed.

Times move onto each other and onto the very ends of windows, amounts onto thresholds, sides change
places, values go missing, payments vanish or come twice. Each copy has accounts, parties and devices
of its own; the first copy of every case is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl

from fintel.domain.schema import ACCOUNTS, MONEY_UNITS, PARTIES, TRANSACTIONS, Table, Type
from fintel.frames import fit
from fintel.rules.cases import Case
from fintel.rules.model import Rule

#: Cases with more payments than this are copied twice only.
LARGE = 300
HOUR = 3_600_000_000
MONEY = pl.Decimal(18, 5)
#: What tells one copy from another: ids, and what people are known by.
_OWN = (
    "account_id", "party_id", "debtor_account_id", "creditor_account_id", "device_id", "ip_address", "place_id",
    "phone", "email", "address", "tax_id", "value",
)  # fmt: skip
#: What is disturbed in a way of its own, or never.
_APART = {
    "transaction_id", "booked_at", "amount", "currency", "amount_base", "status", "reversal_of", "holding", "type",
    "debtor_account_id", "creditor_account_id", "account_id", "value", "issuer",
    "source", "feed_id", "source_file", "source_row",
}  # fmt: skip


@dataclass(frozen=True)
class Population:
    """Canonical tables of one base currency."""

    base: str
    tables: Mapping[str, pl.DataFrame]


def populations(rule: Rule, cases: Sequence[Case], seed: int, copies: int) -> list[Population]:
    """One population for each base currency of the cases.

    Peers are whoever else is there: a rule that asks for them also sees each case that hits by itself.
    """
    rng = np.random.default_rng(seed)
    bases = dict.fromkeys(case.base for case in cases)
    found = [_population(rule, [case for case in cases if case.base == base], base, rng, copies) for base in bases]
    if any(measure.kind == "peers" for measure in rule.measures.values()):
        found += [_population(rule, [case], case.base, rng, 1) for case in cases if case.expect.hit]
    return found


def _population(rule: Rule, cases: Sequence[Case], base: str, rng: np.random.Generator, copies: int) -> Population:
    parts: dict[str, list[pl.DataFrame]] = {}
    first = 7000
    for case in cases:
        times = copies if case.tables["transactions"].height <= LARGE else 2
        for name, table in case.tables.items():
            if name == "rates":
                parts.setdefault(name, []).append(table)
            elif table.height:
                parts.setdefault(name, []).append(_copied(table, rule, rng, times, first))
            else:
                parts.setdefault(name, []).append(table)
        first += times
    for name, table in _bystanders(max(case.tables["transactions"]["booked_at"].min() for case in cases)).items():
        parts.setdefault(name, []).append(table)
    tables = {name: pl.concat(some) for name, some in parts.items()}
    tables["rates"] = tables["rates"].unique(["date", "currency", "base"], keep="first", maintain_order=True)
    payments = tables["transactions"]
    ids = pl.Series("transaction_id", [f"t:{n:06d}" for n in rng.permutation(payments.height)], dtype=pl.String)
    tables["transactions"] = payments.with_columns(ids)[rng.permutation(payments.height)]
    return Population(base, tables)


def _bystanders(at: datetime) -> dict[str, pl.DataFrame]:
    """Two people of whom everything is known, and a payment with every field: no field is empty in the whole feed."""
    day = at.date() - timedelta(days=4000)
    filled = {Type.INT: 1, Type.FLOAT: 1.5, Type.STRING: "XX", Type.DATE: day, Type.TIMESTAMP: at, Type.BOOL: True}
    money = pl.lit(Decimal(7), dtype=MONEY)

    def rows(table: Table, names: Sequence[str], **own: Sequence[str]) -> pl.DataFrame:
        columns = [
            (money if c.type is Type.MONEY else pl.lit(c.values[0] if c.values else filled[c.type])).alias(c.name)
            for c in table.columns
        ]
        keys = {table.key[0]: names} | own
        made = pl.DataFrame({"n": range(len(names))}).select(*columns, pl.col("n"))
        return fit(made.with_columns(pl.Series(k, v, dtype=pl.String) for k, v in keys.items()).drop("n"), table)

    sides = {"debtor_account_id": ["b1"], "creditor_account_id": ["b2"], "status": ["booked"], "reversal_of": [None]}
    return {
        "transactions": rows(TRANSACTIONS, ["t"], **sides),
        "accounts": rows(ACCOUNTS, ["b1", "b2"], party_id=["p1", "p2"], kind=["person", "person"]),
        "parties": rows(PARTIES, ["p1", "p2"], kind=["person", "person"]),
    }


def spread(population: Population) -> Population:
    """The same with no two payments at one instant: where windows that end with an instant are ours."""
    payments = population.tables["transactions"].sort("booked_at", "transaction_id")
    micros = pl.int_range(pl.len(), dtype=pl.Int64)
    moved = payments.with_columns(pl.col("booked_at") + pl.duration(microseconds=micros))
    apart = moved.filter(pl.col("debtor_account_id").ne_missing(pl.col("creditor_account_id")))
    return Population(population.base, {**population.tables, "transactions": apart})


class _Copies:
    """Rows of several copies of a table, one copy after another; copy 0 is never disturbed."""

    def __init__(self, height: int, times: int, rng: np.random.Generator) -> None:
        self.rng, self.size = rng, height * times
        self.start = np.repeat(np.arange(times) * height, height)
        self.height = height
        levels = np.concatenate([[0.0], rng.choice([0.1, 0.3, 1.0, 2.0], times - 1)])
        self.level = np.repeat(levels, height)

    def others(self) -> np.ndarray:
        """For each row, some row of the same copy."""
        return self.start + self.rng.integers(0, self.height, self.size)

    def which(self, *shares: float) -> np.ndarray:
        """For each row the number (from 1) of the change that it takes, 0 for none."""
        edges = np.cumsum(shares)[None, :] * self.level[:, None]
        drawn = self.rng.random(self.size)[:, None]
        change = (drawn >= edges).sum(axis=1) + 1
        return np.where(change > len(shares), 0, change)


def _copied(table: pl.DataFrame, rule: Rule, rng: np.random.Generator, times: int, first: int) -> pl.DataFrame:
    rows = _Copies(table.height, times, rng)
    whole = table[np.tile(np.arange(table.height), times)]
    copy = pl.Series(first + rows.start // table.height).cast(pl.String) + "."
    # An account may get another holder; a holder's own row stays one row.
    kept = _APART if "account_id" in whole.columns else _APART | {"party_id"}
    changed = [_values(whole[c], rows) for c in whole.columns if c not in kept and table[c].null_count() < table.height]
    if "booked_at" in whole.columns:
        changed += [_times(whole["booked_at"], rule, rows), *_amounts(whole, rule, rows), *_sides(whole, rows)]
    whole = whole.with_columns(changed)
    whole = whole.with_columns((copy + whole[c]).alias(c) for c in _OWN if c in whole.columns)
    if "booked_at" not in whole.columns:
        return whole
    twice = np.flatnonzero(rows.which(0.05))
    once = np.flatnonzero(rows.which(0.05) == 0)
    return fit(whole[np.concatenate([once, twice])], TRANSACTIONS)


def _times(times: pl.Series, rule: Rule, rows: _Copies) -> pl.Series:
    rng, n = rows.rng, rows.size
    at = times.to_physical().to_numpy().copy()
    spans = [m.timespan + m.offset for m in rule.measures.values()] + [m.offset for m in rule.measures.values()]
    spans += [s.within for s in rule.steps.values() if s.within]
    ends = np.array([s // timedelta(microseconds=1) for s in spans if s] or [24 * HOUR], np.int64)
    other, change = at[rows.others()], rows.which(0.1, 0.05, 0.08, 0.08)
    at = np.where(change == 1, at + rng.integers(-48 * HOUR, 48 * HOUR, n), at)
    at = np.where(change == 2, at + rng.integers(-HOUR, HOUR, n), at)
    at = np.where(change == 3, other, at)
    edge = rng.choice(ends, n) * rng.choice([-1, 1], n) + rng.choice([0, 0, -1, 1], n)
    return pl.Series("booked_at", np.where(change == 4, other + edge, at)).cast(times.dtype)


def _amounts(table: pl.DataFrame, rule: Rule, rows: _Copies) -> list[pl.Series]:
    rng, n = rows.rng, rows.size
    old = table["amount"].cast(pl.Float64).to_numpy()
    rate = (table["amount_base"].cast(pl.Float64) / table["amount"].cast(pl.Float64)).to_numpy()
    limits = np.array([p.default for p in rule.parameters.values() if p.is_money and 0 < p.default < 1e9] or [100.0])
    change, missing = rows.which(0.08, 0.05, 0.05, 0.05), rows.which(0.02) > 0
    new = np.where(change == 1, np.round(old * rng.uniform(0.5, 2, n), 2), old)
    new = np.where(change == 2, rng.choice(limits, n) * rng.choice([1, 1, 0.9, 1.1], n), new)
    new = np.where(change == 3, old[rows.others()], new)
    new = np.maximum(np.where(change == 4, np.round(old / 100) * 100, new), 0.01)
    out = []
    for name, value, empty in (("amount", new, np.zeros(n, np.bool_)), ("amount_base", new * rate, missing)):
        units = pl.Series(name, np.rint(np.nan_to_num(value) * MONEY_UNITS).astype(np.int64))
        made = (units.cast(pl.Decimal(18, 0)).cast(pl.Decimal(38, 5)) / MONEY_UNITS).cast(MONEY)
        changed = pl.Series(change != 0) & table[name].is_not_null()
        mixed = made.zip_with(changed, table[name].cast(MONEY))
        out.append(mixed.zip_with(pl.Series(~empty), pl.Series([None] * n, dtype=MONEY)).alias(name))
    return out


def _sides(table: pl.DataFrame, rows: _Copies) -> list[pl.Series]:
    """Accounts of another payment, of the other side, of one's own, or of nobody."""
    change, other = rows.which(0.05, 0.05, 0.02, 0.02, 0.01, 0.02), rows.others()
    names = ("debtor_account_id", "creditor_account_id")
    out = []
    for own, theirs, numbers in ((*names, (1, 3, 6)), (*names[::-1], (2, 4, 5))):
        drawn = [table[own][other], pl.Series([None] * rows.size, dtype=pl.String), table[theirs]]
        series = table[own]
        for number, values in zip(numbers, drawn, strict=True):
            series = values.zip_with(pl.Series(change == number), series)
        out.append(series.alias(own))
    return out


def _values(values: pl.Series, rows: _Copies) -> pl.Series:
    """Some values from another row, some missing."""
    change = rows.which(0.04, 0.02)
    mixed = values.zip_with(pl.Series(change != 1), values[rows.others()])
    return mixed.zip_with(pl.Series(change != 2), pl.Series([None] * rows.size, dtype=values.dtype))
