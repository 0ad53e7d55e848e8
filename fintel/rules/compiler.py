"""From rules to a plan: masks evaluated once, measures shared, thresholds in the base currency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import polars as pl

from fintel.domain.schema import ENTRIES, Type
from fintel.engine.partition import Measure as Window
from fintel.rules.expression import Clause, parse, parse_when
from fintel.rules.model import Library, Measure, Parameter, Rule

#: Columns that rule expressions may use, and their types.
COLUMNS: Mapping[str, Type] = {c.name: c.type for c in ENTRIES.columns}


@dataclass(frozen=True)
class CompiledRule:
    """A rule ready to run.

    ``anchor`` is a mask; ``windows`` are the engine's measures by name; ``guards`` are pairs of
    masks (rows that a measure wants, and those of them that carry the value): where the first has
    rows and the second none, the rule cannot tell. ``reads`` names, for the anchor (key '') and each
    measure's filter, the masks that say where a column it reads is filled at all.
    """

    rule: Rule
    parameters: Mapping[str, float]
    anchor: int
    windows: Mapping[str, Window]
    guards: Mapping[str, tuple[int, int]]
    reads: Mapping[str, Mapping[str, int]]
    when: pl.Expr
    clauses: tuple[Clause, ...]

    @property
    def masks(self) -> tuple[int, ...]:
        """Every mask that the rule's windows depend on."""
        return tuple({self.anchor, *(w.mask for w in self.windows.values())})

    @property
    def reach(self) -> int:
        """Microseconds that the furthest window reaches back."""
        return max(w.span + w.offset for w in self.windows.values())


@dataclass(frozen=True)
class Plan:
    """What a run evaluates: masks, columns, mentions, and the rules on top of them."""

    rules: tuple[CompiledRule, ...]
    masks: tuple[pl.Expr, ...]
    values: tuple[str, ...]
    codes: tuple[str, ...]
    mentions: frozenset[tuple[str, str]]
    unconverted: Mapping[str, str] = field(default_factory=dict)


def convert_parameter(parameter: Parameter, base: str, rates: Mapping[str, float], library: Library) -> float | None:
    """A parameter's value in the unit that expressions use: money in the base currency.

    ``rates``: base currency for one unit, as of the run. Without one, the rounded threshold rates of
    the library serve (they are for thresholds only); without those, None.
    """
    if not parameter.is_money or parameter.unit == base:
        return parameter.default
    if parameter.unit in rates:
        return parameter.default * rates[parameter.unit]
    indicative = library.threshold_rates
    if parameter.unit in indicative and base in indicative:
        return parameter.default * indicative[parameter.unit] / indicative[base]
    return None


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


class _Masks:
    """Distinct masks by their text: two rules that filter alike share one."""

    def __init__(self) -> None:
        self.by_text: dict[str, int] = {}
        self.expressions: list[pl.Expr] = []

    def add(self, text: str, expression: pl.Expr) -> int:
        if text not in self.by_text:
            self.by_text[text] = len(self.expressions)
            self.expressions.append(expression)
        return self.by_text[text]


def compile_library(library: Library, *, base_currency: str, rates: Mapping[str, float] | None = None) -> Plan:
    """Compile every rule of a library.

    A rule with a money parameter that no rate converts is not compiled; ``Plan.unconverted`` says
    which currency is missing, and the run reports *cannot tell*.
    """
    masks = _Masks()
    compiled: list[CompiledRule] = []
    unconverted: dict[str, str] = {}
    mentions: set[tuple[str, str]] = set()
    values: set[str] = {"amount_base"}
    codes: set[str] = {"account_id", "account_kind"}
    for rule in library.rules:
        parameters: dict[str, float] = {}
        for name, parameter in rule.parameters.items():
            value = convert_parameter(parameter, base_currency, rates or {}, library)
            if value is None:
                unconverted[rule.id] = parameter.unit
            else:
                parameters[name] = value
        if rule.id in unconverted:
            continue

        reads: dict[str, dict[str, int]] = {}

        def read(
            text: str,
            part: str,
            rule: Rule = rule,
            parameters: Mapping[str, float] = parameters,
            reads: dict[str, dict[str, int]] = reads,
        ) -> int:
            expression = parse(
                text, columns=COLUMNS, parameters=parameters, lists=library.lists, location=rule.place(part)
            )
            mentions.update(expression.mentions)
            reads[part] = {c: masks.add(f"#{c} is filled", pl.col(c).is_not_null()) for c in sorted(expression.columns)}
            return masks.add(expression.text, expression.polars)

        anchor = read(rule.anchor, "anchor")
        windows: dict[str, Window] = {}
        guards: dict[str, tuple[int, int]] = {}
        for measure in rule.measures.values():
            wanted = anchor if measure.where is None else read(measure.where, f"measures.{measure.name}.where")
            windows[measure.name], guards[measure.name] = _window(measure, wanted, masks)
            if measure.kind == "distinct":
                codes.add(measure.column)
            elif measure.column not in ("*", "booked_at"):
                values.add(measure.column)
        codes.update(rule.per)
        when = parse_when(rule.when, measures=tuple(rule.measures), parameters=parameters, location=rule.place("when"))
        compiled.append(
            CompiledRule(rule, parameters, anchor, windows, guards, reads, when.polars, tuple(when.clauses))
        )
    return Plan(
        rules=tuple(compiled),
        masks=tuple(masks.expressions),
        values=tuple(sorted(values)),
        codes=tuple(sorted(codes)),
        mentions=frozenset(mentions),
        unconverted=unconverted,
    )


def _window(measure: Measure, wanted: int, masks: _Masks) -> tuple[Window, tuple[int, int]]:
    """The engine's measure, over rows that carry a value; and the guard that notices none do."""
    carrying = wanted
    if measure.column not in ("*", "booked_at"):
        expression = masks.expressions[wanted] & pl.col(measure.column).is_not_null()
        carrying = masks.add(f"#{wanted} and {measure.column} is not null", expression)
    span, offset = _microseconds(measure.timespan), _microseconds(measure.offset)
    column = measure.column
    return Window(measure.kind, column, carrying, span, offset), (wanted, carrying)


def groups(rules: Sequence[CompiledRule]) -> dict[tuple[str, ...], list[CompiledRule]]:
    """Rules by the columns that they partition by: each group is ordered once."""
    out: dict[tuple[str, ...], list[CompiledRule]] = {}
    for rule in rules:
        out.setdefault(rule.rule.per, []).append(rule)
    return out
