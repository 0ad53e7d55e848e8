"""Payments near the thresholds of a rule: its own cases, many times over, each copy disturbed.

Times move onto each other and onto the very ends of windows, amounts onto thresholds, sides change
places, values go missing, payments vanish or come twice. Each copy has accounts, parties and devices
of its own; the first copy of every case is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import polars as pl

from fintel.domain.schema import TRANSACTIONS
from fintel.frames import fit
from fintel.rules.cases import Case
from fintel.rules.model import Rule

#: Cases with more payments than this are copied once.
LARGE = 300
HOUR = 3_600_000_000
#: Columns that tell one copy from another.
_OWN = {"account_id", "party_id", "debtor_account_id", "creditor_account_id", "device_id", "ip_address", "place_id"}
_KEPT = {
    "transaction_id", "booked_at", "amount", "currency", "amount_base", "status", "reversal_of",
    "source", "feed_id", "source_file", "source_row",
}  # fmt: skip


@dataclass(frozen=True)
class Population:
    """Canonical tables of one base currency."""

    base: str
    tables: Mapping[str, pl.DataFrame]


def populations(rule: Rule, cases: Sequence[Case], seed: int, copies: int) -> list[Population]:
    """One population for each base currency of the cases."""
    found = []
    for base in dict.fromkeys(case.base for case in cases):
        rng = np.random.default_rng(seed)
        of_base = [case for case in cases if case.base == base]
        parts: dict[str, list[pl.DataFrame]] = {}
        number = 0
        for case in of_base:
            height = case.tables["transactions"].height
            for copy in range(1 if height > LARGE else copies):
                number += 1
                for name, table in case.tables.items():
                    if name == "rates":
                        if copy == 0:
                            parts.setdefault(name, []).append(table)
                        continue
                    changed = table if copy == 0 else _disturbed(table, rule, rng)
                    parts.setdefault(name, []).append(_named(changed, f"{number}."))
        tables = {name: pl.concat(some) for name, some in parts.items()}
        tables["rates"] = tables["rates"].unique(["date", "currency", "base"], keep="first", maintain_order=True)
        tables["transactions"] = _shuffled(tables["transactions"], rng)
        found.append(Population(base, tables))
    return found


def _named(table: pl.DataFrame, prefix: str) -> pl.DataFrame:
    own = [c for c in table.columns if c in _OWN]
    return table.with_columns((pl.lit(prefix) + pl.col(c)).alias(c) for c in own)


def _shuffled(payments: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Ids and rows in an order that says nothing about time."""
    ids = [f"t:{n:06d}" for n in rng.permutation(payments.height)]
    return payments.with_columns(transaction_id=pl.Series(ids, dtype=pl.String))[rng.permutation(payments.height)]


def _disturbed(table: pl.DataFrame, rule: Rule, rng: np.random.Generator) -> pl.DataFrame:
    if table.height == 0:
        return table
    level = rng.choice([0.1, 0.3, 1.0, 2.0])
    if "booked_at" not in table.columns:
        return table.with_columns(
            _values(table[c], rng, level / 2) for c in table.columns if c not in _KEPT | _OWN | {"value", "type"}
        )
    rows = np.flatnonzero(rng.random(table.height) >= 0.05 * level)
    rows = (
        np.sort(np.concatenate([rows, rng.choice(rows, rng.binomial(rows.size, 0.05 * level))])) if rows.size else rows
    )
    if rows.size == 0:
        return table
    table = table[rows]
    changed = [
        _times(table["booked_at"], rule, rng, level),
        *_amounts(table, rule, rng, level),
        *_sides(table, rng, level),
    ]
    changed += [
        _values(table[c], rng, level)
        for c in table.columns
        if c not in _KEPT and c not in ("debtor_account_id", "creditor_account_id")
    ]
    return fit(table.with_columns(changed), TRANSACTIONS)


def _which(rng: np.random.Generator, size: int, *shares: float) -> np.ndarray:
    """For each row the number (from 1) of the change that it takes, 0 for none."""
    edges = np.cumsum(shares)
    edges = edges / max(1.0, edges[-1])
    return (np.searchsorted(edges, rng.random(size), side="right") + 1) % (len(shares) + 1)


