"""Clauses and reasons: each observed value beside its threshold, in the table and in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from fintel.domain.schema import SEEN_ENTRIES
from fintel.rules.compiler import CompiledRule
from fintel.rules.model import Measure, Parameter

Percentile = Callable[[str, pl.Series, pl.Series], tuple[list[str], list[float | None]]]
_PLACE = re.compile(r"\{(\w+)\}")
_SPREAD = ("sum", "min", "max", "mean", "std")
_BETWEEN_UNITS = {"gap": "days", "leg_km": "km"}


@dataclass(frozen=True)
class Described:
    """Clause rows (``domain.schema.CLAUSES`` without ids, with ``rule_id`` and ``number``) and reasons."""

    table: pl.DataFrame
    reasons: pl.Series


def unit_of(measure: Measure, base: str) -> str | None:
    """Unit of a measure's value: the base currency for money, days, hours, years, or entries."""
    if measure.kind == "count":
        return "entries"
    if measure.kind == "distinct":
        return f"different {measure.column}"
    if measure.kind in ("growth", "rising"):
        return "times" if measure.kind == "growth" else "of steps"
    if measure.kind == "hops":
        return f"changes of {measure.column}"
    if measure.kind == "top":
        return {"": "entries", "amount_base": base}.get(measure.of, "of the payment")
    if measure.column in _BETWEEN_UNITS:
        return _BETWEEN_UNITS[measure.column]
    if measure.column == "booked_at":
        return "days before"
    unit = SEEN_ENTRIES[measure.column].unit
    return {"base": base, "currency": "of the payment"}.get(unit or "", unit)


def measure_of(compiled: CompiledRule, name: str) -> Measure:
    """A measure by its name; a step is the number of its entries."""
    found = compiled.rule.measures.get(name)
    return found or Measure(name, "count", "*", timedelta(microseconds=compiled.windows[name].span))


def _told_of(compiled: CompiledRule, measure: Measure) -> Measure:
    """The measure whose unit a measure's value has: what peers usually do is told as what they do."""
    return compiled.rule.measures[measure.column] if measure.kind == "peers" else measure


def number_in_words(value: float | None) -> str:
    """A number as people write it: thousands apart, no needless digits."""
    if value is None:
        return "none"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}"


def parameter_in_words(parameter: Parameter) -> str:
    """A threshold in the unit that its source states it in."""
    if parameter.is_money:
        return f"{parameter.unit} {number_in_words(parameter.default)}"
    if parameter.unit in ("share", "ratio") and 0 < parameter.default <= 1:
        return f"{number_in_words(parameter.default * 100)} %"
    return number_in_words(parameter.default)


def measure_in_words(measure: Measure, value: float | None, base: str) -> str:
    """A measured value with its unit where the number alone would mislead."""
    words = number_in_words(value)
    money = (measure.kind in _SPREAD and measure.column == "amount_base") or measure.of == "amount_base"
    return f"{base} {words}" if money and value is not None else words


def describe(
    compiled: CompiledRule, raw: pl.DataFrame, evidence: pl.DataFrame, percentile: Percentile, base: str
) -> Described:
    """Clauses of one rule's episodes.

    Parameters
    ----------
    raw: one row an episode: ``number``, ``entry``, ``time``, a column for each measure, ``right_<i>``
        for each comparison, ``normal_<measure>`` and ``points``.
    evidence: ``number``, ``measure``, ``rows``.
    percentile: group and share of peers below, for (measure, observed, entry).
    """
    rule = compiled.rule
    counted = evidence.group_by("number", "measure").agg(
        evidence_rows=pl.col("rows").first(), kept=pl.len().cast(pl.Int64)
    )
    shown: list[tuple[str, str | None, str | None]] = [
        (clause.measure, clause.operator, f"right_{number}")
        for number, clause in enumerate(compiled.clauses)
        if clause.measure is not None and clause.operator is not None
    ]
    compared = {name for name, _, _ in shown}
    shown += [(name, None, None) for name in rule.observables if name not in compared]
    parts = []
    moment = pl.Datetime("us")
    for place, (name, operator, right) in enumerate(shown, start=1):
        measure, (begins, ends) = measure_of(compiled, name), compiled.window_of(name)
        groups, shares = percentile(name, raw[name], raw["entry"])
        part = raw.select(
            "number",
            rule_id=pl.lit(rule.id),
            clause=pl.lit(place),
            measure=pl.lit(name),
            kind=pl.lit(f"{measure.kind} at {measure.at}" if measure.at else measure.kind),
            column=pl.lit(measure.column),
            window_from=(pl.col("time") - begins).cast(moment).dt.replace_time_zone("UTC"),
            window_to=(pl.col("time") - ends).cast(moment).dt.replace_time_zone("UTC"),
            observed=pl.col(name).cast(pl.Float64),
            operator=pl.lit(operator, dtype=pl.String),
            threshold=pl.col(right).cast(pl.Float64) if right else pl.lit(None, dtype=pl.Float64),
            unit=pl.lit(unit_of(_told_of(compiled, measure), base), dtype=pl.String),
            own_normal=pl.col(f"normal_{name}").cast(pl.Float64),
            own_points=pl.col("points").cast(pl.Int64),
            peer_group=pl.Series(groups, dtype=pl.String),
            peer_percentile=pl.Series(shares, dtype=pl.Float64),
        )
        parts.append(part)
    table = (
        pl.concat(parts)
        .join(counted, on=["number", "measure"], how="left", maintain_order="left")
        .with_columns(
            pl.col("evidence_rows").fill_null(0),
            evidence_truncated=pl.col("evidence_rows").fill_null(0) > pl.col("kept").fill_null(0),
        )
        # An empty window has no value to show; what is missing is said by the row count.
        .with_columns(pl.col("observed").fill_null(float("nan")))
        .drop("kept")
    )
    return Described(table, _reasons(compiled, raw, base))


def _reasons(compiled: CompiledRule, raw: pl.DataFrame, base: str) -> pl.Series:
    rule = compiled.rule
    fixed = {name: parameter_in_words(p) for name, p in rule.parameters.items()}
    names = [n for n in dict.fromkeys(_PLACE.findall(rule.reason)) if n in rule.observables]
    texts = []
    for values in raw.select(names).iter_rows() if names else ((),) * raw.height:
        filled = fixed | {
            n: measure_in_words(_told_of(compiled, measure_of(compiled, n)), v, base)
            for n, v in zip(names, values, strict=True)
        }
        texts.append(fill(rule.reason, filled))
    return pl.Series(texts, dtype=pl.String)


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its ``{names}`` filled in; a name that is not known stays."""
    return _PLACE.sub(lambda match: values.get(match[1], match[0]), template)
