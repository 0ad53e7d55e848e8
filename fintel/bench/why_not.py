"""Why a rule did not hit an account: which clause failed, by how much, and where it came nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from fintel.domain.detection import Outcome
from fintel.engine.arrays import Entries
from fintel.engine.local import sweep
from fintel.engine.partition import Slice, partition
from fintel.rules.across import Across
from fintel.rules.compiler import CompiledRule
from fintel.rules.expression import Clause
from fintel.rules.model import Library
from fintel.rules.prepared import blindness, prepare
from fintel.rules.runner import Progress


@dataclass(frozen=True)
class ClauseState:
    """One condition at the nearest entry. ``held`` is None where it could not be decided."""

    text: str
    held: bool | None
    observed: float | None
    operator: str | None
    threshold: float | None

    @property
    def missing(self) -> float | None:
        """Distance to the threshold; None where it is not a comparison or a value is empty."""
        if self.held:
            return 0.0
        if self.observed is None or self.threshold is None:
            return None
        return abs(self.threshold - self.observed)


@dataclass(frozen=True)
class WhyNot:
    """How near a rule came on one account. ``held`` of ``len(clauses)`` conditions held at ``nearest_at``."""

    rule_id: str
    outcome: Outcome
    reason: str
    hit: bool = False
    looked_at: int = 0
    nearest_at: datetime | None = None
    clauses: tuple[ClauseState, ...] = ()

    @property
    def held(self) -> int:
        """Conditions that held at the nearest entry."""
        return sum(bool(c.held) for c in self.clauses)


def why_not(
    tables: Mapping[str, pl.DataFrame | pl.LazyFrame],
    library: Library,
    account_id: str,
    *,
    base_currency: str = "USD",
    as_of: datetime | None = None,
    threads: int = 0,
    progress: Progress,
) -> tuple[WhyNot, ...]:
    """Look at every anchor entry of an account, for every rule of a library (correlations apart).

    The nearest entry is the one at which most conditions hold; among those, the one that is least far
    from its thresholds; among those, the latest.
    """
    prepared = prepare(tables, library, base_currency=base_currency, as_of=as_of)
    data = prepared.data
    code = _code(data.dictionary["account_id"], account_id)
    across = Across(data, threads)
    found = []
    for number, compiled in enumerate(prepared.plan.rules):
        progress("rules", number, len(prepared.plan.rules))
        rule_id = compiled.rule.id
        blind = blindness(compiled, data)
        if rule_id in prepared.failures:
            found.append(WhyNot(rule_id, Outcome.FAILED, prepared.failures[rule_id]))
        elif blind:
            found.append(WhyNot(rule_id, Outcome.CANNOT_TELL, blind.reason))
        else:
            across.prepare(compiled)
            found.append(_nearest(across, compiled, code, threads))
    for rule_id, unit in prepared.plan.unconverted.items():
        found.append(WhyNot(rule_id, Outcome.CANNOT_TELL, f"no rate turns {unit} into {base_currency}"))
    return tuple(sorted(found, key=_order))


def _order(found: WhyNot) -> tuple[bool, bool, float, str]:
    share = found.held / len(found.clauses) if found.clauses else -1.0
    return (not found.hit, found.outcome is not Outcome.EVALUATED, -share, found.rule_id)


def _code(dictionary: pl.Series, account_id: str) -> int:
    found = dictionary.cast(pl.String).index_of(account_id)
    return -1 if found is None else int(found)


def _nearest(across: Across, compiled: CompiledRule, code: int, threads: int) -> WhyNot:
    data, clauses = across.data, compiled.clauses
    accounts = data.codes["account_id"]
    theirs = np.flatnonzero(accounts == code)
    cut = _cut_short(data, compiled, theirs)
    if not data.mask(compiled.anchor_mask, theirs).any():
        what = f"the rule looks at entries where {' '.join(compiled.rule.anchor.split())}"
        told = f"the account has none of these: {what}{f'; {cut}' if cut else ''}"
        return WhyNot(compiled.rule.id, Outcome.EVALUATED, told)

    def look(piece: Slice) -> pl.DataFrame | None:
        anchors = piece.anchors(compiled.anchor)
        mine = np.flatnonzero(accounts[piece.rows[anchors]] == code)
        if not mine.size:
            return None
        observed = compiled.observe(piece, across.given(piece, compiled))[mine]
        return observed.select(
            compiled.when.fill_null(value=False).alias("hit"),
            *(expression for n, clause in enumerate(clauses) for expression in _states(n, clause)),
        ).with_columns(at=pl.Series(piece.time[anchors[mine]]).cast(pl.Datetime("us", "UTC")))

    pieces = partition(data, compiled.rule.per, compiled.masks)
    parts = [part for part in sweep(pieces, look, threads=threads) if part is not None]
    if not parts:
        return WhyNot(compiled.rule.id, Outcome.EVALUATED, "no chain of its steps ends on this account")
    seen = pl.concat(parts)
    held = pl.sum_horizontal(pl.col(f"held {n}").fill_null(value=False) for n in range(len(clauses)))
    far = pl.sum_horizontal(pl.col(f"far {n}").fill_null(1.0) for n in range(len(clauses)))
    best = seen.with_columns(held=held, far=far).sort("hit", "held", "far", "at", descending=[True, True, False, True])
    row = best.row(0, named=True)
    states = tuple(
        ClauseState(clause.text, row[f"held {n}"], row[f"left {n}"], clause.operator, row[f"right {n}"])
        for n, clause in enumerate(clauses)
    )
    return WhyNot(compiled.rule.id, Outcome.EVALUATED, cut, row["hit"], seen.height, row["at"], states)


def _cut_short(data: Entries, compiled: CompiledRule, theirs: np.ndarray[Any, np.dtype[np.int64]]) -> str:
    """At how many of an account's entries a bound cut short a search of the graph that the rule reads; empty: none."""
    cut = np.zeros(theirs.size, np.bool_)
    for mask in compiled.cut_short.values():
        cut |= data.mask(mask, theirs).view(np.bool_)
    numbers = f"at {int(cut.sum()):,} entries of the account a bound cut a search of the graph short"
    return f"{numbers}: its numbers may be too low there" if cut.any() else ""


def _states(number: int, clause: Clause) -> Sequence[pl.Expr]:
    """Columns ``held``, ``left``, ``right``, ``far`` (share of the threshold that is missing) of one condition."""
    nothing = pl.lit(None, dtype=pl.Float64)
    left = nothing if clause.left is None else clause.left.cast(pl.Float64)
    right = nothing if clause.right is None else clause.right.cast(pl.Float64)
    held = clause.held
    gap = (right - left).abs() / pl.max_horizontal(right.abs(), left.abs())
    far = pl.when(held.fill_null(value=False)).then(0.0).otherwise(gap)
    return (
        held.alias(f"held {number}"),
        left.alias(f"left {number}"),
        right.alias(f"right {number}"),
        far.alias(f"far {number}"),
    )
