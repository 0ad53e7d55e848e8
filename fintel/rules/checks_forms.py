"""Checks of the forms that not every rule has: steps, options of measures, correlations, budgets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from fintel.domain.schema import Type
from fintel.errors import Diagnostic, Location, Severity, did_you_mean
from fintel.rules.model import BETWEEN, PEER_COLUMNS, Measure, Rule
from fintel.rules.reading import Reading, comparable, finding
from fintel.rules.scope import PROTECTED, entry_columns
from fintel.rules.source import Span

_MOST_COMPONENTS = 60
#: Types of columns that can be the same in two entries.
_CODED = (Type.STRING, Type.INT, Type.DATE, Type.BOOL)
_PEERS_AT_MOST = timedelta(days=366)
_PEERS_AT_LEAST = timedelta(days=30)


def check_names(reading: Reading) -> Iterator[Diagnostic]:
    """R047, R055: a name that means two things; a condition that nothing uses."""
    rule, columns = reading.rule, entry_columns()
    for name in rule.conditions:
        for what, known in (
            ("a column", set(columns)),
            ("a parameter", set(rule.parameters)),
            ("a step", set(rule.steps)),
        ):
            if name in known:
                yield finding("R055", f"'{name}' is a condition and {what}", rule.place(f"conditions.{name}"))
    for name in rule.steps:
        for what, others in (("a measure", set(rule.measures)), ("a parameter", set(rule.parameters))):
            if name in others:
                yield finding("R047", f"'{name}' is a step and {what}", rule.place(f"steps.{name}"))
    if reading.errors:
        return
    used = {p.condition for _, part in reading.expressions for p in part.walk() if p.condition}
    for name in rule.conditions:
        if name not in used and name not in reading.library.conditions:
            place = rule.place(f"conditions.{name}")
            yield finding("R055", f"condition '{name}' is used nowhere", place, None, Severity.WARNING)


def check_steps(reading: Reading) -> Iterator[Diagnostic]:
    """R051: each step stands after one that is written before it, within a span."""
    rule = reading.rule
    known: list[str] = []
    for step in rule.steps.values():
        if step.after is not None and step.after not in known:
            hint = did_you_mean(step.after, known) or f"steps before it: {', '.join(known) or 'none'}"
            yield finding(
                "R051", f"no step '{step.after}' before '{step.name}'", rule.place(f"steps.{step.name}.after"), hint
            )
        yield from _check_same(rule, step.same, f"steps.{step.name}.same")
        yield from _check_count(rule, step.at_least, rule.place(f"steps.{step.name}.at_least"))
        known.append(step.name)
    if rule.steps and rule.anchor.strip() not in rule.steps:
        used = {(m.where or "").strip() for m in rule.measures.values()}
        if not used & rule.steps.keys():
            place = rule.place("anchor")
            yield finding("R051", "no step is the anchor or a measure's 'where'", place, "anchor: the last step")


def _check_count(rule: Rule, count: str, place: Span | Location) -> Iterator[Diagnostic]:
    if count.startswith(":") and count[1:] not in rule.parameters:
        yield finding("R024", f"no parameter '{count}'", place, did_you_mean(count[1:], rule.parameters))


def _check_same(rule: Rule, same: tuple[tuple[str, str], ...], part: str) -> Iterator[Diagnostic]:
    columns, place = entry_columns(), rule.place(part)
    for pair in same:
        for name in pair:
            if name in PROTECTED:
                yield finding("R023", f"'{name}' is a protected trait: no rule may use it", place)
            elif name not in columns:
                yield finding("R022", f"no column '{name}'", place, did_you_mean(name, columns))
            elif columns[name] not in _CODED:
                yield finding(
                    "R053", f"'{name}' is no code, so nothing is looked up by it", place, "texts, whole numbers, days"
                )
        if pair[0] in columns and pair[1] in columns and not comparable(*pair):
            yield finding("R053", f"'{pair[0]}' and '{pair[1]}' are never equal: other types", place)


def check_options(reading: Reading) -> Iterator[Diagnostic]:
    """R053: options that do not go with a measure."""
    rule = reading.rule
    for measure in rule.measures.values():
        part = f"measures.{measure.name}"
        yield from _check_same(rule, measure.same, f"{part}.same")
        for message, hint in _misfits(rule, measure):
            yield finding("R053", message, rule.place(part), hint)


def _misfits(rule: Rule, measure: Measure) -> Iterator[tuple[str, str]]:
    kind, columns = measure.kind, entry_columns()
    if measure.of and kind != "top":
        yield f"'of' goes with 'top', not with '{kind}'", "top: counterparty_id, of: amount_base"
    if measure.of and measure.of not in ("amount", "amount_base"):
        yield f"'of' cannot add up '{measure.of}'", "amount_base"
    if measure.column in BETWEEN and kind == "peers":
        yield f"'peers' takes a measure's name, not '{measure.column}'", "peers: sends"
    if measure.at:
        if rule.per != ("account_id",):
            yield "'at: counterparty' needs per: [account_id]", "the other side is an account"
        if measure.where is None or measure.where.strip() in rule.steps:
            yield "'at: counterparty' needs a 'where' of its own", "where: direction = 'in'"
        if measure.same:
            yield "'same' does not go with 'at'", "leave one out"
    if kind == "peers":
        yield from _peer_misfits(rule, measure)
    elif measure.quantile is not None or measure.by:
        yield f"'quantile' and 'by' go with 'peers', not with '{kind}'", "peers: sends"
    if len(set(measure.by)) < len(measure.by):
        yield "'by' names a column twice", "each once"
    for name in measure.by:
        if name not in PEER_COLUMNS:
            yield f"peers cannot be grouped by '{name}'", f"of: {', '.join(c for c in PEER_COLUMNS if c in columns)}"


def _peer_misfits(rule: Rule, measure: Measure) -> Iterator[tuple[str, str]]:
    other = rule.measures.get(measure.column)
    if other is None or other.kind == "peers" or other.at:
        own = [m.name for m in rule.measures.values() if m.kind != "peers" and not m.at]
        yield f"'peers' takes a measure over the account's own entries, not '{measure.column}'", ", ".join(own) or "-"
    if measure.quantile is None or not 0 < measure.quantile < 1:
        yield "'peers' needs a quantile between 0 and 1", "quantile: 0.95"
    if measure.where is not None or measure.offset or measure.same or measure.at:
        yield "'where', 'offset', 'same' and 'at' do not go with 'peers'", "they stand in the measure it names"
    if not _PEERS_AT_LEAST <= measure.timespan <= _PEERS_AT_MOST:
        yield f"'peers' looks back {_PEERS_AT_LEAST.days} to {_PEERS_AT_MOST.days} days", "timespan: 90d"


def check_correlation(reading: Reading) -> Iterator[Diagnostic]:
    """R052: what a correlation names."""
    rule = reading.rule
    wanted = rule.correlation
    if wanted is None:
        return
    rules = {r.id: r for r in reading.library.rules}
    place = rule.place("correlation")
    for name in wanted.components:
        if name not in rules:
            yield finding("R052", f"no rule '{name}'", place, did_you_mean(name, rules))
        elif rules[name].correlation is not None:
            yield finding("R052", f"'{name}' is a correlation itself", place, "name the rules that it names")
    if len(wanted.components) > _MOST_COMPONENTS:
        yield finding("R052", f"more than {_MOST_COMPONENTS} rules", place)
    if not wanted.components:
        yield finding("R052", "the correlation names no rule", place, "all: [pack/rule, pack/rule]")
    yield from _check_count(rule, wanted.at_least, place)
    if wanted.at_least.isdigit() and wanted.any and int(wanted.at_least) > len(wanted.any):
        yield finding("R052", f"{wanted.at_least} of {len(wanted.any)} can never be", place)
    for group in ("all", "any", "ordered"):
        listed = getattr(wanted, group)
        if len(set(listed)) < len(listed):
            yield finding("R052", f"'{group}' names a rule twice", place)
    if wanted.across and not getattr(wanted, wanted.across):
        yield finding("R052", f"'across' names the group '{wanted.across}', which is empty", place)
    if len(wanted.ordered) == 1:
        yield finding("R052", "an order needs two rules", place)


def check_budget(reading: Reading) -> Iterator[Diagnostic]:
    """R054: how many false alarms are too many."""
    if reading.rule.budget is None:
        hint = "budget: 10 (alerted accounts per 10,000 and 30 days on a lawful population)"
        yield finding("R054", "no false-positive budget", reading.rule.place("level"), hint, Severity.WARNING)
