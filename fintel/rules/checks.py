"""What can be wrong with a rule that YAML and grammar let through. One small function a finding.

Errors keep a rule out of the library; warnings do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from fintel.domain.schema import Type
from fintel.errors import Diagnostic, Location, Severity, did_you_mean
from fintel.rules.cases import case_findings
from fintel.rules.checks_forms import check_budget, check_correlation, check_names, check_options, check_steps
from fintel.rules.list_types import AmountList, ValueList
from fintel.rules.model import BETWEEN, GROUPS, PARTITION_COLUMNS, Library, Measure, Rule
from fintel.rules.reading import Reading, read_expressions
from fintel.rules.reading import finding as _found
from fintel.rules.scope import PROTECTED, entry_columns
from fintel.rules.source import Span, bounded
from fintel.rules.syntax import COMPARISONS
from fintel.rules.tree import Part

NUMERIC = (Type.MONEY, Type.INT, Type.FLOAT)
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_TECHNIQUE = re.compile(r"T\d{4}(\.\d{3})?")
#: Kinds whose value means nothing when amounts of several currencies are mixed.
_MIXING = ("sum", "mean", "std", "min", "max", "growth", "rising", "top")
#: Kinds that say something about what lies between entries.
_BETWEEN_KINDS = ("sum", "min", "max", "mean", "std", "growth", "rising")


Check = Callable[[Reading], Iterator[Diagnostic]]


def rule_findings(rule: Rule, library: Library) -> tuple[Diagnostic, ...]:
    """Everything wrong with one rule by itself (for a correlation: and with the rules it names)."""
    reading = read_expressions(rule, library)
    found = [*reading.errors]
    for check in RULE_CHECKS if rule.correlation is None else CORRELATION_CHECKS:
        found.extend(check(reading))
    return tuple(found)


def check_citation(reading: Reading) -> Iterator[Diagnostic]:
    """R014: at least one indicator, and each in the catalogue."""
    rule, known = reading.rule, reading.library.indicators
    if not rule.indicators:
        yield _found("R014", "the rule cites no indicator", rule.place("indicators"), "indicators: [ID]")
    for indicator in rule.indicators:
        if indicator not in known:
            hint = did_you_mean(indicator, known) or "add it to indicators.yaml, with its source"
            yield _found("R014", f"no indicator '{indicator}' in the catalogue", rule.place("indicators"), hint)


def check_techniques(reading: Reading) -> Iterator[Diagnostic]:
    """R017: technique ids look like T0058.003."""
    for technique in reading.rule.techniques:
        if not _TECHNIQUE.fullmatch(technique):
            place = reading.rule.place("techniques")
            yield _found("R017", f"'{technique}' is no technique id", place, "such as T0058.003")


def check_partition(reading: Reading) -> Iterator[Diagnostic]:
    """R018: what windows partition by."""
    rule, columns = reading.rule, entry_columns()
    place = rule.place("per")
    if not rule.per:
        yield _found("R018", "'per' is empty", place, "per: [account_id]")
    for name in rule.per:
        if name in PROTECTED:
            yield _found("R023", f"'{name}' is a protected trait: no rule may use it", place)
        elif name not in columns:
            yield _found("R022", f"no column '{name}'", place, did_you_mean(name, columns))
        elif columns[name] not in (Type.STRING, Type.DATE):
            yield _found("R018", f"windows cannot partition by '{name}'", place, "take an id or a code")
    if rule.per and rule.per[0] in columns and rule.per[0] not in PARTITION_COLUMNS:
        hint = f"one of: {', '.join(PARTITION_COLUMNS)}"
        yield _found("R018", f"the first of 'per' cannot be '{rule.per[0]}'", place, hint)
    if len(set(rule.per)) < len(rule.per):
        yield _found("R018", "'per' names a column twice", place)


def check_measures(reading: Reading) -> Iterator[Diagnostic]:
    """R045, R047: what a measure measures, and its name."""
    rule = reading.rule
    if not rule.observables:
        yield _found("R045", "the rule measures nothing", rule.place("measures"), 'sends: {count: "*", timespan: 7d}')
    for measure in rule.measures.values():
        if measure.name in rule.parameters:
            message = f"'{measure.name}' is a measure and a parameter"
            yield _found("R047", message, rule.place(f"measures.{measure.name}"))
        yield from _measured_column(rule, measure)


def _measured_column(rule: Rule, measure: Measure) -> Iterator[Diagnostic]:
    place = rule.place(f"measures.{measure.name}.{measure.kind}")
    columns = entry_columns()
    if measure.kind == "peers" or (measure.column in BETWEEN and measure.kind in _BETWEEN_KINDS):
        return
    if measure.kind == "count":
        if measure.column != "*":
            yield _found("R045", "'count' counts entries: count: \"*\"", place, "distinct: counts different values")
        return
    if measure.column in PROTECTED:
        yield _found("R023", f"'{measure.column}' is a protected trait: no rule may use it", place)
    elif measure.column not in columns:
        hint = did_you_mean(measure.column, columns)
        yield _found("R022", f"no column '{measure.column}'", place, hint)
    elif not _measurable(measure.kind, measure.column, columns[measure.column]):
        hint = "'distinct', 'top' and 'hops' take texts, whole numbers or days; the others numbers"
        yield _found("R045", f"'{measure.kind}' cannot take '{measure.column}'", place, hint)


def _measurable(kind: str, column: str, type: Type) -> bool:
    if kind in ("distinct", "top", "hops"):
        return type in (Type.STRING, Type.INT, Type.DATE)
    if kind in ("first", "last") and column == "booked_at":
        return True
    return type in NUMERIC


def check_mixed_currencies(reading: Reading) -> Iterator[Diagnostic]:
    """R046: a sum of ``amount`` over entries that may be in several currencies."""
    rule = reading.rule
    for measure in rule.measures.values():
        filtered = reading.wheres.get(measure.name, None if measure.where else reading.anchor)
        fixed = "currency" in rule.per or (filtered is not None and "currency" in filtered.columns)
        mixed = "amount" in (measure.column, measure.of)
        if mixed and measure.kind in _MIXING and not fixed:
            message = f"'{measure.kind}: amount' mixes currencies"
            place = rule.place(f"measures.{measure.name}.{measure.kind}")
            yield _found("R046", message, place, "take amount_base", Severity.WARNING)


def check_parameters(reading: Reading) -> Iterator[Diagnostic]:
    """R040, R041: unused parameters, defaults outside their range."""
    rule = reading.rule
    used = {name for _, part in reading.expressions for name in part.parameters}
    used |= {s.at_least.removeprefix(":") for s in rule.steps.values()}
    if rule.correlation is not None:
        used.add(rule.correlation.at_least.removeprefix(":"))
    for parameter in rule.parameters.values():
        place = rule.place(f"parameters.{parameter.name}")
        if not reading.errors and parameter.name not in used:
            message = f"parameter '{parameter.name}' is never used"
            yield _found("R040", message, place, "an expression names it ':name'", Severity.WARNING)
        if parameter.range is not None and not parameter.range[0] <= parameter.default <= parameter.range[1]:
            low, high = parameter.range
            message = f"default {parameter.default:g} is outside {low:g} to {high:g}"
            yield _found("R041", message, rule.place(f"parameters.{parameter.name}.default"))


def check_unused_measures(reading: Reading) -> Iterator[Diagnostic]:
    """R048: a measure that neither the condition nor the reason names."""
    rule = reading.rule
    if reading.when is None:
        return
    named = set(reading.when.measures) | set(placeholders(rule.reason))
    named |= {m.column for m in rule.measures.values() if m.kind == "peers"}
    for measure in rule.measures.values():
        if measure.name not in named:
            message = f"measure '{measure.name}' is used nowhere"
            yield _found("R048", message, rule.place(f"measures.{measure.name}"), None, Severity.WARNING)


def check_currency(reading: Reading) -> Iterator[Diagnostic]:
    """R042: a threshold in a currency is converted to the base currency, ``amount`` is not."""
    rule = reading.rule
    money = {p.name for p in rule.parameters.values() if p.is_money}
    in_payment_currency = {"amount"} | {m.name for m in rule.measures.values() if "amount" in (m.column, m.of)}
    amounts = {name for name, found in reading.library.lists.items() if isinstance(found, AmountList)}
    for place, part in reading.expressions:
        for piece in part.own():
            listed = {name for p in piece.walk() for name in p.lists} & amounts
            parameters = (piece.parameters & money) | {f"lookup(@{name})" for name in listed}
            compares = piece.operator.removeprefix("not ") in (*COMPARISONS, "between", "in", "%")
            if not compares or not parameters:
                continue
            clash = sorted(piece.names & in_payment_currency)
            if clash or piece.operator == "%":
                what = f"with '{clash[0]}'" if clash else "by '%'"
                message = f"'{min(parameters)}' is in the base currency and cannot be compared {what}"
                yield _found(
                    "R042", message, _within(rule, place, piece), "use amount_base, or a unit without currency"
                )
                return


def _within(rule: Rule, place: str, part: Part) -> Span | Location:
    span = rule.place(place)
    return span.locate(part.start) if isinstance(span, Span) else span


def check_list_columns(reading: Reading) -> Iterator[Diagnostic]:
    """R031: a column looked up in a list of something else."""
    for place, part in reading.expressions:
        for piece in part.own():
            if piece.operator not in ("in", "not in") or not piece.lists or piece.parts[0].name is None:
                continue
            column = piece.parts[0].name
            for name in piece.lists:
                found = reading.library.lists[name]
                if isinstance(found, ValueList) and not _matches(column, found.column):
                    message = f"'{column}' is looked up in '@{name}', a list of {found.column}"
                    where = _within(reading.rule, place, piece)
                    yield _found("R031", message, where, None, Severity.WARNING)


def _matches(column: str, listed: str) -> bool:
    return column == listed or column.endswith(f"_{listed}") or listed.endswith(f"_{column}")


def check_reason(reading: Reading) -> Iterator[Diagnostic]:
    """R050: placeholders of the reason are measures or parameters."""
    rule = reading.rule
    known = [*rule.observables, *rule.parameters]
    if rule.correlation is not None:
        known += [*GROUPS]
    place = rule.place("reason")
    for name in placeholders(rule.reason):
        if name not in known:
            hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
            word = place.locate(place.value.find(f"{{{name}}}")) if isinstance(place, Span) else place
            yield _found("R050", f"'{{{name}}}' is no measure or parameter", word, hint)


def placeholders(reason: str) -> tuple[str, ...]:
    """Names in braces."""
    return tuple(_PLACEHOLDER.findall(reason))


def check_windows(reading: Reading) -> Iterator[Diagnostic]:
    """R049: ``when`` that names no measure would hit at every anchor."""
    rule = reading.rule
    if reading.when is not None and not reading.when.measures:
        yield _found("R049", "'when' names no measure", rule.place("when"), "compare a measure with a threshold")
    for measure in rule.measures.values():
        if measure.timespan + measure.offset > timedelta(days=3660):
            place = rule.place(f"measures.{measure.name}.offset")
            yield _found("R044", "timespan and offset together reach back more than ten years", place)


RULE_CHECKS: tuple[Check, ...] = (
    check_citation,
    check_techniques,
    check_partition,
    check_measures,
    check_windows,
    check_parameters,
    check_currency,
    check_reason,
    check_mixed_currencies,
    check_unused_measures,
    check_list_columns,
    check_steps,
    check_options,
    check_names,
    check_budget,
)
CORRELATION_CHECKS: tuple[Check, ...] = (
    check_citation,
    check_techniques,
    check_parameters,
    check_reason,
    check_correlation,
    check_budget,
)


def duplicate_logic(rules: Iterable[Rule]) -> Iterator[Diagnostic]:
    """R012: two rules that would hit alike."""
    seen: dict[str, Rule] = {}
    for rule in rules:
        other = seen.setdefault(rule.fingerprint, rule)
        if other is not rule:
            yield _found("R012", f"'{rule.id}' has the very logic of '{other.id}'", rule.location,
                         "change a parameter, or delete one")  # fmt: skip


def check(library: Library) -> tuple[Diagnostic, ...]:
    """Everything that can be said about a loaded library: rules, duplicates, cases.

    ``loader.load`` has already reported what it left out.
    """
    found: list[Diagnostic] = []
    for rule in library.rules:
        found.extend(rule_findings(rule, library))
        found.extend(case_findings(rule))
        found.extend(_threshold_rates(rule, library))
    found.extend(duplicate_logic(library.rules))
    found.extend(_stray_cases(library))
    return bounded(sorted(found, key=_order))


def _stray_cases(library: Library) -> Iterator[Diagnostic]:
    """R064: cases that belong to no rule file are never run."""
    for pack in library.packs.values():
        folder = Path(pack.folder)
        for path in sorted(folder.glob("cases/*.y*ml")):
            if path.suffix != ".yaml" or not (folder / path.name).is_file():
                hint = "call it as the rule's file"
                yield _found("R064", "cases of no rule", Location(str(path)), hint, Severity.WARNING)


def _threshold_rates(rule: Rule, library: Library) -> Iterator[Diagnostic]:
    """R080: a threshold in a currency that no shipped rate converts."""
    for parameter in rule.parameters.values():
        if parameter.is_money and parameter.unit != "USD" and parameter.unit not in library.threshold_rates:
            message = f"no threshold rate for {parameter.unit}: the rule cannot tell without a rates table"
            place = rule.place(f"parameters.{parameter.name}.unit")
            yield _found("R080", message, place, "add it to lists/threshold_rates.yaml", Severity.WARNING)


def _order(diagnostic: Diagnostic) -> tuple[str, int, int, str]:
    place = diagnostic.location
    if place is None:
        return ("", 0, 0, diagnostic.code)
    return (place.file, place.line or 0, place.column or 0, diagnostic.code)
