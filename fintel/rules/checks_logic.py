"""What a rule says that cannot be meant: conditions that never hold, thresholds without a place, copies.

One small function a finding, as in ``checks``; all are warnings, since the rule runs. ``logic_findings``
asks all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from fintel.domain.schema import SEEN_ENTRIES
from fintel.errors import Diagnostic, Location, Severity
from fintel.rules.cases import case_file, load_cases
from fintel.rules.compiler import decisive_columns
from fintel.rules.lexer import canonical
from fintel.rules.list_types import AmountList, AnyList, KeywordList, PatternList, ValueList
from fintel.rules.model import Library, Measure, Rule
from fintel.rules.reach import column_bounds, conjuncts, directions, measure_bounds, never
from fintel.rules.reading import Reading, finding, read_expressions
from fintel.rules.source import Span, bounded
from fintel.rules.syntax import COMPARISONS
from fintel.rules.tree import Part

#: Most that a budget may be by level: what says more must be rarer on lawful accounts.
BUDGETS = {"low": 100.0, "medium": 30.0, "high": 10.0, "critical": 3.0}
_VERY_HIGH = "very high"
#: Columns that every entry has, so that no feed blinds a rule by them.
_ALWAYS = frozenset(c.name for c in SEEN_ENTRIES.columns if c.required)
_ORDER = ("min", "mean", "max")
Check = Callable[[Reading], Iterator[Diagnostic]]


def logic_findings(library: Library, rules: Iterable[Rule] | None = None) -> tuple[Diagnostic, ...]:
    """Everything of this module that can be said about rules of a library (all if None)."""
    found: list[Diagnostic] = []
    chosen = tuple(library.rules if rules is None else rules)
    for rule in chosen:
        reading = read_expressions(rule, library)
        for check in CHECKS:
            found.extend(check(reading))
    found.extend(near_duplicates(library.rules, {r.id for r in chosen}))
    return bounded(found)


def _warn(
    reading: Reading, code: str, message: str, place: str, hint: str | None = None, part: Part | None = None
) -> Diagnostic:
    span: Span | Location = reading.rule.place(place)
    if part is not None and isinstance(span, Span):
        span = span.locate(part.start)
    return finding(code, message, span, hint, Severity.WARNING)


# -- conditions


def check_reach(reading: Reading) -> Iterator[Diagnostic]:
    """R036: a condition that never holds, whatever the data."""
    rule = reading.rule
    entry = [(place, e.part) for place, e in (("anchor", reading.anchor),) if e is not None]
    entry += [(f"steps.{name}.where", e.part) for name, e in reading.steps.items() if rule.anchor.strip() != name]
    entry += [(f"measures.{name}.where", e.part) for name, e in reading.wheres.items()]
    found = [(place, part, never(part, column_bounds)) for place, part in entry]
    if reading.when is not None:
        found.append(("when", reading.when.part, never(reading.when.part, measure_bounds(rule))))
    told: set[str] = set()
    for place, part, why in found:
        where = rule.entries_of(rule.anchor, "anchor")[1] if place == "anchor" else place
        if why is not None and where not in told:
            told.add(where)
            inside = None if part.condition else why[0]
            yield _warn(reading, "R036", f"never holds: {why[1]}", where, None, inside)
    if reading.when is not None and not told:
        yield from _misordered(reading)


def _misordered(reading: Reading) -> Iterator[Diagnostic]:
    """Two measures of the same entries compared the wrong way round: more different ones than there are."""
    assert reading.when is not None  # the caller's choice
    rule = reading.rule
    for piece in conjuncts(reading.when.part):
        if piece.operator not in (">", "<"):
            continue
        big, small = piece.parts if piece.operator == ">" else piece.parts[::-1]
        pair = [rule.measures.get(p.name or "") for p in (big, small)]
        if pair[0] is None or pair[1] is None or _window(pair[0]) != _window(pair[1]):
            continue
        if _never_more(pair[0], pair[1]):
            message = f"never holds: '{pair[0].name}' is never more than '{pair[1].name}'"
            yield _warn(reading, "R036", message, "when", None, piece)


def _never_more(one: Measure, other: Measure) -> bool:
    counted = ("distinct", "top", "hops")
    if one.kind in counted and not one.of and other.kind == "count":
        return True
    if one.kind in _ORDER and other.kind in _ORDER and one.column == other.column:
        return _ORDER.index(one.kind) < _ORDER.index(other.kind)
    return one.kind == "max" and other.kind == "sum" and one.column == other.column == "amount_base"


def _window(measure: Measure) -> tuple[object, ...]:
    where = None if measure.where is None else canonical(measure.where)
    return (measure.timespan, measure.offset, where, measure.same, measure.at)


def check_direction(reading: Reading) -> Iterator[Diagnostic]:
    """R056: a measure of payments both ways, in a rule whose anchor looks one way.

    Spoken of are those whose ``where`` says something about the payment and nothing about its
    direction. ``where: "true"``, and what is said of the account or of amounts alone, mean every entry.
    """
    rule = reading.rule
    if reading.anchor is None or len(directions(reading.anchor.part)) != 1:
        return
    (way,) = directions(reading.anchor.part)
    for name, where in reading.wheres.items():
        about = {c for c in where.columns if not c.startswith(("account_", "party_", "amount"))}
        if about and "direction" not in about and not rule.measures[name].at and not rule.measures[name].same:
            message = f"'{name}' counts payments in and out, the anchor only '{way}'"
            yield _warn(reading, "R056", message, f"measures.{name}.where", f"direction = '{way}' and …")


# -- parameters


def check_parameter_ranges(reading: Reading) -> Iterator[Diagnostic]:
    """R037, R038: a share outside 0 to 1; a threshold of ours without the range that it may be tuned in."""
    for parameter in reading.rule.parameters.values():
        place = f"parameters.{parameter.name}"
        if parameter.unit == "share" and not 0 <= parameter.default <= 1:
            yield _warn(reading, "R037", f"a share of {parameter.default:g}", f"{place}.default", "from 0 to 1")
        if parameter.basis == "engineering" and parameter.range is None:
            message = f"'{parameter.name}' is ours and has no range"
            yield _warn(reading, "R038", message, place, "range: [2, 30]: what it may be tuned in")


def check_money(reading: Reading) -> Iterator[Diagnostic]:
    """R039: an amount compared with a threshold whose unit is no currency."""
    rule = reading.rule
    amounts = {"amount_base"} | {
        m.name for m in rule.measures.values() if (m.of or m.column) == "amount_base" and m.kind in _MONEY_KINDS
    }
    for place, part in reading.expressions:
        for piece in part.own():
            if piece.operator not in (*COMPARISONS, "between") or not any(p.name in amounts for p in piece.parts):
                continue
            for name in (p.parameter for p in piece.parts if p.parameter is not None):
                parameter = rule.parameters.get(name)
                if parameter is not None and not parameter.is_money:
                    message = f"'{name}' is an amount, and its unit '{parameter.unit}' no currency"
                    yield _warn(reading, "R039", message, place, "unit: USD", piece)


_MONEY_KINDS = ("sum", "min", "max", "mean", "std", "top")


def check_source(reading: Reading) -> Iterator[Diagnostic]:
    """R068: a number 'from the source' of indicators none of which could be verified."""
    rule = reading.rule
    grades = {reading.library.indicators[i].grade for i in rule.indicators if i in reading.library.indicators}
    if grades != {"U"}:
        return
    for parameter in rule.parameters.values():
        if parameter.basis == "source":
            message = f"'{parameter.name}' is from the source, but every indicator cited is unverified (grade U)"
            yield _warn(reading, "R068", message, f"parameters.{parameter.name}.basis", "basis: engineering")


# -- lists


def check_lists(reading: Reading) -> Iterator[Diagnostic]:
    """R077: a list that a rule names is empty."""
    told: set[str] = set()
    for place, part in reading.expressions:
        for piece in part.walk():
            for name in piece.lists - told:
                told.add(name)
                if not _entries(reading.library.lists[name]):
                    hint = "a private list of that name in lists.local/ fills it"
                    yield _warn(reading, "R077", f"list '@{name}' is empty", place, hint)


def _entries(found: AnyList) -> int:
    match found:
        case KeywordList():
            return len(found.terms)
        case PatternList():
            return len(found.patterns)
        case ValueList() | AmountList():
            return len(found.values)


def check_weak_words(reading: Reading) -> Iterator[Diagnostic]:
    """R076: words that are nearly always innocent are all that the anchor asks for."""
    if reading.anchor is None:
        return
    pieces = [p for p in conjuncts(reading.anchor.part) if p.names != frozenset({"direction"})]
    for piece in pieces:
        if piece.operator != "mentions" or not _is_weak(reading.library.lists[min(piece.lists)]):
            return
    if pieces:
        names = ", ".join(f"@{name}" for piece in pieces for name in sorted(piece.lists))
        hint = "ask for an amount, a corridor or a repetition too"
        yield _warn(
            reading, "R076", f"nothing but words of {names}, whose false-positive risk is very high", "anchor", hint
        )


def _is_weak(found: AnyList) -> bool:
    match found:
        case KeywordList():
            return bool(found.terms) and all(t.false_positive_risk == _VERY_HIGH for t in found.terms)
        case PatternList():
            return bool(found.patterns) and all(p.false_positive_risk == _VERY_HIGH for p in found.patterns)
    return False


# -- the rule as a whole


def check_budget_level(reading: Reading) -> Iterator[Diagnostic]:
    """R059: more false alarms are tolerated than the level allows."""
    rule = reading.rule
    most = BUDGETS.get(rule.level)
    if rule.budget is not None and most is not None and rule.budget > most:
        message = f"a budget of {rule.budget:g} for level {rule.level}"
        yield _warn(reading, "R059", message, "budget", f"at most {most:g}, or a lower level")


def check_stable(reading: Reading) -> Iterator[Diagnostic]:
    """R067: 'stable' without what that takes: a budget, false positives, a source that was verified."""
    rule = reading.rule
    if rule.status != "stable":
        return
    grades = {reading.library.indicators[i].grade for i in rule.indicators if i in reading.library.indicators}
    missing = [
        what
        for what, there in (
            ("a budget", rule.budget is not None),
            ("false positives", bool(rule.falsepositives)),
            ("an indicator of grade V1 or V2", bool(grades & {"V1", "V2"})),
        )
        if not there
    ]
    if missing:
        yield _warn(reading, "R067", f"stable without {', '.join(missing)}", "status", "status: test until then")


def check_components(reading: Reading) -> Iterator[Diagnostic]:
    """R058: a correlation of rules that are on their way out."""
    wanted = reading.rule.correlation
    statuses = {r.id: r.status for r in reading.library.rules}
    for name in wanted.components if wanted is not None else ():
        if statuses.get(name) == "deprecated":
            yield _warn(reading, "R058", f"'{name}' is deprecated", "correlation", "name the rule that replaces it")


def check_kinds_of_case(reading: Reading) -> Iterator[Diagnostic]:
    """R065, R066: no case of a feed that blinds the rule; no case that says what is observed."""
    rule = reading.rule
    cases, findings = load_cases(rule)
    if findings or not cases:
        return  # told already
    place = Location(str(case_file(rule)), 1, 1)
    columns = _blinding(reading)
    if columns and not any(c.expect.cannot_tell for c in cases):
        message = f"no case of a feed without {', '.join(columns[:3])}"
        yield finding("R065", message, place, "expect: {outcome: cannot_tell}", Severity.WARNING)
    if rule.measures and not any(c.expect.observed for c in cases if c.expect.hit):
        yield finding("R066", "no hit says what is observed", place, "observed: {sends: 4}", Severity.WARNING)


def _blinding(reading: Reading) -> tuple[str, ...]:
    """Columns whose absence from a whole feed leaves the rule without an answer."""
    rule = reading.rule
    columns = set[str]()
    for expression in (reading.anchor, *reading.wheres.values(), *reading.steps.values()):
        if expression is not None:
            columns |= decisive_columns(expression.part)
    columns |= {m.column for m in rule.measures.values() if m.column in SEEN_ENTRIES and m.kind != "peers"}
    columns |= {name for m in rule.measures.values() for pair in m.same for name in pair}
    return tuple(sorted(columns - _ALWAYS))


CHECKS: tuple[Check, ...] = (
    check_reach,
    check_direction,
    check_parameter_ranges,
    check_money,
    check_source,
    check_lists,
    check_weak_words,
    check_budget_level,
    check_stable,
    check_components,
    check_kinds_of_case,
)


def near_duplicates(rules: Iterable[Rule], chosen: Iterable[str]) -> Iterator[Diagnostic]:
    """R057: two rules that differ in the values of their parameters alone."""
    wanted = set(chosen)
    seen: dict[tuple[object, ...], Rule] = {}
    for rule in rules:
        key = _shape(rule)
        other = seen.setdefault(key, rule)
        if other is not rule and rule.id in wanted and other.fingerprint != rule.fingerprint:
            message = f"differs from '{other.id}' in its parameters' values alone"
            hint = "one rule with another threshold, or a condition that tells them apart"
            yield finding("R057", message, rule.location, hint, Severity.WARNING)


def _shape(rule: Rule) -> tuple[object, ...]:
    steps = tuple((s.name, canonical(s.where), s.after, s.within, s.at_least, s.same) for s in rule.steps.values())
    return (
        rule.per,
        canonical(rule.anchor),
        canonical(rule.when),
        tuple(sorted((m.name, *map(str, m.logic)) for m in rule.measures.values())),
        tuple(sorted((n, canonical(t)) for n, t in rule.conditions.items())),
        steps,
        rule.correlation,
    )