def _times(times: pl.Series, rule: Rule, rng: np.random.Generator, level: float) -> pl.Series:
    at = times.to_physical().to_numpy().copy()
    n = at.size
    spans = [m.timespan + m.offset for m in rule.measures.values()] + [
        m.offset for m in rule.measures.values() if m.offset
    ]
    spans += [s.within for s in rule.steps.values() if s.within] if hasattr(rule, "steps") else []
    ends = np.array([s // np.timedelta64(1, "us").item() for s in spans] or [24 * HOUR], np.int64)
    other = at[rng.integers(0, n, n)]
    change = _which(rng, n, *(level * np.array([0.1, 0.05, 0.08, 0.08])))
    at = np.where(change == 1, at + rng.integers(-48 * HOUR, 48 * HOUR, n), at)
    at = np.where(change == 2, at + rng.integers(-HOUR, HOUR, n), at)
    at = np.where(change == 3, other, at)
    edge = rng.choice(ends, n) * rng.choice([-1, 1], n) + rng.choice([0, 0, -1, 1], n)
    at = np.where(change == 4, other + edge, at)
    return pl.Series("booked_at", at).cast(times.dtype)


def _amounts(table: pl.DataFrame, rule: Rule, rng: np.random.Generator, level: float) -> list[pl.Series]:
    n = table.height
    old = table["amount"].cast(pl.Float64).to_numpy()
    rate = (table["amount_base"].cast(pl.Float64) / table["amount"].cast(pl.Float64)).to_numpy()
    limits = np.array([p.default for p in rule.parameters.values() if p.is_money and 0 < p.default < 1e9] or [100.0])
    change = _which(rng, n, *(level * np.array([0.08, 0.05, 0.05, 0.05])))
    new = np.where(change == 1, np.round(old * rng.uniform(0.5, 2, n), 2), old)
    new = np.where(change == 2, rng.choice(limits, n) * rng.choice([1, 1, 0.9, 1.1], n), new)
    new = np.where(change == 3, old[rng.integers(0, n, n)], new)
    new = np.where(change == 4, np.maximum(np.round(old / 100) * 100, 1), new)
    new = np.maximum(new, 0.01)
    base = new * rate
    missing = rng.random(n) < 0.02 * level
    money = TRANSACTIONS_MONEY
    amounts = [Decimal(repr(round(float(v), 5))) for v in new]
    bases = [
        None if m or np.isnan(b) else Decimal(repr(round(float(b), 5))) for b, m in zip(base, missing, strict=True)
    ]
    kept = change == 0
    out = [
        pl.Series("amount", amounts, dtype=money),
        pl.Series("amount_base", bases, dtype=money),
    ]
    unchanged = pl.Series(kept & ~missing)
    return [new.zip_with(~unchanged, table[new.name].cast(money)) for new in out]


TRANSACTIONS_MONEY = pl.Decimal(18, 5)


def _sides(table: pl.DataFrame, rng: np.random.Generator, level: float) -> list[pl.Series]:
    n = table.height
    debtor, creditor = table["debtor_account_id"], table["creditor_account_id"]
    change = _which(rng, n, *(level * np.array([0.05, 0.05, 0.02, 0.02, 0.01, 0.02])))
    others_debtor, others_creditor = debtor[rng.integers(0, n, n)], creditor[rng.integers(0, n, n)]
    nothing = pl.Series([None] * n, dtype=pl.String)
    new_debtor = (
        pl.select(
            pl.when(pl.Series(change == 1)).then(others_debtor)
            .when(pl.Series(change == 3)).then(nothing)
            .when(pl.Series(change == 6)).then(others_creditor)
            .otherwise(debtor).alias("debtor_account_id")
        ).to_series()
    )  # fmt: skip
    new_creditor = (
        pl.select(
            pl.when(pl.Series(change == 2)).then(others_creditor)
            .when(pl.Series(change == 4)).then(nothing)
            .when(pl.Series(change == 5)).then(debtor)
            .otherwise(creditor).alias("creditor_account_id")
        ).to_series()
    )  # fmt: skip
    return [new_debtor, new_creditor]


def _values(values: pl.Series, rng: np.random.Generator, level: float) -> pl.Series:
    """Some values from another row, some missing."""
    n = values.len()
    change = _which(rng, n, 0.04 * level, 0.02 * level)
    other = values[rng.integers(0, n, n)]
    mixed = values.zip_with(pl.Series(change != 1), other)
    return mixed.zip_with(pl.Series(change != 2), pl.Series([None] * n, dtype=values.dtype))
