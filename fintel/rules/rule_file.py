"""One rule from one YAML file: keys read and checked, expressions kept as they are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from fintel.domain.detection import Level
from fintel.errors import Location
from fintel.rules.fields import Fields, as_number
from fintel.rules.lexer import FORBIDDEN, KEYWORDS, ExpressionError, Kind, tokenise
from fintel.rules.lists import LIST_NAME, TYPOLOGIES
from fintel.rules.model import (
    BASES,
    GROUPS,
    KINDS,
    ROLES,
    STATUSES,
    SUBJECTS,
    Condition,
    Correlation,
    Measure,
    Parameter,
    Rule,
    Step,
)
from fintel.rules.source import Findings, Scalar, Span, read
from fintel.rules.source import Mapping as Keys
from fintel.rules.source import Sequence as Items

_ABOUT = (
    "id", "title", "version", "status", "level", "typology", "indicators", "techniques", "description",
    "subject", "role", "parameters", "reason", "falsepositives", "budget", "changelog",
)  # fmt: skip
LOGIC_KEYS = ("per", "conditions", "steps", "anchor", "measures", "when")
REQUIRED_KEYS = ("id", "title", "version", "status", "level", "typology", "indicators", "description", "reason")
#: Keys of a rule over entries, and of one over other rules.
KEYS = (*_ABOUT, *LOGIC_KEYS, "correlation")
PARAMETER_KEYS = ("default", "unit", "basis", "range", "note")
MEASURE_KEYS = (*KINDS, "timespan", "offset", "where", "same", "at", "of", "quantile", "by")
STEP_KEYS = ("where", "after", "within", "at_least", "same")
#: More of these than any published indicator needs; they bound what one small file can cost.
_MOST = {"parameters": 40, "measures": 40, "steps": 12, "conditions": 40}
_MOST_SAME = 6
_STEM = re.compile(r"[a-z0-9][a-z0-9-]{0,98}")
_COUNT = re.compile(r"[1-9][0-9]{0,5}|:[a-z][a-z0-9_]{0,62}")
_T = TypeVar("_T")
_LEVELS = tuple(level.value for level in Level)


def load_rule(path: Path, pack: str, shared: Mapping[str, Condition], findings: Findings) -> Rule | None:
    """Read a rule; None, with findings, where its keys are not sound.

    ``shared``: conditions of the library; those that the rule uses become its own.
    """
    node = read(path, findings)
    if node is None:
        return None
    fields = Fields(node, findings)
    before = len(findings.items)
    correlates = node.get("correlation") is not None
    if correlates:
        fields.check((*_ABOUT, "correlation"), (*REQUIRED_KEYS, "correlation"))
    else:
        stepped = node.get("steps") is not None
        fields.check(KEYS, (*REQUIRED_KEYS, "per", "anchor", "when", *(() if stepped else ("measures",))))
    spans = {key.value: value.span for key, value in node}
    wanted_id = f"{pack}/{path.stem}"
    if not _STEM.fullmatch(path.stem):
        findings.add("R010", "a rule's file is named by small letters, digits and '-'", Location(str(path)))
    if "\n" in fields.text("title"):
        findings.add("R007", "'title' takes one line", fields.span("title"))
    if fields.text("id", wanted_id) != wanted_id:
        findings.add("R010", f"the id of this file is '{wanted_id}'", fields.span("id"))
    rule = Rule(
        id=wanted_id,
        title=fields.text("title"),
        version=fields.integer("version", 1) or 1,
        status=fields.choice("status", STATUSES),
        level=fields.choice("level", _LEVELS),
        typology=fields.choice("typology", TYPOLOGIES),
        indicators=fields.texts("indicators"),
        techniques=fields.texts("techniques"),
        description=fields.text("description"),
        subject=fields.choice("subject", SUBJECTS, "account"),
        role=fields.choice("role", ROLES, "subject"),
        per=("account_id",) if correlates else fields.texts("per"),
        parameters={p.name: p for p in _named(fields, "parameters", _parameter, spans)},
        anchor=_expression(fields, "anchor"),
        measures={m.name: m for m in _named(fields, "measures", _measure, spans)},
        when=_expression(fields, "when"),
        reason=fields.text("reason"),
        falsepositives=fields.texts("falsepositives"),
        location=Location(str(path), 1, 1),
        pack=pack,
        budget=_budget(fields),
        conditions=_conditions(fields, spans),
        steps={s.name: s for s in _named(fields, "steps", _step, spans)},
        correlation=_correlation(fields, spans) if correlates else None,
        changelog=fields.texts("changelog"),
        spans=spans,
    )
    return with_shared_conditions(rule, shared) if len(findings.items) == before else None


def with_shared_conditions(rule: Rule, shared: Mapping[str, Condition]) -> Rule:
    """The rule with the shared conditions that its expressions name, and those that these name."""
    texts = [rule.anchor, *rule.conditions.values(), *(s.where for s in rule.steps.values())]
    texts += [m.where for m in rule.measures.values() if m.where is not None]
    used = set()
    todo = _words(texts) & shared.keys()
    while todo:
        used |= todo
        todo = (_words(shared[name].text for name in todo) & shared.keys()) - used
    if not used:
        return rule
    spans = dict(rule.spans)
    for name in used - rule.conditions.keys():
        span = shared[name].span
        if span is not None:
            spans[f"conditions.{name}"] = span
    joined = {name: c.text for name, c in shared.items() if name in used and name not in rule.conditions}
    return replace(rule, conditions={**joined, **rule.conditions}, spans=spans)


def _words(texts: Iterable[str]) -> set[str]:
    """Bare names in expressions."""
    found: set[str] = set()
    for text in texts:
        try:
            found |= {t.text for t in tokenise(text) if t.kind is Kind.NAME}
        except ExpressionError:
            continue
    return found


def _budget(fields: Fields) -> float | None:
    value = fields.number("budget")
    if value is not None and not 0 <= value <= 10_000:
        fields.findings.add("R007", "'budget' takes a number from 0 to 10,000", fields.span("budget"))
    return value


def _expression(fields: Fields, name: str) -> str:
    """An expression exactly as written: places are counted from its first character."""
    node = fields.node.get(name)
    if isinstance(node, Scalar):
        return node.value
    fields.text(name)
    return ""


def _is_name(key: Scalar, findings: Findings) -> bool:
    if LIST_NAME.fullmatch(key.value) and key.value not in KEYWORDS | FORBIDDEN:
        return True
    hint = "small letters, digits and '_', and no word of SQL"
    findings.add("R007", f"'{key.value}' cannot be a name", key.span, hint)
    return False


def _is_one_too_many(fields: Fields, name: str, number: int) -> bool:
    if number == _MOST[name]:
        fields.findings.add("R021", f"more than {_MOST[name]} {name}", fields.span(name), "write two rules")
    return number >= _MOST[name]


def _named(
    fields: Fields, name: str, make: Callable[[str, Fields, dict[str, Span]], _T | None], spans: dict[str, Span]
) -> list[_T]:
    """Read ``parameters``, ``measures`` or ``steps``: a mapping from names to mappings."""
    found: list[_T] = []
    for key, value in fields.mapping(name) or ():
        if not _is_name(key, fields.findings) or _is_one_too_many(fields, name, len(found)):
            continue
        if not isinstance(value, Keys):
            fields.wrong(key.value, "keys and values: {…}", value)
            continue
        spans[f"{name}.{key.value}"] = key.span
        spans.update({f"{name}.{key.value}.{inner.value}": node.span for inner, node in value})
        made = make(key.value, Fields(value, fields.findings), spans)
        if made is not None:
            found.append(made)
    return found


def _conditions(fields: Fields, spans: dict[str, Span]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in fields.mapping("conditions") or ():
        if not _is_name(key, fields.findings) or _is_one_too_many(fields, "conditions", len(found)):
            continue
        if not isinstance(value, Scalar) or value.empty:
            fields.wrong(key.value, "a condition", value)
            continue
        spans[f"conditions.{key.value}"] = value.span
        found[key.value] = value.value
    return found


def _parameter(name: str, fields: Fields, spans: dict[str, Span]) -> Parameter | None:
    fields.check(PARAMETER_KEYS, ("default", "basis"))
    default = fields.number("default")
    basis = fields.choice("basis", BASES)
    limits = fields.node.get("range")
    bounds: tuple[float, float] | None = None
    if limits is not None:
        ends = [as_number(item) for item in limits.items] if isinstance(limits, Items) else []
        if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0] > ends[1]:
            fields.wrong("range", "two numbers, the smaller first: [2, 30]", limits)
        else:
            bounds = (ends[0], ends[1])
    if default is None:
        return None
    return Parameter(name, default, fields.text("unit", "number"), basis, bounds, fields.text("note") or None)


def _measure(name: str, fields: Fields, spans: dict[str, Span]) -> Measure | None:
    findings = fields.findings
    fields.check(MEASURE_KEYS, ())
    kinds = [kind for kind in KINDS if fields.node.get(kind) is not None]
    if len(kinds) != 1:
        hint = f"one of: {', '.join(KINDS)}"
        findings.add("R045", f"measure '{name}' needs exactly one thing to measure", fields.node.span, hint)
    if fields.node.get("timespan") is None:
        hint = "how far it looks back: timespan: 7d"
        findings.add("R043", f"measure '{name}' has no timespan", fields.node.span, hint)
    timespan = fields.timespan("timespan", timedelta(seconds=1))
    offset = fields.timespan("offset", timedelta(0)) or timedelta(0)
    where = _expression(fields, "where") if fields.node.get("where") is not None else None
    if len(kinds) != 1 or timespan is None:
        return None
    return Measure(
        name,
        kinds[0],
        fields.text(kinds[0]),
        timespan,
        offset,
        where,
        same=_same(fields),
        at=fields.choice("at", ("counterparty",)),
        of=fields.text("of"),
        quantile=fields.number("quantile"),
        by=fields.texts("by"),
    )


def _same(fields: Fields) -> tuple[tuple[str, str], ...]:
    """``[column]`` or ``{column of the anchor entry: column of the others}``."""
    node = fields.node.get("same")
    if isinstance(node, Keys):
        pairs = []
        for key, value in node:
            if isinstance(value, Scalar) and not value.empty:
                pairs.append((key.value, value.value.strip()))
            else:
                fields.wrong("same", "names of columns", value)
    else:
        pairs = [(name, name) for name in fields.texts("same")]
    if len(pairs) > _MOST_SAME or len(set(pairs)) < len(pairs):
        fields.findings.add("R053", f"'same' takes up to {_MOST_SAME} different columns", fields.span("same"))
        return ()
    return tuple(pairs)


def _step(name: str, fields: Fields, spans: dict[str, Span]) -> Step | None:
    sound = fields.check(STEP_KEYS, ("where",))
    after = fields.text("after") or None
    within = fields.timespan("within", timedelta(seconds=1))
    if (after is None) != (within is None):
        fields.findings.add("R051", "'after' and 'within' stand together", fields.node.span, "after: paid, within: 48h")
    if after is None and (fields.node.get("at_least") is not None or fields.node.get("same") is not None):
        fields.findings.add("R051", "'at_least' and 'same' are about the step before", fields.node.span, "after: …")
    count = _count(fields, "at_least")
    if not sound:
        return None
    return Step(name, _expression(fields, "where"), after, within, count, _same(fields))


def _count(fields: Fields, name: str) -> str:
    """A whole number from 1 on, or the name of a parameter."""
    value = fields.text(name, "1")
    if not _COUNT.fullmatch(value):
        fields.findings.add("R007", f"'{name}' takes a whole number from 1 on, or :parameter", fields.span(name))
        return "1"
    return value


def _correlation(fields: Fields, spans: dict[str, Span]) -> Correlation | None:
    node = fields.mapping("correlation")
    if node is None:
        return None
    inner = Fields(node, fields.findings)
    sound = inner.check(("timespan", *GROUPS, "across"), ("timespan",))
    spans.update({f"correlation.{key.value}": value.span for key, value in node})
    timespan = inner.timespan("timespan", timedelta(seconds=1))
    some = node.get("any")
    at_least, any_of = "1", inner.texts("any") if isinstance(some, Items) else ()
    if isinstance(some, Keys):
        group = Fields(some, fields.findings)
        group.check(("at_least", "of"), ("of",))
        at_least, any_of = _count(group, "at_least"), group.texts("of")
    elif some is not None and not isinstance(some, Items):
        inner.wrong("any", "{at_least: 1, of: [rule, rule]}", some)
    if not sound or timespan is None:
        return None
    return Correlation(
        timespan, inner.texts("all"), any_of, at_least, inner.texts("ordered"), inner.choice("across", GROUPS)
    )
