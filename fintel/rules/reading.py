"""A rule with its expressions parsed: what checks look at and what the compiler evaluates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fintel.errors import Diagnostic, Location, RuleError, Severity
from fintel.rules.expression import Expression, When, parse, parse_when, read_conditions
from fintel.rules.list_types import AnyList
from fintel.rules.model import Condition, Library, Rule
from fintel.rules.scope import entry_columns
from fintel.rules.source import Span
from fintel.rules.tree import Part


@dataclass(frozen=True)
class Reading:
    """A rule with its expressions parsed, as far as they can be.

    ``anchor``, ``wheres`` (by measure) and ``steps`` are conditions over entries; where one is the
    name of a step, it is that step's ``where``.
    """

    rule: Rule
    library: Library
    anchor: Expression | None
    wheres: Mapping[str, Expression]
    steps: Mapping[str, Expression]
    conditions: Mapping[str, Part]
    when: When | None
    errors: tuple[Diagnostic, ...] = field(default=())

    @property
    def expressions(self) -> Iterator[tuple[str, Part]]:
        """Parts that are written in the rule, by the name of their place."""
        rule = self.rule
        for name, part in self.conditions.items():
            shared = self.library.conditions.get(name)
            if shared is None or shared.text != rule.conditions[name]:
                yield f"conditions.{name}", part
        for name, step in self.steps.items():
            yield f"steps.{name}.where", step.part
        if self.anchor is not None and rule.anchor.strip() not in rule.steps:
            yield "anchor", self.anchor.part
        for name, where in self.wheres.items():
            if (rule.measures[name].where or "").strip() not in rule.steps:
                yield f"measures.{name}.where", where.part
        if self.when is not None:
            yield "when", self.when.part


def read_expressions(rule: Rule, library: Library) -> Reading:
    """Parse every expression of a rule; what does not parse is in ``errors``."""
    parameters = {name: p.default for name, p in rule.parameters.items()}
    columns, lists = entry_columns(), library.lists
    written = ((name, text, rule.place(f"conditions.{name}")) for name, text in rule.conditions.items())
    conditions, errors = read_conditions(written, columns=columns, parameters=parameters, lists=lists)

    def entry(text: str, part: str) -> Expression | None:
        try:
            return parse(
                text, columns=columns, parameters=parameters, lists=lists,
                conditions=conditions, location=rule.place(part),
            )  # fmt: skip
        except RuleError as error:
            errors.extend(error.diagnostics)
            return None

    if rule.correlation is not None:
        return Reading(rule, library, None, {}, {}, {}, None, tuple(errors))
    steps = {s.name: found for s in rule.steps.values() if (found := entry(s.where, f"steps.{s.name}.where"))}
    anchor = steps.get(rule.anchor.strip()) if rule.anchor.strip() in rule.steps else entry(rule.anchor, "anchor")
    wheres = {}
    for measure in rule.measures.values():
        if measure.where is None:
            continue
        name = measure.where.strip()
        found = steps.get(name) if name in rule.steps else entry(measure.where, f"measures.{measure.name}.where")
        if found is not None:
            wheres[measure.name] = found
    when = None
    try:
        when = parse_when(rule.when, rule.observables, parameters, rule.place("when"))
    except RuleError as error:
        errors.extend(error.diagnostics)
    return Reading(rule, library, anchor, wheres, steps, conditions, when, tuple(errors))


def shared_condition_findings(
    conditions: Mapping[str, Condition], lists: Mapping[str, AnyList]
) -> tuple[list[Diagnostic], frozenset[str]]:
    """What is wrong with conditions that rules share, and the names of those that are sound."""
    columns = entry_columns()
    texts = [(c.name, c.text, c.span) for c in conditions.values() if c.name not in columns]
    sound, found = read_conditions(texts, columns=columns, lists=lists)
    for condition in conditions.values():
        if condition.name in columns and condition.span is not None:
            found.append(finding("R055", f"'{condition.name}' is a column", condition.span, "take another name"))
    return found, frozenset(sound)


def finding(
    code: str,
    message: str,
    place: Span | Location,
    hint: str | None = None,
    severity: Severity = Severity.ERROR,
) -> Diagnostic:
    """A diagnostic at a place of a rule file."""
    return Diagnostic(code, message, place.location if isinstance(place, Span) else place, hint, severity)


def comparable(column: str, other: str) -> bool:
    """Two columns hold values of one type, so that they can be equal."""
    columns = entry_columns()
    return column in columns and other in columns and columns[column] is columns[other]
