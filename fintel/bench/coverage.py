"""What is covered: the catalogue of indicators by rules, and the rules by what a feed fills in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from fintel.domain.detection import Outcome
from fintel.rules.model import Indicator, Library
from fintel.rules.prepared import blindness, prepare

STATES = ("implemented", "needs data", "not machine-observable", "unaccounted")


@dataclass(frozen=True)
class Covered:
    """An indicator and how it is accounted for: ``rules`` that cite it, or ``why`` none does."""

    indicator: Indicator
    state: str
    rules: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Sight:
    """What a rule can see of a feed. ``columns``: of entries, that would open its eyes."""

    rule_id: str
    outcome: Outcome
    reason: str
    columns: tuple[str, ...]
    anchors: int


def catalogue(library: Library) -> tuple[Covered, ...]:
    """Every indicator, in the catalogue's order."""
    citing: dict[str, list[str]] = {}
    for rule in library.rules:
        for indicator_id in rule.indicators:
            citing.setdefault(indicator_id, []).append(rule.id)
    found = []
    for indicator in library.indicators.values():
        rules = tuple(sorted(citing.get(indicator.id, ())))
        if rules:
            state, why = "implemented", ""
        elif indicator.not_observable:
            state, why = "not machine-observable", indicator.not_observable
        elif indicator.needs:
            state, why = "needs data", indicator.needs
        else:
            state, why = "unaccounted", "no rule cites it, and the catalogue does not say why"
        found.append(Covered(indicator, state, rules, why))
    return tuple(found)


def sights(
    tables: Mapping[str, pl.DataFrame | pl.LazyFrame],
    library: Library,
    *,
    base_currency: str = "USD",
    as_of: datetime | None = None,
) -> tuple[Sight, ...]:
    """What each rule can see of a feed; nothing is evaluated but its conditions."""
    prepared = prepare(tables, library, base_currency=base_currency, as_of=as_of)
    found: dict[str, Sight] = {}
    for compiled in prepared.plan.rules:
        rule_id, anchors = compiled.rule.id, prepared.data.selected[compiled.anchor_mask]
        blind = blindness(compiled, prepared.data)
        if rule_id in prepared.failures:
            found[rule_id] = Sight(rule_id, Outcome.FAILED, prepared.failures[rule_id], (), 0)
        elif blind:
            found[rule_id] = Sight(rule_id, Outcome.CANNOT_TELL, blind.reason, blind.columns, anchors)
        else:
            found[rule_id] = Sight(rule_id, Outcome.EVALUATED, "", (), anchors)
    for rule_id, unit in prepared.plan.unconverted.items():
        reason = f"no rate turns {unit} into {base_currency}"
        found[rule_id] = Sight(rule_id, Outcome.CANNOT_TELL, reason, ("rates",), 0)
    for rule, _ in prepared.plan.correlations:
        found[rule.id] = _together(rule.id, library, found)
    return tuple(found[rule.id] for rule in library.rules)


def _together(rule_id: str, library: Library, found: Mapping[str, Sight]) -> Sight:
    """A correlation sees what the rules that it needs see."""
    wanted = library[rule_id].correlation
    assert wanted is not None  # the plan's choice
    needed = [found[c] for c in (*wanted.all, *wanted.ordered) if c in found]
    some = [found[c] for c in wanted.any if c in found]
    blind = [s for s in needed if s.outcome is not Outcome.EVALUATED]
    if not blind and some and all(s.outcome is not Outcome.EVALUATED for s in some):
        blind = some
    if not blind:
        anchors = min((s.anchors for s in needed), default=max((s.anchors for s in some), default=0))
        return Sight(rule_id, Outcome.EVALUATED, "", (), anchors)
    columns = tuple(dict.fromkeys(c for s in blind for c in s.columns))
    return Sight(rule_id, Outcome.CANNOT_TELL, f"{', '.join(s.rule_id for s in blind)} cannot tell", columns, 0)


def openers(found: tuple[Sight, ...]) -> tuple[tuple[str, int, int], ...]:
    """Columns that feeds could fill: how many blind rules lack each, and how many lack nothing else."""
    lacking: dict[str, list[Sight]] = {}
    for sight in found:
        for column in sight.columns if sight.outcome is Outcome.CANNOT_TELL else ():
            lacking.setdefault(column, []).append(sight)
    rows = [(name, len(some), sum(s.columns == (name,) for s in some)) for name, some in lacking.items()]
    return tuple(sorted(rows, key=lambda row: (-row[2], -row[1], row[0])))


def filled(entries: pl.LazyFrame) -> dict[str, float]:
    """Share of entries in which each column has a value."""
    counts = entries.select(pl.all().count(), pl.len().alias(" all")).collect(engine="streaming").row(0, named=True)
    everything = counts.pop(" all")
    return {name: count / everything if everything else 0.0 for name, count in counts.items()}
