"""Mutation of rules: each threshold moved, each comparison, window and clause changed, one at a time.

A case of the rule must notice. A change that no case notices (a survivor) says that the cases leave room:
somebody may change the rule there and every test stays green.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from fintel.errors import RuleError
from fintel.rules.cases import Case, load_cases
from fintel.rules.judging import Docket, Verdicts, judge
from fintel.rules.lexer import Kind, Token, tokenise
from fintel.rules.model import Library, Parameter, Rule
from fintel.rules.reading import read_expressions

#: What may be changed.
KINDS = ("threshold", "comparison", "timespan", "clause")
#: How far a threshold is moved, down and up.
FACTORS = (0.75, 1.25)
_TURNED = {">=": ">", "<=": "<"}
#: Units of what is no whole number even where the default is one.
_DIVISIBLE = frozenset({"share", "ratio", "number", "km", "times"})


@dataclass(frozen=True)
class Mutant:
    """A rule with one thing changed. ``what`` says which, in words."""

    rule_id: str
    kind: str
    what: str
    rule: Rule


@dataclass(frozen=True)
class Fate:
    """``killer``: the name of the first case that fails with the mutant; None: it survived."""

    mutant: Mutant
    killer: str | None

    @property
    def killed(self) -> bool:
        """A case noticed."""
        return self.killer is not None


def mutants(rule: Rule, kinds: Iterable[str] = KINDS) -> tuple[Mutant, ...]:
    """Every mutant of a rule, in the order of ``KINDS``."""
    makers = {"threshold": _thresholds, "comparison": _comparisons, "timespan": _timespans, "clause": _clauses}
    return tuple(
        Mutant(rule.id, kind, what, changed) for kind in KINDS if kind in kinds for what, changed in makers[kind](rule)
    )


def mutate(
    library: Library,
    *,
    rule_ids: Collection[str] | None = None,
    kinds: Iterable[str] = KINDS,
    sample: int | None = None,
    seed: int = 0,
) -> Iterator[Fate]:
    """The fate of mutants of every rule of a library (or of those named), rule by rule.

    Parameters
    ----------
    library: rules, lists, and the rules that correlations name.
    sample: so many mutants alone, drawn over all rules with ``seed``; all if None.
    """
    rules = [r for r in library.rules if rule_ids is None or r.id in rule_ids]
    made = {rule.id: mutants(rule, kinds) for rule in rules}
    if sample is not None:
        flat = [(rule_id, place) for rule_id, found in made.items() for place in range(len(found))]
        drawn = random.Random(seed).sample(flat, min(sample, len(flat)))  # noqa: S311
        made = {rule_id: tuple(made[rule_id][p] for r, p in sorted(drawn) if r == rule_id) for rule_id in made}
    for rule in rules:
        if made[rule.id]:
            yield from fates(made[rule.id], load_cases(rule)[0], library)


def fates(changed: Sequence[Mutant], cases: Sequence[Case], library: Library) -> list[Fate]:
    """What becomes of mutants of one rule. Those that are no sound rule any more are left out."""
    sound = list(changed)
    if not cases:
        return [Fate(m, None) for m in sound]
    try:
        verdicts = _judged(sound, cases, library)
    except RuleError:  # a modulus that is no whole number, a condition that names nothing any more
        sound = [m for m in sound if not read_expressions(m.rule, library).errors]
        verdicts = _judged(sound, cases, library)
    return [
        Fate(mutant, next((case.name for case, wrong in zip(cases, verdict, strict=True) if wrong), None))
        for mutant, verdict in zip(sound, verdicts, strict=True)
    ]


def _judged(changed: Sequence[Mutant], cases: Sequence[Case], library: Library) -> Verdicts:
    (verdicts,) = judge([Docket(tuple(m.rule for m in changed), tuple(cases))], library)
    return verdicts


@dataclass(frozen=True)
class Rate:
    """``killed`` of ``made`` mutants."""

    killed: int
    made: int

    @property
    def value(self) -> float | None:
        """killed / made; None of nothing."""
        return self.killed / self.made if self.made else None


def rates(found: Iterable[Fate]) -> Mapping[tuple[str, str], Rate]:
    """Rates by pack and kind of change."""
    counts: dict[tuple[str, str], list[int]] = {}
    for fate in found:
        pack = fate.mutant.rule_id.partition("/")[0]
        count = counts.setdefault((pack, fate.mutant.kind), [0, 0])
        count[0] += fate.killed
        count[1] += 1
    return {key: Rate(*count) for key, count in sorted(counts.items())}


# -- thresholds


def _thresholds(rule: Rule) -> Iterator[tuple[str, Rule]]:
    for parameter in rule.parameters.values():
        for value in moved(parameter):
            yield f"{parameter.name} {parameter.default:g} -> {value:g}", rule.tuned({parameter.name: value})


def moved(parameter: Parameter) -> tuple[float, ...]:
    """A threshold a quarter down and up; what is counted in whole numbers by one at least."""
    low, high = sorted(parameter.default * factor for factor in FACTORS)
    whole = float(parameter.default).is_integer() and not parameter.is_money and parameter.unit not in _DIVISIBLE
    if whole or low == high:
        low = min(math.floor(low), parameter.default - 1)
        high = max(math.ceil(high), parameter.default + 1)
    return float(low), float(high)


# -- comparisons and clauses, in the texts of a rule


def _texts(rule: Rule) -> Iterator[tuple[str, str]]:
    """Conditions written in the rule itself, by their place (shared conditions are the library's)."""
    for name, text in rule.conditions.items():
        if _is_own(rule, name):
            yield f"conditions.{name}", text
    for step in rule.steps.values():
        yield f"steps.{step.name}.where", step.where
    if rule.anchor.strip() and rule.anchor.strip() not in rule.steps:
        yield "anchor", rule.anchor
    for measure in rule.measures.values():
        if measure.where is not None and measure.where.strip() not in rule.steps:
            yield f"measures.{measure.name}.where", measure.where
    if rule.when.strip():
        yield "when", rule.when


def _is_own(rule: Rule, name: str) -> bool:
    span = rule.spans.get(f"conditions.{name}")
    return span is not None and span.source.file == rule.location.file


def _with_text(rule: Rule, place: str, text: str) -> Rule:
    part, _, rest = place.partition(".")
    name = rest.removesuffix(".where")
    if part == "conditions":
        return replace(rule, conditions={**rule.conditions, name: text})
    if part == "steps":
        return replace(rule, steps={**rule.steps, name: replace(rule.steps[name], where=text)})
    if part == "measures":
        return replace(rule, measures={**rule.measures, name: replace(rule.measures[name], where=text)})
    return replace(rule, anchor=text) if part == "anchor" else replace(rule, when=text)


def _comparisons(rule: Rule) -> Iterator[tuple[str, Rule]]:
    for place, text in _texts(rule):
        for token in tokenise(text):
            if token.kind is Kind.OPERATOR and token.text in _TURNED:
                turned = text[: token.start] + _TURNED[token.text] + text[token.end :]
                around = " ".join(text[max(0, token.start - 25) : token.end + 15].split())
                yield f"{place}: {token.text} -> {_TURNED[token.text]} in '{around}'", _with_text(rule, place, turned)


def _clauses(rule: Rule) -> Iterator[tuple[str, Rule]]:
    if rule.correlation is not None:
        yield from _components(rule)
        return
    texts = dict(_texts(rule))
    for place in (_place_of_anchor(rule), "when"):
        text = texts.get(place, "")
        spans = _conjuncts(text)
        for number, (start, end) in enumerate(spans if len(spans) > 1 else ()):
            kept = " and ".join(text[a:b] for other, (a, b) in enumerate(spans) if other != number)
            words = " ".join(text[start:end].split())
            yield f"{place}: without '{words}'", _with_text(rule, place, kept)


def _place_of_anchor(rule: Rule) -> str:
    """Where the anchor's condition is written: a step, a condition of the rule's own, or the anchor itself."""
    anchor = rule.anchor.strip()
    if anchor in rule.steps:
        return f"steps.{anchor}.where"
    return f"conditions.{anchor}" if anchor in rule.conditions and _is_own(rule, anchor) else "anchor"


def _conjuncts(text: str) -> list[tuple[int, int]]:
    """Where the parts stand that ``and`` joins at the top; one part where ``or`` joins there."""
    tokens = tokenise(text)
    spans: list[tuple[int, int]] = []
    start = depth = between = 0
    for token in tokens[:-1]:
        depth += _nesting(token)
        if depth or token.kind is not Kind.KEYWORD:
            continue
        if token.text == "or":
            return [(0, len(text))]
        if token.text == "between":
            between += 1
        elif token.text == "and" and between:
            between -= 1
        elif token.text == "and":
            spans.append((start, token.start))
            start = token.end
    return [*spans, (start, len(text))]


def _nesting(token: Token) -> int:
    if token.kind is Kind.OPERATOR:
        return {"(": 1, ")": -1}.get(token.text, 0)
    return {"case": 1, "end": -1}.get(token.text, 0) if token.kind is Kind.KEYWORD else 0


def _components(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """Correlations with one component less; never without any."""
    wanted = rule.correlation
    assert wanted is not None  # the caller's choice
    for group in ("all", "ordered"):
        names = getattr(wanted, group)
        least = 2 if group == "ordered" else 0 if wanted.any or wanted.ordered else 1
        for name in names if len(names) > least else ():
            left = tuple(n for n in names if n != name)
            fewer = replace(wanted, all=left) if group == "all" else replace(wanted, ordered=left)
            yield f"{group}: without {name}", replace(rule, correlation=fewer)


# -- windows


def _timespans(rule: Rule) -> Iterator[tuple[str, Rule]]:
    for measure in rule.measures.values():
        for span in _stretched(measure.timespan):
            changed = {**rule.measures, measure.name: replace(measure, timespan=span)}
            yield f"measures.{measure.name}: {measure.timespan} -> {span}", replace(rule, measures=changed)
    for step in rule.steps.values():
        for span in _stretched(step.within) if step.within is not None else ():
            steps = {**rule.steps, step.name: replace(step, within=span)}
            yield f"steps.{step.name}: {step.within} -> {span}", replace(rule, steps=steps)
    if rule.correlation is not None:
        for span in _stretched(rule.correlation.timespan):
            correlation = replace(rule.correlation, timespan=span)
            yield f"correlation: {rule.correlation.timespan} -> {span}", replace(rule, correlation=correlation)


def _stretched(span: timedelta) -> tuple[timedelta, timedelta]:
    return span / 2, span * 2
